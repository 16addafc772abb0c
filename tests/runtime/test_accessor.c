/* SPDX-License-Identifier: Apache-2.0 */
/* What small functions return, from the code that compilers made of them. */
#include "tests/harness.h"

#include "runtime/accessor.h"

static struct accessor_result run(
	const uint8_t *bytes, size_t len, unsigned taken, int stop_at_call)
{
	const struct accessor_code code = {.bytes = bytes, .len = len, .vaddr = 0x1000};
	struct accessor_result r;

	accessor_run(&code, taken, stop_at_call, &r);
	return r;
}

/* pthread_getspecific() of glibc 2.36: *(fs:0x10 + (key + 0x31) * 16 + 8). */
static void accessor__glibc_slot(void **state)
{
	static const uint8_t code[] = {0x83, 0xff, 0x1f, 0x77, 0x3b, 0x89, 0xf8, 0x48, 0x83, 0xc0,
		0x31, 0x48, 0xc1, 0xe0, 0x04, 0x64, 0x48, 0x03, 0x04, 0x25, 0x10, 0, 0, 0, 0x48,
		0x8b, 0x50, 0x08, 0x48, 0x85, 0xd2, 0x74, 0x57, 0x89, 0xff, 0x48, 0x8d, 0x0d, 0x56,
		0xaf, 0x14, 0, 0x48, 0x8b, 0x30, 0x48, 0xc1, 0xe7, 0x04, 0x48, 0x39, 0x34, 0x39,
		0x75, 0x39, 0x48, 0x89, 0xd0, 0xc3};
	struct accessor_result r = run(code, sizeof(code), 0, 1);

	(void)state;
	assert_int_equal(r.returned, 1);
	assert_true(r.nloads >= 1);
	assert_int_equal(r.loads[0].base, ACCESSOR_AT_TP);
	assert_int_equal(r.loads[0].inner, 0x318);
	assert_int_equal(r.loads[0].inner_scale, 16);
	assert_int_equal(r.ret.base, ACCESSOR_AT_TP);
	assert_int_equal(r.ret.inner, 0x318);
	assert_int_equal(r.branches, 3);
	// The other way of the first branch leaves this code: nothing is found, nothing breaks.
	r = run(code, sizeof(code), 1, 1);
	assert_int_equal(r.nloads, 0);
}

/* The same of musl 1.2: *(*(fs:0 + 0x80) + key * 8). */
static void accessor__musl_slot(void **state)
{
	static const uint8_t code[] = {0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0, 0x48, 0x8b, 0x80,
		0x80, 0, 0, 0, 0x89, 0xff, 0x48, 0x8b, 0x04, 0xf8, 0xc3};
	struct accessor_result r = run(code, sizeof(code), 0, 1);

	(void)state;
	assert_int_equal(r.nloads, 1);
	assert_int_equal(r.loads[0].base, ACCESSOR_AT_AT_TP);
	assert_int_equal(r.loads[0].inner, 0x80);
	assert_int_equal(r.loads[0].inner_scale, 8);
}

/* _PyThreadState_GetCurrent() of 3.12 in a shared library: general-dynamic TLS. */
static void accessor__tls_pair(void **state)
{
	static const uint8_t code[] = {0x48, 0x83, 0xec, 0x08, 0x66, 0x48, 0x8d, 0x3d, 0xd4, 0xdb,
		0x26, 0, 0x66, 0x66, 0x48, 0xe8, 0xbc, 0x22, 0xe3, 0xff, 0x48, 0x8b, 0, 0x48, 0x83,
		0xc4, 0x08, 0xc3};
	struct accessor_result r = run(code, sizeof(code), 0, 0);

	(void)state;
	assert_int_equal(r.returned, 1);
	assert_int_equal(r.ret.base, ACCESSOR_AT_BLOCK);
	assert_int_equal(r.ret.addr, 0x1000 + 12 + 0x26dbd4);
	assert_int_equal(r.ret.inner, 0);
}

/* mov %fs:-8, %rax; ret, and the same through the global offset table, and through a descriptor. */
static void accessor__tls_static(void **state)
{
	static const uint8_t local[] = {
		0xf3, 0x0f, 0x1e, 0xfa, 0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff, 0xc3};
	static const uint8_t initial[] = {
		0x48, 0x8b, 0x05, 0x10, 0, 0, 0, 0x64, 0x48, 0x8b, 0x00, 0xc3};
	static const uint8_t descriptor[] = {
		0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0xff, 0x10, 0x64, 0x48, 0x8b, 0x00, 0xc3};
	struct accessor_result r = run(local, sizeof(local), 0, 0);

	(void)state;
	assert_int_equal(r.ret.base, ACCESSOR_AT_TP);
	assert_int_equal(r.ret.inner, -8);
	r = run(initial, sizeof(initial), 0, 0);
	assert_int_equal(r.ret.base, ACCESSOR_AT_TP_MEM);
	assert_int_equal(r.ret.addr, 0x1000 + 7 + 0x10);
	r = run(descriptor, sizeof(descriptor), 0, 0);
	assert_int_equal(r.ret.base, ACCESSOR_AT_TP_MEM);
	assert_int_equal(r.ret.addr, 0x1000 + 7 + 0x10 + 8);
}

/* PyGILState_GetThisThreadState(): the key by value, by address in the GOT, kept over a call. */
static void accessor__key(void **state)
{
	static const uint8_t debian[] = {0x48, 0x83, 0x3d, 0x50, 0x3d, 0x56, 0, 0, 0x0f, 0x84, 0x1f,
		0xc8, 0xf2, 0xff, 0x8b, 0x3d, 0x50, 0x3d, 0x56, 0, 0xe9, 0xa7, 0x8a, 0xf2, 0xff};
	static const uint8_t shared[] = {0x48, 0x8b, 0x05, 0xc9, 0xc0, 0x26, 0, 0x53, 0x48, 0x8d,
		0x98, 0x08, 0x06, 0, 0, 0x48, 0x89, 0xdf, 0xe8, 0xd9, 0x21, 0xe3, 0xff, 0x85, 0xc0,
		0x74, 0x0d, 0x48, 0x89, 0xdf, 0x5b, 0xe9, 0xec, 0x36, 0xe3, 0xff};
	struct accessor_result r = run(debian, sizeof(debian), 0, 1);

	(void)state;
	assert_int_equal(r.returned, 2);
	assert_int_equal(r.arg.base, ACCESSOR_MEM);
	assert_int_equal(r.arg.addr, 0x1000 + 20 + 0x563d50);
	r = run(shared, sizeof(shared), 0, 1);
	assert_int_equal(r.arg.base, ACCESSOR_MEM);
	assert_int_equal(r.arg.addr, 0x1000 + 7 + 0x26c0c9);
	assert_int_equal(r.arg.add, 0x608);
}

/* Endless loops, code that ends in mid-instruction, unknown instructions: no answer, no harm. */
static void accessor__hostile(void **state)
{
	static const uint8_t loop[] = {0xeb, 0xfe};
	static const uint8_t cut[] = {0x48, 0x8b};
	static const uint8_t odd[] = {0x0f, 0x0b, 0xc3};
	struct accessor_result r = run(loop, sizeof(loop), 0, 0);

	(void)state;
	assert_int_equal(r.returned, 0);
	r = run(cut, sizeof(cut), 0, 0);
	assert_int_equal(r.returned, 0);
	r = run(odd, sizeof(odd), 0, 0);
	assert_int_equal(r.returned, 0);
	r = run(odd, 0, 0, 0);
	assert_int_equal(r.returned, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accessor__glibc_slot),
		cmocka_unit_test(accessor__musl_slot),
		cmocka_unit_test(accessor__tls_pair),
		cmocka_unit_test(accessor__tls_static),
		cmocka_unit_test(accessor__key),
		cmocka_unit_test(accessor__hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

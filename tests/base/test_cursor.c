/* SPDX-License-Identifier: Apache-2.0 */
/* The byte cursor: no read passes the end, and a failed one poisons all that follow. */
#include "tests/harness.h"

#include "base/cursor.h"

static void cursor__reads_what_is_there(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 0};
	struct cursor c = cursor_make(bytes, sizeof(bytes)), sub;

	(void)state;
	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_u16(&c), 0x0302);
	assert_int_equal(cursor_u32(&c), 0x07060504);
	assert_true(cursor_u64(&c) == 0x0f0e0d0c0b0a0908ull);
	assert_string_equal(cursor_cstr(&c), "a");
	assert_int_equal(cursor_left(&c), 0);
	assert_false(c.bad);
	assert_true(cursor_seek(&c, 3));
	sub = cursor_sub(&c, 2);
	assert_int_equal(cursor_left(&sub), 2);
	assert_int_equal(cursor_u16(&sub), 0x0504);
	assert_int_equal(cursor_u8(&sub), 0);
	assert_true(sub.bad);
	assert_false(c.bad);
	assert_int_equal(cursor_offset(&c), 5);
}

/* A heap copy of just that size, so that AddressSanitizer sees a read of one byte too many. */
static void cursor__short_reads_yield_zero_and_poison(void **state)
{
	(void)state;
	for (size_t len = 0; len < 8; len++) {
		uint8_t *tight = malloc(len ? len : 1);
		struct cursor c = cursor_make(tight, len);
		uint64_t v = 7;

		memset(tight, 0xff, len);
		assert_true(cursor_u64(&c) == 0);
		assert_true(c.bad);
		assert_int_equal(cursor_left(&c), 0);
		assert_int_equal(cursor_u8(&c), 0);
		assert_null(cursor_cstr(&c));
		assert_false(cursor_seek(&c, 0));
		assert_false(cursor_skip(&c, 0));
		assert_false(cursor_copy(&c, &v, sizeof(v)));
		assert_true(v == 0);
		assert_true(cursor_sub(&c, 0).bad);
		free(tight);
	}
}

static void cursor__huge_lengths_do_not_wrap(void **state)
{
	static const uint8_t bytes[4] = {0};
	struct cursor c = cursor_make(bytes, sizeof(bytes));

	(void)state;
	cursor_u8(&c);
	assert_null(cursor_bytes(&c, SIZE_MAX));
	c = cursor_make(bytes, sizeof(bytes));
	assert_false(cursor_seek(&c, SIZE_MAX));
	c = cursor_make(bytes, sizeof(bytes));
	cursor_u8(&c);
	assert_true(cursor_sub(&c, SIZE_MAX - 1).bad);
	c = cursor_make(NULL, 0);
	assert_null(cursor_cstr(&c));
	c = cursor_make(bytes, 0);
	assert_null(cursor_cstr(&c));
}

static void cursor__unterminated_string_is_bad(void **state)
{
	static const char bytes[] = {'a', 'b'};
	struct cursor c = cursor_make(bytes, sizeof(bytes));

	(void)state;
	assert_null(cursor_cstr(&c));
	assert_true(c.bad);
}

/* Writes the number in the fewest LEB128 bytes, by the definition (DWARF 5, 7.6). */
static size_t put_uleb(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	do {
		p[n] = v & 0x7f;
		v >>= 7;
		p[n++] |= v ? 0x80 : 0;
	} while (v);
	return n;
}

static size_t put_sleb(uint8_t *p, int64_t v)
{
	size_t n = 0;
	bool more = true;

	while (more) {
		p[n] = v & 0x7f;
		v >>= 7; // arithmetic, in gcc and clang
		more = !((v == 0 && !(p[n] & 0x40)) || (v == -1 && (p[n] & 0x40)));
		p[n++] |= more ? 0x80 : 0;
	}
	return n;
}

static void cursor__leb128_round_trips(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 64; shift++) {
		for (int d = -2; d <= 2; d++) {
			uint64_t v = (1ull << shift) + (uint64_t)d;
			uint8_t bytes[16];
			struct cursor c = cursor_make(bytes, put_uleb(bytes, v));

			assert_true(cursor_uleb(&c) == v);
			assert_int_equal(cursor_left(&c), 0);
			for (int sign = 0; sign < 2; sign++) {
				int64_t s = (int64_t)(sign ? 0 - v : v);

				c = cursor_make(bytes, put_sleb(bytes, s));
				assert_true(cursor_sleb(&c) == s);
				assert_int_equal(cursor_left(&c), 0);
			}
		}
	}
}

static void cursor__leb128_without_end_is_bad(void **state)
{
	uint8_t bytes[16];
	struct cursor c;

	(void)state;
	memset(bytes, 0x80, sizeof(bytes));
	c = cursor_make(bytes, sizeof(bytes));
	assert_true(cursor_uleb(&c) == 0 && c.bad);
	c = cursor_make(bytes, sizeof(bytes));
	assert_true(cursor_sleb(&c) == 0 && c.bad);
	c = cursor_make(bytes, 3);
	assert_true(cursor_uleb(&c) == 0 && c.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cursor__reads_what_is_there),
		cmocka_unit_test(cursor__short_reads_yield_zero_and_poison),
		cmocka_unit_test(cursor__huge_lengths_do_not_wrap),
		cmocka_unit_test(cursor__unterminated_string_is_bad),
		cmocka_unit_test(cursor__leb128_round_trips),
		cmocka_unit_test(cursor__leb128_without_end_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

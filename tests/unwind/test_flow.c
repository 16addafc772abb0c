/* SPDX-License-Identifier: Apache-2.0 */
/* Rules from instructions: small functions written here, and libraries in C whose call frame
 * information says what is right. */
#include <fcntl.h>

#include "tests/harness.h"
#include "unwind/build.h"
#include "unwind/flow.h"
#include "unwind/pattern.h"
#include "unwind/insn.h"

#define PF_EXEC 1
#define PAGES_MAX 40 // of a library

static const char *const libraries[] = {
	"/lib/x86_64-linux-gnu/libc.so.6",
	"/usr/bin/python3.11",
	"/usr/bin/bash",
};

static void check_insn(const char *bytes, size_t len, enum insn_kind kind, int32_t arg)
{
	struct insn i;

	assert_true(insn_decode((const uint8_t *)bytes, len, &i));
	assert_int_equal(i.len, len);
	assert_int_equal(i.kind, kind);
	assert_int_equal(i.arg, arg);
	for (size_t n = 0; n < len; n++)
		assert_false(insn_decode((const uint8_t *)bytes, n, &i));
}

#define CHECK_INSN(bytes, kind, arg) check_insn(bytes, sizeof(bytes) - 1, kind, arg)

static void flow__instructions(void **state)
{
	(void)state;
	CHECK_INSN("\x55", INSN_PUSH, 0);
	CHECK_INSN("\x41\x5f", INSN_POP, 0);
	CHECK_INSN("\x48\x83\xec\x18", INSN_ADD_SP, -0x18);
	CHECK_INSN("\x48\x81\xc4\x00\x01\x00\x00", INSN_ADD_SP, 0x100);
	CHECK_INSN("\x48\x83\xe4\xf0", INSN_SP_LOST, 0);
	CHECK_INSN("\x48\x29\xc4", INSN_SP_LOST, 0);
	CHECK_INSN("\x48\x8d\x64\x24\x08", INSN_ADD_SP, 8);
	CHECK_INSN("\x48\x8d\x65\xd8", INSN_SP_FROM_FP, -0x28);
	CHECK_INSN("\x48\x89\xe5", INSN_FP_SET, 0);
	CHECK_INSN("\x48\x8d\x05\x10\x00\x00\x00", INSN_LEA_CODE, 0x10);
	CHECK_INSN("\xe8\xfc\xff\xff\xff", INSN_CALL, -4);
	CHECK_INSN("\x0f\x84\x10\x00\x00\x00", INSN_BRANCH, 0x10);
	CHECK_INSN("\x3e\xff\xe0", INSN_STOP, 0);
	CHECK_INSN("\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00", INSN_NOP, 0);
	CHECK_INSN("\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08", INSN_PLAIN, 0);
	CHECK_INSN("\xc5\xfd\x6f\x06", INSN_PLAIN, 0);
	CHECK_INSN("\x62\xe1\xfe\x28\x6f\x06", INSN_PLAIN, 0);
	CHECK_INSN("\xc4\xe3\x7d\x39\xc1\x01", INSN_PLAIN, 0);
	CHECK_INSN("\x66\x0f\x3a\x63\xc1\x1a", INSN_PLAIN, 0);
}

static void check_cfa(const struct flow *f, uint32_t at, uint8_t reg, int32_t off)
{
	struct uw_rule rule;

	flow_rule(&f->insns[flow_find(f, at)], &rule);
	assert_int_equal(rule.cfa, UW_CFA_REG);
	assert_int_equal(rule.reg, reg);
	assert_int_equal(rule.cfa_off, off);
}

static void flow__a_function_that_ends_in_a_call(void **state)
{
	// 0: push rbx; 1: sub $16,%rsp; 5: test %edi,%edi; 7: je 20; 9: add $16,%rsp; d: pop; e: ret
	// 10: padding; 14 (20): call 40 (never returns); 19: nops; 20 (32): push rbp ... ret
	static const uint8_t code[] = {0x53, 0x48, 0x83, 0xec, 0x10, 0x85, 0xff, 0x74, 0x0b, 0x48,
		0x83, 0xc4, 0x10, 0x5b, 0xc3, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xe8, 0x0f, 0x00, 0x00,
		0x00, 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00, 0x55, 0x41, 0x54, 0x31, 0xc0, 0x41,
		0x5c, 0x5d, 0xc3};
	struct flow f;

	(void)state;
	flow_init(&f);
	assert_ok(flow_run(&f, code, sizeof(code), 0));
	check_cfa(&f, 0, CFI_REG_SP, 8);
	check_cfa(&f, 1, CFI_REG_SP, 16);
	check_cfa(&f, 5, CFI_REG_SP, 32);
	check_cfa(&f, 14, CFI_REG_SP, 8);
	check_cfa(&f, 20, CFI_REG_SP, 32);
	check_cfa(&f, 32, CFI_REG_SP, 8);
	check_cfa(&f, 33, CFI_REG_SP, 16);
	check_cfa(&f, 35, CFI_REG_SP, 24);
	assert_int_equal(f.insns[flow_find(&f, 35)].fp, 16);
	assert_int_equal(f.insns[flow_find(&f, 40)].fp, FLOW_FP_SAME);
	flow_deinit(&f);
}

static void flow__frame_pointer_and_alloca(void **state)
{
	// push %rbp; mov %rsp,%rbp; sub %rax,%rsp; call +0; leave; ret
	static const uint8_t code[] = {
		0x55, 0x48, 0x89, 0xe5, 0x48, 0x29, 0xc4, 0xe8, 0xf4, 0xff, 0xff, 0xff, 0xc9, 0xc3};
	struct flow f;

	(void)state;
	flow_init(&f);
	assert_ok(flow_run(&f, code, sizeof(code), 0));
	check_cfa(&f, 0, CFI_REG_SP, 8);
	check_cfa(&f, 1, CFI_REG_SP, 16);
	check_cfa(&f, 7, CFI_REG_BP, 16);
	check_cfa(&f, 12, CFI_REG_BP, 16);
	check_cfa(&f, 13, CFI_REG_SP, 8);
	flow_deinit(&f);
}

/* What is pushed in a loop is not known, but rbp is: V8's entry to JavaScript. That rbp was pushed somewhere
 * is known from the end of the function before the beginning says where. */
static void flow__frame_pointer_and_pushed_arguments(void **state)
{
	// 0: push %rbp; 1: mov %rsp,%rbp; 4: push $26; 6: push (%r10); 9: dec %rcx; c: jge 6; e: call 0
	// 13: mov %rbp,%rsp; 16: pop %rbp; 17: ret
	static const uint8_t code[] = {0x55, 0x48, 0x8b, 0xec, 0x6a, 0x1a, 0x41, 0xff, 0x32, 0x48,
		0xff, 0xc9, 0x7d, 0xf8, 0xe8, 0xed, 0xff, 0xff, 0xff, 0x48, 0x8b, 0xe5, 0x5d, 0xc3};
	struct flow f;

	(void)state;
	flow_init(&f);
	assert_ok(flow_run(&f, code, sizeof(code), 0));
	check_cfa(&f, 0, CFI_REG_SP, 8);
	assert_int_equal(f.insns[0].fp, FLOW_FP_SAME);
	check_cfa(&f, 1, CFI_REG_SP, 16);
	check_cfa(&f, 6, CFI_REG_BP, 16);
	check_cfa(&f, 14, CFI_REG_BP, 16);
	check_cfa(&f, 19, CFI_REG_BP, 16);
	check_cfa(&f, 22, CFI_REG_BP, 16);
	check_cfa(&f, 23, CFI_REG_SP, 8);
	flow_deinit(&f);
}

/* Code that keeps frame pointers is told at a glance: large programs are, and decoding them takes longer
 * than a sample may wait. */
static void flow__framed_code_is_left_to_its_frames(void **state)
{
	static const uint8_t functions[2][8] = {{0x55, 0x48, 0x89, 0xe5, 0x31, 0xc0, 0x5d, 0xc3},
		{0x55, 0x48, 0x8b, 0xec, 0x33, 0xc0, 0x5d, 0xc3}};
	uint8_t code[40 * sizeof(functions[0])];
	struct flow f;

	(void)state;
	flow_init(&f);
	for (unsigned k = 0; k < ARRAY_SIZE(functions); k++) {
		for (size_t i = 0; i < sizeof(code); i += sizeof(functions[k]))
			memcpy(code + i, functions[k], sizeof(functions[k]));
		assert_ok(flow_run(&f, code, sizeof(code), 0));
		assert_int_equal(f.count, 0);
		assert_ok(flow_run(&f, code, 3 * sizeof(functions[k]), 0));
		assert_int_equal(f.count, 15);
	}
	flow_deinit(&f);
}

static void flow__any_bytes(void **state)
{
	static uint8_t code[FLOW_BYTES_MAX];
	uint64_t seed = 11;
	struct flow f;

	(void)state;
	flow_init(&f);
	for (unsigned round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(code); i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			code[i] = (uint8_t)(seed >> 56);
		}
		assert_ok(flow_run(&f, code, sizeof(code) - round, round));
		assert_true(f.count > 1000);
	}
	assert_int_equal(flow_run(&f, code, FLOW_BYTES_MAX + 1, 0), -EINVAL);
	assert_ok(flow_run(&f, code, 0, 0));
	flow_deinit(&f);
}

struct totals {
	unsigned long both, same, told, asked;
};

static void compare_page(struct builder *b, const struct module *m, struct totals *t, uint64_t page)
{
	static uint8_t code[UW_PAGE_BYTES];
	const struct uw_rule *rules = b->tables->mem.rules;
	ssize_t n = module_read(m, page << UW_PAGE_SHIFT, code, sizeof(code));
	struct flow f;

	assert_true(n > 0);
	flow_init(&f);
	assert_ok(flow_run(&f, code, (size_t)n, 0));
	for (size_t i = 0; i < f.count; i++) {
		const struct uw_rule *right = &rules[page_rows_find(&b->rows, f.insns[i].at)];
		struct uw_rule rule;

		if (right->cfa != UW_CFA_REG || f.insns[i].kind == INSN_NOP)
			continue;
		flow_rule(&f.insns[i], &rule);
		t->asked++;
		t->told += rule.cfa != UW_CFA_NONE;
		// An established frame may be told by either register.
		if (rule.cfa == UW_CFA_NONE || rule.reg != right->reg)
			continue;
		t->both++;
		t->same += rule.cfa_off == right->cfa_off &&
			   (right->fp != UW_SAVE_CFA || rule.fp != UW_SAVE_CFA ||
				   rule.fp_off == right->fp_off);
	}
	flow_deinit(&f);
}

static void flow__agrees_with_call_frame_information(void **state)
{
	const struct tables_config config = {.dir_entries = 64, .maps = 64};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++) {
		struct build_module bm = {0};
		struct totals t = {0};
		struct tables tables;
		struct builder b;
		struct module *m;
		int fd = open(libraries[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 || module_standalone_fd(fd, &m))
			continue;
		assert_ok(tables_init(&tables, &config));
		builder_init(&b, &tables);
		for (unsigned s = 0; s < m->nsegments; s++) {
			const struct module_segment *g = &m->segments[s];
			uint64_t first = g->offset >> UW_PAGE_SHIFT;
			uint64_t last = (g->offset + g->filesz - 1) >> UW_PAGE_SHIFT;

			if (!(g->flags & PF_EXEC))
				continue;
			for (uint64_t p = first; p <= last && p < first + PAGES_MAX; p++) {
				assert_ok(build_page(&b, m, &bm, p));
				compare_page(&b, m, &t, p);
			}
		}
		printf("# %s: %lu instructions, %.2f %% told, of %lu compared %.3f %% agree\n",
			libraries[i], t.asked, 100.0 * (double)t.told / (double)t.asked, t.both,
			100.0 * (double)t.same / (double)t.both);
		assert_true(t.asked > 1000);
		assert_true(t.told > t.asked / 100 * 70);
		assert_true(t.same > t.both / 1000 * 980);
		build_close(&bm);
		builder_deinit(&b);
		tables_deinit(&tables);
		module_standalone_free(m);
	}
}

/* A dozen bytes without call frame information behind a function that has some. */
static void flow__init_and_fini(void **state)
{
	static const char *const names[] = {".init", ".fini"};
	const struct tables_config config = {.dir_entries = 64, .maps = 64};
	struct build_module bm = {0};
	struct tables tables;
	struct builder b;
	struct module *m;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_ok(module_standalone_fd(fd, &m));
	assert_ok(tables_init(&tables, &config));
	builder_init(&b, &tables);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct module_section s;
		const struct uw_rule *first, *last;

		assert_ok(module_section(m, names[i], &s));
		assert_ok(build_page(&b, m, &bm, s.offset >> UW_PAGE_SHIFT));
		uint32_t off = (uint32_t)(s.offset & (UW_PAGE_BYTES - 1));

		first = &tables.mem.rules[page_rows_find(&b.rows, off)];
		last = &tables.mem.rules[page_rows_find(&b.rows, off + (uint32_t)s.size - 5)];
		assert_int_equal(first->cfa, UW_CFA_REG);
		assert_int_equal(first->cfa_off, 8);
		assert_int_equal(last->cfa, UW_CFA_REG);
		assert_int_equal(last->cfa_off, 16); // add $8,%rsp; ret
	}
	build_close(&bm);
	builder_deinit(&b);
	tables_deinit(&tables);
	module_standalone_free(m);
}

struct seen {
	uint8_t *at; // bit map by byte
	size_t n;
};

static void see_pattern(void *arg, size_t at, const struct pattern *found)
{
	struct seen *seen = arg;

	(void)found;
	assert_int_equal(seen->at[at], 0);
	seen->at[at] = 1;
	seen->n++;
}

/* The search by rare bytes finds what looking at each place does, in random bytes that are full of parts
 * of patterns, and right up to the end. */
static void flow__patterns_are_found_where_they_are(void **state)
{
	static const uint8_t parts[][11] = {
		{0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05},
		{0x41, 0xff, 0xd1, 0x89, 0xc7, 0x31, 0xc0, 0xb0, 0x3c, 0x0f, 0x05},
		{0xff, 0xd0, 0x89, 0xc7, 0xe8, 1, 2, 3, 4, 0x90},
		{0xff, 0x55, 0x08, 0x48, 0x89, 0xc7, 0xe8, 0, 0, 0x0f, 0x1f},
	};
	enum { LEN = 512 };
	uint64_t seed = 11;
	size_t total = 0;

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		uint8_t code[LEN], at[LEN] = {0};
		struct seen seen = {at, 0};

		for (size_t i = 0; i < LEN;) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			size_t n = MIN((size_t)(seed >> 33) % 12, LEN - i);

			memcpy(code + i, parts[seed >> 60 & 3], MIN(n, sizeof(parts[0])));
			i += n;
			if (i < LEN)
				code[i++] = (uint8_t)(seed >> 40);
		}
		pattern_search(code, LEN, see_pattern, &seen);
		for (size_t i = 0; i < LEN; i++) {
			struct pattern found;
			bool is = i + PATTERN_BYTES <= LEN && pattern_match(code + i, &found);

			assert_int_equal(is, at[i]);
		}
		total += seen.n;
	}
	assert_true(total > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flow__instructions),
		cmocka_unit_test(flow__a_function_that_ends_in_a_call),
		cmocka_unit_test(flow__frame_pointer_and_alloca),
		cmocka_unit_test(flow__frame_pointer_and_pushed_arguments),
		cmocka_unit_test(flow__framed_code_is_left_to_its_frames),
		cmocka_unit_test(flow__any_bytes),
		cmocka_unit_test(flow__init_and_fini),
		cmocka_unit_test(flow__agrees_with_call_frame_information),
		cmocka_unit_test(flow__patterns_are_found_where_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The CFI interpreter over programs assembled here, and the rules made of their rows. */
#include <errno.h>

#include "tests/harness.h"
#include "unwind/evaluate.h"
#include "unwind/rule.h"

#define START 0x401000ull
#define ROWS_MAX 64

struct rows {
	unsigned n;
	struct {
		uint64_t start, end;
		struct uw_rule rule;
	} row[ROWS_MAX];
};

static int collect(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	struct rows *r = arg;

	assert_true(r->n < ROWS_MAX);
	r->row[r->n].start = start - START;
	r->row[r->n].end = end - START;
	rule_from_row(row, false, &r->row[r->n].rule);
	r->n++;
	return 0;
}

/* CIE of every gcc: code 1, data -8, CFA = rsp + 8, ra at CFA - 8. */
static struct cfi_cie plain_cie(void)
{
	static const uint8_t init[] = {0x0c, 7, 8, 0x80 | 16, 1};
	struct cfi_cie cie = {
		.code_align = 1, .data_align = -8, .ra_reg = 16, .ninit = sizeof(init)};

	memcpy(cie.init, init, sizeof(init));
	return cie;
}

static int run(const uint8_t *program, size_t len, struct rows *ret)
{
	struct cfi_cie cie = plain_cie();
	struct cfi_fde fde = {START, START + 0x100, program, len};

	ret->n = 0;
	return cfi_run(&cie, &fde, collect, ret);
}
#define RUN(rows, ...)                                                                             \
	({                                                                                         \
		const uint8_t p_[] = {__VA_ARGS__};                                                \
		run(p_, sizeof(p_), (rows));                                                       \
	})

static void expect(const struct rows *r, unsigned i, uint64_t start, struct uw_rule rule)
{
	assert_true(i < r->n);
	assert_int_equal(r->row[i].start, start);
	assert_memory_equal(&r->row[i].rule, &rule, sizeof(rule));
}
#define SP_PLUS(n) ((struct uw_rule){.cfa = UW_CFA_REG, .reg = 7, .cfa_off = (n)})

static void cfi__prologue_and_epilogue(void **state)
{
	struct rows r;

	(void)state;
	// push %rbp; mov %rsp,%rbp; ...; leave
	assert_ok(RUN(&r, 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x02, 0x80, 0x0c, 7, 8, 0xc6));
	assert_int_equal(r.n, 4);
	expect(&r, 0, 0, SP_PLUS(8));
	expect(&r, 1, 1,
		(struct uw_rule){.cfa = UW_CFA_REG,
			.reg = 7,
			.cfa_off = 16,
			.fp = UW_SAVE_CFA,
			.fp_off = -16});
	expect(&r, 2, 4,
		(struct uw_rule){.cfa = UW_CFA_REG,
			.reg = 6,
			.cfa_off = 16,
			.fp = UW_SAVE_CFA,
			.fp_off = -16});
	expect(&r, 3, 0x84, SP_PLUS(8));
	assert_int_equal(r.row[3].end, 0x100);
}

static void cfi__remember_and_restore(void **state)
{
	struct rows r;

	(void)state;
	assert_ok(RUN(&r, 0x41, 0x0e, 32, 0x0a, 0x41, 0x0e, 8, 0x41, 0x0b));
	assert_int_equal(r.n, 4);
	expect(&r, 1, 1, SP_PLUS(32));
	expect(&r, 2, 2, SP_PLUS(8));
	expect(&r, 3, 3, SP_PLUS(32));
	// Nothing was remembered; more than the depth.
	assert_int_equal(RUN(&r, 0x0b), -EINVAL);
	assert_int_equal(RUN(&r, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a,
				 0x0a, 0x0a, 0x0a, 0x0a, 0x0a),
		0);
	assert_int_equal(RUN(&r, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a,
				 0x0a, 0x0a, 0x0a, 0x0a, 0x0a, 0x0a),
		-EINVAL);
}

static void cfi__advance_forms(void **state)
{
	struct rows r;

	(void)state;
	assert_ok(RUN(&r, 0x03, 0x10, 0, 0x0e, 16, 0x04, 0x10, 0, 0, 0, 0x13, 0x7d, 0x2e, 5, 0x00,
		0x41, 0x12, 6, 0x7e));
	expect(&r, 1, 0x10, SP_PLUS(16));
	expect(&r, 2, 0x20, SP_PLUS(24)); // def_cfa_offset_sf -3 * -8
	expect(&r, 3, 0x21,
		(struct uw_rule){.cfa = UW_CFA_REG, .reg = 6, .cfa_off = 16}); // def_cfa_sf
	// An advance past the end stops there.
	assert_ok(RUN(&r, 0x04, 0, 0, 1, 0, 0x0e, 99));
	assert_int_equal(r.n, 1);
	assert_int_equal(r.row[0].end, 0x100);
}

static void cfi__save_forms(void **state)
{
	struct rows r;

	(void)state;
	// offset_extended, offset_extended_sf, GNU_negative_offset_extended of rbp
	assert_ok(RUN(&r, 0x05, 6, 2));
	assert_int_equal(r.row[0].rule.fp_off, -16);
	assert_ok(RUN(&r, 0x11, 6, 0x7e));
	assert_int_equal(r.row[0].rule.fp_off, 16);
	assert_ok(RUN(&r, 0x2f, 6, 2));
	assert_int_equal(r.row[0].rule.fp_off, 16);
	assert_ok(RUN(&r, 0x07, 6));
	assert_int_equal(r.row[0].rule.fp, UW_SAVE_UNDEF);
	assert_ok(RUN(&r, 0x05, 6, 2, 0x06, 6));
	expect(&r, 0, 0, SP_PLUS(8));
	assert_ok(RUN(&r, 0x05, 6, 2, 0x08, 6));
	expect(&r, 0, 0, SP_PLUS(8));
	// vfork: the return address in rdi
	assert_ok(RUN(&r, 0x09, 16, 5));
	assert_int_equal(r.row[0].rule.ra, UW_SAVE_REG);
	assert_int_equal(r.row[0].rule.ra_off, 5);
	// A register that we do not know is parsed and dropped.
	assert_ok(RUN(&r, 0x05, 40, 2, 0x0e, 48));
	expect(&r, 0, 0, SP_PLUS(48));
	// val_offset of rbp, an unknown operation, a cut operand
	assert_ok(RUN(&r, 0x14, 6, 2));
	assert_int_equal(r.row[0].rule.cfa, UW_CFA_COMPLEX);
	assert_int_equal(RUN(&r, 0x3f), -EINVAL);
	assert_int_equal(RUN(&r, 0x0c, 7), -EINVAL);
}

static void cfi__expressions(void **state)
{
	struct rows r;

	(void)state;
	// GNU ld's .plt
	assert_ok(RUN(&r, 0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22));
	expect(&r, 0, 0, (struct uw_rule){.cfa = UW_CFA_PLT, .aux = 11});
	// gcc's realigned frame: CFA = *(rbp - 8), rbp at *(rbp + 0)
	assert_ok(RUN(&r, 0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0));
	expect(&r, 0, 0,
		(struct uw_rule){.cfa = UW_CFA_DEREF, .reg = 6, .cfa_off = -8, .fp = UW_SAVE_FP});
	// *(rsp + 160) + 8
	assert_ok(RUN(&r, 0x0f, 6, 0x77, 0xa0, 1, 0x06, 0x23, 8));
	expect(&r, 0, 0, (struct uw_rule){.cfa = UW_CFA_DEREF, .reg = 7, .cfa_off = 160, .aux = 8});
	// rbx + 24, as an expression
	assert_ok(RUN(&r, 0x0f, 2, 0x73, 24));
	expect(&r, 0, 0, (struct uw_rule){.cfa = UW_CFA_REG, .reg = 3, .cfa_off = 24});
	// rsp + 8 * rbx: nothing a rule can say
	assert_ok(RUN(&r, 0x0f, 7, 0x77, 0, 0x73, 0, 0x33, 0x24, 0x22));
	assert_int_equal(r.row[0].rule.cfa, UW_CFA_COMPLEX);
	assert_int_equal(RUN(&r, 0x0f, 90, 0x77), -EINVAL);
	// the first frame of a thread
	assert_ok(RUN(&r, 0x07, 16));
	expect(&r, 0, 0, (struct uw_rule){.cfa = UW_CFA_END});
}

static bool read_constant(void *arg, uint64_t addr, uint64_t *ret)
{
	(void)arg;
	*ret = addr + 1;
	return addr != 0xbad;
}

static int evaluate_first(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	static const struct evaluate_memory mem = {read_constant, NULL};
	struct evaluate_regs in = {.valid = (1u << CFI_REGS) - 1}, *out = arg;

	(void)start;
	(void)end;
	for (unsigned i = 0; i < CFI_REGS; i++)
		in.r[i] = 0x1000 * (i + 1);
	return evaluate_row(row, &in, &mem, out) ? 2 : 1;
}

static void cfi__evaluate(void **state)
{
	struct cfi_cie cie = plain_cie();
	// CFA = rsp + 8 * rbx; rbp = value CFA + 16; r12 = *(CFA - 8); r13 in rdx
	static const uint8_t program[] = {0x0f, 7, 0x77, 0, 0x73, 0, 0x33, 0x24, 0x22, 0x16, 6, 2,
		0x23, 16, 0x8c, 1, 0x09, 13, 1};
	struct cfi_fde fde = {START, START + 1, program, sizeof(program)};
	struct evaluate_regs out;
	uint64_t cfa = 0x8000 + 8 * 0x4000;

	(void)state;
	assert_int_equal(cfi_run(&cie, &fde, evaluate_first, &out), 1);
	assert_int_equal(out.r[CFI_REG_SP], cfa);
	assert_int_equal(out.r[CFI_REG_RA], cfa - 8 + 1);
	assert_int_equal(out.r[CFI_REG_BP], cfa + 16);
	assert_int_equal(out.r[12], cfa - 8 + 1);
	assert_int_equal(out.r[13], 0x2000);
	assert_int_equal(out.r[3], 0x4000);
	// An endless loop in an expression ends.
	static const uint8_t loop[] = {0x0f, 3, 0x2f, 0xfd, 0xff};

	fde.program = loop;
	fde.len = sizeof(loop);
	assert_int_equal(cfi_run(&cie, &fde, evaluate_first, &out), 2);
}

/* A CIE and an FDE of .eh_frame as gcc writes them, at virtual address 0x2000. */
static const uint8_t section[] = {0x14, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b,
	0x0c, 7, 8, 0x90, 1, 0, 0, //
	0x14, 0, 0, 0, 0x1c, 0, 0, 0, 0xe0, 0x0f, 0, 0, 0x40, 0, 0, 0, 0, 0x41, 0x0e, 16, 0, 0, 0,
	0, //
	0, 0, 0, 0};

static void cfi__entries(void **state)
{
	const struct cfi_section s = {.vaddr = 0x2000, .eh = true};
	struct cfi_entry e = {.data = section, .len = 24};
	struct cfi_cie cie;
	struct cfi_fde fde;

	(void)state;
	assert_ok(cfi_parse_head(section, 24, &s, 0, &e.head));
	assert_true(e.head.is_cie);
	assert_int_equal(e.head.size, 24);
	assert_ok(cfi_parse_cie(&e, &s, &cie));
	assert_int_equal(cie.data_align, -8);
	assert_int_equal(cie.ra_reg, 16);
	assert_int_equal(cie.fde_enc, 0x1b);
	e = (struct cfi_entry){.data = section + 24, .len = 24, .off = 24};
	assert_ok(cfi_parse_head(e.data, 24, &s, 24, &e.head));
	assert_false(e.head.is_cie);
	assert_int_equal(e.head.cie, 0);
	assert_ok(cfi_parse_fde(&e, &s, &cie, &fde));
	assert_int_equal(fde.start, 0x2000 + 32 + 0xfe0);
	assert_int_equal(fde.end, fde.start + 0x40);
	assert_ok(cfi_parse_head(section + 48, 4, &s, 48, &e.head));
	assert_int_equal(e.head.size, 0);
	// Every truncation is refused and reads nothing past its end.
	for (size_t n = 0; n < 24; n++) {
		uint8_t *tight = malloc(n ? n : 1);

		memcpy(tight, section, n);
		e = (struct cfi_entry){.data = tight, .len = n};
		if (!cfi_parse_head(tight, n, &s, 0, &e.head))
			assert_int_equal(cfi_parse_cie(&e, &s, &cie), -EINVAL);
		free(tight);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cfi__prologue_and_epilogue),
		cmocka_unit_test(cfi__remember_and_restore),
		cmocka_unit_test(cfi__advance_forms),
		cmocka_unit_test(cfi__save_forms),
		cmocka_unit_test(cfi__expressions),
		cmocka_unit_test(cfi__evaluate),
		cmocka_unit_test(cfi__entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

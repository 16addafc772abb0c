/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/rule.h"

#include <string.h>

#include "base/cursor.h"

/* DWARF 5 table 7.9. */
enum {
	OP_DEREF = 0x06,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
	OP_BREG31 = 0x8f,
};

/* sp + 8 + ((ip & 15) >= n) << 3, what GNU ld writes for .plt; n (byte 6) is the length of the
 * entry's first two instructions. */
static bool is_plt(const uint8_t *e, size_t len, int *ret_n)
{
	static const uint8_t head[] = {0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a};
	static const uint8_t tail[] = {0x2a, 0x33, 0x24, 0x22};

	if (len != sizeof(head) + 1 + sizeof(tail) || memcmp(e, head, sizeof(head)) ||
		memcmp(e + sizeof(head) + 1, tail, sizeof(tail)))
		return false;
	if (e[6] < OP_LIT0 || e[6] > OP_LIT0 + 15)
		return false;
	*ret_n = e[6] - OP_LIT0;
	return true;
}

struct shape {
	unsigned reg;
	int64_t off;
	bool deref;
	int64_t add; // after the dereference
};

/* reg + k, *(reg + k), *(reg + k) + k2; nothing else. */
static bool parse_shape(const uint8_t *e, size_t len, struct shape *ret)
{
	struct cursor c = cursor_make(e, len);
	struct shape s = {0};
	uint8_t op = cursor_u8(&c);
	int64_t v;

	if (op < OP_BREG0 || op > OP_BREG31)
		return false;
	s.reg = op - OP_BREG0;
	s.off = cursor_sleb(&c);
	while (cursor_left(&c)) {
		op = cursor_u8(&c);
		if (op == OP_DEREF && !s.deref) {
			s.deref = true;
			continue;
		}
		if (op == OP_PLUS_UCONST)
			v = (int64_t)cursor_uleb(&c);
		else if (op >= OP_LIT0 && op <= OP_LIT31 && cursor_u8(&c) == OP_PLUS)
			v = op - OP_LIT0;
		else
			return false;
		if (v < INT32_MIN || v > INT32_MAX)
			return false;
		*(s.deref ? &s.add : &s.off) += v;
	}
	if (c.bad || s.reg >= CFI_REGS || s.off < INT32_MIN || s.off > INT32_MAX ||
		s.add < INT32_MIN || s.add > INT32_MAX)
		return false;
	*ret = s;
	return true;
}

static bool cfa_of(const struct cfi_row *row, struct uw_rule *rule)
{
	struct shape s;
	int n;

	if (row->cfa == CFI_CFA_REG) {
		if (row->reg >= CFI_REGS || row->off < INT32_MIN || row->off > INT32_MAX)
			return false;
		rule->cfa = UW_CFA_REG;
		rule->reg = (__u8)row->reg;
		rule->cfa_off = (__s32)row->off;
		return true;
	}
	if (is_plt(row->expr, row->len, &n)) {
		rule->cfa = UW_CFA_PLT;
		rule->aux = n;
		return true;
	}
	if (!parse_shape(row->expr, row->len, &s))
		return false;
	rule->cfa = s.deref ? UW_CFA_DEREF : UW_CFA_REG;
	rule->reg = (__u8)s.reg;
	rule->cfa_off = (__s32)s.off;
	rule->aux = (__s32)s.add;
	return true;
}

static bool save_of(const struct cfi_save *s, __u8 *ret_kind, __s16 *ret_off)
{
	struct shape e;

	switch (s->kind) {
	case CFI_UNSPEC:
	case CFI_SAME:
		*ret_kind = UW_SAVE_SAME;
		return true;
	case CFI_UNDEF:
		*ret_kind = UW_SAVE_UNDEF;
		return true;
	case CFI_OFFSET:
		*ret_kind = UW_SAVE_CFA;
		break;
	case CFI_REG:
		if (s->off < 0 || s->off >= CFI_REGS)
			return false;
		*ret_kind = UW_SAVE_REG;
		break;
	case CFI_EXPR:
		// A realigned frame keeps the caller's rbp at a fixed place beside its own.
		if (!parse_shape(s->expr, s->len, &e) || e.deref || e.reg != CFI_REG_BP ||
			e.off < INT16_MIN || e.off > INT16_MAX)
			return false;
		*ret_kind = UW_SAVE_FP;
		*ret_off = (__s16)e.off;
		return true;
	default:
		return false;
	}
	if (s->off < INT16_MIN || s->off > INT16_MAX)
		return false;
	*ret_off = (__s16)s->off;
	return true;
}

void rule_from_row(const struct cfi_row *row, bool signal, struct uw_rule *ret)
{
	const struct cfi_save *ra = &row->regs[CFI_REG_RA], *sp = &row->regs[CFI_REG_SP];
	struct uw_rule r = {0};

	*ret = (struct uw_rule){.cfa = UW_CFA_COMPLEX};
	if (ra->kind == CFI_UNDEF) {
		ret->cfa = UW_CFA_END;
		return;
	}
	if (row->cfa == CFI_CFA_NONE) {
		ret->cfa = UW_CFA_NONE;
		return;
	}
	// glibc describes its signal trampoline by expressions over the kernel's frame.
	if (signal && row->cfa == CFI_CFA_EXPR) {
		ret->cfa = UW_CFA_SIGNAL;
		return;
	}
	if (sp->kind != CFI_UNSPEC && !(sp->kind == CFI_VAL_OFFSET && sp->off == 0))
		return;
	if (!cfa_of(row, &r) || !save_of(&row->regs[CFI_REG_BP], &r.fp, &r.fp_off) ||
		!save_of(ra, &r.ra, &r.ra_off))
		return;
	// "Nothing said" about the return address is no rule at all.
	if (r.ra == UW_SAVE_SAME)
		return;
	if (r.ra == UW_SAVE_FP)
		return;
	if (r.ra == UW_SAVE_CFA && r.ra_off == -8) {
		r.ra = UW_SAVE_SAME;
		r.ra_off = 0;
	}
	*ret = r;
}

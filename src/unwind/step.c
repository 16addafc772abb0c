/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/step.h"

#define FRAME_MAX (8ull << 20) // bytes between a plausible frame pointer and the stack pointer
#define KNOWN (1u << CFI_REG_BP | 1u << CFI_REG_SP | 1u << CFI_REG_RA)

/* struct rt_sigframe after the return address: uc.uc_mcontext.gregs, arch/x86/include/uapi/asm/
 * sigcontext.h; order of struct sigcontext_64. */
#define SIGNAL_REGS 40
static const uint8_t signal_order[] = {8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16};

static bool read8(const struct step_memory *mem, struct step_frame *f, uint64_t addr, uint64_t *ret)
{
	if (mem->read(mem->arg, addr, ret))
		return true;
	f->missing = addr;
	return false;
}

static enum step_result broken(enum rec_reason why, enum rec_reason *ret_why)
{
	*ret_why = why;
	return STEP_BROKEN;
}

static enum step_result step_fp(
	const struct step_memory *mem, struct step_frame *f, enum rec_reason *ret_why)
{
	uint64_t bp = f->regs.r[CFI_REG_BP], sp = f->regs.r[CFI_REG_SP], next, pc;

	// The psABI marks the deepest frame by a zero frame pointer.
	if (!(f->regs.valid >> CFI_REG_BP & 1) || !bp)
		return bp ? broken(REC_WHY_BAD_FP, ret_why) : STEP_END;
	if ((bp & 7) || bp < sp || bp - sp > FRAME_MAX)
		return broken(REC_WHY_BAD_FP, ret_why);
	if (!read8(mem, f, bp, &next) || !read8(mem, f, bp + 8, &pc))
		return broken(REC_WHY_STACK_READ, ret_why);
	f->regs.valid = KNOWN;
	f->regs.r[CFI_REG_BP] = next;
	f->regs.r[CFI_REG_SP] = bp + 16;
	f->regs.r[CFI_REG_RA] = pc;
	f->exact = false;
	f->mark = REC_MARK_FP;
	return STEP_OK;
}

static enum step_result step_signal(
	const struct step_memory *mem, struct step_frame *f, enum rec_reason *ret_why)
{
	uint64_t at = f->regs.r[CFI_REG_SP] + SIGNAL_REGS;
	struct evaluate_regs out = {.valid = (1u << CFI_REGS) - 1};

	for (unsigned i = 0; i < CFI_REGS; i++)
		if (!read8(mem, f, at + 8 * i, &out.r[signal_order[i]]))
			return broken(REC_WHY_STACK_READ, ret_why);
	f->regs = out;
	f->exact = true;
	f->mark = REC_MARK_TABLE;
	return STEP_OK;
}

static bool known(const struct step_frame *f, unsigned reg)
{
	return reg < CFI_REGS && (f->regs.valid >> reg & 1);
}

static enum step_result find_cfa(const struct uw_rule *rule, const struct step_memory *mem,
	struct step_frame *f, uint64_t *ret)
{
	uint64_t sp = f->regs.r[CFI_REG_SP], at;

	if (rule->cfa == UW_CFA_PLT) {
		*ret = sp + 8 + ((f->regs.r[CFI_REG_RA] & 15) >= (uint64_t)rule->aux) * 8;
		return STEP_OK;
	}
	if (!known(f, rule->reg))
		return STEP_COMPLEX;
	at = f->regs.r[rule->reg] + (uint64_t)(int64_t)rule->cfa_off;
	*ret = at;
	if (rule->cfa == UW_CFA_REG)
		return STEP_OK;
	if (!read8(mem, f, at, ret))
		return STEP_BROKEN;
	*ret += (uint64_t)(int64_t)rule->aux;
	return STEP_OK;
}

/* Return address and the caller's rbp. */
static enum step_result restore(const struct uw_rule *rule, const struct step_memory *mem,
	struct step_frame *f, uint64_t cfa)
{
	uint64_t bp = f->regs.r[CFI_REG_BP], pc = 0;
	bool bp_known = known(f, CFI_REG_BP), ok = true;

	if (rule->ra == UW_SAVE_REG) {
		if (!known(f, (unsigned)rule->ra_off))
			return STEP_COMPLEX;
		pc = f->regs.r[rule->ra_off];
	} else {
		int off = rule->ra == UW_SAVE_CFA ? rule->ra_off : -8;

		ok = read8(mem, f, cfa + (uint64_t)(int64_t)off, &pc);
	}
	if (rule->fp == UW_SAVE_CFA && ok) {
		ok = read8(mem, f, cfa + (uint64_t)(int64_t)rule->fp_off, &bp);
		bp_known = true;
	} else if (rule->fp == UW_SAVE_FP && ok) {
		if (!bp_known)
			return STEP_COMPLEX;
		ok = read8(mem, f, bp + (uint64_t)(int64_t)rule->fp_off, &bp);
	} else if (rule->fp == UW_SAVE_REG) {
		bp_known = known(f, (unsigned)rule->fp_off);
		bp = bp_known ? f->regs.r[rule->fp_off] : 0;
	} else if (rule->fp == UW_SAVE_UNDEF) {
		bp = 0;
		bp_known = false;
	}
	if (!ok)
		return STEP_BROKEN;
	f->regs.valid = KNOWN & ~(bp_known ? 0 : 1u << CFI_REG_BP);
	f->regs.r[CFI_REG_BP] = bp;
	f->regs.r[CFI_REG_SP] = cfa;
	f->regs.r[CFI_REG_RA] = pc;
	return STEP_OK;
}

enum step_result step_rule(const struct uw_rule *rule, const struct step_memory *mem,
	struct step_frame *f, enum rec_reason *ret_why)
{
	uint64_t cfa, sp = f->regs.r[CFI_REG_SP];
	enum step_result r;

	switch (rule->cfa) {
	case UW_CFA_END:
		return STEP_END;
	case UW_CFA_NONE:
	case UW_CFA_FP:
		return step_fp(mem, f, ret_why);
	case UW_CFA_SIGNAL:
		return step_signal(mem, f, ret_why);
	case UW_CFA_REG:
	case UW_CFA_DEREF:
	case UW_CFA_PLT:
		break;
	default:
		return STEP_COMPLEX;
	}
	r = find_cfa(rule, mem, f, &cfa);
	if (r == STEP_BROKEN)
		return broken(REC_WHY_STACK_READ, ret_why);
	if (r)
		return r;
	// A leaf whose return address is in a register may have nothing on the stack.
	if (cfa <= sp && !(cfa == sp && f->exact && rule->ra == UW_SAVE_REG))
		return broken(REC_WHY_BAD_CFA, ret_why);
	r = restore(rule, mem, f, cfa);
	if (r == STEP_BROKEN)
		return broken(REC_WHY_STACK_READ, ret_why);
	if (r)
		return r;
	f->exact = false;
	f->mark = REC_MARK_TABLE;
	return STEP_OK;
}

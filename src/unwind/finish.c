/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/finish.c -- the user-space half of a walk; see unwind.h and step.h.
 *
 * Walks from the registers that were handed over, over the copied piece of stack. A page without a
 * table is built on the way, so that the kernel can walk the next sample itself. A rule that needs
 * more than the walker tracks is evaluated in full: the walk is run again from the registers of the
 * start, this time keeping all of them. */
#include <errno.h>
#include <string.h>

#include "unwind/pages.h"
#include "unwind/step.h"

#define USER_TOP (1ull << 47) // x86-64, 4-level: above it are no user addresses

struct walk {
	struct unwind *u;
	struct process *p;
	const struct capture_sample *sample;
	uint64_t now;
	struct unwind_result *ret;
	struct step_frame start; // where user space took over
	struct step_frame frame;
	unsigned steps; // from start to frame
};

/* Bytes of the copied slice; a piece that could not be copied is absent. */
static bool read_slice(void *arg, uint64_t addr, uint64_t *ret)
{
	const struct walk *w = arg;
	const struct rec_handoff *h = w->sample->handoff;
	uint64_t first, last;

	if (addr < h->stack_base || h->stack_len < 8 || addr - h->stack_base > h->stack_len - 8)
		return false;
	first = addr / REC_STACK_PAGE - h->stack_base / REC_STACK_PAGE;
	last = (addr + 7) / REC_STACK_PAGE - h->stack_base / REC_STACK_PAGE;
	for (uint64_t i = first; i <= last; i++)
		if (i >= 32 || (h->absent >> i & 1))
			return false;
	memcpy(ret, w->sample->stack + (addr - h->stack_base), 8);
	return true;
}

static bool past_slice(const struct walk *w, uint64_t addr)
{
	const struct rec_handoff *h = w->sample->handoff;

	return addr + 8 > h->stack_base + h->stack_len;
}

static bool emit(struct walk *w, enum rec_frame_mark mark)
{
	struct unwind_result *ret = w->ret;

	if (ret->nwords == REC_USER_WORDS_MAX)
		return false;
	ret->words[ret->nwords++] =
		REC_FRAME(REC_FRAME_NATIVE, mark, w->frame.exact, w->frame.regs.r[CFI_REG_RA]);
	return true;
}

static uint64_t lookup_pc(const struct step_frame *f)
{
	return f->regs.r[CFI_REG_RA] - !f->exact;
}

static bool has_tables(const struct walk *w, const struct mapping *map)
{
	return (map->kind == MAPPING_FILE || map->kind == MAPPING_VDSO) && map->module &&
	       w->u->mode != BPF_UNWIND_FP;
}

struct row_query {
	const struct step_frame *frame;
	uint64_t pc; // virtual address in the file
	const struct step_memory *mem;
	struct evaluate_regs out;
	enum evaluate_result result;
};

static int on_row(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	struct row_query *q = arg;
	struct evaluate_memory mem = {q->mem->read, q->mem->arg};

	if (q->pc < start || q->pc >= end)
		return 0;
	q->result = evaluate_row(row, &q->frame->regs, &mem, &q->out);
	return 1;
}

static int on_fde(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	return cfi_run(cie, fde, on_row, arg);
}

/* One step by the whole row at the frame's pc. */
static enum rec_reason step_full(struct walk *w, const struct mapping *map,
	const struct step_memory *mem, struct step_frame *f)
{
	struct build_address a = {.m = module_get(w->u->processes->modules, map->module)};
	struct row_query q = {.frame = f, .mem = mem, .result = EVALUATE_UNKNOWN};

	if (!a.m || pages_module(w->u, module_get(w->u->processes->modules, map->module), &a.bm) ||
		process_open_module(w->u->processes, w->p, map) ||
		!module_offset_to_vaddr(a.m, lookup_pc(f) - map->start + map->pgoff, &a.vaddr))
		return REC_WHY_COMPLEX;
	q.pc = a.vaddr;
	build_find(&w->u->builder, &a, on_fde, &q);
	if (q.result == EVALUATE_READ)
		return REC_WHY_STACK_READ;
	if (q.result != EVALUATE_OK)
		return REC_WHY_COMPLEX;
	if (q.out.r[CFI_REG_SP] <= f->regs.r[CFI_REG_SP] &&
		!(f->exact && q.out.r[CFI_REG_SP] == f->regs.r[CFI_REG_SP]))
		return REC_WHY_BAD_CFA;
	f->regs = q.out;
	f->exact = false;
	f->mark = REC_MARK_TABLE;
	return REC_WHY_NONE;
}

static const struct mapping *find_mapping(struct walk *w, uint64_t pc)
{
	const struct mapping *map = process_mapping(w->p, pc);

	return map ? map : process_mapping_resync(w->u->processes, w->p, pc, w->now);
}

/* One step of f by table, frame pointer or, where full is set and there is a row, by the row. */
static enum step_result step(
	struct walk *w, struct step_frame *f, bool full, enum rec_reason *ret_why)
{
	struct step_memory mem = {.read = read_slice, .arg = w};
	uint64_t pc = lookup_pc(f);
	const struct mapping *map = find_mapping(w, pc);
	struct uw_rule rule = {.cfa = UW_CFA_NONE};

	if (!map) {
		*ret_why = REC_WHY_NO_MAPPING;
		return STEP_BROKEN;
	}
	if (has_tables(w, map))
		pages_rule(w->u, w->p, map, pc - map->start + map->pgoff, &rule);
	if (w->u->mode == BPF_UNWIND_TABLE && rule.cfa == UW_CFA_NONE) {
		*ret_why = REC_WHY_NO_TABLE;
		return STEP_BROKEN;
	}
	if ((full && rule.cfa != UW_CFA_END && rule.cfa != UW_CFA_SIGNAL &&
		    rule.cfa != UW_CFA_NONE && rule.cfa != UW_CFA_FP) ||
		rule.cfa == UW_CFA_COMPLEX) {
		*ret_why = step_full(w, map, &mem, f);
		if (!*ret_why)
			return STEP_OK;
		if (rule.cfa == UW_CFA_COMPLEX)
			return *ret_why == REC_WHY_COMPLEX ? STEP_COMPLEX : STEP_BROKEN;
	}
	return step_rule(&rule, &mem, f, ret_why);
}

/* Comes to the same frame again with every register that can be known. */
static bool replay(struct walk *w)
{
	struct step_frame f = w->start;
	enum rec_reason why;

	for (unsigned i = 0; i < w->steps; i++)
		if (step(w, &f, true, &why) != STEP_OK)
			return false;
	if (f.regs.r[CFI_REG_RA] != w->frame.regs.r[CFI_REG_RA] ||
		f.regs.r[CFI_REG_SP] != w->frame.regs.r[CFI_REG_SP])
		return false;
	w->frame.regs = f.regs;
	return true;
}

static void end_walk(struct walk *w, enum rec_outcome outcome, enum rec_reason why)
{
	w->ret->outcome = outcome;
	w->ret->reason = why;
}

static void walk(struct walk *w)
{
	enum rec_reason why = REC_WHY_NONE;

	for (;;) {
		struct step_frame before = w->frame;
		enum step_result r = step(w, &w->frame, false, &why);

		if (r == STEP_COMPLEX) {
			w->frame = before;
			r = w->steps && replay(w) ? step(w, &w->frame, true, &why) : STEP_BROKEN;
			if (r == STEP_COMPLEX || (r == STEP_BROKEN && !why)) {
				why = REC_WHY_COMPLEX;
				r = STEP_BROKEN;
			}
		}
		if (r == STEP_END)
			return end_walk(w, REC_OUT_COMPLETE, REC_WHY_NONE);
		if (r == STEP_BROKEN) {
			// What lies past the copied piece is no fault of the stack.
			if (why == REC_WHY_STACK_READ && past_slice(w, w->frame.missing))
				why = REC_WHY_STACK_SHORT;
			return end_walk(w, REC_OUT_BROKEN, why);
		}
		uint64_t pc = w->frame.regs.r[CFI_REG_RA];

		if (!pc && w->frame.mark == REC_MARK_FP)
			return end_walk(w, REC_OUT_COMPLETE, REC_WHY_NONE);
		if (!pc || pc >= USER_TOP)
			return end_walk(w, REC_OUT_BROKEN, REC_WHY_BAD_PC);
		w->steps++;
		if (!emit(w, w->frame.mark))
			return end_walk(w, REC_OUT_TRUNCATED, REC_WHY_NONE);
	}
}

static void start(struct walk *w)
{
	const struct rec_handoff *h = w->sample->handoff;
	struct step_frame *f = &w->frame;
	unsigned n = w->ret->nwords;

	f->regs.valid = (uint32_t)h->valid & ((1u << CFI_REGS) - 1);
	memcpy(f->regs.r, h->regs, sizeof(f->regs.r));
	f->exact = true;
	// The last word the kernel sent is the frame whose registers these are.
	if (n)
		f->exact = (w->ret->words[n - 1] & REC_FRAME_EXACT) != 0;
	else
		emit(w, REC_MARK_LEAF);
	w->start = *f;
}

int unwind_finish(struct unwind *u, struct process *p, const struct capture_sample *sample,
	uint64_t now, struct unwind_result *ret)
{
	struct walk w = {.u = u, .p = p, .sample = sample, .now = now, .ret = ret};

	ret->nwords = MIN((unsigned)sample->rec->user_words, (unsigned)REC_USER_WORDS_MAX);
	if (ret->nwords)
		memcpy(ret->words, sample->user, ret->nwords * sizeof(*ret->words));
	ret->outcome = sample->rec->outcome;
	ret->reason = sample->rec->reason;
	if (!sample->handoff)
		return 0;
	u->stats.finished++;
	start(&w);
	walk(&w);
	if (ret->outcome == REC_OUT_COMPLETE)
		u->stats.complete++;
	else if (ret->outcome == REC_OUT_TRUNCATED)
		u->stats.truncated++;
	else
		u->stats.broken++;
	if (ret->outcome == REC_OUT_BROKEN)
		u->stats.reasons[ret->reason]++;
	return 0;
}

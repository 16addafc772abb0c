/* SPDX-License-Identifier: Apache-2.0 */
/* The user-space half of a walk: the kernel's own walker (bpf/walk/native.h), compiled here over the
 * handed-over registers and stack, and over the same table memory.
 *
 * What the kernel lacked is made on the way: mappings are published, a page without a table gets
 * one, so that the kernel walks the next sample itself. A rule that needs more than the walker tracks
 * is evaluated in full: the walk is run again from the registers of the start, by the rows of the
 * call frame information, which keeps all that can be known.
 *
 * Where the copied slice ends, or the walk crosses to another stack, it goes on in the target's memory as
 * it is now, if the return address it came by last still lies there. What such a step leads to is
 * believed only if it is an address after a call. */
#include <errno.h>
#include <string.h>

#include "process/memory.h"
#include "unwind/live.h"
#include "unwind/native.h"
#include "unwind/pages.h"

#define RED_ZONE 128 // psABI 3.2.2: bytes below sp that belong to the frame
#define PIECES_MAX 32 // bits of rec_handoff.absent
#define REGS_KNOWN ((1u << CFI_REGS) - 1)

struct walk {
	struct unwind *u;
	struct process *p;
	const struct capture_sample *sample;
	uint64_t now;
	struct unwind_result *ret;
	struct native_frame start; // where user space took over
	struct native_frame frame;
	struct native_host host;
	unsigned steps; // from start to frame
	bool short_read; // a read went past the copied piece
	bool live_read; // this step used memory as it is now
	bool compared, moved_on; // whether the stack is still the sampled one, where the copy ends
};

static bool absent(const struct rec_handoff *h, uint64_t addr, size_t len)
{
	uint64_t base = h->stack_base / REC_STACK_PAGE;

	for (uint64_t i = addr / REC_STACK_PAGE - base;
		i <= (addr + len - 1) / REC_STACK_PAGE - base; i++)
		if (i >= PIECES_MAX || (h->absent >> i & 1))
			return true;
	return false;
}

static bool read_copied(const struct walk *w, void *dst, size_t len, uint64_t addr)
{
	const struct rec_handoff *h = w->sample->handoff;

	if (addr < h->stack_base || len > h->stack_len ||
		addr - h->stack_base > h->stack_len - len || absent(h, addr, len))
		return false;
	memcpy(dst, w->sample->stack + (addr - h->stack_base), len);
	return true;
}

/* Whether the thread has left the frame at which the copy ends: then the memory above is of other calls.
 * Frames are left in order, so the last return address that was copied speaks for all above it. */
static bool has_moved_on(struct walk *w)
{
	uint64_t slot = w->frame.regs.r[CFI_REG_SP] - 8, then, now;

	if (!w->compared) {
		w->compared = true;
		w->moved_on = read_copied(w, &then, sizeof(then), slot) &&
			      (!live_read(&w->u->live, slot, &now, sizeof(now)) || now != then);
	}
	return w->moved_on;
}

/* Stack memory: of the slice, else of the living process. */
static bool read_stack(struct walk *w, void *dst, size_t len, uint64_t addr)
{
	const struct rec_handoff *h = w->sample->handoff;

	if (read_copied(w, dst, len, addr))
		return true;
	if (!has_moved_on(w) && live_read(&w->u->live, addr, dst, len)) {
		w->live_read = true;
		return true;
	}
	w->short_read = addr >= h->stack_base && addr - h->stack_base >= h->stack_len;
	return false;
}

/* Instructions: of the file, which is the same for all time; else of the living process. */
static bool read_code(
	struct walk *w, const struct mapping *map, uint64_t addr, void *dst, size_t len)
{
	struct module *m = module_get(w->u->processes->modules, map->module);

	if (len > map->end - addr)
		return false;
	if (m)
		return !process_open_module(w->u->processes, w->p, map) &&
		       module_read(m, addr - map->start + map->pgoff, dst, len) == (ssize_t)len;
	return w->u->live.pid && !process_memory_read(w->u->live.pid, addr, dst, len);
}

/* What the walker reads: the stack, and instructions (those of a leaf without a table, and before a
 * presumed return address), which are the same now as at the sample. */
static int read_native(void *arg, void *dst, uint32_t len, uint64_t addr)
{
	struct walk *w = arg;
	const struct rec_handoff *h = w->sample->handoff;
	const struct mapping *map;
	uint8_t *out = dst;

	// The copy begins at sp. Only the slot of the caller's rbp is ever read from below: an
	// epilogue has popped it already, so the register holds the very value.
	if (addr < h->stack_base && h->stack_base - addr <= RED_ZONE && !w->steps && len >= 8 &&
		(addr & 7) == (h->stack_base & 7)) {
		memcpy(out, &w->start.regs.r[CFI_REG_BP], 8);
		return len == 8 ? 0 : read_native(arg, out + 8, len - 8, addr + 8);
	}
	// A stack may be executable: its mapping is one of code then.
	if (read_copied(w, dst, len, addr))
		return 0;
	map = process_mapping(w->p, addr);
	if (map)
		return read_code(w, map, addr, dst, len) ? 0 : -EFAULT;
	return read_stack(w, dst, len, addr) ? 0 : -EFAULT;
}

static bool read_word(void *arg, uint64_t addr, uint64_t *ret)
{
	return read_stack(arg, ret, sizeof(*ret), addr);
}

static uint64_t frame_pc(const struct native_frame *f)
{
	return f->regs.r[CFI_REG_RA];
}

static uint64_t lookup_pc(const struct native_frame *f)
{
	return frame_pc(f) - !f->exact;
}

static bool emit(struct walk *w)
{
	struct unwind_result *ret = w->ret;

	if (ret->nwords == REC_USER_WORDS_MAX)
		return false;
	ret->words[ret->nwords++] =
		REC_FRAME(REC_FRAME_NATIVE, w->frame.mark, w->frame.exact, frame_pc(&w->frame));
	return true;
}

static bool in_eval(const struct rec_handoff *h, uint64_t pc)
{
	for (unsigned i = 0; i < REC_EVAL_RANGES; i++)
		if (pc >= h->eval[i].start && pc < h->eval[i].end)
			return true;
	return false;
}

/* The frame emitted last was an interpreter's, and the frame now is its caller. */
static void mark_eval(struct walk *w)
{
	struct unwind_result *ret = w->ret;

	if (ret->nwords == REC_USER_WORDS_MAX)
		return;
	ret->words[ret->nwords - 1] |= (uint64_t)REC_FRAME_EVAL << REC_FRAME_KIND_SHIFT;
	ret->words[ret->nwords++] = w->frame.regs.r[CFI_REG_SP];
}

static const struct mapping *find_mapping(struct walk *w, uint64_t pc)
{
	const struct mapping *map = process_mapping(w->p, pc);

	return map ? map : process_mapping_resync(w->u->processes, w->p, pc, w->now);
}

static void publish(struct walk *w)
{
	if (w->p->exit_time)
		pages_borrow_block(w->u, w->p);
	else
		unwind_update_process(w->u, w->p);
	w->host.first = w->p->unwind_slot ? w->p->unwind_slot - 1 : 0;
	w->host.count = w->p->unwind_count;
}

struct row_query {
	const struct evaluate_regs *regs;
	uint64_t pc; // virtual address in the file
	struct evaluate_memory mem;
	struct evaluate_regs out;
	enum evaluate_result result;
};

static int on_row(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	struct row_query *q = arg;

	if (q->pc < start || q->pc >= end)
		return 0;
	q->result = evaluate_row(row, q->regs, &q->mem, &q->out);
	return 1;
}

static int on_fde(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	// A signal frame is the walker's: it restores every register and knows the pc is exact.
	return cie->signal ? 0 : cfi_run(cie, fde, on_row, arg);
}

/* One step by the whole row at the frame's pc. REC_WHY_COMPLEX: there is none, or it needs what is
 * not known. */
static enum rec_reason step_full(struct walk *w, struct native_frame *f)
{
	uint64_t pc = lookup_pc(f);
	const struct mapping *map = find_mapping(w, pc);
	struct module *m = map ? module_get(w->u->processes->modules, map->module) : NULL;
	struct build_address a = {.m = m};
	struct row_query q = {.regs = &f->regs, .mem = {read_word, w}, .result = EVALUATE_UNKNOWN};

	if (!m || pages_module(w->u, m, &a.bm) || process_open_module(w->u->processes, w->p, map) ||
		!module_offset_to_vaddr(m, pc - map->start + map->pgoff, &a.vaddr))
		return REC_WHY_COMPLEX;
	q.pc = a.vaddr;
	build_find(&w->u->builder, &a, on_fde, &q);
	if (q.result)
		return q.result == EVALUATE_READ ? REC_WHY_STACK_READ : REC_WHY_COMPLEX;
	// The end of longjmp(): sp is the target's already, its pc still in a register.
	if (q.out.r[CFI_REG_SP] < f->regs.r[CFI_REG_SP] ||
		(q.out.r[CFI_REG_SP] == f->regs.r[CFI_REG_SP] && !f->exact))
		return REC_WHY_BAD_CFA;
	*f = (struct native_frame){.regs = q.out, .mark = REC_MARK_TABLE};
	return REC_WHY_NONE;
}

/* Steps a frame with a complex rule, coming to it again with all registers. */
static enum rec_reason step_complex(struct walk *w)
{
	struct native_frame f = w->start, saved = w->frame;
	unsigned steps = w->steps;
	enum rec_reason why;

	for (w->steps = 0; w->steps < steps; w->steps++) {
		w->frame = f;
		if (step_full(w, &f) && native_host_step(&w->host, &f, &why) != NATIVE_HOST_MORE)
			break;
	}
	w->frame = saved;
	if (w->steps != steps || frame_pc(&f) != frame_pc(&saved) ||
		f.regs.r[CFI_REG_SP] != saved.regs.r[CFI_REG_SP]) {
		w->steps = steps;
		return REC_WHY_COMPLEX;
	}
	why = step_full(w, &f);
	if (!why)
		w->frame = f;
	return why;
}

enum supplied {
	SUPPLIED, // ask the walker again
	STEPPED, // the frame is the next one
	NOTHING,
};

static enum supplied supply_page(struct walk *w, bool *tried)
{
	uint64_t pc = lookup_pc(&w->frame);
	const struct mapping *map = find_mapping(w, pc);

	if (!map)
		return NOTHING;
	if (!*tried && !pages_load(w->u, w->p, map, pc - map->start + map->pgoff)) {
		*tried = true;
		return SUPPLIED;
	}
	// No room, or a file that cannot be read just now: as for a gap.
	w->host.no_tables = true;
	return SUPPLIED;
}

/* Supplies what the walker asked for. */
static enum supplied supply(struct walk *w, enum rec_reason *why, bool *tried)
{
	switch (*why) {
	case REC_WHY_NO_MAPPING:
		if (*tried || !find_mapping(w, lookup_pc(&w->frame)))
			return NOTHING;
		*tried = true;
		publish(w);
		return SUPPLIED;
	case REC_WHY_NO_TABLE:
		return w->host.no_tables ? NOTHING : supply_page(w, tried);
	case REC_WHY_COMPLEX:
		*why = step_complex(w);
		return *why ? NOTHING : STEPPED;
	default:
		return NOTHING;
	}
}

/* Goes to the caller's frame. */
static enum native_host_result step(struct walk *w, enum rec_reason *why)
{
	bool tried_map = false, tried_page = false;
	enum native_host_result r;
	enum supplied s;

	for (;;) {
		r = native_host_step(&w->host, &w->frame, why);
		w->host.no_tables = w->u->mode == BPF_UNWIND_FP;
		if (r == NATIVE_HOST_BROKEN && *why == REC_WHY_BAD_CFA && w->frame.exact) {
			*why = step_full(w, &w->frame);
			return *why ? r : NATIVE_HOST_MORE;
		}
		if (r != NATIVE_HOST_ASK)
			return r;
		s = supply(w, why, *why == REC_WHY_NO_MAPPING ? &tried_map : &tried_page);
		if (s == NOTHING)
			return NATIVE_HOST_BROKEN;
		if (s == STEPPED)
			return NATIVE_HOST_MORE;
	}
}

/* Whether a frame that the target's present memory led to is one: an address in code, after a call.
 * (Nothing calls a signal trampoline, nor Go's goexit.) */
static bool believable(struct walk *w, const struct native_frame *f)
{
	uint64_t pc = frame_pc(f), code = 0;
	const struct mapping *map = find_mapping(w, lookup_pc(f));
	struct uw_rule rule;

	if (!map || f->exact)
		return map != NULL;
	if (pc - map->start >= sizeof(code) && read_code(w, map, pc - 8, &code, sizeof(code)) &&
		native_after_call(code))
		return true;
	if (map->module == MODULE_NONE)
		return false;
	pages_rule(w->u, w->p, map, lookup_pc(f) - map->start + map->pgoff, &rule);
	return rule.cfa == UW_CFA_SIGNAL || rule.cfa == UW_CFA_END;
}

/* A step that used present memory, judged. */
static enum native_host_result judge(
	struct walk *w, enum native_host_result r, enum rec_reason *why)
{
	// An end that is a zero in memory says nothing there; one by rule was not read at all.
	if (r == NATIVE_HOST_BROKEN || (r == NATIVE_HOST_MORE && believable(w, &w->frame))) {
		w->frame.mark = REC_MARK_GUESS;
		w->ret->late = true;
		return r;
	}
	*why = REC_WHY_STACK_SHORT;
	return NATIVE_HOST_BROKEN;
}

static void finish(struct walk *w, enum rec_outcome outcome, enum rec_reason why)
{
	w->ret->outcome = outcome;
	w->ret->reason = why;
}

static void walk(struct walk *w)
{
	enum rec_reason why = REC_WHY_NONE;
	enum native_host_result r;
	bool eval;

	do {
		if (!emit(w))
			return finish(w, REC_OUT_TRUNCATED, REC_WHY_STEPS);
		w->short_read = false;
		w->live_read = false;
		eval = in_eval(w->sample->handoff, lookup_pc(&w->frame));
		r = step(w, &why);
		if (w->live_read)
			r = judge(w, r, &why);
		w->steps++;
		if (eval && r == NATIVE_HOST_MORE)
			mark_eval(w);
	} while (r == NATIVE_HOST_MORE);
	if (r == NATIVE_HOST_END)
		return finish(w, REC_OUT_COMPLETE, REC_WHY_NONE);
	// What lies past the copied piece is no fault of the stack.
	if (why == REC_WHY_STACK_READ && w->short_read)
		why = REC_WHY_STACK_SHORT;
	finish(w, REC_OUT_BROKEN, why);
}

/* A thread that clone() has just made stands behind the same syscall instruction as its parent, on a
 * stack of its own without a return address: what the rules of that place lead to is none. */
static bool is_newborn(struct walk *w)
{
	uint64_t word = w->ret->nwords == 1 ? w->ret->words[0] : 0;
	uint64_t pc = word & REC_FRAME_DATA_MASK;
	const struct mapping *map;
	uint8_t code[2];

	if (!(word & REC_FRAME_EXACT) || REC_FRAME_KIND(word) != REC_FRAME_NATIVE ||
		!(w->sample->rec->flags & REC_F_IN_KERNEL) || find_mapping(w, lookup_pc(&w->frame)))
		return false;
	map = process_mapping(w->p, pc);
	return map && pc - map->start >= sizeof(code) &&
	       read_code(w, map, pc - sizeof(code), code, sizeof(code)) && code[0] == 0x0f &&
	       code[1] == 0x05;
}

static void start(struct walk *w)
{
	const struct rec_handoff *h = w->sample->handoff;
	struct native_frame *f = &w->frame;

	memcpy(f->regs.r, h->regs, sizeof(f->regs.r));
	f->regs.valid = (uint32_t)h->valid & REGS_KNOWN;
	f->exact = w->sample->rec->handoff_exact;
	f->mark = w->sample->rec->handoff_mark;
	w->start = *f;
	w->host = (struct native_host){.tables = &w->u->tables.mem,
		.mode = w->u->mode,
		.no_tables = w->u->mode == BPF_UNWIND_FP,
		.read = read_native,
		.arg = w};
	publish(w);
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
	ret->late = false;
	if (!sample->handoff)
		return 0;
	u->stats.finished++;
	live_start(&u->live, u->read_live && !p->exit_time && sample->rec->pid ? p->pid : 0);
	start(&w);
	if (is_newborn(&w))
		finish(&w, REC_OUT_COMPLETE, REC_WHY_NONE);
	else
		walk(&w);
	if (p->exit_time)
		unwind_update_process(u, p);
	if (ret->outcome == REC_OUT_COMPLETE)
		u->stats.complete++;
	else if (ret->outcome == REC_OUT_TRUNCATED)
		u->stats.truncated++;
	else
		u->stats.broken++;
	u->stats.late += ret->late;
	if (ret->outcome == REC_OUT_BROKEN)
		u->stats.reasons[ret->reason]++;
	return 0;
}

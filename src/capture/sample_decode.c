/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sample_decode.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"
#include "capture/sample_regs.h"

static bool needs_registers(enum bpf_unwind_mode mode)
{
	return mode == BPF_UNWIND_TABLE || mode == BPF_UNWIND_SMART;
}

void sample_format_make(struct sample_format *f, struct perf_event_attr *attr, unsigned stack_bytes)
{
	bool user_chain = f->mode == BPF_UNWIND_FP;

	attr->sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU |
			    PERF_SAMPLE_PERIOD | PERF_SAMPLE_CGROUP;
	if (user_chain || f->kernel_stacks)
		attr->sample_type |= PERF_SAMPLE_CALLCHAIN;
	attr->exclude_callchain_user = !user_chain;
	attr->exclude_callchain_kernel = !f->kernel_stacks;
	f->regs = 0;
	if (needs_registers(f->mode)) {
		for (size_t i = 0; i < ARRAY_SIZE(sample_regs); i++)
			f->regs |= 1ull << sample_regs[i].perf;
		attr->sample_type |= PERF_SAMPLE_STACK_USER;
		attr->sample_stack_user = MIN(stack_bytes, SAMPLE_STACK_MAX) & ~7u;
	} else if (user_chain) {
		// For what it says besides: a 32-bit task, a kernel thread.
		f->regs = SAMPLE_REG_IP;
	}
	if (f->regs)
		attr->sample_type |= PERF_SAMPLE_REGS_USER;
	attr->sample_regs_user = f->regs;
	f->sample_type = attr->sample_type;
}

static void add_kernel(struct sample_parts *p, uint64_t ip)
{
	if (p->rec.kernel_words < REC_KERNEL_WORDS_MAX)
		p->kernel[p->rec.kernel_words++] = ip;
	else
		p->rec.flags |= REC_F_KERNEL_CUT;
}

static void add_user(const struct sample_format *f, struct sample_parts *p, uint64_t ip, bool *cut)
{
	bool leaf = !p->rec.user_words;

	if (p->rec.user_words == REC_USER_WORDS_MAX ||
		(f->max_frames && p->rec.user_words >= f->max_frames)) {
		*cut = true;
		return;
	}
	p->user[p->rec.user_words++] =
		REC_FRAME(REC_FRAME_NATIVE, leaf ? REC_MARK_LEAF : REC_MARK_FP, leaf, ip);
}

/* Splits a callchain at its context marks (PERF_CONTEXT_*, the last 4095 addresses). */
static int decode_chain(
	const struct sample_format *f, struct cursor *c, struct sample_parts *p, bool *cut)
{
	uint64_t n = cursor_u64(c), context = 0;

	if (n > cursor_left(c) / 8)
		return -EINVAL;
	// The kernel's limit (perf_event_max_stack, marks not counted) was reached.
	*cut = n >= REC_KERNEL_WORDS_MAX;
	while (n--) {
		uint64_t ip = cursor_u64(c);

		if (ip >= (uint64_t)PERF_CONTEXT_MAX)
			context = ip;
		else if (context == (uint64_t)PERF_CONTEXT_KERNEL)
			add_kernel(p, ip);
		else if (context == (uint64_t)PERF_CONTEXT_USER)
			add_user(f, p, ip, cut);
	}
	return 0;
}

/* Registers in the order of the mask's bits. Return their ABI. */
static uint64_t decode_regs(const struct sample_format *f, struct cursor *c, struct rec_handoff *h)
{
	uint64_t abi = cursor_u64(c);

	if (abi == PERF_SAMPLE_REGS_ABI_NONE)
		return abi;
	for (size_t i = 0; i < ARRAY_SIZE(sample_regs); i++) {
		if (!(f->regs & 1ull << sample_regs[i].perf))
			continue;
		h->regs[sample_regs[i].dwarf] = cursor_u64(c);
		h->valid |= 1ull << sample_regs[i].dwarf;
	}
	return abi;
}

static const uint8_t *decode_stack(struct cursor *c, struct rec_handoff *h)
{
	uint64_t size = cursor_u64(c), used;
	const uint8_t *bytes;

	// A task without user memory: no bytes, and no count of those that are real.
	if (!size)
		return NULL;
	bytes = cursor_bytes(c, size);
	used = cursor_u64(c);
	if (used > size || c->bad) {
		c->bad = true;
		return NULL;
	}
	h->stack_base = h->regs[SAMPLE_DWARF_SP];
	h->stack_len = (uint32_t)used;
	return bytes;
}

static enum rec_outcome outcome_of(
	const struct sample_format *f, const struct rec_sample *rec, uint64_t abi, bool cut)
{
	if (!rec->tid)
		return REC_OUT_IDLE;
	if (f->mode == BPF_UNWIND_OFF)
		return REC_OUT_NO_USER;
	if (abi == PERF_SAMPLE_REGS_ABI_NONE)
		return REC_OUT_KERNEL_ONLY;
	if (abi != PERF_SAMPLE_REGS_ABI_64)
		return REC_OUT_BITS32;
	if (f->mode != BPF_UNWIND_FP)
		return REC_OUT_HANDOFF;
	if (!rec->user_words)
		return REC_OUT_BROKEN;
	return cut ? REC_OUT_TRUNCATED : REC_OUT_COMPLETE;
}

int sample_decode(const struct sample_format *f, const struct perf_event_header *h, uint32_t cpu,
	struct sample_parts *p, struct capture_event *ret)
{
	struct cursor c = cursor_make(h + 1, h->size - sizeof(*h));
	uint64_t abi = PERF_SAMPLE_REGS_ABI_NONE;
	const uint8_t *stack = NULL;
	bool cut = false;

	p->rec = (struct rec_sample){.type = REC_SAMPLE, .event = f->event, .cpu = cpu};
	p->handoff = (struct rec_handoff){0};
	if ((h->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_KERNEL)
		p->rec.flags |= REC_F_IN_KERNEL;
	p->rec.pid = cursor_u32(&c);
	p->rec.tid = cursor_u32(&c);
	p->rec.time = cursor_u64(&c);
	cursor_u64(&c); // CPU and padding: the ring's
	p->rec.weight = cursor_u64(&c);
	if (f->sample_type & PERF_SAMPLE_CALLCHAIN && decode_chain(f, &c, p, &cut))
		return -EINVAL;
	if (f->sample_type & PERF_SAMPLE_REGS_USER)
		abi = decode_regs(f, &c, &p->handoff);
	if (f->sample_type & PERF_SAMPLE_STACK_USER)
		stack = decode_stack(&c, &p->handoff);
	if (f->sample_type & PERF_SAMPLE_CGROUP)
		p->rec.cgroup = cursor_u64(&c);
	if (c.bad)
		return -EINVAL;
	p->rec.outcome = (uint8_t)outcome_of(f, &p->rec, abi, cut);
	if (p->rec.outcome == REC_OUT_HANDOFF) {
		p->rec.flags |= REC_F_HANDOFF;
		p->rec.reason = REC_WHY_NO_PROCESS; // the kernel has no tables at all
	} else if (p->rec.outcome == REC_OUT_BROKEN) {
		p->rec.reason = REC_WHY_BAD_FP;
	} else if (p->rec.outcome == REC_OUT_BITS32) {
		p->rec.reason = REC_WHY_BITS32;
		p->rec.user_words = 0;
	}
	*ret = (struct capture_event){.type = CAPTURE_SAMPLE, .cpu = cpu};
	ret->pid = p->rec.pid;
	ret->tid = p->rec.tid;
	ret->time = p->rec.time;
	ret->sample = (struct capture_sample){.rec = &p->rec, .kernel = p->kernel, .user = p->user};
	if (p->rec.flags & REC_F_HANDOFF) {
		ret->sample.handoff = &p->handoff;
		ret->sample.stack = stack;
	}
	return 0;
}

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* handoff.h -- a sample that user space goes on with: registers and a slice of the stack go with it
 * (docs/notes/0008). */
#ifndef GP_BPF_HANDOFF_H
#define GP_BPF_HANDOFF_H

#include "bpf/frames.h"

/* Whole pages of the stack copied after the first, partial one: as many as there is room for, and few
 * when the ring fills up. */
#define LARGE_PAGES 14
#define SMALL_PAGES 3
#define LARGE_HEAD 8192 // what comes before them: the record, its words, the registers
#define LARGE_BYTES (LARGE_HEAD + REC_STACK_PAGE + LARGE_PAGES * REC_STACK_PAGE)

_Static_assert(SMALL_PAGES *REC_STACK_PAGE + REC_STACK_PAGE <= REC_STACK_SMALL, "slice fits");
_Static_assert(LARGE_PAGES *REC_STACK_PAGE + REC_STACK_PAGE <= REC_STACK_MAX, "slice fits");

/* The registers of the frame at which the walk stopped, after the words. Returns where they are. */
static __always_inline struct rec_handoff *attach_registers(struct sample_buf *s, __u64 words)
{
	const struct walk_state *w = &s->w;
	__u64 off = words * 8;
	struct rec_handoff *h;

	WALK_BAR(off);
	if (off > AREA_BYTES - sizeof(*h))
		return NULL;
	h = (struct rec_handoff *)((__u8 *)s->words + off);
	h->valid =
		w->regs_valid | 1ull << WALK_REG_FP | 1ull << WALK_REG_SP | 1ull << REC_REG_X86_IP;
	for (int i = 0; i < 17; i++)
		h->regs[i] = w->regs[i];
	h->regs[WALK_REG_FP] = w->fp;
	h->regs[WALK_REG_SP] = w->sp;
	h->regs[REC_REG_X86_IP] = w->ip;
	h->stack_base = w->sp;
	h->stack_len = 0;
	h->absent = 0;
	for (int i = 0; i < REC_EVAL_RANGES; i++) {
		h->eval[i].start = s->py.on ? s->py.proc.eval[i].start : 0;
		h->eval[i].end = s->py.on ? s->py.proc.eval[i].end : 0;
	}
	return h;
}

/* Copies a piece of the stack. Returns 1 if it is absent, without a jump: each would double the paths
 * that the verifier follows. */
static __always_inline __u64 copy_piece(void *dst, __u64 len, __u64 addr)
{
	__u64 r = (__u64)bpf_probe_read_user(dst, len, (void *)addr);

	WALK_BAR(r);
	r >>= 63;
	WALK_BAR(r);
	return r;
}

/* The stack above the frame at which the walk stopped, page by page: an absent page costs only itself,
 * two of them are the end of the stack, and so are `left` bytes. dst has room for a page and for
 * `pages` more. */
static __always_inline void copy_stack(struct rec_handoff *h, __u8 *dst, int pages, __u64 left)
{
	__u64 addr = h->stack_base;
	__u64 first = REC_STACK_PAGE - (addr & (REC_STACK_PAGE - 1));
	__u64 absent = copy_piece(dst, first, addr), before = 0;
	__u64 len = first, enough;

	dst += first;
	addr += first;
#pragma unroll
	for (int i = 0; i < pages; i++) {
		__u64 bad = copy_piece(dst, REC_STACK_PAGE, addr);

		absent |= bad << (i + 1);
		len += REC_STACK_PAGE;
		dst += REC_STACK_PAGE;
		addr += REC_STACK_PAGE;
		// Not after each page: every way out is verified with all that follows.
		enough = (bad & before) | walk_less(left, len);
		if ((i & 1) && enough)
			break;
		before = bad;
	}
	h->stack_len = (__u32)len;
	h->absent = (__u32)absent;
}

/* A frame that is met for the first time may have many above it that are, too, and a process that goes
 * on running changes them before user space could look: so the slice is a large one, written right into
 * the ring. len: of the record, up to and with the registers. 0: there is no room. */
static __always_inline int emit_large(
	struct sample_buf *s, struct rec_handoff *h, __u64 len, __u64 left)
{
	__u8 *to;

	WALK_BAR(len);
	if (len > LARGE_HEAD)
		return 0;
	to = bpf_ringbuf_reserve(&ring, LARGE_BYTES, 0);
	if (!to)
		return 0;
	copy_stack(h, to + len, LARGE_PAGES, left);
	s->rec.len = (__u32)len + h->stack_len;
	bpf_probe_read_kernel(to, len, &s->rec);
	bpf_ringbuf_submit(to, BPF_RB_FORCE_WAKEUP);
	return 1;
}

/* The slice beside the words, of `left` bytes or a little more. Returns the bytes after the registers. */
static __always_inline __u32 attach_small(
	struct sample_buf *s, struct rec_handoff *h, __u64 words, __u64 left)
{
	__u64 off = words * 8 + sizeof(*h);
	__u8 *dst;

	// The bound is to be on the very register that is added.
	WALK_BAR(off);
	if (off > AREA_BYTES - REC_STACK_SMALL)
		return 0;
	dst = (__u8 *)s->words + off;
	if (left <= REC_STACK_PAGE - (h->stack_base & (REC_STACK_PAGE - 1)))
		copy_stack(h, dst, 0, left);
	else
		copy_stack(h, dst, SMALL_PAGES, left);
	return h->stack_len;
}

/* What user space goes on from is the frame at which the walk stopped, with two exceptions. A rule
 * that wants a register which only the leaf's frame still had is evaluated from the leaf, if the
 * frames between fit into the slice. And a twin test walks every sample again. */
static __always_inline int from_leaf(const struct sample_buf *s)
{
	if (config.stop_at_sample)
		return s->regs.rip != 0;
	return s->w.outcome == REC_OUT_HANDOFF && s->w.reason == REC_WHY_COMPLEX &&
	       s->w.sp - s->regs.rsp < REC_STACK_SMALL / 2;
}

/* Sends a sample that user space goes on with. Returns 0, or not 0: the ring is full. */
static __always_inline long hand_over(struct sample_buf *s, __u64 words)
{
	__u64 waiting = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	__u64 len = sizeof(s->rec) + words * 8; // 64 bits wide, or the bound lands on a copy of it
	struct rec_handoff *h = attach_registers(s, words);
	__u64 left = stack_left(s);

	if (!h)
		return 1;
	len += sizeof(*h);
	s->rec.flags |= REC_F_HANDOFF;
	s->rec.handoff_exact = s->w.exact;
	s->rec.handoff_mark = s->w.mark;
	if (config.stack_bytes > REC_STACK_SMALL && waiting <= wake_bytes &&
		left > SMALL_PAGES * REC_STACK_PAGE && emit_large(s, h, len, left))
		return 0;
	// A ring that fills up gets shorter pieces of more samples: outer frames can still be read from
	// the process, a lost sample cannot.
	len += attach_small(s, h, words, waiting > 2ull * wake_bytes ? 0 : left);
	WALK_BAR(len);
	if (len > sizeof(s->rec) + sizeof(s->words))
		return 1;
	s->rec.len = (__u32)len;
	return bpf_ringbuf_output(&ring, &s->rec, len, BPF_RB_FORCE_WAKEUP);
}

#endif

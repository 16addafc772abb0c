/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* frames.h -- one frame after the other into the words of the record: native ones, and those of an
 * interpreter. */
#ifndef GP_BPF_FRAMES_H
#define GP_BPF_FRAMES_H

#include "bpf/kernel.h"

static __always_inline __u32 words_used(const struct sample_buf *s)
{
	return (__u32)s->rec.kernel_words + s->rec.runtime_words + s->rec.user_words;
}

static __always_inline void set_word(struct sample_buf *s, __u32 at, __u64 word)
{
	s->words[(at & WORDS_MASK) < WORDS_MAX ? at & WORDS_MASK : 0] = word;
}

static __always_inline void push_word(struct sample_buf *s, __u64 word)
{
	set_word(s, words_used(s), word);
	s->rec.user_words++;
}

/* The frame just left was the interpreter's: the word said before becomes that of an eval frame. */
static __always_inline void mark_eval(struct sample_buf *s, __u64 word)
{
	if (s->rec.user_words >= REC_USER_WORDS_MAX)
		return;
	set_word(s, words_used(s) - 1,
		(word & (REC_FRAME_DATA_MASK | REC_FRAME_EXACT | 7ull << REC_FRAME_MARK_SHIFT)) |
			(__u64)REC_FRAME_EVAL << REC_FRAME_KIND_SHIFT);
	push_word(s, s->w.sp);
}

static __always_inline void begin_walk(struct sample_buf *s)
{
	const struct pt_regs *r = &s->regs;
	struct walk_state *w = &s->w;

	w->ip = r->rip;
	w->sp = r->rsp;
	w->fp = r->rbp;
	w->regs[0] = r->rax;
	w->regs[1] = r->rdx;
	w->regs[2] = r->rcx;
	w->regs[3] = r->rbx;
	w->regs[4] = r->rsi;
	w->regs[5] = r->rdi;
	w->regs[8] = r->r8;
	w->regs[9] = r->r9;
	w->regs[10] = r->r10;
	w->regs[11] = r->r11;
	w->regs[12] = r->r12;
	w->regs[13] = r->r13;
	w->regs[14] = r->r14;
	w->regs[15] = r->r15;
	w->regs_valid = 0xff3f;
	w->exact = 1;
	w->mark = REC_MARK_LEAF;
	w->mode = (__u8)config.mode;
	w->map_start = 0;
	w->map_end = 0;
}

/* One frame: emit it, go to its caller. 0: go on. */
static __always_inline int walk_frame(struct sample_buf *s)
{
	struct walk_state *w = &s->w;
	__u64 word, eval = 0;

	if (s->rec.user_words >= config.max_frames) {
		walk_stop(w, REC_OUT_TRUNCATED, REC_WHY_STEPS);
		return 1;
	}
	word = REC_FRAME(REC_FRAME_NATIVE, w->mark, w->exact, w->ip);
	if (s->py.on)
		eval = py_in_eval(&s->py.proc, w->ip - !w->exact);
	push_word(s, word);
	if (walk_native_step(s, w) == WALK_MORE) {
		if (eval)
			mark_eval(s, word);
		return 0;
	}
	// User space goes on from this very frame: it is not ours then.
	if (w->outcome == REC_OUT_HANDOFF)
		s->rec.user_words--;
	return 1;
}

/* What is known of the current process' interpreter. A child that was just forked, and has not begun
 * another program, nor its parent, is as its parent in all of it; user space says so some time later. */
static __always_inline const struct py_process *python_of(__u64 task, __u32 pid)
{
	const struct py_process *proc = bpf_map_lookup_elem(&py_procs, &pid);
	__u64 parent;
	__u32 id;

	if (proc)
		return proc;
	id = kernel_u32(task, layout.parent_exec_id);
	if (kernel_u32(task, layout.self_exec_id) != id)
		return NULL;
	parent = kernel_u64(task, layout.real_parent);
	if (kernel_u32(parent, layout.self_exec_id) != id)
		return NULL;
	pid = kernel_u32(parent, layout.tgid);
	return bpf_map_lookup_elem(&py_procs, &pid);
}

/* What this process has of an interpreter, and this thread's place in it. Not 0: nothing. */
static __always_inline int python_begin(struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	const struct py_process *proc = python_of(task, s->rec.pid);
	const struct py_layout *py;

	py_none(&s->py);
	if (!proc)
		return 1;
	__builtin_memcpy(&s->py.proc, proc, sizeof(*proc));
	py = bpf_map_lookup_elem(&py_layouts, &s->py.proc.layout);
	if (!py)
		return 1;
	__builtin_memcpy(&s->py.layout, py, sizeof(*py));
	s->py.tp = kernel_u64(task, layout.fsbase);
	py_start(&s->py);
	s->rec.flags |= REC_F_RUNTIME;
	return 0;
}

/* One frame of the interpreter. 0: go on. */
static __always_inline int python_frame(struct sample_buf *s)
{
	struct py_walk *p = &s->py;
	__u32 at = (__u32)s->rec.kernel_words + s->rec.runtime_words;

	if (!py_more(p))
		return 1;
	if (s->rec.runtime_words > REC_RUNTIME_WORDS_MAX - PY_WORDS_A_STEP) {
		p->lost = 1;
		return 1;
	}
	py_step(s, p);
	set_word(s, at, p->out[0]);
	set_word(s, at + 1, p->out[1]);
	set_word(s, at + 2, p->out[2]);
	s->rec.runtime_words += (__u16)p->nout;
	return 0;
}

static __always_inline void python_end(struct sample_buf *s)
{
	struct rec_counters *c = counters_of(s->rec.event);

	// By this address user space may learn that it is an interpreter.
	if (config.mode == BPF_UNWIND_OFF && s->w.outcome == REC_OUT_NO_USER && !s->py.on)
		push_word(s, REC_FRAME(REC_FRAME_NATIVE, s->w.mark, 1, s->w.ip));
	if (!s->py.on || !c)
		return;
	if (s->rec.runtime_words)
		c->runtime_samples++;
	else
		c->runtime_none++;
	c->runtime_frames += s->rec.runtime_words / PY_FRAME_WORDS;
	if (s->py.lost) {
		c->runtime_lost++;
		s->rec.flags |= REC_F_RUNTIME_LOST;
	}
}

#endif

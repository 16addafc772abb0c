/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk/python.h -- the Python frames of one thread, leaf first; written once and run in two places.
 *
 * Like walk/native.h: the includer supplies WALK_ENV and WALK_READ(env, dst, len, addr). The chain is
 * read in one go, apart from the native frames: while the thread stands in the interrupt it cannot
 * move. Offsets come from user space, lie in struct py_layout and are masked where they are used, so
 * that wrong ones yield nonsense but no access out of bounds.
 *
 * Where runs of frames end differs by version (CPython's Python/ceval.c):
 *   to 3.10     an eval frame runs one Python frame: each frame ends its run
 *   3.11        an entry frame is marked; the _PyCFrame that its eval keeps on the C stack says where
 *   3.12 and on a shim frame on the C stack of its eval lies below each run
 */
#ifndef GP_WALK_PYTHON_H
#define GP_WALK_PYTHON_H

#include "bpf/abi/python.h"
#include "bpf/walk/walk.h"

#define PY_FRAME_BYTES_OLD 124 // of PyFrameObject, what is looked at
#define PY_FRAME_BYTES 80 // of _PyInterpreterFrame
#define PY_CODE_BYTES 104 // of PyCodeObject: 2.7 has its first line at 96
#define PY_WORDS_A_STEP 3
#define PY_STATES_MAX 256 // threads looked at in search of ours
#define PY_GLIBC_KEYS 32 // pthread keys of the block inside of struct pthread
#define PY_OWNER_SHIM 3 // FRAME_OWNED_BY_CSTACK; from 3.14 FRAME_OWNED_BY_INTERPRETER
#define PY_LASTI_MAX (1u << 28)

struct py_walk {
	struct py_process proc;
	struct py_layout layout;
	__u64 tp; // thread pointer
	__u64 frame; // the next one, 0: the chain is done
	__u64 interp, tstate; // while the thread's state is looked for: the next to look at, 0 none
	__u32 looked; // states
	/* by the layout, made once: a branch in a step doubles what the verifier follows */
	__u32 frame_bytes;
	__u32 kwonly_mask;
	__u32 pad2;
	__u64 run_end; // flag of a frame's word
	__u64 cframe; // 3.11: of the run being read
	__u64 out[PY_WORDS_A_STEP]; // what a step found
	__u32 nout;
	__u8 on; // proc and layout are set
	__u8 lost; // the chain could not be read to its end
	__u8 begun; // the thread's state was asked for
	__u8 pad;
	__u64 raw[16]; // the frame
	__u64 code[16]; // the code object
};

/* Does a program counter lie in the eval loop? No jump: see walk/native.h. */
WALK_INLINE __u64 py_in_eval(const struct py_process *p, __u64 pc)
{
	__u64 in = 0;

#pragma unroll
	for (int i = 0; i < PY_EVAL_RANGES; i++) {
		__u64 below = pc - p->eval[i].start, beyond = pc - p->eval[i].end;

		WALK_BAR(below);
		WALK_BAR(beyond);
		below >>= 63;
		beyond >>= 63;
		WALK_BAR(below);
		WALK_BAR(beyond);
		in |= beyond & (below ^ 1);
		WALK_BAR(in);
	}
	return in;
}

WALK_INLINE __u64 py_u64(const __u64 *raw, __u16 off)
{
	return *(const __u64 *)((const char *)raw + (off & 120));
}

WALK_INLINE __u32 py_u32(const __u64 *raw, __u16 off)
{
	return *(const __u32 *)((const char *)raw + (off & 124));
}

WALK_INLINE __u8 py_u8(const __u64 *raw, __u16 off)
{
	return *((const __u8 *)raw + (off & 127));
}

/* The thread-specific value that PyGILState_GetThisThreadState() would return. An interpreter that was
 * never started, or has ended, has a key that may be another library's. */
WALK_INLINE __u64 py_slot(WALK_ENV env, const struct py_walk *p)
{
	__u64 base = p->tp + (__s64)p->proc.slot_offset, value = 0, tss = 0;
	__u32 key;

	if (!p->proc.slot_by || WALK_READ(env, &tss, sizeof(tss), p->proc.key_addr - 4))
		return 0;
	if (!((__u32)tss | p->proc.key_plain))
		return 0;
	key = (__u32)(tss >> 32);
	if (p->proc.slot_by == PY_SLOT_INDIRECT) {
		if (WALK_READ(env, &base, sizeof(base), base))
			return 0;
	} else if (key >= PY_GLIBC_KEYS) {
		return 0;
	}
	if (WALK_READ(env, &value, sizeof(value), base + (__u64)key * p->proc.slot_stride))
		return 0;
	return value;
}

/* The word in this thread's block of a library that was loaded late, 0 none. A block that the thread
 * never used has -1 or NULL for its address, where nothing can be read. */
WALK_INLINE __u64 py_late_tls(WALK_ENV env, const struct py_walk *p)
{
	__u64 at = 0;

	if (WALK_READ(env, &at, sizeof(at), p->tp + PY_DTV_AT) ||
		WALK_READ(env, &at, sizeof(at), at + p->proc.dtv_entry) ||
		WALK_READ(env, &at, sizeof(at), at + (__s64)p->proc.tls_offset))
		return 0;
	return at;
}

/* The thread state of this very thread. */
WALK_INLINE __u64 py_tstate(WALK_ENV env, const struct py_walk *p)
{
	__u64 t = 0, id = 0;

	if (p->proc.tstate_by == PY_TSTATE_TLS) {
		// It is empty while the thread has let go of the interpreter lock.
		if (!WALK_READ(env, &t, sizeof(t), p->tp + (__s64)p->proc.tls_offset) && t)
			return t;
	} else if (p->proc.tstate_by == PY_TSTATE_DTV) {
		t = py_late_tls(env, p);
		if (t)
			return t;
	} else if (p->proc.tstate_by == PY_TSTATE_CURRENT && p->proc.current_addr &&
		   p->layout.tstate_thread_id) {
		// pthread_self() is the thread pointer, in glibc and musl on x86-64.
		if (!WALK_READ(env, &t, sizeof(t), p->proc.current_addr) && t &&
			!WALK_READ(env, &id, sizeof(id), t + p->layout.tstate_thread_id) &&
			id == p->tp)
			return t;
	}
	return py_slot(env, p);
}

/* The first frame of a thread's state. */
WALK_INLINE void py_enter(WALK_ENV env, struct py_walk *p, __u64 t)
{
	__u64 at = t + p->layout.tstate_frame;

	if (p->layout.chain == PY_CHAIN_CFRAME) {
		if (WALK_READ(env, &at, sizeof(at), at)) {
			p->lost = 1;
			return;
		}
		p->cframe = at;
		at += p->layout.cframe_current;
	}
	if (WALK_READ(env, &p->frame, sizeof(p->frame), at)) {
		p->frame = 0;
		p->lost = 1;
	}
}

/* Nothing to walk. */
WALK_INLINE void py_none(struct py_walk *p)
{
	p->on = 0;
	p->begun = 1;
	p->lost = 0;
	p->frame = 0;
	p->tstate = 0;
}

/* To be walked; proc, layout and tp are set. Then step while py_more(). */
WALK_INLINE void py_start(struct py_walk *p)
{
	py_none(p);
	p->on = 1;
	p->begun = 0;
	p->cframe = 0;
	p->interp = 0;
	p->looked = 0;
	p->frame_bytes = PY_FRAME_BYTES;
	p->run_end = 0;
	if (p->layout.chain == PY_CHAIN_FRAME) {
		p->frame_bytes = PY_FRAME_BYTES_OLD;
		p->run_end = REC_FRAME_RUN_END;
	}
	p->kwonly_mask = p->layout.code_kwonlyargcount ? ~0u : 0;
}

/* Finds the thread's state and its first frame, or the list in which to look for it. */
WALK_INLINE void py_begin(WALK_ENV env, struct py_walk *p)
{
	__u64 t = py_tstate(env, p);

	p->begun = 1;
	if (t) {
		py_enter(env, p, t);
		return;
	}
	if (p->proc.slot_by || !p->proc.head_addr || !p->layout.tstate_thread_id)
		return;
	if (WALK_READ(env, &p->interp, sizeof(p->interp), p->proc.head_addr) ||
		WALK_READ(
			env, &p->tstate, sizeof(p->tstate), p->interp + p->proc.interp_tstate_head))
		p->tstate = 0;
}

WALK_INLINE int py_more(const struct py_walk *p)
{
	return p->frame || p->tstate || !p->begun;
}

/* Looks whether the next of all threads' states is this thread's. */
WALK_INLINE void py_look(WALK_ENV env, struct py_walk *p)
{
	__u64 t = p->tstate, id = 0;

	p->tstate = 0;
	if (WALK_READ(env, &id, sizeof(id), t + p->layout.tstate_thread_id) ||
		++p->looked == PY_STATES_MAX) {
		p->lost = 1;
		return;
	}
	if (id == p->tp) {
		py_enter(env, p, t);
		return;
	}
	if (WALK_READ(env, &p->tstate, sizeof(p->tstate), t + p->proc.tstate_next))
		p->tstate = 0;
	if (p->tstate)
		return;
	if (WALK_READ(env, &p->interp, sizeof(p->interp), p->interp + p->proc.interp_next) ||
		!p->interp ||
		WALK_READ(
			env, &p->tstate, sizeof(p->tstate), p->interp + p->proc.interp_tstate_head))
		p->tstate = 0;
}

/* The cookie of a code object; 0: it could not be read. */
WALK_INLINE __u32 py_cookie(WALK_ENV env, struct py_walk *p, __u64 code)
{
	const struct py_layout *l = &p->layout;

	if (WALK_READ(env, p->code, PY_CODE_BYTES, code))
		return 0;
	return PY_CODE_COOKIE(py_u32(p->code, l->code_argcount),
		py_u32(p->code, l->code_kwonlyargcount) & p->kwonly_mask,
		py_u32(p->code, l->code_flags), py_u32(p->code, l->code_firstlineno));
}

WALK_INLINE __s32 py_lasti(const struct py_walk *p, __u64 code)
{
	const struct py_layout *l = &p->layout;
	__u64 off;

	if (l->chain == PY_CHAIN_FRAME)
		off = (__u64)py_u32(p->raw, l->frame_lasti) * l->lasti_scale;
	else
		off = py_u64(p->raw, l->frame_lasti) - code - l->code_adaptive;
	return off < PY_LASTI_MAX ? (__s32)off : -1;
}

WALK_INLINE void py_leave_cframe(WALK_ENV env, struct py_walk *p)
{
	__u64 at = p->cframe + p->layout.cframe_current + 8; // _PyCFrame.previous

	if (p->cframe && WALK_READ(env, &p->cframe, sizeof(p->cframe), at))
		p->cframe = 0;
}

/* Reads the frame that is next, its words to `out`; perhaps none yet. */
WALK_INLINE void py_step(WALK_ENV env, struct py_walk *p)
{
	const struct py_layout *l = &p->layout;
	__u64 frame = p->frame, code, entry;

	p->nout = 0;
	if (!frame) {
		if (p->begun)
			py_look(env, p);
		else
			py_begin(env, p);
		return;
	}
	p->frame = 0;
	if (WALK_READ(env, p->raw, p->frame_bytes & 127, frame)) {
		p->lost = 1;
		return;
	}
	p->frame = py_u64(p->raw, l->frame_back);
	code = py_u64(p->raw, l->frame_code) & ~(__u64)l->code_tag_mask;
	entry = py_u8(p->raw, l->frame_entry);
	if (l->entry_kind == 2 && (entry >= PY_OWNER_SHIM || !code || code == p->proc.none_addr)) {
		p->out[0] = REC_FRAME(REC_FRAME_ENTRY, 0, 0, frame);
		p->nout = 1;
		return;
	}
	if (code < WALK_PC_MIN) {
		p->frame = 0;
		p->lost = 1;
		return;
	}
	p->out[0] = REC_FRAME(REC_FRAME_PYTHON, 0, 0, code) | p->run_end;
	p->out[1] = PY_FRAME_REST(py_cookie(env, p, code), py_lasti(p, code));
	p->nout = PY_FRAME_WORDS;
	if (l->entry_kind == 1 && entry) {
		p->out[2] = REC_FRAME(REC_FRAME_ENTRY, 0, 0, p->cframe);
		p->nout = PY_WORDS_A_STEP;
		py_leave_cframe(env, p);
	}
}

#endif

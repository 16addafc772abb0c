/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/flow.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "unwind/cfi.h"
#include "unwind/insn.h"
#include "unwind/pattern.h"

#define RBP 5
#define CFA_MAX (1 << 20) // deeper frames are no frames
#define ENTRY_ALIGN 16
#define CONTRADICTIONS 2000 // one in so many ways is tolerated
#define CONTRADICTIONS_MIN 8
#define FRAMES_MIN 4 // functions with a frame pointer: alloca needs one
#define FRAMES_SHARE 2048 // bytes of code for each of them
#define WRAPPER_MAX 8 // instructions

enum flow_flags {
	FLAG_CALLED = 1 << 0, // a call goes here
	FLAG_TAKEN = 1 << 1, // an address taken by lea
	FLAG_JUMPED = 1 << 2, // a jump goes here
	FLAG_WEAK = 1 << 3, // what lies before it may never come here: a call that may not return
	FLAG_QUEUED = 1 << 4,
	FLAG_START = 1 << 5, // aligned, after padding that nothing falls into
};

/* What is known before an instruction; zeroes are unknown. */
struct known {
	int32_t cfa, fp;
	uint8_t framed;
};

void flow_init(struct flow *f)
{
	*f = (struct flow){0};
}

void flow_deinit(struct flow *f)
{
	free(f->insns);
	free(f->work);
	flow_init(f);
}

static int decode(struct flow *f, const uint8_t *code, size_t len)
{
	f->count = 0;
	for (size_t at = 0; at < len;) {
		struct insn d;
		int r = vec_grow((void **)&f->insns, &f->size, f->count + 1, FLOW_BYTES_MAX,
			sizeof(*f->insns));

		if (r)
			return r;
		// What is no instruction is passed over byte by byte: decoding finds its feet again.
		if (!insn_decode(code + at, len - at, &d))
			d = (struct insn){.len = 1, .kind = INSN_STOP, .reg = INSN_REG_NONE};
		f->insns[f->count++] = (struct flow_insn){
			.at = (uint32_t)at,
			.kind = d.kind,
			.reg = d.reg,
			.arg = d.direct || d.kind == INSN_LEA_CODE
				       ? (int32_t)((uint32_t)at + d.len + (uint32_t)d.arg)
				       : d.arg,
			.target = d.direct || d.kind == INSN_LEA_CODE ? 0 : -1,
		};
		at += d.len;
	}
	return 0;
}

size_t flow_find(const struct flow *f, uint32_t at)
{
	size_t lo = 0, hi = f->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (f->insns[mid].at <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : 0;
}

/* Turns distances into indices, and notes at targets what comes to them. */
static void link_targets(struct flow *f)
{
	for (size_t i = 0; i < f->count; i++) {
		struct flow_insn *n = &f->insns[i];
		size_t to;

		if (n->target < 0)
			continue;
		n->target = -1;
		to = flow_find(f, (uint32_t)n->arg);
		if (n->arg < 0 || f->insns[to].at != (uint32_t)n->arg)
			continue;
		n->target = (int32_t)to;
		f->insns[to].flags |= n->kind == INSN_CALL	 ? FLAG_CALLED
				      : n->kind == INSN_LEA_CODE ? FLAG_TAKEN
								 : FLAG_JUMPED;
	}
}

static bool ends(const struct flow_insn *n)
{
	return n->kind == INSN_RET || n->kind == INSN_JUMP || n->kind == INSN_STOP;
}

/* Compilers pad with nops between functions, and before loops. After a call, padding up to an aligned
 * address says that the call may be the end of its function (exit, abort). */
static void find_starts(struct flow *f, unsigned phase)
{
	bool padded = false, fallen = false;

	for (size_t i = 1; i < f->count; i++) {
		struct flow_insn *n = &f->insns[i], *before = n - 1;

		if (before->kind != INSN_NOP) {
			padded = ends(before);
			fallen = before->kind == INSN_CALL;
		}
		if (n->kind == INSN_NOP)
			continue;
		if (fallen && ((n->flags & FLAG_CALLED) || before->kind == INSN_NOP))
			n->flags |= FLAG_WEAK;
		if ((n->at + phase) % ENTRY_ALIGN == 0 && (padded || (n->flags & FLAG_WEAK)))
			n->flags |= FLAG_START;
	}
}

static int queue(struct flow *f, size_t i)
{
	int r;

	if (f->insns[i].flags & FLAG_QUEUED)
		return 0;
	r = vec_grow((void **)&f->work, &f->work_size, f->work_count + 1, FLOW_BYTES_MAX,
		sizeof(*f->work));
	if (r)
		return r;
	f->insns[i].flags |= FLAG_QUEUED;
	f->work[f->work_count++] = (uint32_t)i;
	return 0;
}

/* Adds what is new; the first word stands. */
static int tell(struct flow *f, size_t i, const struct known *k)
{
	struct flow_insn *n = &f->insns[i];
	bool news = false;

	if (!n->cfa && k->cfa >= 8 && k->cfa <= CFA_MAX) {
		n->cfa = k->cfa;
		news = true;
	}
	if (!n->fp && k->fp) {
		n->fp = k->fp;
		news = true;
	}
	if (!n->framed && k->framed) {
		n->framed = k->framed;
		news = true;
	}
	return news ? queue(f, i) : 0;
}

/* What holds after the instruction. */
static struct known after(const struct flow_insn *n)
{
	struct known k = {n->cfa, n->fp, n->framed};

	switch (n->kind) {
	case INSN_PUSH:
		k.cfa += k.cfa ? 8 : 0;
		if (n->reg == RBP && k.fp == FLOW_FP_SAME)
			k.fp = k.cfa;
		break;
	case INSN_POP:
		if (n->reg == RBP) {
			k.fp = !k.cfa ? 0 : k.fp == k.cfa || !k.fp ? FLOW_FP_SAME : k.fp;
			k.framed = k.fp == FLOW_FP_SAME ? FLOW_FRAMED_NO : FLOW_FRAMED_UNKNOWN;
		}
		k.cfa -= k.cfa ? 8 : 0;
		break;
	case INSN_ADD_SP:
		k.cfa = k.cfa ? k.cfa - n->arg : 0;
		break;
	case INSN_SP_LOST:
		k.cfa = 0;
		break;
	case INSN_SP_FROM_FP:
		k.cfa = k.framed == FLOW_FRAMED_YES ? 16 - n->arg : 0;
		break;
	case INSN_FP_SET:
		// The usual beginning: rbp was pushed first. Else it is the frame of who knows what.
		k.framed = k.cfa == 16 && k.fp == 16 ? FLOW_FRAMED_YES : FLOW_FRAMED_UNKNOWN;
		break;
	case INSN_LEAVE:
		k = k.framed == FLOW_FRAMED_YES ? (struct known){8, FLOW_FP_SAME, FLOW_FRAMED_NO}
						: (struct known){0};
		break;
	default:
		break;
	}
	return k;
}

/* What held before the instruction, by what holds after it. */
static struct known before(const struct flow_insn *n, const struct flow_insn *next)
{
	struct known k = {next->cfa, next->fp, next->framed};

	switch (n->kind) {
	case INSN_PUSH:
		// This push may be the one that saved it.
		if (n->reg == RBP)
			k.fp = !k.cfa ? 0 : k.fp == k.cfa ? FLOW_FP_SAME : k.fp;
		k.cfa -= k.cfa ? 8 : 0;
		break;
	case INSN_POP:
		k.cfa += k.cfa ? 8 : 0;
		if (n->reg == RBP) {
			k.fp = k.fp == FLOW_FP_SAME ? k.cfa : k.fp;
			k.framed = FLOW_FRAMED_UNKNOWN;
		}
		break;
	case INSN_ADD_SP:
		k.cfa = k.cfa ? k.cfa + n->arg : 0;
		break;
	case INSN_SP_LOST:
	case INSN_SP_FROM_FP:
		k.cfa = 0;
		break;
	case INSN_FP_SET:
		k.framed = FLOW_FRAMED_NO;
		break;
	case INSN_LEAVE:
		k = (struct known){0};
		break;
	default:
		break;
	}
	return k;
}

static bool falls_into(const struct flow_insn *n, const struct flow_insn *next, bool weak)
{
	return !ends(n) && (weak || !(next->flags & FLAG_WEAK));
}

/* Spreads from one instruction along its edges, in both directions. Jumps to it are found by a second
 * look at the jumps (spread_jumps). */
static int spread_one(struct flow *f, size_t i, bool weak)
{
	struct flow_insn *n = &f->insns[i];
	struct known k = after(n);
	int r = 0;

	if (i + 1 < f->count && falls_into(n, n + 1, weak))
		r = tell(f, i + 1, &k);
	if (!r && n->target >= 0 && (n->kind == INSN_JUMP || n->kind == INSN_BRANCH))
		r = tell(f, (size_t)n->target, &k);
	if (!r && i && falls_into(n - 1, n, weak)) {
		k = before(n - 1, n);
		r = tell(f, i - 1, &k);
	}
	return r;
}

/* From targets back to jumps. */
static int spread_jumps(struct flow *f)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->count; i++) {
		const struct flow_insn *n = &f->insns[i];

		if (n->target < 0 || (n->kind != INSN_JUMP && n->kind != INSN_BRANCH))
			continue;
		const struct flow_insn *to = &f->insns[n->target];
		struct known k = {to->cfa, to->fp, to->framed};

		r = tell(f, i, &k);
	}
	return r;
}

static int spread(struct flow *f, bool weak)
{
	int r = 0;

	do {
		while (!r && f->work_count) {
			uint32_t i = f->work[--f->work_count];

			f->insns[i].flags &= (uint8_t)~FLAG_QUEUED;
			r = spread_one(f, i, weak);
		}
		if (!r)
			r = spread_jumps(f);
	} while (!r && f->work_count);
	return r;
}

/* A few instructions from an aligned start to a jump out of sight: one call that goes on as another. */
static bool is_wrapper(const struct flow *f, size_t jump)
{
	for (size_t i = jump; i && jump - i < WRAPPER_MAX; i--) {
		const struct flow_insn *n = &f->insns[i];

		if (i != jump && n->kind != INSN_PLAIN && n->kind != INSN_LEA_CODE)
			return false;
		if (n->flags & FLAG_START)
			return true;
	}
	return false;
}

/* Whether an instruction that nothing is known of is a function's first or last one. A label of a switch
 * is aligned after padding, or taken by lea: a function is both, or begins with a frame. */
static bool is_edge(const struct flow *f, size_t i)
{
	const struct flow_insn *n = &f->insns[i];
	uint8_t start = n->flags & (FLAG_START | FLAG_TAKEN);

	if (n->kind == INSN_JUMP && n->target < 0)
		return is_wrapper(f, i);
	if (n->kind == INSN_PUSH || (n->kind == INSN_ADD_SP && n->arg < 0))
		return start != 0;
	return start == (FLAG_START | FLAG_TAKEN);
}

static bool is_ret(const struct flow *f, size_t i)
{
	return f->insns[i].kind == INSN_RET;
}

static bool is_called(const struct flow *f, size_t i)
{
	return f->insns[i].flags & FLAG_CALLED;
}

/* The state at a function's first instruction and at ret, where nothing is known yet; then spread. */
static int tell_bare(struct flow *f, bool (*is)(const struct flow *f, size_t i))
{
	const struct known bare = {8, FLOW_FP_SAME, FLOW_FRAMED_NO};
	int r = 0;

	for (size_t i = 0; !r && i < f->count; i++)
		if (!f->insns[i].cfa && is(f, i))
			r = tell(f, i, &bare);
	return r ? r : spread(f, false);
}

/* Everything is spread again over edges that may not be ways. */
static int spread_weak(struct flow *f)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->count; i++)
		if (f->insns[i].cfa)
			r = queue(f, i);
	return r ? r : spread(f, true);
}

static bool contradicts(const struct known *k, const struct flow_insn *n)
{
	return k->cfa && n->cfa && k->cfa != n->cfa;
}

/* Code built with frame pointers is walked best by them. Told by its bytes (push %rbp; mov %rsp,%rbp):
 * large programs are built so, and are not worth decoding. The move has two encodings: compilers use the
 * first, V8 the second, whose functions take arguments off the stack that others pushed. */
static bool keeps_frames(const uint8_t *code, size_t len)
{
	static const struct pattern_bytes begin[] = {
		{{0x55, 0x48, 0x89, 0xe5}, 4, 3}, {{0x55, 0x48, 0x8b, 0xec}, 4, 3}};
	size_t n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(begin); i++) {
		const uint8_t *p = code;

		while ((p = pattern_find(p, code + len, &begin[i]))) {
			p += begin[i].len;
			n++;
		}
	}
	return n > FRAMES_MIN && n > len / FRAMES_SHARE;
}

/* Code whose ways contradict each other is not what it seems: calls that pop arguments (V8), data. */
static bool is_sound(const struct flow *f)
{
	size_t ways = 0, wrong = 0;

	for (size_t i = 0; i + 1 < f->count; i++) {
		const struct flow_insn *n = &f->insns[i];
		struct known k = after(n);

		if (falls_into(n, n + 1, false) && n->kind != INSN_NOP) {
			ways++;
			wrong += contradicts(&k, n + 1);
		}
		if (n->target >= 0 && (n->kind == INSN_JUMP || n->kind == INSN_BRANCH)) {
			ways++;
			wrong += contradicts(&k, &f->insns[n->target]);
		}
	}
	return wrong <= CONTRADICTIONS_MIN + ways / CONTRADICTIONS;
}

int flow_run(struct flow *f, const uint8_t *code, size_t len, unsigned phase)
{
	int r;

	f->work_count = f->count = 0;
	if (len > FLOW_BYTES_MAX)
		return -EINVAL;
	if (keeps_frames(code, len))
		return 0;
	r = decode(f, code, len);
	if (r)
		return r;
	link_targets(f);
	find_starts(f, phase);
	r = tell_bare(f, is_ret);
	if (!r)
		r = tell_bare(f, is_called);
	if (!r)
		r = tell_bare(f, is_edge);
	if (!r)
		r = spread_weak(f);
	if (!r && !is_sound(f))
		f->count = 0;
	return r;
}

void flow_rule(const struct flow_insn *i, struct uw_rule *ret)
{
	*ret = (struct uw_rule){.cfa = UW_CFA_NONE};
	if (i->framed == FLOW_FRAMED_YES) {
		ret->cfa = UW_CFA_REG;
		ret->reg = CFI_REG_BP;
		ret->cfa_off = 16;
		ret->fp = UW_SAVE_CFA;
		ret->fp_off = -16;
		return;
	}
	if (!i->cfa)
		return;
	ret->cfa = UW_CFA_REG;
	ret->reg = CFI_REG_SP;
	ret->cfa_off = i->cfa;
	if (i->fp > FLOW_FP_SAME && i->fp <= -(int)INT16_MIN) {
		ret->fp = UW_SAVE_CFA;
		ret->fp_off = (__s16)-i->fp;
	}
}

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk/native.h -- one step of a native stack, written once and run in two places.
 *
 * Compiled for BPF it runs in the sampling interrupt; compiled for the host it runs over a copied
 * stack. The includer supplies, before including this file:
 *
 *	WALK_ENV			type of env
 *	WALK_READ(env, dst, len, addr)	copies target memory; 0 or non-zero
 *	WALK_POOL(env, n)		segment n of the page tables (abi/unwind_table.h)
 *	WALK_DIR(env) WALK_USED(env) WALK_RULES(env) WALK_RECENT(env) WALK_MAPS(env)
 *					table memory (abi/unwind_table.h), NULL if absent
 *	WALK_EPOCH(env)			what to store into used[]
 *
 * Searches contain no conditional jump: a branch in a search over a big value doubles the paths the
 * BPF verifier must follow at every step (2^13 for one frame). So comparisons are subtractions whose
 * sign bit becomes a 0 or 1 to multiply with, and WALK_BAR keeps the compiler from turning them back into branches.
 * All indices are masked with a power of two: that is the bounds proof. */
#ifndef GP_WALK_NATIVE_H
#define GP_WALK_NATIVE_H

#include "bpf/walk/walk.h"
#include "bpf/walk/arch.h"

/* 1 if a < b, both below 2^63; no jump. */
WALK_INLINE __u64 walk_less(__u64 a, __u64 b)
{
	__u64 d = a - b;

	WALK_BAR(d);
	d >>= 63;
	WALK_BAR(d);
	return d;
}

/* `cand`, or the last of `count` entries if it is none of them; no jump. The rest of a search's probes
 * then fall on lines that it needs anyhow: beyond the end each would be a cold one, often of a page
 * of its own. */
WALK_INLINE __u64 walk_within(__u64 cand, __u64 count, __u64 *ret_beyond)
{
	__u64 beyond = walk_less(count, cand + 1);

	*ret_beyond = beyond;
	return cand - beyond * (cand + 1 - count);
}

/* Index of the mapping that may hold pc: the last one that starts at or below it, or the first. */
WALK_INLINE __u32 walk_find_mapping(
	const struct uw_mapping *maps, __u32 first, __u32 count, __u64 pc)
{
	__u64 lo = 0;

#pragma unroll
	for (__u64 step = UW_MAPS_PER_PROCESS / 2; step; step >>= 1) {
		__u64 beyond, probe = walk_within(lo + step, count, &beyond);
		__u64 idx = (first + probe) & (UW_MAPS - 1);
		__u64 good = (walk_less(pc, maps[idx].start) | beyond) ^ 1;

		WALK_BAR(good);
		lo += good * step;
		WALK_BAR(lo);
	}
	return (__u32)((first + lo) & (UW_MAPS - 1));
}

WALK_INLINE __u16 walk_u16(const __u8 *pool, __u64 off)
{
	return *(const __u16 *)(pool + (off & (UW_POOL_SEGMENT_BYTES - 1) & ~1ull));
}

/* Number of the rule at the low 16 bits of a file offset, in the page table at `page`. */
WALK_INLINE __u32 walk_find_rule(const __u8 *pool, __u64 page, __u64 off)
{
	__u64 block = off >> 8 & 0xff, low = off & 0xff;
	__u64 index = page + __builtin_offsetof(struct uw_page, index) + 2 * block;
	__u64 begin = walk_u16(pool, index), end = walk_u16(pool, index + 2);
	__u64 rows = page + walk_u16(pool, page + __builtin_offsetof(struct uw_page, rows));
	__u64 dict = page + walk_u16(pool, page + __builtin_offsetof(struct uw_page, dict));
	__u64 lo = begin - 1; // the last row of an earlier block; row 0 stands for offset 0

	WALK_BAR(lo);
#pragma unroll
	for (__u64 step = 256; step; step >>= 1) {
		__u64 beyond, probe = walk_within(lo + step, end, &beyond);
		__u64 row = walk_u16(pool, rows + 2 * (probe & 0xffff));
		__u64 good = (walk_less(low, row & 0xff) | beyond) ^ 1;

		// No mask of -1 or 0 here: the verifier of Linux 6.18 forks its state on an AND
		// with one (maybe_fork_scalars), which is the doubling all over again.
		WALK_BAR(good);
		lo += good * step;
		WALK_BAR(lo);
	}
	lo = walk_u16(pool, rows + 2 * (lo & 0xffff)) >> 8;
	return walk_u16(pool, dict + 2 * lo);
}

/* A leaf that stands outside of its frame: at function entry the chain begins at the caller, which
 * the step along it would leave out. Believed only if the word is an address after a call.
 * Return 0 if the state is the caller's now. */
WALK_INLINE int walk_step_leaf(WALK_ENV env, struct walk_state *w)
{
	__u64 code = 0, pair[2], ra;
	int slot;

	if (WALK_READ(env, &code, sizeof(code), w->ip))
		return 1;
	slot = walk_leaf_slot(code);
	if (!slot || WALK_READ(env, pair, sizeof(pair), w->sp))
		return 1;
	ra = slot == 2 ? pair[1] : pair[0];
	if (ra < WALK_PC_MIN || ra > WALK_PC_MAX || WALK_READ(env, &code, sizeof(code), ra - 8) ||
		!walk_after_call(code))
		return 1;
	if (slot == 2)
		w->fp = pair[0];
	w->sp += 8 * (__u64)slot;
	w->ip = ra;
	w->exact = 0;
	w->regs_valid = 0;
	w->mark = REC_MARK_GUESS;
	return 0;
}

/* Makes the mapping that holds pc the current one; mostly it is that of the frame before. Non-zero:
 * there is none. */
WALK_INLINE int walk_enter_mapping(
	const struct uw_mapping *maps, struct uw_recent *recent, struct walk_state *w, __u64 pc)
{
	__u64 slot = UW_RECENT_HASH((__u64)w->map_first << 32 ^ pc >> 20, UW_RECENT_MAPS_BITS);
	const struct uw_mapping *m;
	__u32 at;

	if (pc >= w->map_start && pc < w->map_end)
		return 0;
	at = recent->maps[slot];
	m = &maps[at];
	if (at - w->map_first >= w->map_count || pc < m->start || pc >= m->end) {
		at = walk_find_mapping(maps, w->map_first, w->map_count, pc);
		m = &maps[at];
		if (!w->map_count || pc < m->start || pc >= m->end)
			return 1;
		recent->maps[slot] = (__u16)at;
	}
	w->map_start = m->start;
	w->map_end = m->end;
	w->map_pgoff = m->pgoff;
	w->map_dir = m->dir;
	w->map_flags = m->flags;
	return 0;
}

/* What the frame pointer points to is no frame. In a file user space looks for the caller by other means;
 * it could not help in code made at run time, which is met so again and again. */
WALK_INLINE int walk_bad_fp(struct walk_state *w)
{
	__u8 outcome = w->mode != BPF_UNWIND_FP && (w->map_flags & UW_MAP_FILE) ? REC_OUT_HANDOFF
										: REC_OUT_BROKEN;

	return walk_stop(w, outcome, REC_WHY_BAD_FP);
}

/* A step along the frame-pointer chain, where there is no table or it says so. known: the frame
 * pointer is one for sure, also when it leads to another stack (Go's goroutines lie below g0's). */
WALK_INLINE int walk_step_fp(WALK_ENV env, struct walk_state *w, int known)
{
	__u64 pair[2];

	if (w->exact && !walk_step_leaf(env, w))
		return WALK_MORE;
	// The chain of a thread ends in 0 (psABI 3.4.1 for _start; Go's goroutines likewise).
	if (w->fp == 0)
		return walk_stop(w, REC_OUT_COMPLETE, REC_WHY_NONE);
	if ((w->fp & 7) || (!known && w->fp - w->sp > WALK_FP_REACH))
		return walk_bad_fp(w);
	if (WALK_READ(env, pair, sizeof(pair), w->fp))
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
	if (pair[1] == 0)
		return walk_stop(w, REC_OUT_COMPLETE, REC_WHY_NONE);
	if (pair[1] < WALK_PC_MIN || pair[1] > WALK_PC_MAX)
		return walk_bad_fp(w);
	w->sp = w->fp + 16;
	w->fp = pair[0];
	w->ip = pair[1];
	w->exact = 0;
	w->regs_valid = 0;
	w->mark = REC_MARK_FP;
	return WALK_MORE;
}

WALK_INLINE int walk_no_table(WALK_ENV env, struct walk_state *w)
{
	if (!(w->mode & BPF_UNWIND_FP))
		return walk_stop(w, REC_OUT_BROKEN, REC_WHY_NO_TABLE);
	return walk_step_fp(env, w, 0);
}

/* The value of a register of this frame. Non-zero: not known. */
WALK_INLINE int walk_reg(const struct walk_state *w, __u32 reg, __u64 *ret)
{
	if (reg == WALK_REG_SP) {
		*ret = w->sp;
		return 0;
	}
	if (reg == WALK_REG_FP) {
		*ret = w->fp;
		return 0;
	}
	reg &= 63;
	if (reg >= REC_REGS || !(w->regs_valid >> reg & 1))
		return 1;
	*ret = w->regs[reg];
	return 0;
}

/* The CFA by the rule. 0, or a verdict was set. */
WALK_INLINE int walk_cfa(
	WALK_ENV env, struct walk_state *w, const struct uw_rule *rule, __u64 *ret_cfa)
{
	__u64 base;

	if (rule->cfa == UW_CFA_PLT) {
		*ret_cfa = w->sp + 8 + (((w->ip & 15) >= (__u32)rule->aux) ? 8 : 0);
		return 0;
	}
	if (rule->cfa != UW_CFA_REG && rule->cfa != UW_CFA_DEREF)
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_COMPLEX);
	if (walk_reg(w, rule->reg, &base))
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_COMPLEX);
	base += (__s64)rule->cfa_off;
	if (rule->cfa == UW_CFA_DEREF) {
		__u64 value;

		if (WALK_READ(env, &value, sizeof(value), base))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
		base = value + (__s64)rule->aux;
	}
	*ret_cfa = base;
	return 0;
}

/* Return address and caller's frame pointer by the rule. 0, or a verdict was set. */
WALK_INLINE int walk_saved(
	WALK_ENV env, struct walk_state *w, const struct uw_rule *rule, __u64 cfa, __u64 pair[2])
{
	pair[0] = w->fp;
	// The usual push: both words lie side by side, one read does.
	if (rule->fp == UW_SAVE_CFA && rule->fp_off == -16 && rule->ra == UW_SAVE_SAME) {
		if (WALK_READ(env, pair, 16, cfa - 16))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
		return 0;
	}
	if (rule->ra == UW_SAVE_REG) {
		if (walk_reg(w, (__u16)rule->ra_off, &pair[1]))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_COMPLEX);
	} else if (WALK_READ(env, &pair[1], 8,
			   rule->ra == UW_SAVE_CFA ? cfa + (__s64)rule->ra_off : cfa - 8)) {
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
	}
	if (rule->fp == UW_SAVE_CFA || rule->fp == UW_SAVE_FP) {
		__u64 at = (rule->fp == UW_SAVE_CFA ? cfa : w->fp) + (__s64)rule->fp_off;

		if (WALK_READ(env, &pair[0], 8, at))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
	} else if (rule->fp == UW_SAVE_REG) {
		if (walk_reg(w, (__u16)rule->fp_off, &pair[0]))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_COMPLEX);
	} else if (rule->fp == UW_SAVE_UNDEF) {
		pair[0] = 0;
	}
	return 0;
}

WALK_INLINE int walk_by_rule(WALK_ENV env, struct walk_state *w, const struct uw_rule *rule)
{
	__u64 pair[2], cfa;
	int r;

	if (rule->cfa == UW_CFA_NONE || rule->cfa == UW_CFA_FP)
		return rule->cfa == UW_CFA_FP ? walk_step_fp(env, w, 1) : walk_no_table(env, w);
	if (rule->cfa == UW_CFA_END || rule->ra == UW_SAVE_UNDEF)
		return walk_stop(w, REC_OUT_COMPLETE, REC_WHY_NONE);
	if (rule->cfa == UW_CFA_SIGNAL)
		return walk_step_signal(env, w);
	r = walk_cfa(env, w, rule, &cfa);
	if (r)
		return r;
	// A leaf function may stand at its first instruction: the CFA is then sp + 8. longjmp's last
	// instructions have loaded sp already, their return address is in a register.
	if (cfa <= w->sp && (cfa < w->sp || !w->exact || rule->ra != UW_SAVE_REG))
		return walk_stop(w, REC_OUT_BROKEN, REC_WHY_BAD_CFA);
	r = walk_saved(env, w, rule, cfa, pair);
	if (r)
		return r;
	if (pair[1] == 0)
		return walk_stop(w, REC_OUT_COMPLETE, REC_WHY_NONE);
	w->fp = pair[0];
	w->ip = pair[1];
	w->sp = cfa;
	w->exact = 0;
	w->regs_valid = 0;
	w->mark = REC_MARK_TABLE;
	return WALK_MORE;
}

/* Number of the rule at a file offset, whose directory entry is `at`. Non-zero: no table is loaded. */
WALK_INLINE int walk_look_up(WALK_ENV env, __u32 at, __u64 off, __u32 *ret)
{
	const __u32 *dir = WALK_DIR(env);
	__u8 *used = WALK_USED(env);
	const __u8 *pool;
	__u64 page;

	if (!dir || !used)
		return 1;
	page = (__u64)dir[at] * UW_POOL_ALIGN;
	if (page == UW_DIR_ABSENT)
		return 1;
	pool = WALK_POOL(env, (__u32)(page / UW_POOL_SEGMENT_BYTES));
	if (!pool)
		return 1;
	if (used[at] != (__u8)WALK_EPOCH(env))
		used[at] = (__u8)WALK_EPOCH(env);
	*ret = walk_find_rule(pool, page, off) & (UW_RULES - 1);
	return 0;
}

/* Goes from a frame to its caller's. */
WALK_INLINE int walk_native_step(WALK_ENV env, struct walk_state *w)
{
	const struct uw_mapping *maps = WALK_MAPS(env);
	const struct uw_rule *rules = WALK_RULES(env);
	struct uw_recent *recent = WALK_RECENT(env);
	__u64 pc = w->ip - !w->exact, off, key, slot, entry;
	__u32 at, rule;

	if (pc < WALK_PC_MIN || pc > WALK_PC_MAX)
		return walk_step_odd_pc(env, w);
	if (!maps || !rules || !recent)
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_NO_TABLE);
	if (w->mode == BPF_UNWIND_FP)
		return walk_step_fp(env, w, 0);
	if (walk_enter_mapping(maps, recent, w, pc))
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_NO_MAPPING);
	if (!(w->map_flags & UW_MAP_FILE))
		return walk_no_table(env, w);
	off = pc - w->map_start + w->map_pgoff;
	at = (w->map_dir + (__u32)(off >> UW_PAGE_SHIFT)) & (UW_DIR_ENTRIES - 1);
	key = UW_RECENT_KEY(at, off);
	slot = UW_RECENT_HASH(key, UW_RECENT_BITS);
	entry = recent->rules[slot];
	if (entry >> UW_RULE_BITS != key) {
		if (walk_look_up(env, at, off, &rule))
			return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_NO_TABLE);
		entry = key << UW_RULE_BITS | rule;
		recent->rules[slot] = entry;
	}
	return walk_by_rule(env, w, &rules[entry & (UW_RULES - 1)]);
}

#endif

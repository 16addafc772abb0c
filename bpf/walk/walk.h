/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk/walk.h -- the state of a walk, shared by the steps of all kinds of frames.
 *
 * It lives in memory (a per-CPU map value, or the caller's struct), never in registers: the BPF
 * verifier then forgets it between steps, and the paths of a loop do not multiply. */
#ifndef GP_WALK_WALK_H
#define GP_WALK_WALK_H

#include "bpf/abi/config.h"
#include "bpf/abi/record.h"
#include "bpf/abi/unwind_table.h"

/* The host says static inline; the BPF side insists. */
#ifndef WALK_INLINE
#define WALK_INLINE static inline __attribute__((always_inline))
#endif

#define WALK_SIGFRAME_WORDS_MAX 34 // AArch64; x86-64 has 17
#define WALK_BAR(x) __asm__ volatile("" : "+r"(x))
/* Lowest address a program counter may have (mmap_min_addr). */
#define WALK_PC_MIN 4096ull
/* A frame pointer points at most this far up: more is no frame of this stack. */
#define WALK_FP_REACH (64ull << 20)

struct walk_state {
	__u64 ip, sp, fp;
	__u64 regs[REC_REGS]; // DWARF order; meaningful where regs_valid says so
	__u64 regs_valid; // bit n; only at the leaf and above a signal frame
	__u32 map_first, map_count; // the process's block in uw_maps
	__u64 map_start, map_end, map_pgoff; // the last mapping found; map_end 0: none
	__u32 map_dir, map_flags;
	__u8 mode; // enum bpf_unwind_mode
	__u8 exact; // ip is the instruction itself
	__u8 mark; // enum rec_frame_mark: how this frame was found
	__u8 outcome; // when the walk is over: enum rec_outcome
	__u8 reason; // enum rec_reason
	__u8 pad[3];
	__u64 scratch[WALK_SIGFRAME_WORDS_MAX];
};

enum walk_verdict {
	WALK_MORE = 0, // the state is the caller's frame now
	WALK_STOP = 1, // outcome and reason are set; the state is the frame that could not be left
};

WALK_INLINE int walk_stop(struct walk_state *w, __u8 outcome, __u8 reason)
{
	w->outcome = outcome;
	w->reason = reason;
	return WALK_STOP;
}

#endif

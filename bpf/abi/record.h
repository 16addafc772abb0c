/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/record.h -- what the sampling program sends to user space, and what it counts.
 *
 * A sample is one ring-buffer record: struct rec_sample, then kernel_words + runtime_words +
 * user_words words (kernel addresses, frames of an interpreter, native user frames, each leaf
 * first), then, if REC_F_HANDOFF is set, struct rec_handoff and stack_len bytes of the user stack
 * from `stack_base` upward.
 *
 * Interpreter and native frames come apart, because they are read apart: the interpreter's own
 * chain in one go while the thread stands still, the native frames perhaps only in user space.
 * unwind/weave.c puts each run of the one in place of the eval frame of the other. */
#ifndef GP_ABI_RECORD_H
#define GP_ABI_RECORD_H

#include "bpf/abi/types.h"

#define REC_KERNEL_WORDS_MAX 127 // bpf_get_stack(): PERF_MAX_STACK_DEPTH
#define REC_RUNTIME_WORDS_MAX 2112 // words, not frames: a runtime's frame takes several
#define REC_USER_WORDS_MAX 1536 // words, not frames: an eval frame takes two
#define REC_STACK_MAX 61440 // bytes of user stack handed over
#define REC_STACK_SMALL 16384 // the same where the ring has little room
#define REC_STACK_PAGE 4096 // the stack is copied in pieces that end at page bounds
#define REC_COMM_LEN 16
#define REC_EVENTS_MAX 8 // events sampled at once; a power of two
#define REC_GROUPS_MAX 4096 // cgroups chosen, those below them included
#define REC_MEMBERS_MAX 8192 // processes of cgroups that have no id

enum rec_type {
	REC_SAMPLE = 1,
};

/* One user frame word: kind, mark and flag in the top byte, 56 bits of data below (for a native
 * frame the address). Some kinds are followed by further words: REC_FRAME_WORDS(). */
enum rec_frame_kind {
	REC_FRAME_NATIVE = 0, // data = program counter
	REC_FRAME_PYTHON = 1, // data = code object; +1 word, abi/python.h
	/* A native frame of an interpreter's eval loop: data = program counter, +1 word: the address
	 * where its C frame ends (its canonical frame address). */
	REC_FRAME_EVAL = 13,
	/* Among interpreter frames: the run before this word was begun by the eval loop whose C frame
	 * holds the address `data`. Not a frame. */
	REC_FRAME_ENTRY = 14,
	REC_FRAME_KIND_MAX = 15,
};

/* How a frame was found. */
enum rec_frame_mark {
	REC_MARK_LEAF = 0, // from the registers
	REC_MARK_TABLE = 1, // from CFI
	REC_MARK_FP = 2, // from the frame-pointer chain
	REC_MARK_GUESS = 3, // from a return address found at the stack pointer
};

#define REC_FRAME_KIND_SHIFT 60
#define REC_FRAME_MARK_SHIFT 57
#define REC_FRAME_EXACT (1ull << 56) // the address is the instruction itself, not a return address
/* The same bit of an interpreter's frame: the last one of its run, where no REC_FRAME_ENTRY says so. */
#define REC_FRAME_RUN_END REC_FRAME_EXACT
#define REC_FRAME_DATA_MASK ((1ull << 56) - 1)

#define REC_FRAME(kind, mark, exact, data)                                                         \
	((__u64)(kind) << REC_FRAME_KIND_SHIFT | (__u64)(mark) << REC_FRAME_MARK_SHIFT |           \
		((exact) ? REC_FRAME_EXACT : 0) | ((__u64)(data)&REC_FRAME_DATA_MASK))
#define REC_FRAME_KIND(word) ((unsigned)((word) >> REC_FRAME_KIND_SHIFT))
#define REC_FRAME_MARK(word) ((unsigned)((word) >> REC_FRAME_MARK_SHIFT & 7))

/* Every entry of the sampling program ends in exactly one of these; the sum is exact. */
enum rec_outcome {
	REC_OUT_IDLE = 0, // the idle task
	REC_OUT_FILTERED, // not one of the chosen processes; nothing emitted
	REC_OUT_KERNEL_ONLY, // kernel thread, or a task without a user address space
	REC_OUT_COMPLETE, // walked to the thread's first frame
	REC_OUT_HANDOFF, // user space finishes: registers and stack are attached
	REC_OUT_TRUNCATED, // more frames than REC_USER_WORDS_MAX
	REC_OUT_BROKEN, // the walk cannot go on: see rec_reason
	REC_OUT_BITS32, // a 32-bit task: not walked
	REC_OUT_LOST_RING, // the ring buffer was full
	REC_OUT_NO_USER, // user stacks were not asked for
	REC_OUT_MAX,
};

/* Why a walk stopped, in the kernel or in user space. */
enum rec_reason {
	REC_WHY_NONE = 0,
	REC_WHY_NO_PROCESS, // process unknown to the kernel tables
	REC_WHY_NO_MAPPING, // no executable mapping holds the address
	REC_WHY_NO_TABLE, // the page's table is not loaded
	REC_WHY_COMPLEX, // a rule that needs registers the kernel walker does not track
	REC_WHY_STACK_READ, // the stack could not be read
	REC_WHY_BAD_CFA, // the new frame is not above the old one
	REC_WHY_BAD_FP, // the frame-pointer chain is implausible
	REC_WHY_BAD_PC, // the return address is no user address
	REC_WHY_STEPS, // out of steps or tail calls
	REC_WHY_STACK_SHORT, // user space ran past the copied part of the stack
	REC_WHY_BITS32,
	REC_WHY_MAX,
};

enum rec_flags {
	REC_F_HANDOFF = 1 << 0, // struct rec_handoff and stack bytes follow the words
	REC_F_IN_KERNEL = 1 << 1, // the tick hit kernel mode
	REC_F_KERNEL_CUT = 1 << 2, // the kernel stack filled its buffer
	REC_F_RUNTIME = 1 << 3, // of a process with a known interpreter
	REC_F_RUNTIME_LOST = 1 << 4, // its frames could not be read, or not all
};

/* Registers in DWARF order (System V x86-64 psABI figure 3.36; AArch64 DWARF needs 33). */
#define REC_REGS 33
#define REC_REG_X86_BP 6
#define REC_REG_X86_SP 7
#define REC_REG_X86_IP 16

#define REC_EVAL_RANGES 4

struct rec_handoff {
	__u64 valid; // bit n: regs[n] is known
	__u64 regs[REC_REGS]; // of the frame to go on from
	__u64 stack_base; // address of the first copied byte
	__u32 stack_len; // bytes that follow
	__u32 absent; // bit n: the n-th piece (cut at page bounds) could not be read, is zeroes
	struct {
		__u64 start, end;
	} eval[REC_EVAL_RANGES]; // code of the interpreter's eval loop, zeroes if there is none
};
ABI_SIZE(struct rec_handoff, 8 + 8 * REC_REGS + 16 + 16 * REC_EVAL_RANGES);

struct rec_sample {
	__u16 type; // REC_SAMPLE
	__u16 flags; // enum rec_flags
	__u32 len; // whole record, bytes
	__u64 time; // CLOCK_MONOTONIC, ns
	__u64 weight; // event counts since the last sample (ns for clock events)
	__u64 cgroup; // cgroup v2 id of the task, 0 if unknown
	__u32 pid; // thread group, initial pid namespace
	__u32 tid;
	__u32 cpu;
	__u16 kernel_words;
	__u16 user_words;
	__u8 outcome; // enum rec_outcome
	__u8 reason; // enum rec_reason
	__u8 event; // index of the sampled event
	__u8 handoff_exact; // the frame to go on from is the interrupted one: its address is exact
	__u8 handoff_mark; // enum rec_frame_mark of that frame
	__u8 pad;
	__u16 runtime_words;
	char comm[REC_COMM_LEN]; // of the thread
};
ABI_SIZE(struct rec_sample, 72);

/* Per-CPU counters of the sampling program, of one event. */
struct rec_counters {
	__u64 entries; // times the program ran
	__u64 outcomes[REC_OUT_MAX]; // sums to entries
	__u64 reasons[REC_WHY_MAX]; // of HANDOFF and BROKEN
	__u64 user_frames; // emitted by the kernel walker
	__u64 tail_call_failed;
	__u64 runtime_samples; // of threads that run an interpreter
	__u64 runtime_none; // of other threads of such a process
	__u64 runtime_lost; // REC_F_RUNTIME_LOST
	__u64 runtime_frames;
};

#endif

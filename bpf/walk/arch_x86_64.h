/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk/arch_x86_64.h -- what the native walker knows of x86-64 Linux. Register numbers: System V psABI
 * figure 3.36. Signal frame: struct ucontext and struct sigcontext_64 of <asm/ucontext.h> and
 * <asm/sigcontext.h>; the handler's return address is popped when the restorer runs, so sp points at
 * the ucontext. */
#ifndef GP_WALK_ARCH_X86_64_H
#define GP_WALK_ARCH_X86_64_H

#include "bpf/walk/walk.h"

#define WALK_REG_FP REC_REG_X86_BP
#define WALK_REG_SP REC_REG_X86_SP
/* Highest user address with 4-level paging; targets that ask for more (5-level) are rare. */
#define WALK_PC_MAX 0x7fffffffffffull

/* uc_flags 8, uc_link 8, uc_stack 24, then the registers. */
#define X86_UCONTEXT_REGS 40
#define X86_SIGCONTEXT_WORDS 17
#define X86_VSYSCALL 0xffffffffff600000ull

/* Leaves a signal frame: every register of the interrupted frame is known again. */
WALK_INLINE int walk_step_signal(WALK_ENV env, struct walk_state *w)
{
	// sigcontext: r8..r15 rdi rsi rbp rbx rdx rax rcx rsp rip -> DWARF numbers.
	__u64 *s = w->scratch;

	if (WALK_READ(env, s, X86_SIGCONTEXT_WORDS * 8, w->sp + X86_UCONTEXT_REGS))
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
	w->regs[0] = s[13];
	w->regs[1] = s[12];
	w->regs[2] = s[14];
	w->regs[3] = s[11];
	w->regs[4] = s[9];
	w->regs[5] = s[8];
	w->regs[6] = s[10];
	w->regs[7] = s[15];
	w->regs[8] = s[0];
	w->regs[9] = s[1];
	w->regs[10] = s[2];
	w->regs[11] = s[3];
	w->regs[12] = s[4];
	w->regs[13] = s[5];
	w->regs[14] = s[6];
	w->regs[15] = s[7];
	w->regs[16] = s[16];
	w->regs_valid = (1ull << 17) - 1;
	w->fp = s[10];
	w->sp = s[15];
	w->ip = s[16];
	w->exact = 1;
	w->mark = REC_MARK_TABLE;
	return WALK_MORE;
}

/* A program counter outside of user space: the vsyscall page is a call without a frame. */
WALK_INLINE int walk_step_odd_pc(WALK_ENV env, struct walk_state *w)
{
	__u64 ra;

	if (!w->exact || (w->ip & ~4095ull) != X86_VSYSCALL)
		return walk_stop(w, REC_OUT_BROKEN, REC_WHY_BAD_PC);
	if (WALK_READ(env, &ra, sizeof(ra), w->sp))
		return walk_stop(w, REC_OUT_HANDOFF, REC_WHY_STACK_READ);
	w->sp += 8;
	w->ip = ra;
	w->exact = 0;
	w->regs_valid = 0;
	w->mark = REC_MARK_TABLE;
	return WALK_MORE;
}

/* Where the return address of a leaf is that has no table and not yet, or no longer, a frame, told by
 * the instruction it stands on (Intel SDM volume 2): 1 at sp, 2 above the caller's frame pointer at
 * sp, 0 not known. code: the eight bytes at the pc. */
WALK_INLINE int walk_leaf_slot(__u64 code)
{
	if ((code & 0xff) == 0x55 || (code & 0xff) == 0xc3) // push %rbp, ret
		return 1;
	if ((code & 0xffffffffffull) == 0x55fa1e0ff3ull) // endbr64; push %rbp
		return 1;
	if ((code & 0xffffff) == 0xe58948 || (code & 0xffffff) == 0xec8b48) // mov %rsp,%rbp
		return 2;
	return 0;
}

/* Whether the eight bytes before an address end in a call: E8 rel32, or FF /2 of any length. */
WALK_INLINE int walk_after_call(__u64 code)
{
	if ((code >> 24 & 0xff) == 0xe8)
		return 1;
	return (code >> 48 & 0x38ff) == 0x10ff || (code >> 40 & 0x38ff) == 0x10ff ||
	       (code >> 32 & 0x38ff) == 0x10ff || (code >> 16 & 0x38ff) == 0x10ff ||
	       (code >> 8 & 0x38ff) == 0x10ff;
}

#endif

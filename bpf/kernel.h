/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* kernel.h -- what the interrupted kernel says: members of its structs, the kernel stack, the registers
 * with which the task entered from user mode. */
#ifndef GP_BPF_KERNEL_H
#define GP_BPF_KERNEL_H

#include "bpf/maps.h"

#define NR_EXECVE 59 // <asm/unistd_64.h>
#define NR_EXECVEAT 322
#define THREAD_SIZE 16384 // x86-64 without KASAN; only for kernels without bpf_task_pt_regs

/* A member of a struct of the kernel; zeroes where it cannot be read. */
static __always_inline __u64 kernel_u64(__u64 at, __u32 offset)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset));
	return value;
}

static __always_inline __u32 kernel_u32(__u64 at, __u32 offset)
{
	__u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset));
	return value;
}

/* The user registers of the current task, wherever the tick hit. 0: there are none. */
static __always_inline int user_regs(struct bpf_perf_event_data *ctx, struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	struct pt_regs *r = &s->regs;

	if ((ctx->regs.cs & 3) == 3) {
		__builtin_memset(r, 0, sizeof(*r));
		r->rip = ctx->regs.rip;
		r->rsp = ctx->regs.rsp;
		r->rbp = ctx->regs.rbp;
		r->rax = ctx->regs.rax;
		r->rbx = ctx->regs.rbx;
		r->rcx = ctx->regs.rcx;
		r->rdx = ctx->regs.rdx;
		r->rsi = ctx->regs.rsi;
		r->rdi = ctx->regs.rdi;
		r->r8 = ctx->regs.r8;
		r->r9 = ctx->regs.r9;
		r->r10 = ctx->regs.r10;
		r->r11 = ctx->regs.r11;
		r->r12 = ctx->regs.r12;
		r->r13 = ctx->regs.r13;
		r->r14 = ctx->regs.r14;
		r->r15 = ctx->regs.r15;
		r->cs = ctx->regs.cs;
		return 1;
	}
	s->rec.flags |= REC_F_IN_KERNEL;
	if (have_task_pt_regs) {
		long p = bpf_task_pt_regs(bpf_get_current_task_btf());

		return !bpf_probe_read_kernel(r, sizeof(*r), (void *)p);
	}
	return !bpf_probe_read_kernel(
		r, sizeof(*r), (void *)(kernel_u64(task, layout.stack) + THREAD_SIZE - sizeof(*r)));
}

static __always_inline void kernel_stack(struct bpf_perf_event_data *ctx, struct sample_buf *s)
{
	long n;

	if (!config.kernel_stacks || (ctx->regs.cs & 3) == 3)
		return;
	n = bpf_get_stack(ctx, s->words, REC_KERNEL_WORDS_MAX * 8, 0);
	if (n <= 0)
		return;
	s->rec.kernel_words = (__u16)(n / 8);
	if (s->rec.kernel_words == REC_KERNEL_WORDS_MAX)
		s->rec.flags |= REC_F_KERNEL_CUT;
}

/* Past the point where execve() has let the old program go, and before it has set the new one's registers:
 * those of user mode are the old program's, whose memory is gone (begin_new_exec() of fs/exec.c). */
static __always_inline int amid_exec(const struct sample_buf *s)
{
	__u64 nr = s->regs.orig_rax;
	__u8 byte;

	if (!(s->rec.flags & REC_F_IN_KERNEL) || (nr != NR_EXECVE && nr != NR_EXECVEAT))
		return 0;
	return bpf_probe_read_user(&byte, sizeof(byte), (void *)s->regs.rip) != 0;
}

/* Bytes of the stack above sp, or more, as far as they are worth a copy: the main thread's begins where
 * execve() put the arguments, another one's below what the C library keeps of the thread, which the
 * thread pointer leads to. */
static __always_inline __u64 stack_left(const struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	__u64 mm = kernel_u64(task, layout.mm);
	__u64 left = kernel_u64(mm, layout.start_stack) - s->w.sp;
	__u64 below_tp = kernel_u64(task, layout.fsbase) - s->w.sp;

	left = left < below_tp ? left : below_tp;
	return left < REC_STACK_MAX ? left : REC_STACK_MAX;
}

#endif

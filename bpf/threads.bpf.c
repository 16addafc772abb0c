// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* threads.bpf.c -- the threads of one process as they are now: an iterator over tasks (Linux 5.15,
 * bpf_task_pt_regs), for `gprofiler dump`. A thread is looked at where the kernel keeps it: it is
 * neither stopped nor woken, and learns nothing of it. */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "bpf/abi/threads.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000 // <linux/sched.h>
#define USER_CS32 0x23 // __USER32_CS, <asm/segment.h>
#define SKIP_NONE 0

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
	unsigned int flags;
	int pid, tgid;
	int on_cpu;
	unsigned long nvcsw, nivcsw;
};
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

const volatile __s32 wanted = 0; // pid of the process

/* One reader reads one iterator at a time. */
struct threads_record record = {};

static __always_inline void take_regs(struct threads_record *t, const struct pt_regs *r)
{
	t->regs[0] = r->rax;
	t->regs[1] = r->rdx;
	t->regs[2] = r->rcx;
	t->regs[3] = r->rbx;
	t->regs[4] = r->rsi;
	t->regs[5] = r->rdi;
	t->regs[6] = r->rbp;
	t->regs[7] = r->rsp;
	t->regs[8] = r->r8;
	t->regs[9] = r->r9;
	t->regs[10] = r->r10;
	t->regs[11] = r->r11;
	t->regs[12] = r->r12;
	t->regs[13] = r->r13;
	t->regs[14] = r->r14;
	t->regs[15] = r->r15;
	t->regs[16] = r->rip;
	if ((r->cs & 0xffff) == USER_CS32)
		t->flags |= THREADS_F_BITS32;
	if (!r->rip && !r->rsp)
		t->flags |= THREADS_F_NO_USER;
}

/* The kernel side of a thread that does not run; of one that does it would be made up. */
static __always_inline void take_kernel(struct threads_record *t, struct task_struct *task)
{
	long n = t->flags & THREADS_F_ON_CPU
			 ? 0
			 : bpf_get_task_stack(task, t->kernel, sizeof(t->kernel), SKIP_NONE);

	t->nkernel = n > 0 ? (__u32)n / sizeof(t->kernel[0]) : 0;
}

SEC("iter/task")
int each_thread(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct threads_record *t = &record;
	struct pt_regs regs = {};

	if (!task || task->tgid != wanted)
		return 0;
	t->pid = task->tgid;
	t->tid = task->pid;
	t->flags = task->on_cpu ? THREADS_F_ON_CPU : 0;
	t->switches = task->nvcsw + task->nivcsw;
	if (task->flags & PF_KTHREAD)
		t->flags |= THREADS_F_NO_USER;
	else if (bpf_probe_read_kernel(&regs, sizeof(regs), (void *)bpf_task_pt_regs(task)))
		t->flags |= THREADS_F_NO_USER;
	take_regs(t, &regs);
	take_kernel(t, task);
	bpf_seq_write(ctx->meta->seq, t, sizeof(*t));
	return 0;
}

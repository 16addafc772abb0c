/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/threads.h -- what the iterator over the threads of a process (threads.bpf.c) writes of each. */
#ifndef GP_ABI_THREADS_H
#define GP_ABI_THREADS_H

#include "bpf/abi/types.h"

#define THREADS_REGS 17 // DWARF numbers of x86-64 (psABI figure 3.36); [16] is the program counter
#define THREADS_KERNEL_MAX 64 // kernel frames

enum threads_flags {
	THREADS_F_ON_CPU = 1 << 0, // it runs: registers are those of its last entry into the kernel
	THREADS_F_NO_USER = 1 << 1, // it never was in user mode: kernel thread, io_uring's worker
	THREADS_F_BITS32 = 1 << 2,
};

struct threads_record {
	__u32 pid, tid; // initial pid namespace
	__u32 flags; // enum threads_flags
	__u32 nkernel; // words of kernel
	__u64 switches; // times it was scheduled away, by its own will or not
	__u64 regs[THREADS_REGS];
	__u64 kernel[THREADS_KERNEL_MAX]; // leaf first
};
ABI_SIZE(struct threads_record, 24 + 8 * THREADS_REGS + 8 * THREADS_KERNEL_MAX);

#endif

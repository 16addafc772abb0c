/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/config.h -- knobs of the BPF programs, set before load as one const volatile struct. */
#ifndef GP_ABI_CONFIG_H
#define GP_ABI_CONFIG_H

#include "bpf/abi/types.h"

enum bpf_unwind_mode {
	BPF_UNWIND_OFF = 0, // no native user stacks
	BPF_UNWIND_FP = 1, // frame pointers only
	BPF_UNWIND_TABLE = 2, // tables only
	BPF_UNWIND_SMART = 3, // tables, frame pointers where there is none
};

struct bpf_config {
	__u32 mode; // enum bpf_unwind_mode
	__u32 filter_pids; // 1: only processes in the `chosen` map
	__u32 kernel_stacks; // 1: collect kernel stacks
	__u32 include_idle; // 1: emit samples of the idle task
	__u32 max_frames; // user frames a sample
	__u32 stop_at_sample; // test builds: bpf_send_signal(SIGSTOP) at each sample
	__u32 stack_bytes; // bytes of stack handed over, <= REC_STACK_MAX
	__u32 runtimes; // bit n: interpreters of this enum rec_frame_kind are walked
	__u32 events; // sampled at once, <= REC_EVENTS_MAX
	__u32 pad;
};
ABI_SIZE(struct bpf_config, 40);

/* Where members of the running kernel's structs lie, in bytes. */
struct bpf_task_layout {
	__u32 flags, tgid, mm, stack, real_parent; // struct task_struct
	__u32 parent_exec_id,
		self_exec_id; // the same, u32 or u64: their low halves differ as they do
	__u32 fsbase; // the same, in its thread_struct
	__u32 start_stack; // struct mm_struct
};
ABI_SIZE(struct bpf_task_layout, 36);

#endif

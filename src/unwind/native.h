/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/native.h -- the kernel's native walker (bpf/walk/native.h), compiled for the host: one step
 * at a time over a caller's memory reader. Any thread. */
#ifndef GP_UNWIND_NATIVE_H
#define GP_UNWIND_NATIVE_H

#include "bpf/abi/config.h"
#include "bpf/abi/record.h"
#include "capture/source.h"
#include "unwind/evaluate.h"

struct native_frame {
	struct evaluate_regs regs;
	bool exact; // the pc is the instruction itself: leaf, or interrupted by a signal
	uint8_t mark; // enum rec_frame_mark: how it was found
};

struct native_host {
	const struct capture_tables *tables;
	uint32_t first, count; // the process's block in tables->maps
	enum bpf_unwind_mode mode;
	bool no_tables; // step by frame pointer whatever the tables say
	/* Reads len bytes of the target: 0, or anything else. */
	int (*read)(void *arg, void *dst, uint32_t len, uint64_t addr);
	void *arg;
};

enum native_host_result {
	NATIVE_HOST_MORE = 0, // the frame is the caller's now
	NATIVE_HOST_END, // this was the thread's first frame
	NATIVE_HOST_ASK, // why says what the walker lacks; the frame is unchanged
	NATIVE_HOST_BROKEN, // why says it
};
/* Whether the eight bytes before an address end in a call instruction. */
bool native_after_call(uint64_t bytes);
enum native_host_result native_host_step(
	const struct native_host *h, struct native_frame *f, enum rec_reason *ret_why);

#endif

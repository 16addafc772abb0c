/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/step.h -- one step of a native walk by a compact rule, on the host. Any thread. */
#ifndef GP_UNWIND_STEP_H
#define GP_UNWIND_STEP_H

#include "bpf/abi/record.h"
#include "bpf/abi/unwind_table.h"
#include "unwind/evaluate.h"

struct step_frame {
	struct evaluate_regs regs;
	bool exact; // the pc is the instruction itself: leaf, or interrupted by a signal
	enum rec_frame_mark mark; // how it was found
	uint64_t missing; // address that could not be read
};

struct step_memory {
	evaluate_read_fn read;
	void *arg;
};

enum step_result {
	STEP_OK = 0,
	STEP_END, // this was the thread's first frame
	STEP_BROKEN, // see the reason
	STEP_COMPLEX, // needs registers that are not known here
};

/* Replaces *f by its caller's frame. */
enum step_result step_rule(const struct uw_rule *rule, const struct step_memory *mem,
	struct step_frame *f, enum rec_reason *ret_why);

#endif

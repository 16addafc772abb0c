/* SPDX-License-Identifier: Apache-2.0 */
/* agent/frames.h -- one sample's words become raw window frames.
 *
 * A program counter becomes {module, file offset} through the mappings the process had when the
 * sample was taken; what lies in no file keeps its address. A file met for the first time is opened
 * at once, because it may be gone when the window is named. One thread. */
#ifndef GP_AGENT_FRAMES_H
#define GP_AGENT_FRAMES_H

#include "bpf/abi/config.h"
#include "capture/event.h"
#include "agent/runtimes.h"
#include "process/process.h"
#include "profile/window.h"
#include "unwind/weave.h"

#define FRAMES_MAX (WEAVE_WORDS_MAX + REC_KERNEL_WORDS_MAX + 2)

struct frames {
	struct process_table *processes;
	struct runtimes *runtimes;
	uint64_t words[WEAVE_WORDS_MAX]; // scratch: interpreter and native frames, woven
	enum bpf_unwind_mode mode;
	/* the answer: root first */
	struct window_frame frames[FRAMES_MAX];
	size_t count;
};

/* A sample whose user part is known. */
struct frames_stack {
	const struct capture_sample *sample;
	struct process *process; // NULL: the idle task
	const uint64_t *words; // user frames, leaf first
	unsigned nwords;
	uint8_t outcome, reason; // enum rec_outcome, enum rec_reason
	bool late; // outer frames were read from the process after the sample
	uint64_t now; // time of the sample, ns
};

int frames_init(struct frames *f, struct process_table *processes, struct runtimes *runtimes,
	enum bpf_unwind_mode mode);
/* Return 0; -ENOMEM. */
/* A stack that was read from outside: words of interpreter frames, leaf first. */
int frames_read(struct frames *f, struct process *p, const uint64_t *words, size_t nwords);
int frames_build(struct frames *f, const struct frames_stack *stack);

#endif

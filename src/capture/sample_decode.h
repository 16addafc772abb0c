/* SPDX-License-Identifier: Apache-2.0 */
/* capture/sample_decode.h -- perf's own samples (PERF_RECORD_SAMPLE) made into ours.
 *
 * What the sampling program would have emitted, had it handed over at the leaf: no user words,
 * registers of the leaf in DWARF order, the stack from its stack pointer upward. With frame
 * pointers only, the kernel's callchain becomes user words. Pure; any thread. */
#ifndef GP_CAPTURE_SAMPLE_DECODE_H
#define GP_CAPTURE_SAMPLE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/perf_event.h>

#include "bpf/abi/config.h"
#include "capture/event.h"

/* Most bytes that the kernel copies (sample_stack_user), a multiple of 8. */
#define SAMPLE_STACK_MAX 65528

struct sample_format {
	enum bpf_unwind_mode mode;
	bool kernel_stacks;
	uint8_t event; // index
	uint64_t sample_type; // as opened
	uint64_t regs; // sample_regs_user
	unsigned max_frames; // user frames of a callchain, 0: all
};

/* Where a decoded sample's parts are put together. */
struct sample_parts {
	struct rec_sample rec;
	uint64_t kernel[REC_KERNEL_WORDS_MAX];
	uint64_t user[REC_USER_WORDS_MAX];
	struct rec_handoff handoff;
};

/* Sets what a sample must carry in attr, for a mode, and remembers it in ret. stack_bytes is cut to
 * SAMPLE_STACK_MAX and rounded down to 8. */
void sample_format_make(
	struct sample_format *f, struct perf_event_attr *attr, unsigned stack_bytes);

/* Reads one; ret points into parts and into the record (the stack). comm is left zero.
 * Return 0 or -EINVAL malformed. */
int sample_decode(const struct sample_format *f, const struct perf_event_header *h, uint32_t cpu,
	struct sample_parts *parts, struct capture_event *ret);

#endif

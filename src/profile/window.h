/* SPDX-License-Identifier: Apache-2.0 */
/* profile/window.h -- what was sampled, counted by raw frames; nothing here has a name.
 *
 * Frames are {space, owner, address}, stacks are leaves of a prefix tree, contexts are {process uid,
 * thread}. profile/naming turns a window into a struct profile. Capped at birth: a sample that does
 * not fit is counted in `full`, and nothing grows. One window an event: events are never pooled.
 * Owned by the pipeline thread until it is handed to naming. */
#ifndef GP_PROFILE_WINDOW_H
#define GP_PROFILE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/pairs.h"
#include "base/vec.h"
#include "bpf/abi/record.h"
#include "profile/timeline.h"

/* Interned as bytes: every byte is set. */
struct window_frame {
	uint64_t addr; // file offset, kernel address or process address
	uint64_t aux; // second word of a runtime frame, 0 for native ones
	uint32_t owner; // module id or process uid, 0 for the kernel
	uint32_t path; // id in process_table.strings of the mapping, 0 none (SYMBOL_PROCESS)
	uint8_t space; // enum symbol_space, WINDOW_META or WINDOW_RUNTIME
	uint8_t kind; // enum rec_frame_kind
	uint8_t mark; // enum rec_frame_mark
	uint8_t return_address; // 1: addr is a return address
	uint32_t pad;
};

/* Space of frames that are ours and no code: addr is enum window_meta. */
#define WINDOW_META 0xff
/* Space of interpreter frames: addr is an id of profile/runtime_frames.h, kind says whose. A frame of
 * another space with such a kind is a native one of a process that runs the interpreter. */
#define WINDOW_RUNTIME 0xfe

enum window_meta {
	WINDOW_TRUNCATED, // the stack is deeper than what was walked
	WINDOW_BROKEN, // aux = enum rec_reason
	WINDOW_BITS32, // a 32-bit task
};

struct window_node {
	uint32_t parent; // node id, 0 = root
	uint32_t frame; // frame id
};

struct window_context {
	uint32_t uid; // of the process
	uint32_t tid;
	uint32_t thread_comm; // id in window.strings
	uint32_t pad;
};

struct window_sample_key {
	uint32_t context, node;
};

struct window_count {
	uint64_t samples;
	uint64_t weight; // ns for clock events, else event counts
};
VEC_DEFINE(window_count_vec, struct window_count)

struct window {
	struct intern frames, contexts, strings;
	struct pairs nodes, sample_keys;
	struct window_count_vec counts; // counts[id of sample_keys - 1]
	unsigned times; // a sample counts for this many, 0: one
	uint64_t now; // time of what is added, 0: not known
	struct timeline timeline; // of sample_keys
	uint64_t samples, full;
	uint64_t frame_hits; // frames over all samples
};

void window_init(struct window *w, uint32_t max_samples);
void window_deinit(struct window *w);
void window_clear(struct window *w);

/* Counts one stack, root first. Return 0; -ENOSPC counted; -ENOMEM. */
int window_add(struct window *w, const struct window_context *context,
	const struct window_frame *frames, size_t n, uint64_t weight);

/* Id of a thread name for window_context. 0 when full. */
uint32_t window_comm(struct window *w, const char *comm);

const struct window_frame *window_frame_get(const struct window *w, uint32_t id);
const struct window_node *window_node_get(const struct window *w, uint32_t id);
const struct window_context *window_context_get(const struct window *w, uint32_t id);
const struct window_sample_key *window_sample_get(const struct window *w, uint32_t id);

#endif

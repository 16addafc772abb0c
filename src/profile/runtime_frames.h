/* SPDX-License-Identifier: Apache-2.0 */
/* profile/runtime_frames.h -- frames of interpreters, named as they are first seen.
 *
 * What a raw frame points to (a Python code object) may be gone when the window is named, so it is
 * named at once and remembered by {process, words}. What looks the same is the same frame, in
 * whatever process: a hundred workers of one program share their frames. Frames of a recording were named when
 * it was made.
 * Capped at birth; past the cap frames are "[unknown]", and counted. Owned by the pipeline thread. */
#ifndef GP_PROFILE_RUNTIME_FRAMES_H
#define GP_PROFILE_RUNTIME_FRAMES_H

#include "base/map.h"
#include "base/vec.h"
#include "capture/event.h"
#include "process/process.h"
#include "runtime/runtime.h"

VEC_DEFINE(runtime_id_vec, uint32_t)

/* A frame was named. */
typedef void (*runtime_named_fn)(void *arg, const struct process *p, const uint64_t *words,
	unsigned nwords, const struct runtime_frame *frame);

struct runtime_frames {
	struct runtime_set *set; // not owned
	struct intern keys; // {process uid, words}
	struct runtime_id_vec ids; // of names, by key id - 1
	struct intern names; // struct runtime_frame
	uint64_t asked, stale, full;
	runtime_named_fn named; // may be NULL
	void *named_arg;
};

void runtime_frames_init(struct runtime_frames *f, struct runtime_set *set, uint32_t max_frames);
void runtime_frames_deinit(struct runtime_frames *f);
/* Between windows: no ids are held, process uids may go. */
void runtime_frames_clear(struct runtime_frames *f);

/* The id of a frame's name (0: it has none, past the cap). words: runtime_frame_words() of them.
 * Return 0, -ENOMEM. */
int runtime_frames_id(
	struct runtime_frames *f, struct process *p, const uint64_t *words, uint32_t *ret_id);
/* What a frame was called when it was recorded; the first that is said stays. Return 0, -ENOMEM, -EINVAL no
 * such frame. */
int runtime_frames_tell(
	struct runtime_frames *f, const struct process *p, const struct capture_named *named);
/* An unknown id yields an all-zero struct. */
const struct runtime_frame *runtime_frames_get(const struct runtime_frames *f, uint32_t id);

#endif

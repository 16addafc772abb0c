/* SPDX-License-Identifier: Apache-2.0 */
/* profile/timeline.h -- when the samples of a window or a profile were taken, coarsely.
 *
 * Counts by {sample, slot}. Slots start at TIMELINE_SLOT_NS and are joined two by two, all of them,
 * whenever there are more than TIMELINE_SLOTS or the counts are at their cap: memory has a bound
 * whatever is sampled for how long, and the counts of a sample always sum up to it. Where not even
 * one slot has room nothing is kept at all, and `full` says so. Capped at birth; one thread. */
#ifndef GP_PROFILE_TIMELINE_H
#define GP_PROFILE_TIMELINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

#define TIMELINE_SLOTS 512u // what a strip of a page's width can show
#define TIMELINE_SLOT_NS 5000000ull // at birth: 2.5 s fill the slots

struct timeline_count {
	uint32_t sample; // its id, from 1
	uint16_t slot;
	uint16_t count; // of more there are several
};
VEC_DEFINE(timeline_count_vec, struct timeline_count)

struct timeline {
	uint64_t base; // begin of slot 0
	uint64_t slot_ns;
	struct timeline_count_vec counts; // about in the order of time
	uint32_t *newest; // by sample id: index + 1 into counts
	size_t newest_size;
	uint64_t full; // counts that found no room: the timeline is empty then
};

void timeline_init(struct timeline *t, size_t max_counts);
void timeline_deinit(struct timeline *t);
void timeline_clear(struct timeline *t);

/* Counts a sample at a time; the first one begins slot 0, earlier ones fall into it.
 * Return 0 (also when full), -ENOMEM. */
int timeline_add(struct timeline *t, uint32_t sample, uint64_t time, uint64_t count);

/* What becomes of a sample of another timeline. */
struct timeline_move {
	uint32_t sample; // its id here, 0: it is left out
	uint64_t from, to; // its counts there count for so many here, spread over the same times
	uint64_t rest; // the copy's
};
/* Adds the counts of `from`, whose sample s is moves[s] here; where `from` is full, so is t. Return as above. */
int timeline_copy(struct timeline *t, const struct timeline *from, struct timeline_move *moves);

/* Slots from the first to the last with a count. */
unsigned timeline_slots(const struct timeline *t);

#endif

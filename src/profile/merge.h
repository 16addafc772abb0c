/* SPDX-License-Identifier: Apache-2.0 */
/* profile/merge.h -- two windows of the same time become one profile: what sampled the machine, and what
 * read the stacks of interpreters.
 *
 * The rule (gprofiler-agent.md 3.4): a process that was read is shown by the reader's stacks alone. If
 * it was sampled, too, they are scaled to as many samples, each count rounded up or down by chance, so
 * that sums are right; if not, they stay as they are. Everything else is the sampler's. One thread. */
#ifndef GP_PROFILE_MERGE_H
#define GP_PROFILE_MERGE_H

#include "base/map.h"
#include "profile/window.h"

struct merge {
	struct map sampled; // process uid -> samples, of processes that were read
	struct map read; // process uid -> samples
	uint64_t weight; // of one of the sampler's samples on the average, 0 unknown
	uint64_t random;
};

/* sampled: empty if nothing was (native stacks are off). Return 0, -ENOMEM. */
int merge_init(struct merge *m, const struct window *sampled, const struct window *read);
void merge_deinit(struct merge *m);
/* Are the sampler's stacks of this process left out? */
bool merge_replaces(const struct merge *m, uint32_t uid);
/* What a stack that was read counts for, in the sampler's own units; 0 samples: it is left out. */
struct window_count merge_scale(struct merge *m, uint32_t uid, const struct window_count *count);

#endif

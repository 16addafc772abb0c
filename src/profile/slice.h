/* SPDX-License-Identifier: Apache-2.0 */
/* profile/slice.h -- named profiles into one: what slices of a window, or a choice of them, add up to.
 *
 * Two profiles that were asked for at once are cut from one run of the sampler; each takes of every
 * slice what is its own. One thread. */
#ifndef GP_PROFILE_SLICE_H
#define GP_PROFILE_SLICE_H

#include "profile/profile.h"

/* How much of a slice is taken, and what was left over of the last one. */
struct profile_merge {
	bool (*wanted)(void *arg, const struct profile_context *context); // NULL: all
	void *arg;
	/* Of every `of` samples `keep` are kept, spread evenly; both 0: all. What the others weighed is
	 * added to those that stay, so that times and counts of events keep their sums. */
	uint64_t keep, of;
	uint64_t carried; // in parts of `of`
	int64_t carried_value;
};

/* Adds src to dst, which has the same kinds of values or is empty; lengths and ledgers are added, and
 * dst has no times of samples any more; what was not taken is counted in the ledger's left_out, what found no
 * room in aggregation_full, and frames are counted of what was taken.
 * Return 0, -ENOMEM; dst is then good for nothing but profile_deinit(). */
int profile_merge(struct profile *dst, const struct profile *src, struct profile_merge *how);

#endif

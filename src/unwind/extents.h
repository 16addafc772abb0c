/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/extents.h -- hands out ranges of a fixed space of units: first fit, free neighbours join.
 *
 * Serves the page pool, the directory and the mapping blocks alike: a few thousand allocations
 * each, so a sorted array of free ranges is small and searched quickly. Pipeline thread. */
#ifndef GP_UNWIND_EXTENTS_H
#define GP_UNWIND_EXTENTS_H

#include <stdint.h>

#include "base/vec.h"

struct extent {
	uint32_t off, len;
};
VEC_DEFINE(extent_vec, struct extent)

struct extents {
	struct extent_vec free; // sorted by off, no neighbours touch
	uint64_t used; // units handed out
};

/* Units first .. end - 1 are free. Return 0 or -ENOMEM. */
int extents_init(struct extents *e, uint32_t first, uint32_t end);
void extents_deinit(struct extents *e);
/* More free units, above all others and not next to them. Return 0 or -ENOMEM. */
int extents_add(struct extents *e, uint32_t first, uint32_t end);
/* Return 0, -ENOSPC no range is long enough, -EINVAL len 0. */
int extents_take(struct extents *e, uint32_t len, uint32_t *ret_off);
/* Gives a range back. Return 0; -ENOMEM: it is lost. */
int extents_give(struct extents *e, uint32_t off, uint32_t len);

#endif

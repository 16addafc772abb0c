/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_compare.h -- two profiles in one, side by side: value 0 of the first is value 0 of the
 * result, value 0 of the second is value 1.
 *
 * Another run has other pids, so contexts are joined by container, process name and thread name;
 * frames by name, file, module and kind, not by line or address. One thread. */
#ifndef GP_EXPORT_HTML_COMPARE_H
#define GP_EXPORT_HTML_COMPARE_H

#include <stdio.h>

#include "profile/profile.h"

/* out must be initialised and empty, with caps for both. Neither input may be freed before the page
 * is written. Return 0, -EINVAL when the units of the two differ, -ENOSPC, -ENOMEM. */
int html_compare_merge(struct profile *out, const struct profile *a, const struct profile *b);
/* The page of a merged profile. Return 0 or -errno. */
int html_compare_write(
	FILE *f, const struct profile *merged, const struct profile *a, const struct profile *b);

/* One function in both, by self values; for a terminal. */
struct html_change {
	uint32_t frame; // of the merged profile, any of this function's
	int64_t self_a, self_b;
	double change; // share of the whole of b, minus that of a
	double z; // below 2 it is noise
};
VEC_DEFINE(html_change_vec, struct html_change)

/* Functions whose self share changed by more than noise, largest change first.
 * Return 0, -ENOMEM, -ENOSPC at the cap of out. */
int html_compare_changes(const struct profile *merged, struct html_change_vec *out);

#endif

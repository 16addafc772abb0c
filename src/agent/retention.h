/* SPDX-License-Identifier: Apache-2.0 */
/* agent/retention.h -- results in --output-dir keep within a size (--keep-output).
 *
 * What counts is what this program writes there: regular files named profile_<time>... The oldest go first,
 * with the links that stood on them; those of the profile that is being written never go, so one profile
 * larger than the limit is kept alone. The worker's thread. */
#ifndef GP_AGENT_RETENTION_H
#define GP_AGENT_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

/* Removes what is oldest until `coming` more bytes fit under `limit`. stem: "profile_<time>..." of the one
 * being written. Return 0, or -errno of the first that could not be removed. */
int retention_make_room(const char *dir, const char *stem, uint64_t limit, uint64_t coming);
/* Removes the oldest one, for a disk that is full. Return true if something went. */
bool retention_drop_oldest(const char *dir, const char *stem);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* capture/comm_map.h -- names of threads, for samples that carry none.
 *
 * Fed with the side band in the order of delivery, so a name is that of the sample's instant.
 * Owned by the source's thread. */
#ifndef GP_CAPTURE_COMM_MAP_H
#define GP_CAPTURE_COMM_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "capture/event.h"

/* A name is 16 bytes: two words in two maps. */
struct comm_map {
	struct map low, high; // tid -> bytes
};

void comm_map_init(struct comm_map *m, size_t cap);
void comm_map_deinit(struct comm_map *m);
/* Learns from comm, fork and exit records; ignores others. */
void comm_map_apply(struct comm_map *m, const struct capture_event *e);
/* The name of a thread, from /proc the first time; all zeroes if it is not to be known. */
void comm_map_get(struct comm_map *m, uint32_t pid, uint32_t tid, char ret[REC_COMM_LEN]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* capture/source_ring.h -- the ring source, with the system calls that tests let fail.
 *
 * Given processes are sampled by events of their threads; a privileged caller for whom descriptors
 * do not suffice samples everything, and the others are counted as filtered. A sample that user
 * space has to finish carries no user words at all: its registers are the leaf's. */
#ifndef GP_CAPTURE_SOURCE_RING_H
#define GP_CAPTURE_SOURCE_RING_H

#include "capture/perf_open.h"
#include "capture/source.h"

/* As capture_source_ring_new(); sys may be NULL. What could not be had is logged as a warning. */
int source_ring_new(const struct capture_config *config, const struct perf_sys *sys,
	struct capture_source **ret, char *why);

#endif

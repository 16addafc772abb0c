/* SPDX-License-Identifier: Apache-2.0 */
/* capture/proc_snapshot.h -- what already runs, as the records that would have told of it.
 *
 * For recordings only: a live session reads /proc through process/. Any thread. */
#ifndef GP_CAPTURE_PROC_SNAPSHOT_H
#define GP_CAPTURE_PROC_SNAPSHOT_H

#include "capture/event.h"

/* Hands out, stamped `time`: for each process a fork, a comm with exec, its executable mappings,
 * then a fork and a comm for each further thread. What vanishes meanwhile is left out. proc:
 * "/proc" or a fixture. Return 0, -errno, or what fn returned. */
int proc_snapshot(const char *proc, uint64_t time, capture_event_fn fn, void *arg);

#endif

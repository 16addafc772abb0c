/* SPDX-License-Identifier: Apache-2.0 */
/* capture/event_find.h -- names of perf events, and the best clock of this machine. Any thread. */
#ifndef GP_CAPTURE_EVENT_FIND_H
#define GP_CAPTURE_EVENT_FIND_H

#include "capture/source.h"

/* An event by the name perf and the reference give it (gprofiler-agent.md 1.3, --perf-events);
 * "cpu-cycles" is "cycles". Return 0 or -ENOENT. */
int event_find_named(const char *name, struct capture_perf_event *ret);

/* The n-th candidate for a clock: hardware cycles, cpu-clock, task-clock. -ENOENT past the last.
 * The caller opens them in this order and keeps the first that the kernel takes. */
int event_find_clock(unsigned n, struct capture_perf_event *ret);

/* Whether the kernel counts it, for ourselves: an event opened and closed, nothing is sampled. Return 0; -EPERM,
 * -EACCES: it says nothing to us; another -errno: this machine has no such event, -ENOENT nobody has. */
int event_probe(const char *name);

#endif

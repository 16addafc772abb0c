/* SPDX-License-Identifier: Apache-2.0 */
/* agent/hw_metrics.h -- hardware counters of the whole machine over a window, for the header's
 * `hwmetrics` (REQUIREMENTS O6b): perf_event_open on each CPU, counting only, no child process.
 *
 * Where there are no counters there are no metrics. One thread. */
#ifndef GP_AGENT_HW_METRICS_H
#define GP_AGENT_HW_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "profile/profile.h"

/* Counters share the hardware's registers in turns: each has run for a part of the time. */
struct hw_reading {
	uint64_t value, enabled_ns, running_ns;
};

struct hw_counter {
	int fd; // negative: none
	struct hw_reading last; // at the last window's end
};

struct hw_metrics {
	struct hw_counter *counters; // [cpu * PROFILE_HW_MAX + counter]; NULL: not open
	unsigned ncpus;
};

/* Return 0; -ENOENT this machine has no counters, -EACCES they are not for us (said once in the log);
 * -errno. */
int hw_metrics_open(struct hw_metrics *m);
void hw_metrics_close(struct hw_metrics *m);
/* What was counted since the last call; false if nothing is open. */
bool hw_metrics_window(struct hw_metrics *m, struct profile_hw *ret);
/* What a counter would have counted between two readings, had it run all the time; 0 if it did not run. */
uint64_t hw_metrics_scale(const struct hw_reading *from, const struct hw_reading *to);
/* The object of texts, or null where cycles or instructions are missing. */
json_t *hw_metrics_json(const struct profile_hw *hw, uint64_t duration_ns);

#endif

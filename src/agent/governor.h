/* SPDX-License-Identifier: Apache-2.0 */
/* agent/governor.h -- the agent's own budget: what it takes, and what it gives up when that is too
 * much (REQUIREMENTS R7).
 *
 * Read once a second: anonymous memory and that of BPF maps and rings against --max-memory (or what
 * the agent's own cgroup allows, if that is less), CPU against --max-cpu; and whether the machine or that
 * cgroup is short of memory, which costs the caches and no more. Steps, one at a time: caches
 * are dropped, the rate is halved three times (samples then count for more), sampling pauses. Back the
 * same way once there is room. Decisions are pure; the one who owns the session carries them out. */
#ifndef GP_AGENT_GOVERNOR_H
#define GP_AGENT_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "config/options.h"

#define GOVERNOR_PATH 256

enum governor_level {
	GOVERNOR_FULL,
	GOVERNOR_SHED, // caches are dropped as often as may be
	GOVERNOR_HALF, // of the rate
	GOVERNOR_QUARTER,
	GOVERNOR_EIGHTH,
	GOVERNOR_PAUSED,
	GOVERNOR_LEVELS,
};

struct governor_reading {
	uint64_t now; // CLOCK_MONOTONIC ns
	uint64_t cpu_ns; // of the process since its start
	uint64_t anon, resident, bpf; // bytes: RssAnon + RssShmem, VmRSS, maps and rings
	double pressure; // percent of time all tasks waited for memory (PSI full avg10), 0 unknown
	uint64_t squeezed; // times that our own cgroup was at its limit, 0 unknown
};

/* What happened in a window. */
struct governor_marks {
	enum governor_level worst;
	uint32_t shed, slowed, paused, eased; // steps
	double cpu_percent; // of one CPU, over the window
	struct governor_reading end;
};

struct governor {
	uint64_t max_memory; // bytes, 0 none
	double max_cpu; // percent of one CPU, 0 none
	uint64_t own_limit; // bytes of our cgroup's, 0 none
	bool may_shed;
	char events
		[GOVERNOR_PATH]; // file that counts those times: memory.events or memory.failcnt; "" none
	const char *pressure; // file of the machine's memory pressure, NULL none
	enum governor_level level;
	struct governor_reading last, window_start;
	double cpu; // percent of one CPU, smoothed over half a minute
	uint64_t first, stepped; // times of the first reading and the last step
	struct governor_marks marks; // of the running window
	uint64_t steps[GOVERNOR_LEVELS]; // to a level, since the start
	uint32_t said_up,
		said_down; // bit by level: a step to it, from below and from above, was logged
};

void governor_init(struct governor *g, const struct options *o);
/* The least that a process's cgroups and those above them allow, in bytes; 0 no limit. membership: its
 * /proc/PID/cgroup; root: where cgroups are mounted. ret_events: where it is counted how often the own
 * one was reached, untouched if that is nowhere. */
uint64_t governor_cgroup_limit(
	const char *membership, const char *root, char ret_events[static GOVERNOR_PATH]);
/* Other limits from now on: --max-memory and --max-cpu, within what the own cgroup allows. */
void governor_set_limits(struct governor *g, const struct options *o);
/* Reads what the process takes; bpf is known to the session. */
void governor_read(const struct governor *g, struct governor_reading *ret, uint64_t bpf);
/* The level from now on; a change is logged with its numbers and counted. */
enum governor_level governor_decide(struct governor *g, const struct governor_reading *now);
/* By how much the rate is divided at a level; 0: paused. */
unsigned governor_divisor(enum governor_level level);
/* "full", "caches dropped" ... */
const char *governor_level_name(enum governor_level level);
/* What is told of the window that ends; the next begins. */
struct governor_marks governor_window(struct governor *g);
/* For the header of a profile; NULL without memory. */
json_t *governor_json(const struct governor_marks *marks);

#endif

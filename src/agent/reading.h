/* SPDX-License-Identifier: Apache-2.0 */
/* agent/reading.h -- the source `reader` in a session: its window, and its share of the ledger.
 *
 * Stacks come from runtime/reader.h by a timer and are counted in a window of their own, which is merged
 * with the sampler's when it is named (profile/merge.h). Without a reader everything below does
 * nothing. Owned by the session, on its thread. */
#ifndef GP_AGENT_READING_H
#define GP_AGENT_READING_H

#include "agent/frames.h"
#include "agent/identities.h"
#include "agent/selection.h"
#include "profile/naming.h"
#include "runtime/reader.h"

/* When a session has a reader, and what it reads. */
struct reading_options {
	bool always; // interpreters are read, and not walked in the kernel
	bool fallback; // they are read where there is no walker in the kernel
	bool spawned; // also those that start in mid-window
	bool lock_only; // only threads that hold the interpreter's lock
	bool min_age_given; // holds for processes that were named by the user, too
	unsigned max; // the busiest so many, 0 all
	uint64_t min_age_ns;
	const uint32_t *pids; // read in any case; not owned
	size_t npids;
};

struct reading_config {
	struct reading_options options;
	struct frames *frames;
	struct identities *identities; // NULL: not asked for
	unsigned frequency; // samples a second that a thread counts for
	uint32_t max_samples;
	bool only_listed; // the walker in the kernel sees to the others
	bool no_records; // nothing but /proc tells what processes do
	bool alone; // nothing samples what is read
	bool (*wanted)(void *arg, const struct process *p, bool *ret_asked_for);
	void *arg;
};

struct reading {
	struct reader *reader; // NULL: none
	struct frames *frames;
	struct identities *identities;
	struct process_table *processes;
	struct window window;
	unsigned frequency;
	bool no_records;
	uint64_t next_scan; // of /proc for new processes, CLOCK_MONOTONIC ns
	struct reader_stats base; // when the running window began
	struct reader_stats ended; // of the window that ended
	bool alone; // nothing samples what is read
};

int reading_init(struct reading *r, const struct reading_config *config);
void reading_deinit(struct reading *r);
/* The window begins: processes are chosen. */
int reading_begin(struct reading *r);
/* When there is something to do, CLOCK_MONOTONIC ns; UINT64_MAX never. */
uint64_t reading_next(const struct reading *r);
int reading_turn(struct reading *r);
/* The window ends: its counts are kept for reading_fill(). */
void reading_cut(struct reading *r);
/* Its stacks are no longer needed. */
void reading_clear(struct reading *r);
void reading_set_divisor(struct reading *r, unsigned divisor);
/* Names a sampled window together with what was read. */
int reading_name(struct reading *r, struct naming *naming, const struct window *sampled,
	struct profile *ret);
/* Its part of the ledger. */
void reading_fill(const struct reading *r, struct profile_ledger *ret);

#endif

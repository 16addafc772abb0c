/* SPDX-License-Identifier: Apache-2.0 */
/* agent/vitals.h -- what the running agent says about itself: the numbers of config/metrics.def, the sum
 * of all windows' ledgers, and a few words. `/metrics` and `gprofiler status` show it.
 *
 * The main loop writes what only it knows, once a second and at each window. Other parts hand in a
 * function that fills their rows when somebody asks. What the process takes is read from /proc/self
 * then, too. Any thread; owned by the run. */
#ifndef GP_AGENT_VITALS_H
#define GP_AGENT_VITALS_H

#include <stdbool.h>
#include <stdint.h>

#include "config/counters.h"
#include "config/metrics.h"
#include "profile/profile.h"

/* Words for people; all of them constant or of our own making, none of a target or a server. */
struct vitals_words {
	char rung[16]; // "bpf", "ring", ...; empty before the first session
	char event[64]; // of the first event
	char state[16]; // "starting", "sampling", "idle", "paused"
	char scope[16]; // "machine", "processes", "cgroups", "runtimes", "command"
};

struct vitals_report {
	struct metric_values values;
	struct vitals_words words;
	uint64_t ledger[COUNTER_COUNT]; // rows of COUNTER_GROUP_LEDGER: sums over all windows
	uint64_t seen_ns; // CLOCK_MONOTONIC: when the main loop was last here
};

struct vitals;

/* Fills rows of its own; called with no lock of vitals held, on the thread that asks. */
typedef void (*vitals_fn)(void *arg, struct metric_values *values);

/* Return 0 or -ENOMEM. */
int vitals_new(uint64_t spawn_real_ns, struct vitals **ret);
void vitals_free(struct vitals *v);

/* A part that fills its rows from now on; VITALS_PARTS_MAX of them. arg NULL: none. Return 0, -ENOSPC. */
#define VITALS_PARTS_MAX 8
int vitals_add_part(struct vitals *v, vitals_fn fn, void *arg);
/* No call of that part is under way or will come when this returns. */
void vitals_remove_part(struct vitals *v, vitals_fn fn, void *arg);

/* The main loop's rows, locked until vitals_end(), which also notes that the loop is alive. */
struct vitals_report *vitals_begin(struct vitals *v);
void vitals_end(struct vitals *v);
/* A window ended and was named. */
void vitals_window(struct vitals *v, const struct profile_meta *meta);

void vitals_collect(struct vitals *v, struct vitals_report *ret);
/* Share of the ticks of a window that are accounted for and not lost, 0 to 1. */
double vitals_coverage(const struct profile_ledger *l);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/session_state.h -- what a session is made of, for the files it is written in; inside agent/session*
 * only. One thread. */
#ifndef GP_AGENT_SESSION_STATE_H
#define GP_AGENT_SESSION_STATE_H

#include "agent/frames.h"
#include "agent/hw_metrics.h"
#include "agent/ledger.h"
#include "agent/session.h"
#include "agent/usage.h"
#include "base/clock.h"
#include "process/process.h"
#include "profile/window.h"
#include "unwind/unwind.h"

#define SESSION_SAMPLES_MAX 65536 // distinct ones a window, unless told otherwise
#define SESSION_PUMP_NS                                                                            \
	(20 * NSEC_PER_MSEC) // the rings are emptied this often while a window is named

/* The window that ended. */
struct ended_window {
	uint64_t from, to; // CLOCK_MONOTONIC ns
	uint64_t real_to; // CLOCK_REALTIME ns
	unsigned frequency; // asked for
	struct ledger_window counts[CAPTURE_EVENTS_MAX];
};

struct session {
	struct session_config config;
	struct session *companion; // emptied while this one is named; NULL none
	struct module_table modules;
	struct process_table processes;
	struct capture_source *source;
	const char *source_name; // of the rung, also while it is recorded
	struct unwind *unwind;
	struct resolver resolver;
	struct window windows[CAPTURE_EVENTS_MAX];
	struct runtimes runtimes;
	struct identities *identities; // NULL: not asked for
	struct hw_metrics hw;
	struct profile_hw counted; // in the window that ended
	bool has_counted;
	struct usage usage; // of the machine, in the running window
	struct usage_averages averages; // in the window that ended
	struct frames frames;
	struct reading reading;
	struct unwind_result *result; // scratch of one sample
	uint64_t start_mono;
	uint64_t idle_ns; // of all CPUs, when the running window began
	unsigned hz; // now; 0: paused
	unsigned divisor; // of the rate that is asked for; 0: paused
	uint64_t hz_since; // CLOCK_MONOTONIC ns
	uint64_t tick_ns; // ticks of the running window until then, in parts of 10^9
	uint64_t real_offset; // CLOCK_REALTIME - CLOCK_MONOTONIC, ns
	uint64_t boundary; // end of the running window, 0 none
	uint64_t drained; // every record up to then has been taken
	uint64_t shown; // time of the last progress
	uint64_t idled; // time of the last tables made ahead
	uint64_t pause, look_at; // ns the rings are left alone for; when they are looked at next
	uint64_t looks[2]; // at the rings: by time; since somebody called
	uint64_t pumped; // time of the last emptying of the rings while naming
	uint64_t recorded_from, recorded_to; // times of a replayed recording, ns
	struct ledger ledgers[CAPTURE_EVENTS_MAX];
	struct ledger_base bases[CAPTURE_EVENTS_MAX];
	struct ended_window ended;
	uint64_t overflow_records; // process records dropped while naming
	bool started, processes_built, resolver_built, seen;
	bool no_records; // nothing but /proc tells what processes do
};

/* Records (session_records.c). */

/* For the reader, which may have to do without records: is the process wanted? */
bool session_may_be_read(void *arg, const struct process *p, bool *ret_asked_for);
/* For runtime_frames.named: keeps a frame's name in the recording. */
void session_keep_name(void *arg, const struct process *p, const uint64_t *words, unsigned nwords,
	const struct runtime_frame *frame);
/* Tells the walkers of a process that changed. Return 0, 1: it is too young, ask again; -errno. */
int session_publish(void *arg, struct process *p);
/* Takes what is in the rings up to a time, 0: all, and not beyond the end of the running window. */
int session_drain(struct session *s, uint64_t until);
/* Keeps the rings from running over while a window is named: to be called now and then. */
void session_pump(void *arg);

/* Windows (session_window.c). */

/* The running window ended at this time. last: of the session. */
void session_end_window(struct session *s, uint64_t end, bool last);

#endif

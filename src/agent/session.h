/* SPDX-License-Identifier: Apache-2.0 */
/* agent/session.h -- one profiling run: the rooms put together.
 *
 * Records flow source -> process table -> unwinding -> window; at the end of a window it is named and
 * handed out. Windows are cut by time stamp: every record stamped up to the boundary belongs to the
 * one that ends, the rest to the next, whenever they are read. Only session*.c know the whole flow:
 * session.c builds the rooms, runs and ends them, session_records.c takes records, session_window.c cuts
 * and names windows. Owns every room by value or pointer, builds them top-down and ends them in reverse.
 * One thread. */
#ifndef GP_AGENT_SESSION_H
#define GP_AGENT_SESSION_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/identities.h"
#include "agent/reading.h"
#include "agent/selection.h"
#include "capture/source.h"
#include "profile/profile.h"
#include "symbol/resolver.h"

enum session_rung {
	SESSION_RUNG_AUTO, // bpf, else ring, else ring for own processes, else reader if it may
	SESSION_RUNG_BPF,
	SESSION_RUNG_RING,
	SESSION_RUNG_READER, // no samples at all: stacks of interpreters by a timer
	SESSION_RUNG_REPLAY,
};

struct session_config {
	struct capture_config capture;
	struct selection *selection; // which samples are wanted; not owned, NULL: all
	enum session_rung rung;
	const char *replay; // file, for SESSION_RUNG_REPLAY
	const char *record; // file to write every captured record to, NULL none
	uint32_t root_pid; // only this process and its descendants, 0 all
	struct resolver_config resolver;
	bool hw_metrics; // hardware counters go with each window
	bool usage; // how busy the machine was goes with each window
	const struct identities_config
		*identities; // who processes are; NULL: only what records say
	bool no_containers; // leave containers out
	uint32_t max_samples; // distinct samples a window, 0: default
	uint64_t window_ns; // length of a window, 0: one window from start to stop
	bool progress; // show progress on stderr
	bool python; // Python frames
	bool python_versions; // with the packages they are of
	struct reading_options reading; // where they are read from outside
	uint64_t progress_ns; // of this long a run, 0 unknown
};

struct session;

/* Builds the rooms and chooses the rung (logged with what it loses).
 * Return 0 or -errno with a sentence in why (CAPTURE_WHY bytes). */
int session_new(const struct session_config *config, struct session **ret, char *why);
void session_free(struct session *s);

/* Starts sampling. */
int session_start(struct session *s);

/* Tells the sampler what the selection wants now, where it can tell tasks apart itself. Return 0 or
 * -errno. */
int session_select(struct session *s);

/* Runs until the CLOCK_MONOTONIC deadline (0: none) or until *stop becomes non-zero.
 * Return 0 or -errno. */
int session_run(struct session *s, uint64_t deadline, const volatile sig_atomic_t *stop);

/* What it does beside the samples; monotonic. */
struct session_work {
	uint64_t
		called; // rings emptied as the sampler called for it, or one of them was filling up
	uint64_t timed; // the same by time
	uint64_t processes_read; // in /proc
};
void session_get_work(const struct session *s, struct session_work *ret);

/* When sampling began, CLOCK_MONOTONIC ns. */
uint64_t session_begun(const struct session *s);
/* When the running window ends, CLOCK_MONOTONIC ns; 0 when it has no end. */
uint64_t session_boundary(const struct session *s);
/* The running window ends then and not when it would have; 0: when it is told to. Not before
 * what was read already. */
void session_set_boundary(struct session *s, uint64_t at);
/* Ends the running window at its boundary and begins the next one. Waits out the boundary, and a few
 * ms more until every record stamped before it is in. Then session_profile() gives what it gathered,
 * and session_window_done() must come before the next cut. Return 0 or -errno. */
int session_cut(struct session *s);
/* While s is named, the rings of `other`, which runs beside it, are emptied, too; NULL: nobody's. Its window must
 * have a boundary. */
void session_set_companion(struct session *s, struct session *other);
/* Forgets the window that ended, and the processes that only it saw. */
int session_window_done(struct session *s);

/* It ticks at another rate from now on. The window that runs is one of the old rate: it must be cut at this very
 * time, and session_set_frequency() follows the cut. Return 0, -EOPNOTSUPP, -errno. */
int session_retune(struct session *s, unsigned hz);
/* Another rate is asked for from now on, as if the session had been built with it: between session_cut()
 * and the next session_run(). Return 0, -EOPNOTSUPP: this source keeps its rate, -errno. */
int session_set_frequency(struct session *s, unsigned hz);
unsigned session_frequency(const struct session *s);
/* Whether its rate can be changed. */
bool session_can_change(const struct session *s);
/* Another choice of what is wanted; NULL: all. */
void session_set_selection(struct session *s, struct selection *selection);
/* Samples at the asked rate divided by this from now on, each sample counting for so many; 0: not at
 * all for now. Return 0, -EOPNOTSUPP, -errno. */
int session_set_divisor(struct session *s, unsigned divisor);
/* Drops what can be made again. Between windows. */
void session_shed(struct session *s);
/* Bytes of BPF maps and of rings. */
uint64_t session_capture_memory(struct session *s);

/* Stops sampling, takes in what is still in the rings and ends the last window. */
int session_stop(struct session *s);

unsigned session_events(const struct session *s);
const char *session_event_name(const struct session *s, unsigned event);
const struct capture_perf_event *session_event(const struct session *s, unsigned event);
/* "bpf", "ring" ... */
const char *session_source(const struct session *s);

/* Names what event number `event` gathered in the window that ended. ret must be initialised and
 * empty; its meta and ledger are filled too. Meanwhile the rings are emptied into memory, and nothing
 * of it is looked at. */
int session_profile(struct session *s, unsigned event, struct profile *ret);

#endif

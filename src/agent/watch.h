/* SPDX-License-Identifier: Apache-2.0 */
/* agent/watch.h -- those who look at the running agent: Prometheus (--metrics-listen), `gprofiler
 * status`, the service manager, and the next run (run_record.h).
 *
 * Owns the vitals. None of it can keep the agent from profiling: what cannot be had is said and left out.
 * Main thread, but for the vitals. */
#ifndef GP_AGENT_WATCH_H
#define GP_AGENT_WATCH_H

#include "agent/governor.h"
#include "agent/run_record.h"
#include "agent/selection.h"
#include "agent/session.h"
#include "agent/vitals.h"
#include "agent/worker.h"
#include "config/options.h"
#include "delivery/delivery.h"

struct watch;

/* What the main loop has at hand, once a second. */
struct watch_now {
	const struct governor *governor;
	const struct selection *selection; // NULL: nothing is sampled, or a recording is
	struct worker *worker; // NULL: none
	const char *rung, *event; // NULL: nothing is sampled
	unsigned frequency; // asked for
	struct session_work work; // of all sessions
	bool runtimes_only;
};

/* lock: of the agent, -1 none: no status then. Return 0 or -ENOMEM. */
int watch_new(const struct options *o, uint64_t spawn_real_ns, int lock, struct watch **ret);
/* Ends the servers. After it the delivery and all parts may go. */
void watch_free(struct watch *w);

struct vitals *watch_vitals(struct watch *w);
/* What it sends, NULL none, is told from now on. */
void watch_delivery(struct watch *w, struct delivery *d);

/* Sampling begins: the service is up. */
void watch_ready(struct watch *w);
/* The loop is alive and this is how it is. */
void watch_look(struct watch *w, const struct watch_now *now);
/* A window ended: meta of the named profile, NULL if naming failed. */
void watch_window(struct watch *w, const struct profile_meta *meta);
void watch_reloaded(struct watch *w);
/* The run ends; what is left is to write and send. */
void watch_stopping(struct watch *w);
/* All is done: the record says how. */
void watch_ended(struct watch *w, bool clean);

#endif

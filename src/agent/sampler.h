/* SPDX-License-Identifier: Apache-2.0 */
/* agent/sampler.h -- the one session that samples for all jobs, built and ended on demand.
 *
 * It asks for what the jobs want together: the higher rate, all their processes (or the machine), all
 * their events, the more generous guard rails. While what is there covers what is wanted the session
 * stays and only its rate and its choice change; otherwise it is built anew between two windows. Without
 * a job there is none, and what it took is given back. Main thread. */
#ifndef GP_AGENT_SAMPLER_H
#define GP_AGENT_SAMPLER_H

#include "agent/containers.h"
#include "agent/governor.h"
#include "agent/job.h"
#include "agent/session.h"
#include "delivery/metrics.h"

/* What two jobs want together. */
struct sampler_merged {
	struct options options;
	struct selection selection;
	bool clock; // one of them wants the clock, the other named events
};

struct sampler {
	struct session *s; // NULL: nothing is sampled
	struct session_config
		built; // what s was built with; borrows nothing that is not the config's own
	struct capture_perf_event events[CAPTURE_EVENTS_MAX]; // that s samples
	uint32_t *pids; // that s was built for
	size_t npids;
	uint32_t *readers; // that are read in any case
	unsigned hz; // that s was asked for last
	struct session_work ended; // of the sessions before s
	uint32_t root_pid; // only this process and its descendants, 0 all
	bool own_pid_only; // of root_pid: without privileges
	struct governor governor;
	const struct options *base; // of the command line
	struct containers *containers; // of s; NULL: their names are not wanted
	struct external_metadata *external; // of the headers; borrowed, NULL none
	struct identities_config identities;
	struct metrics *metrics; // of what fails; borrowed, NULL: not published
	/* what is wanted now */
	const struct options *options;
	struct selection *selection; // NULL: replay
	struct sampler_merged *merged; // of two jobs, NULL of one
	struct sampler_merged *used; // what the session's choice belongs to
	bool wanted, wanted_native; // by the last jobs: anything at all, native stacks
};

/* A session that ends while its successor runs already. */
struct sampler_former {
	struct session *s;
	uint32_t *pids, *readers;
};

void sampler_init(struct sampler *m, const struct options *options);
void sampler_deinit(struct sampler *m);

/* Whether the events of these options have names that are known; logged. Return 0 or -errno. */
int sampler_check(const struct options *o);

/* Looks at what these jobs (NULL entries are skipped) want together, asks the guard rails, and decides.
 * Until sampler_apply() the session goes on as it was. Return 0 or -errno. */
int sampler_want(struct sampler *m, struct job *const jobs[JOB_SLOTS]);
/* After it: nothing is wanted, or nothing may be sampled. */
bool sampler_nothing(const struct sampler *m);
/* After it: the session that is there does, with its rate and choice changed. */
bool sampler_covers(const struct sampler *m);
/* Just before the window of a session that does is cut: if its rate is to change it does so now, and the window ends
 * now. Return whether it is so. */
bool sampler_retune(struct sampler *m);
/* Changes rate and choice of a session that does: between session_cut() and the next session_run(). */
int sampler_adapt(struct sampler *m);

/* Builds and starts a session for what is wanted; logged. Return 0 or -errno with a sentence in why
 * (CAPTURE_WHY bytes). */
int sampler_open(struct sampler *m, char *why);
void sampler_close(struct sampler *m);
/* Builds and starts one for what is wanted beside the one that is there, which goes on as it was until
 * sampler_drop(). Return 0, or -errno and nothing is changed: what two need at a time may be more than there is. */
int sampler_open_beside(struct sampler *m, struct sampler_former *ret_former, char *why);
void sampler_drop(struct sampler *m, struct sampler_former *former);
/* What is wanted cannot be sampled, or no longer: the reference's metric of the profiler that fails (4.6).
 * Once a failure. */
void sampler_failed(const struct sampler *m);

/* Once a second: who was chosen may have moved. */
void sampler_look(struct sampler *m);
/* Our own budget, once a second. */
void sampler_govern(struct sampler *m);
/* What all its sessions did. */
void sampler_get_work(const struct sampler *m, struct session_work *ret);

#endif

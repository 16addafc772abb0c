/* SPDX-License-Identifier: Apache-2.0 */
/* agent/job.h -- one profile that somebody asked for: on the command line, or a command of the studio.
 *
 * Two can run at once, a continuous one and an ad-hoc one, from one sampler (agent/sampler.h). Whenever
 * a window of either begins or ends the sampler's window is cut; what it held is a slice, and each takes
 * from it what is its own: its processes, its events, at its rate (docs/notes/0022). A job that runs
 * alone takes slices whole. Main thread. */
#ifndef GP_AGENT_JOB_H
#define GP_AGENT_JOB_H

#include "agent/finish.h"
#include "agent/selection.h"
#include "agent/worker.h"
#include "profile/slice.h"

enum job_slot {
	JOB_CONTINUOUS, // window after window
	JOB_ONCE, // one profile, then its end
	JOB_SLOTS,
};

struct job {
	enum job_slot slot;
	struct finish_config *finish; // one reference; its options are the job's
	struct selection selection;
	struct option_pids without; // processes that were taken out
	uint64_t began, boundary; // CLOCK_MONOTONIC ns; boundary 0: none
	uint64_t windows; // given out
	struct finished *parts[CAPTURE_EVENTS_MAX]; // of the running window, by event of the job
	struct profile_merge thinning[CAPTURE_EVENTS_MAX];
	unsigned nparts;
	struct finish_receipt receipt; // goes with the next window that is given out
	char id[72]; // of the command, "" of the command line
	json_t *body; // owned: of the command, NULL of the command line
};

/* The options are copied and the processes they name looked up. Return 0; 1: none of them can be
 * sampled (said on standard output); -ENOMEM. */
int job_new(const struct options *options, struct job **ret);
/* What was not given out is dropped. */
void job_free(struct job *job);

static inline const struct options *job_options(const struct job *job)
{
	return &job->finish->options;
}
/* Whether it samples named events; otherwise the sampler's first one, its clock. */
bool job_names_events(const struct options *o);

/* Its time runs from now on (CLOCK_MONOTONIC ns). */
void job_begin(struct job *job, uint64_t now);

/* One event of a slice. alone: nobody else has a part in it, and the sampler took what this job asked
 * for: *slice may be taken over, and is NULL then. Return 0 or -errno. */
int job_take(struct job *job, struct finished **slice, bool alone);

/* Hands the window that ended to the worker, or writes it here (worker NULL); the next one begins at the
 * boundary. Return 0, -ENODATA: there was none, -errno. */
int job_give(struct job *job, struct worker *worker);

/* These processes are no more wanted. Return true if none is left of those that were asked for. */
bool job_leave_out(struct job *job, const struct option_pids *pids);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/windows_run.h -- the loop's state, for those who change what runs in it; inside agent/ only.
 * Main thread. */
#ifndef GP_AGENT_WINDOWS_RUN_H
#define GP_AGENT_WINDOWS_RUN_H

#include "agent/sampler.h"
#include "agent/windows.h"
#include "agent/worker.h"

/* Jobs of a set of slots, as bits. */
#define BIT(slot) (1u << (slot))
#define ALL_SLOTS (BIT(JOB_SLOTS) - 1)

struct windows {
	const struct windows_config *config;
	struct options live; // the command line's, with what files said at the last SIGHUP
	struct sampler sampler;
	struct worker *worker; // NULL in a single run
	struct job *jobs[JOB_SLOTS];
	uint64_t number; // of windows ended
	unsigned trims; // that are left since sampling ended
	bool ending; // of the run: what ends now has not had its time
	char why[CAPTURE_WHY]; // the last session could not be opened
};

unsigned windows_running(const struct windows *w);

/* The one way in which anything changes: at a time `at` the windows of the jobs in `due` end and are
 * given out, those in `ending` (which are due, too) end, and a fresh one begins in a slot that is free
 * then; its window and the next ones of the others begin where the old ones ended. Return 0 or -errno;
 * the fresh job is in its slot unless the guard rails could not be asked. */
int windows_turn(struct windows *w, uint64_t at, unsigned due, unsigned ending, struct job *fresh);

/* Carries out what the studio commands (obey.c), as far as slots are free. Return 0 or -errno. */
int obey(struct windows *w);
/* The command in force of the last run goes on, or its stop: true, and what the command line asks for
 * does not begin. */
bool obey_resume(struct windows *w);
/* A window of a job is about to be given out; ending: its last one. Who wants to know is told then. */
void obey_window(struct windows *w, struct job *job, bool ending);
/* Sampling failed: jobs of the studio are over, and it is told. Return 0, or r if the command line's own
 * job failed. */
int obey_failure(struct windows *w, int r);

#endif

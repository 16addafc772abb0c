/* SPDX-License-Identifier: Apache-2.0 */
/* agent/windows.h -- the loop of a run: one window, or window after window, or what a server asks for.
 *
 * Jobs come and go (agent/job.h), one sampler works for all of them (agent/sampler.h). At a boundary of
 * any job the sampler's window is cut by time stamp and named here, on the session's thread (its rings
 * are emptied meanwhile); files are written by the worker beside the next window. Once a second: the
 * controlling process, signals, chosen processes. Before each window the guard rails are asked; when
 * native stacks go off or on, the session is built anew between two windows, and when nothing is left to
 * sample there is none. Main thread. */
#ifndef GP_AGENT_WINDOWS_H
#define GP_AGENT_WINDOWS_H

#include <signal.h>

#include "agent/command.h"
#include "agent/control.h"
#include "agent/job.h"
#include "agent/watch.h"
#include "delivery/metrics.h"
#include "process/identity.h"

/* Set by signals. */
struct windows_signals {
	volatile sig_atomic_t stop; // SIGINT, SIGTERM: the run ends; SIGCHLD: the command may have
	volatile sig_atomic_t hangup; // SIGHUP: logs are reopened, config files read again
};

struct windows_config {
	const struct options *options;
	struct windows_signals *signals;
	struct command *command; // pid 0: none
	const struct process_identity *controller; // NULL: none
	struct job *first; // what the command line asks for, taken over; NULL: nothing
	struct control *control; // who may ask for more; NULL: nobody
	/* of profiles that the control asks for */
	struct delivery *delivery;
	struct machine *machine; // for headers
	uint64_t spawn_real_ns;
	const char *hostname;
	struct watch *watch;
	struct metrics *metrics; // of what fails; NULL: not published
};

/* Samples until the time is over, the command or the controller has ended, or a signal came, and
 * writes what was sampled. *ret_abandoned: a write hangs, and what it uses must be left alone until
 * the process exits. Return 0 or -errno. */
int windows_run(const struct windows_config *config, bool *ret_abandoned);

#endif

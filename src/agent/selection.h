/* SPDX-License-Identifier: Apache-2.0 */
/* agent/selection.h -- what is sampled, and what is not: the guard rails (REQUIREMENTS R9 to R11).
 *
 * Decided before anything is started, and again for each window: chosen processes by identity, the
 * number of processes on the machine, the busiest cgroups. The limit on processes beats cgroups; both
 * concern native stacks, interpreters' go on. Main thread. */
#ifndef GP_AGENT_SELECTION_H
#define GP_AGENT_SELECTION_H

#include "agent/cgroups.h"
#include "capture/source.h"
#include "config/options.h"
#include "process/identity.h"
#include "process/process.h"

VEC_DEFINE(selection_ids, struct process_identity)

enum selection_native {
	SELECTION_ALL,
	SELECTION_CGROUPS, // tasks of the chosen groups only
	SELECTION_NONE, // too many processes, or no group was found
};

struct selection {
	const struct options *options;
	struct selection_ids pids; // empty: all
	struct option_pids numbers; // of pids
	struct option_pids readers; // those of --python-pyspy-process that live
	enum selection_native native;
	bool decided;
	bool too_many; // processes
	bool read_python; // too many Python processes for the walker in the kernel: they are read
	struct cgroups cgroups;
	bool cgroups_built;
	bool all_ended; // of pids
};

/* Keeps those of --pids that live and may be sampled, and names the others.
 * Return 0; 1 when none is left (said on standard output); -ENOMEM. */
int selection_init(struct selection *s, const struct options *options);
void selection_deinit(struct selection *s);

/* Decides anew, and logs what changed with its numbers. Return 0 or -errno. */
int selection_choose(struct selection *s);
/* True once all of --pids have ended. Call it now and then: it also looks after moving processes. */
bool selection_look(struct selection *s);

/* Is it one of --pids, or are there none? A pid that was given to another process since is not what was
 * asked for. */
bool selection_has(const struct selection *s, const struct process *p);
/* Is a sample of this process wanted? */
bool selection_wants(
	const struct selection *s, const struct process *p, const struct rec_sample *rec);
/* Forks, exits and new groups, in their order among the samples. True: a process or a group was added to
 * the chosen ones. */
bool selection_event(struct selection *s, const struct capture_event *event);
/* What was chosen, for the sampler, in arrays that the caller frees. Return 1, 0 if groups do not matter,
 * -ENOMEM. */
int selection_groups(const struct selection *s, struct capture_groups *ret, uint64_t **ret_ids,
	uint32_t **ret_pids);

/* Processes of the machine, kernel threads included; 0 if /proc cannot be read. */
unsigned selection_count_processes(const char *proc);

#endif

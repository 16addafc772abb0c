/* SPDX-License-Identifier: Apache-2.0 */
/* agent/runtimes.h -- interpreters in the life of a session: which process is shown to them when.
 *
 * A runtime looks at a file of a process once, when a sample lands in it. Files known to hold an
 * interpreter's loop, and those whose name promises one, are shown with the mappings of a process that
 * the kernel's walker is told of: then its first sample mostly has the interpreter's frames already. (A name
 * is a hint to be early; what a file is, is told by its content.) One thread. */
#ifndef GP_AGENT_RUNTIMES_H
#define GP_AGENT_RUNTIMES_H

#include "base/map.h"
#include "process/process.h"
#include "profile/runtime_frames.h"
#include "runtime/runtime.h"

struct runtimes {
	struct runtime_set *set; // NULL: none was asked for
	struct process_table *processes;
	struct runtime_frames frames;
	struct map met; // {process uid, module}
	size_t met_left; // of which were there after the last sweep
	struct map loops; // modules with an interpreter's loop
	bool only; // emit nothing but processes of interpreters: native stacks are off
};

/* Nothing asked for in config: everything below does nothing. */
int runtimes_init(struct runtimes *r, const struct runtime_config *config, uint32_t max_frames);
void runtimes_deinit(struct runtimes *r);

/* A sample of p landed in m, whose file is open. */
int runtimes_meet(struct runtimes *r, struct process *p, const struct mapping *m);
/* Where there are no native frames to tell by: every file of the process, at its first sample. */
int runtimes_meet_all(struct runtimes *r, struct process *p);
/* What a sample with interpreter frames teaches. */
int runtimes_learn(struct runtimes *r, struct process *p, const uint64_t *native, unsigned nnative);
/* child was forked from parent. */
void runtimes_fork(struct runtimes *r, const struct process *parent, struct process *child);
/* p ended: at once if by exec, since another process has its pid then. */
void runtimes_forget(struct runtimes *r, struct process *p);
/* Forgets what was met of processes that the table has swept; without memory for it later. */
void runtimes_sweep(struct runtimes *r);
/* Mappings of p changed, or it ended. */
int runtimes_changed(struct runtimes *r, struct process *p);

#endif

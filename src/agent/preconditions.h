/* SPDX-License-Identifier: Apache-2.0 */
/* agent/preconditions.h -- what must hold before anything is started (gprofiler-agent.md 2.1).
 *
 * Messages and exit statuses are those of the reference. The lock is an abstract Unix socket whose
 * name is the reference's, in the network namespace of pid 1 like there, so that the two never run side by
 * side. Who may not enter that namespace takes it in its own, and looks for those of others
 * (other_agent.h). */
#ifndef GP_AGENT_PRECONDITIONS_H
#define GP_AGENT_PRECONDITIONS_H

#include <stdbool.h>
#include <sys/types.h>

/* Each prints its message on stderr. Return 0, or the exit status + 1 to leave with. */
int precondition_root(bool rootless);
int precondition_pid_namespace(void);
/* name: "gprofiler_lock" but in tests. ret_fd holds the lock until it is closed. Taken by another:
 * exit status 0. */
int precondition_lock(const char *name, int *ret_fd);

/* A connection to the agent that holds the lock. Return 0, -ECONNREFUSED when nobody listens, -errno. */
int precondition_lock_connect(const char *name, int *ret_fd);
/* Does somebody hold it? Takes it for a moment if not. */
bool precondition_lock_held(const char *name);

/* Writes the pid, decimal, no newline. Return 0 or -errno. */
int pid_file_write(const char *path);

/* RLIMIT_CORE 0, so that a crash of ours never fills a disk. */
void core_files_disable(void);

#endif

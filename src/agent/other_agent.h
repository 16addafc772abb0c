/* SPDX-License-Identifier: Apache-2.0 */
/* agent/other_agent.h -- an agent of this machine whose lock lies in another network namespace than ours.
 *
 * The lock (preconditions.h) is a name in the network namespace of pid 1; an agent that may not enter it
 * (CAP_SYS_ADMIN; a pod of least privilege has none) binds it in its own. So it is looked for in the others, too:
 * each namespace lists its sockets in /proc/PID/net/unix. The name counts if a process holds it that runs in our
 * pid namespace, as an agent must, as root or as our user: whoever is in a container of its own keeps nobody from
 * starting. Any thread. */
#ifndef GP_AGENT_OTHER_AGENT_H
#define GP_AGENT_OTHER_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct other_agent {
	uint32_t pid;
	uint64_t net; // inode of its network namespace
};

/* The network namespace of a process, "self" or a pid; 0 unknown. */
uint64_t other_agent_net(const char *pid);
/* Looks everywhere but in the namespace `except`, which is asked by binding. Return whether there is one. */
bool other_agent_find(const char *name, uint64_t except, struct other_agent *ret);

/* Inode of the abstract socket NUL + name in the text of /proc/PID/net/unix, 0 none; for tests and fuzzing. */
uint64_t other_agent_parse(const char *text, const char *name);

#endif

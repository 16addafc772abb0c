/* SPDX-License-Identifier: Apache-2.0 */
/* agent/inventory.h -- the containers of this machine and their processes, as a heartbeat lists them
 * (gprofiler-agent.md 4.5; AT-A1 to AT-A9 of the reference's workload spec).
 *
 * Found from /proc alone: the container's id is in the path of a process's cgroup, its name, pod and
 * labels are what its runtime left on disk. A machine without containers gives an empty list, and so does
 * one whose /proc cannot be read. Bounded, whatever runs. Any thread. */
#ifndef GP_AGENT_INVENTORY_H
#define GP_AGENT_INVENTORY_H

#include "base/json.h"

#define INVENTORY_CONTAINERS_MAX 1024
#define INVENTORY_PROCESSES_MAX 256 // of one container

/* proc: "/proc", or a fixture. A new array; NULL without memory. */
json_t *inventory_take(const char *proc);

/* The name of the workload a pod belongs to: what a label says, else the pod's name without what its
 * controller appended, else the pod's name; "" if there is none. ret holds at least 254 bytes. */
void inventory_workload(const char *label, const char *pod, char *ret, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* process/container_files.h -- the name of a container from what its runtime leaves on the host's disk.
 *
 * No socket is asked and nothing is started. In this order: the log links of Kubernetes (any runtime),
 * Docker's state, bundles of CRI-O, the list of containers/storage (Podman, CRI-O), bundles of
 * containerd (also k3s, nerdctl), and last the arguments of conmon, the monitor above a container of
 * Podman (also of a user's). Files are those of pid 1, whatever container we are in. Any thread. */
#ifndef GP_PROCESS_CONTAINER_FILES_H
#define GP_PROCESS_CONTAINER_FILES_H

#include <stdint.h>

#include "process/container.h"

/* pid: a process in it, 0 none known; proc: "/proc", or a fixture.
 * Return 0; -ENOENT nothing on disk tells; -ENOMEM. */
int container_files_find(const char *proc, const char *id, uint32_t pid, struct container *ret);

#endif

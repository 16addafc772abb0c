/* SPDX-License-Identifier: Apache-2.0 */
/* agent/containers.h -- the containers of this machine by id, kept after they died.
 *
 * Docker is asked over its socket, the whole list at once (3.8); what it does not know, or where there
 * is no Docker, is looked for on disk (process/container_files.h). What is found stays; what is not is
 * looked for again, with growing patience: a name may appear after the first sample. Any thread; only
 * containers_find() does I/O, and none that takes longer than a few seconds. */
#ifndef GP_AGENT_CONTAINERS_H
#define GP_AGENT_CONTAINERS_H

#include <stdbool.h>
#include <stdint.h>

#include "process/container.h"

#define CONTAINERS_MAX 8192 // remembered

struct containers;

/* proc: "/proc", or a fixture. Return 0 or -ENOMEM. */
int containers_new(const char *proc, struct containers **ret);
void containers_free(struct containers *c);

/* Looks a container up; pid: a process in it, 0 none. Return true with what is known. */
bool containers_find(struct containers *c, const char *id, uint32_t pid, struct container *ret);
/* The same without looking anywhere but in what is known already. */
bool containers_known(struct containers *c, const char *id, struct container *ret);
/* Calls fn with each known container. */
void containers_each(
	struct containers *c, void (*fn)(void *arg, const struct container *), void *arg);

#endif

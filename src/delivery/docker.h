/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/docker.h -- names of containers from the Docker Engine's socket (its API, v1.24 and later:
 * GET /containers/json, GET /containers/ID/json). Nothing is changed there. What answers is anybody:
 * times and sizes are bounded. One thread. */
#ifndef GP_DELIVERY_DOCKER_H
#define GP_DELIVERY_DOCKER_H

#include "process/container.h"

#define DOCKER_TIMEOUT_MS 2000

/* Called with each running container. Nonzero ends the list and is forwarded. */
typedef int (*docker_fn)(void *arg, const struct container *c);

/* Return 0; -ENOENT no socket; -EIO it does not answer as Docker does; -ENOMEM; what fn returned. */
int docker_list(const char *socket, docker_fn fn, void *arg);
/* One container, running or not. Return as above; -ENXIO there is no such container. */
int docker_inspect(const char *socket, const char *id, struct container *ret);

#endif

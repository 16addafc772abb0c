/* SPDX-License-Identifier: Apache-2.0 */
/* process/container.h -- what is known of a container, out of what runtimes write about it.
 *
 * The shown name is the reference's (gprofiler-agent.md 3.8): Docker's name without its slash; of a
 * container of Kubernetes, whatever runs it, k8s_CONTAINER_POD_NAMESPACE_UID_RESTARTS. Everything here
 * was written by others and is bounded. Any thread. */
#ifndef GP_PROCESS_CONTAINER_H
#define GP_PROCESS_CONTAINER_H

#include <stdbool.h>

#include "base/json.h"

#define CONTAINER_ID_LEN 64 // hexadecimal digits
#define CONTAINER_TEXT_MAX 254 // bytes of a name: what a DNS subdomain may have, and a NUL

/* Texts are "" where unknown. */
struct container {
	char id[CONTAINER_ID_LEN + 1];
	char name[1024]; // as it is shown
	char runtime[16]; // docker, containerd, cri-o, podman
	char container_name[CONTAINER_TEXT_MAX]; // of Kubernetes, else the runtime's
	char pod[CONTAINER_TEXT_MAX], namespace[CONTAINER_TEXT_MAX], uid[64];
	char restarts[16];
	char app[CONTAINER_TEXT_MAX]; // label app.kubernetes.io/name, else app
};

/* Exactly 64 lower-case hexadecimal digits? */
bool container_is_id(const char *s);

/* An element of Docker's GET /containers/json, the answer of GET /containers/ID/json, or its
 * config.v2.json. Return 0; -EINVAL it has no id or no name. */
int container_from_docker(const json_t *j, struct container *ret);
/* The config.json (OCI) of a bundle of containerd, CRI-O or nerdctl: its annotations.
 * Return 0; -ENOENT they say no name; -EINVAL. */
int container_from_oci(const json_t *config, const char *id, struct container *ret);
/* containers.json of containers/storage (Podman, CRI-O): the element of an id. Return as above. */
int container_from_storage(const json_t *list, const char *id, struct container *ret);
/* A link in /var/log/containers, POD_NAMESPACE_CONTAINER-ID.log, and where it leads,
 * .../NAMESPACE_POD_UID/CONTAINER/RESTARTS.log: kubelet makes it for every runtime.
 * Return 0, -ENOENT another container, -EINVAL. */
int container_from_log_link(
	const char *link, const char *target, const char *id, struct container *ret);

#endif

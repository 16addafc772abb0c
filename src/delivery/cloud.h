/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/cloud.h -- what the cloud says of the machine we run on: EC2 (IMDSv2), Fargate, Compute
 * Engine, Azure (gprofiler-agent.md 5.2).
 *
 * All are asked at once, each on a thread that lives for it, in the network namespace of pid 1; the
 * first that answers is it. Nobody there is no error. No name is resolved: Google's server has the same
 * link-local address as the others. What answers is anybody: times and sizes are bounded. */
#ifndef GP_DELIVERY_CLOUD_H
#define GP_DELIVERY_CLOUD_H

#include "base/json.h"

#define CLOUD_TIMEOUT_MS 5000 // of a request; the time to connect is a part of it
#define CLOUD_PROVIDER_MAX 16

/* Takes six seconds at most. Return the object (cloud_info), with provider ("aws", "gcp", "azure")
 * filled; NULL where there is no cloud, or no memory. */
json_t *cloud_ask(char provider[CLOUD_PROVIDER_MAX]);

/* Parts of it: the answers, which are hostile. Return a new object, or NULL for what is no such answer. */
json_t *cloud_aws(const char *document, const char *life_cycle);
json_t *cloud_fargate(const char *metadata, const char *execution_env, const char *region);
json_t *cloud_gcp(const char *instance);
json_t *cloud_azure(const char *compute);

/* Enters the network (and the host name's) namespace of pid 1, for this thread; nothing happens where
 * that is not allowed or needed. */
void cloud_enter_host_network(void);

#endif

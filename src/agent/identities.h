/* SPDX-License-Identifier: Apache-2.0 */
/* agent/identities.h -- who the sampled processes are: application id, metadata, container name.
 *
 * Asked for when a process is first seen in a sample, and read on a thread of its own: /proc may make
 * its reader wait for a lock of the target, a container runtime for as long as it likes, and sampling
 * waits for neither. What was read outlives the process until the window that saw it is named.
 * A process that was young when it was read is read once more: it may have been on its way to what it
 * is. Capped. Owned by the pipeline's thread but for the reading. */
#ifndef GP_AGENT_IDENTITIES_H
#define GP_AGENT_IDENTITIES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/containers.h"
#include "agent/external_metadata.h"
#include "config/options.h"
#include "process/process.h"

struct identities;

/* Owned by the caller, reusable; empty where there is nothing. */
struct identity_texts {
	struct buf appid;
	struct buf metadata; // a JSON object
	char container[sizeof(((struct container *)0)->name)]; // name
};
void identity_texts_init(struct identity_texts *t);
void identity_texts_deinit(struct identity_texts *t);

struct identities_config {
	const struct options *options;
	const char *proc; // "/proc", or a fixture
	struct containers *containers; // NULL: no names
	struct external_metadata *external; // read again for each window; NULL none
};

/* Starts the thread. Return 0, -errno. */
int identities_new(const struct identities_config *config, struct identities **ret);
/* Waits for a read that is under way. */
void identities_free(struct identities *ids);

/* A sample hit this process of t; cheap when it is known. NULL ids: nothing. */
void identities_see(struct identities *ids, const struct process_table *t, const struct process *p);
/* Waits until all that was asked for is read, timeout_ns at most. Return true if it is. */
bool identities_settle(struct identities *ids, uint64_t timeout_ns);
/* Copies what is known of a process. Return 0, -ENOMEM. */
int identities_get(struct identities *ids, uint32_t uid, struct identity_texts *ret);
/* Between windows: forgets the processes that the table has forgotten. */
void identities_sweep(struct identities *ids, const struct process_table *t);

#endif

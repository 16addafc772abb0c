/* SPDX-License-Identifier: Apache-2.0 */
/* agent/worker.h -- what is slow about a finished window, done beside the next one.
 *
 * One thread with a short queue. When it falls behind it first leaves out what costs most (the HTML
 * page), then drops the oldest profile that waits, and says so. The one who puts never waits. */
#ifndef GP_AGENT_WORKER_H
#define GP_AGENT_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/finish.h"

#define WORKER_QUEUE_MAX 4 // profiles that wait
#define WORKER_BYTES_MAX (64u << 20) // of profiles that wait

/* Writes one profile; called on the worker's thread. */
typedef int (*worker_fn)(void *arg, struct finished *f);

struct worker;

struct worker_stats {
	uint64_t done, failed; // profiles
	uint64_t brief; // written without their page
	uint64_t dropped;
	uint64_t waiting; // now
};

/* Return 0 or -errno. */
int worker_new(worker_fn fn, void *arg, struct worker **ret);
/* Takes f over. */
void worker_put(struct worker *w, struct finished *f);
/* Waits until all is done, timeout_ns at most; only the last one gets its page. Return true;
 * false if the thread still works: then it and all it was given must be left alone until the process
 * exits. */
bool worker_finish(struct worker *w, uint64_t timeout_ns, struct worker_stats *ret);
/* After worker_finish() returned true. */
void worker_free(struct worker *w);
void worker_get_stats(struct worker *w, struct worker_stats *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* profile/failures.h -- processes whose interpreter could not be read in a window, and why.
 *
 * Stacks of such a process carry the reason as their outermost frame, "[Profiling error: ...]" or
 * "[Profiling skipped: ...]" (gprofiler-agent.md 3.7), so that what is missing in it is seen in every
 * output. One thread. */
#ifndef GP_PROFILE_FAILURES_H
#define GP_PROFILE_FAILURES_H

#include <stdbool.h>

#include "base/map.h"

#define FAILURES_MAX 4096 // processes of a window; more are counted in the ledger alone
#define FAILURE_TEXT_MAX 256

struct failures {
	struct map by_uid; // process uid -> id in texts
	struct intern texts; // frames, with their brackets
	bool alone; // nothing else samples these processes: each is one sample of its reason
};

void failures_init(struct failures *f);
void failures_deinit(struct failures *f);
/* what: "error", "skipped". The first reason of a process is kept. Return 0 (also at the cap), -ENOMEM. */
int failures_add(struct failures *f, uint32_t uid, const char *what, const char *reason);
/* The frame of a process, or NULL. */
const char *failures_get(const struct failures *f, uint32_t uid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* profile/naming.h -- a raw window becomes a named profile.
 *
 * Every distinct frame is asked for once, in one batch (symbol/resolver.h); inlined functions become
 * frames of their own; a frame without a symbol is "(path of the module)", never a bare address.
 * Runs on the thread that owns the process and module tables. */
#ifndef GP_PROFILE_NAMING_H
#define GP_PROFILE_NAMING_H

#include "process/process.h"
#include "profile/failures.h"
#include "profile/merge.h"
#include "profile/profile.h"
#include "profile/runtime_frames.h"
#include "profile/window.h"
#include "symbol/resolver.h"

/* Who a process is, for its context. */
struct naming_identity {
	const char *appid, *metadata, *container; // "" none; metadata: a JSON object
};
/* Texts live until the next call. Return 0, -ENOMEM. */
typedef int (*naming_identity_fn)(void *arg, const struct process *p, struct naming_identity *ret);

struct naming {
	struct resolver *resolver;
	struct process_table *processes;
	struct module_table *modules;
	const struct runtime_frames *runtime; // NULL: the window has no frames of interpreters
	bool weight_is_ns; // the event is a clock: the second value is CPU time
	const char *event; // "cpu-clock", "cycles" ...
	naming_identity_fn identify; // NULL: nothing is known
	void *identify_arg;
	bool no_containers; // leave containers out
	struct merge *merge; // NULL: there is one window; else run once for each of the two
	bool read; // this window is the reader's
	const struct failures *failures; // NULL: none is told
	/* answered, sums over runs: occurrences of frames over all samples, those without a name, and
	 * those of them that lie where there is no table of names (stripped files, JIT code without a
	 * map) */
	uint64_t frames, unnamed, no_symbols;
};

/* Adds to an initialised profile (types, strings, frames, contexts, samples).
 * Return 0, -ENOSPC at the profile's cap, -ENOMEM. */
int naming_run(struct naming *n, const struct window *w, struct profile *ret);

/* enum rec_reason in words. */
const char *naming_reason(unsigned reason);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cli/dump_entries.h -- what `gprofiler dump` shows of a process: its threads, each with its stack, named.
 * One thread. */
#ifndef GP_CLI_DUMP_ENTRIES_H
#define GP_CLI_DUMP_ENTRIES_H

#include "agent/frames.h"
#include "agent/stacks.h"
#include "config/options.h"
#include "profile/profile.h"
#include "profile/window.h"
#include "symbol/resolver.h"

#define DUMP_PARTS 2 // of an entry
#define DUMP_FRAMES_SHOWN (2 * FRAMES_MAX) // inlined functions are frames, too

/* What is printed as a thread. */
struct dump_entry {
	const struct stacks_thread *thread; // NULL: it cannot be told by its number
	const struct stacks_script *script; // NULL none
	bool apart; // there are both, and native frames do not fit into the interpreter's
	uint32_t node[DUMP_PARTS]; // of the profile, 0 none: the stack, native frames apart
};
VEC_DEFINE(dump_entry_vec, struct dump_entry)

struct dump {
	struct module_table modules;
	struct process_table processes;
	struct runtimes runtimes;
	struct stacks stacks;
	struct frames *frames; // scratch
	uint32_t *ids; // scratch, DUMP_FRAMES_SHOWN
	struct process *p;
	struct dump_entry_vec entries;
	bool several; // the thread being added is in several interpreters
	struct window window;
	struct resolver resolver;
	bool resolver_made;
	struct profile profile;
};

/* Return 0, -ENOMEM, -errno; dump_deinit() is due in any case. */
int dump_init(struct dump *d);
void dump_deinit(struct dump *d);
/* Reads the process that the options name and names its frames. Return 0, -ESRCH or -ENOENT: there is none,
 * -EPERM or -EACCES: it may not be read, -errno. */
int dump_gather(struct dump *d, const struct options *o);
/* Frames of a part of an entry into d->ids, leaf first: 0 the stack, 1 native frames that are shown apart.
 * Return how many. */
size_t dump_part_frames(struct dump *d, const struct dump_entry *e, unsigned part);

#endif

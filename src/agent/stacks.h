/* SPDX-License-Identifier: Apache-2.0 */
/* agent/stacks.h -- the stacks of all threads of one process, now, for `gprofiler dump`.
 *
 * The kernel tells each thread's registers of user mode and its kernel stack (capture/thread_iter.h);
 * the stack is copied and walked as a sample's is (unwind_finish), and the interpreter's frames are
 * read beside it. Then the kernel is asked again: a thread that was not scheduled away meanwhile and
 * did not run stood still, so that all of it is of one moment. The others are read anew a few times.
 * No thread is stopped, signalled or woken. Without BPF the place where a thread blocks is known from
 * /proc, two registers of it. One thread. */
#ifndef GP_AGENT_STACKS_H
#define GP_AGENT_STACKS_H

#include "agent/runtimes.h"
#include "base/vec.h"
#include "bpf/abi/threads.h"
#include "capture/source.h"
#include "process/process.h"
#include "unwind/unwind.h"

struct thread_iter;

/* How much of a thread's native stack is to be believed. */
enum stacks_native {
	STACKS_NONE, // not known: no rights, a kernel thread
	STACKS_STILL, // it stood still while it was read
	STACKS_RUNNING, // it ran: as of its last entry into the kernel
	STACKS_MOVED, // it was scheduled at each attempt: of different moments
};

/* An interpreter's stack of a thread. */
struct stacks_script {
	uint32_t tid; // 0 unknown
	uint64_t interpreter;
	bool torn;
	unsigned nwords;
	uint64_t *words;
};

struct stacks_thread {
	uint32_t tid;
	char name[REC_COMM_LEN];
	char state; // as in /proc/PID/stat
	uint8_t native; // enum stacks_native
	uint8_t outcome, reason; // of the walk: enum rec_outcome, enum rec_reason
	bool late;
	bool seen; // by the look at hand
	bool has_words; // words are of the last attempt
	struct threads_record now, before; // the last two looks at it; words go with `before`
	unsigned nwords;
	uint64_t *words; // native frames, leaf first
};

VEC_DEFINE(stacks_thread_vec, struct stacks_thread)
VEC_DEFINE(stacks_script_vec, struct stacks_script)

struct stacks {
	struct process_table *processes;
	struct runtimes *runtimes;
	struct process *p;
	struct unwind *unwind;
	struct thread_iter *iter; // NULL: by /proc alone
	struct stacks_thread_vec threads;
	struct stacks_script_vec scripts;
	struct map by_tid; // -> index in threads + 1
	struct unwind_result *result; // scratch
	uint8_t *stack; // scratch, REC_STACK_MAX
	uint64_t valid; // registers that are known
	bool first; // no attempt was made yet
	bool refused; // the interpreter's structures are not those of its version
	char why[CAPTURE_WHY]; // what is missing, "" nothing
};

/* r->set may be NULL. Return 0 or -ENOMEM. */
int stacks_init(struct stacks *s, struct process_table *processes, struct runtimes *r);
void stacks_deinit(struct stacks *s);

/* Lists the threads of pid with names and states. Return 0, -ESRCH, -errno. */
int stacks_list(struct stacks *s, uint32_t pid);
/* Reads the stacks of p, whose mappings are known. Return 0, also where there is no interpreter or it
 * cannot be read; -errno. */
int stacks_read(struct stacks *s, struct process *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/readable.h -- which processes the reader reads: those with an interpreter that use the CPU.
 *
 * Once a second every process is asked for its CPU clock (half a microsecond each); only the files of
 * those that ran are looked at, and once. At the beginning of a window the busiest are chosen anew, by
 * their CPU rate between two readings; later ones join while there is room. Owned by the pipeline
 * thread. */
#ifndef GP_RUNTIME_READABLE_H
#define GP_RUNTIME_READABLE_H

#include "base/map.h"
#include "base/vec.h"
#include "process/process.h"
#include "runtime/runtime.h"

struct readable_config {
	struct process_table *processes;
	struct runtime_set *set;
	unsigned max; // the busiest so many, 0: all
	uint64_t min_age_ns; // younger processes wait
	bool spawned; // those that start in mid-window join it; else they wait for the next one
	bool no_records; // nothing but /proc tells what processes do
	bool only_listed; // the others are seen by another source
	const uint32_t *listed; // pids that are read in any case; not owned
	size_t nlisted;
	/* Is it one of those that are profiled? *ret_asked_for: the user named it, so its age does not
	 * matter. */
	bool (*wanted)(void *arg, const struct process *p, bool *ret_asked_for);
	void *arg;
};

/* A thread of a process that is read. */
struct readable_thread {
	uint32_t tid;
	uint32_t idle; // looks at it in a row that found it had not run
	uint64_t cpu_ns; // when last looked at
	uint64_t debt_ns; // CPU time that no sample stands for yet
	char comm[REC_COMM_LEN];
};
VEC_DEFINE(readable_thread_vec, struct readable_thread)

enum readable_verdict {
	READABLE_UNKNOWN,
	READABLE_NO, // no interpreter that is known
	READABLE_YES,
	READABLE_FAILED, // it could not be read; tried again some time later
};

struct readable {
	uint32_t uid, pid; // of the process
	uint8_t verdict; // enum readable_verdict
	bool chosen, listed;
	bool refused; // of READABLE_NO: its interpreter is of a kind that cannot be read
	bool was_chosen; // while the choice is made
	bool fresh; // of its threads nothing is known yet
	uint32_t maps; // mappings when the verdict was given
	uint32_t drops; // times it failed
	uint64_t retry_ns; // CLOCK_MONOTONIC, when it may be tried again
	uint64_t cpu_ns; // at the last pass
	uint64_t cpu_window_ns; // when the window began
	uint64_t rate; // CPU ns between the last two readings that count
	/* the reader's */
	uint64_t looked_ns; // CPU time when its threads were last looked at
	uint64_t listed_ns; // CLOCK_MONOTONIC, when they were listed
	uint32_t nthreads, looks, failures;
	struct readable_thread_vec threads;
};
VEC_DEFINE(readable_vec, struct readable *)
VEC_DEFINE(readable_uid_vec, uint32_t)

struct readables {
	struct readable_config config;
	struct map by_uid; // -> struct readable *
	struct readable_vec all; // the same, for going through them
	struct readable_vec chosen;
	struct readable_uid_vec uids; // scratch
	uint64_t window_ns, window_boot_ns; // when the window began
	uint64_t choose_at; // CLOCK_MONOTONIC ns, 0: chosen
	bool begun; // there is a reading of all clocks to compare with
	bool behind; // files are still to be looked at
};

void readables_init(struct readables *r, const struct readable_config *config);
void readables_deinit(struct readables *r);
/* A window begins. Return 0, -ENOMEM. */
int readables_window(struct readables *r, uint64_t now);
/* Reads all clocks; chooses, or lets others join. *ret_next: when to come again, CLOCK_MONOTONIC ns.
 * Return 0, -ENOMEM. */
int readables_pass(struct readables *r, uint64_t now, uint64_t *ret_next);
/* It could not be read: not before some time, and longer each time. */
void readables_drop(struct readables *r, struct readable *e);
/* The entry of a process, NULL: it has none. */
struct readable *readables_find(const struct readables *r, uint32_t uid);

#endif

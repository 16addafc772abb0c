/* SPDX-License-Identifier: Apache-2.0 */
/* agent/run_record.h -- why earlier runs ended (REQUIREMENTS R15): a small file that outlives us.
 *
 * `last_run` in the state directory says "running" while a continuous run does, and is set to "clean",
 * "failed" or, by a signal handler, "crash" at its end. The next run finds what is there: "running" means
 * the run was ended from outside (SIGKILL, the kernel's OOM killer, a power cut); which of them, the boot
 * id and the kernel's count of OOM kills tell. Causes are counted over all runs. One block, written by one
 * pwrite: kill -9 at any moment leaves the old or the new text. Main thread. */
#ifndef GP_AGENT_RUN_RECORD_H
#define GP_AGENT_RUN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum run_end {
	RUN_END_CLEAN, // ended by itself, or told to
	RUN_END_FAILED, // gave up with an error
	RUN_END_CRASH, // a fatal signal of its own making
	RUN_END_KILLED, // SIGKILL
	RUN_END_OOM, // the same, and the kernel killed for memory meanwhile
	RUN_END_REBOOT, // the machine went down
	RUN_ENDS,
};

/* What the file says. */
struct run_facts {
	bool known; // a record of this form was there
	char state[10]; // "running", "clean", "failed", "crash"
	unsigned signal; // of a crash
	char boot[37]; // boot id
	uint64_t started_s, seen_s; // CLOCK_REALTIME
	uint64_t oom_kills; // of the machine, when it was last written
	uint64_t ended[RUN_ENDS];
};

struct run_record {
	int fd; // -1: none is kept
	struct run_facts facts; // of this run
	uint64_t written_ns; // CLOCK_MONOTONIC
};

/* Takes the record over and logs how the last run ended, if not cleanly. dir NULL: the usual place. A
 * directory that cannot be used is a debug line and fd -1. */
void run_record_open(struct run_record *r, const char *dir);
/* Now and then, so that an OOM kill is told from kill -9. */
void run_record_seen(struct run_record *r, uint64_t now_ns);
/* CLEAN or FAILED. */
void run_record_close(struct run_record *r, enum run_end end);

/* The pieces, for tests. Any bytes; ret->known tells. */
void run_record_parse(const char *text, size_t len, struct run_facts *ret);
enum run_end run_record_judge(const struct run_facts *last, const char *boot, uint64_t oom_kills);
const char *run_end_name(enum run_end end);

/* Where state is kept unless somebody says otherwise: root's place, else the user's own (XDG Base
 * Directory). Return 0, -ENOENT. */
int run_record_usual_dir(char *ret, size_t size);

#endif

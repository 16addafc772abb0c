/* SPDX-License-Identifier: Apache-2.0 */
/* process/identity.h -- which process a number means: pid and start time, together unique.
 *
 * A pid alone is recycled; the kernel gives no two processes of one pid the same start time (they
 * differ by a tick at least). Needs no process table. Any thread. */
#ifndef GP_PROCESS_IDENTITY_H
#define GP_PROCESS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct process_identity {
	uint32_t pid;
	uint64_t start_time; // ns since boot, in ticks of the clock
	bool kernel_thread;
};

/* Reads who has the pid now. Return 0; -ESRCH none, or a zombie; -EACCES hidden from us (hidepid);
 * -errno. */
int process_identity_read(uint32_t pid, struct process_identity *ret);
/* Does that very process still run? What cannot be read is taken to run. */
bool process_identity_lives(const struct process_identity *id);
/* Is a process that was seen to start then (struct process) this one? An unknown time is. */
bool process_identity_matches(const struct process_identity *id, uint64_t start_time);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/live.h -- a target's stack beyond the copied slice, read from the process as it is now.
 *
 * The slice ends before the stack does when a deep stack is met for the first time, and it holds one
 * stack only where a walk crosses two (signal on an alternate stack, Go's g0). Outer frames rarely
 * change within the milliseconds between the sample and this read, but they can: who uses these bytes
 * must check what they lead to. One buffer, refilled as the walk climbs. Pipeline thread. */
#ifndef GP_UNWIND_LIVE_H
#define GP_UNWIND_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVE_BYTES 16384u // a read

struct live {
	uint32_t pid; // 0: nothing is read
	uint64_t at; // address of bytes[0]
	size_t len; // valid bytes
	uint8_t bytes[LIVE_BYTES];
};

/* A new walk over the stacks of pid (0: of a process that is not there to be read). */
void live_start(struct live *l, uint32_t pid);
/* len at most LIVE_BYTES / 2. Return false if the bytes cannot be read. */
bool live_read(struct live *l, uint64_t addr, void *dst, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/diagnostics.h -- the state of the machine in the log, now and then (--diagnostics): containers,
 * processes, the last lines of the kernel's log. At debug level, each quarter of an hour at most. One
 * thread. */
#ifndef GP_AGENT_DIAGNOSTICS_H
#define GP_AGENT_DIAGNOSTICS_H

#include <stddef.h>
#include <stdint.h>

#define DIAGNOSTICS_GAP_S 900
#define DIAGNOSTICS_KERNEL_LINES 100

struct diagnostics {
	uint64_t next; // CLOCK_MONOTONIC ns
};

/* Logs if it is time: containers as agent/inventory.h finds them. */
void diagnostics_turn(struct diagnostics *d);

/* Where the last n lines of a text begin. */
size_t diagnostics_tail(const char *text, size_t len, unsigned n);

#endif

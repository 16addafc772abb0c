/* SPDX-License-Identifier: Apache-2.0 */
/* agent/ledger.h -- every tick accounted for (REQUIREMENTS O8).
 *
 * Entries of the sampling program, by outcome: their sum is exact. What handed-over samples became.
 * Against the clock: what the kernel never delivered, and throttling. Frames without a name. */
#ifndef GP_AGENT_LEDGER_H
#define GP_AGENT_LEDGER_H

#include "agent/frames.h"
#include "base/buf.h"
#include "capture/source.h"
#include "profile/naming.h"
#include "profile/profile.h"
#include "unwind/unwind.h"

/* Gathered sample by sample. */
struct ledger {
	uint64_t finished[REC_OUT_MAX]; // of handed-over samples
	uint64_t broken_reasons[REC_WHY_MAX];
	uint64_t finished_late;
	uint64_t not_wanted; // samples of processes that were not asked for
};

struct ledger_inputs {
	struct capture_source *source;
	const struct unwind *unwind;
	const struct window *window;
	const struct naming *naming;
	uint64_t elapsed_ns; // 0: unknown
	uint64_t idle_ns; // of all CPUs in that time
};

void ledger_sample(
	struct ledger *l, const struct rec_sample *rec, const struct frames_stack *stack);
void ledger_fill(
	const struct ledger *l, const struct ledger_inputs *in, struct profile_meta *ret_meta);

/* Idle time of all CPUs since boot, ns, by /proc/stat; 0 if it cannot be read. */
uint64_t ledger_idle_ns(void);

/* The ledger for a terminal, a few lines. */
void ledger_print(struct buf *out, const struct profile_meta *meta);

#endif

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

/* Gathered sample by sample, of the running window. */
struct ledger {
	uint64_t delivered[REC_OUT_MAX]; // by the sampler's outcome
	uint64_t not_wanted[REC_OUT_MAX]; // of them, of processes that were not asked for
	uint64_t overflow[REC_OUT_MAX]; // of them, dropped while a window was named
	uint64_t overflow_records;
	uint64_t finished[REC_OUT_MAX]; // of handed-over samples
	uint64_t broken_reasons[REC_WHY_MAX];
	uint64_t finished_late;
};

/* What a window that ended says of itself. Its outcomes sum to its entries, and those of all windows
 * to the entries of the sampler. */
struct ledger_window {
	struct ledger samples;
	uint64_t entries, outcomes[REC_OUT_MAX];
	uint64_t throttled, lost_records;
	uint64_t expected, idle_silent, not_delivered; // against the clock
};

/* What windows have said so far. */
struct ledger_base {
	uint64_t entries, outcomes[REC_OUT_MAX];
	uint64_t throttled, lost_records;
	uint64_t expected, idle_silent, not_delivered, idle_ns;
	uint64_t idle_before; // entries that hit the idle task at another rate
};

struct ledger_cut {
	struct capture_stats stats; // as of now
	const struct rec_counters *kernel; // of them, those of the event
	uint64_t ticks; // that a CPU should have had since the last cut
	uint64_t idle_ns; // of all CPUs in that time
	unsigned frequency, ncpus;
	bool last; // nothing comes any more
};

struct ledger_inputs {
	const struct ledger_window *counts;
	const struct window *window;
	const struct naming *naming;
	bool no_clock; // the event does not tick all the time
};

/* Each sample that comes out of the source, before anything else is said of it. */
void ledger_delivered(struct ledger *l, const struct rec_sample *rec);
void ledger_not_wanted(struct ledger *l, const struct rec_sample *rec);
/* Not even delivered. */
void ledger_overflow(struct ledger *l, const struct rec_sample *rec);
void ledger_sample(
	struct ledger *l, const struct rec_sample *rec, const struct frames_stack *stack);
/* The window ends. A sample belongs to the window of its stamp, so samples are taken as delivered;
 * ticks that emit none (idle, filtered, lost) as the sampler's counters stand, some ms after the
 * boundary. The last window accounts for what is left. */
void ledger_cut(struct ledger_base *base, const struct ledger *l, const struct ledger_cut *cut,
	struct ledger_window *ret);
/* From the next window on another rate is asked for: the clock is counted anew. */
void ledger_new_rate(struct ledger_base *base);
void ledger_fill(const struct ledger_inputs *in, struct profile_meta *ret_meta);

/* Idle time of all CPUs since boot, ns, by /proc/stat; 0 if it cannot be read. */
uint64_t ledger_idle_ns(void);

/* The ledger for a terminal, a few lines. */
void ledger_print(struct buf *out, const struct profile_meta *meta);

#endif

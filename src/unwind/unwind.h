/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/unwind.h -- unwind tables and the user-space half of the walk.
 *
 * The table memory belongs to the capture source (struct capture_tables); this room writes it:
 * process blocks when mappings change, page tables when a sample lands on a page that has none.
 * A page table is made from the few FDEs of that page (through .eh_frame_hdr), never from a whole
 * file. Pages that no walker used lately are evicted when the pool is full.
 * Owned by the pipeline thread. */
#ifndef GP_UNWIND_UNWIND_H
#define GP_UNWIND_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/source.h"
#include "process/process.h"

struct unwind;

struct unwind_stats {
	uint64_t pages_built, pages_evicted, pages_failed;
	uint64_t pages_ahead; // of those built: before a sample asked for them
	uint64_t pool_used; // bytes
	uint64_t rules; // distinct
	uint64_t build_ns; // CPU time spent making tables
	uint64_t finished; // stacks finished here, by outcome:
	uint64_t complete, truncated, broken;
	uint64_t late; // of them, with frames of the target's memory as it was later
	uint64_t reasons[REC_WHY_MAX]; // of broken
	uint64_t full; // a cap was reached
};

/* source may be NULL in tests: then ordinary memory is used. mode as in abi/config.h. */
int unwind_new(struct capture_source *source, struct process_table *processes,
	enum bpf_unwind_mode mode, struct unwind **ret);
void unwind_free(struct unwind *u);

/* Publishes a process's mappings to the in-kernel walker, or withdraws them if it ended.
 * Return 0, -ENOSPC counted, -errno. */
int unwind_update_process(struct unwind *u, struct process *p);

/* Forgets a module that no process maps any more. Return false if its tables are still in use. */
bool unwind_forget_module(struct unwind *u, struct module *m);

/* A whole user stack. */
struct unwind_result {
	uint64_t words
		[REC_USER_WORDS_MAX]; // frame words, leaf first: those of the kernel, then ours
	unsigned nwords;
	enum rec_outcome outcome; // COMPLETE, TRUNCATED or BROKEN
	enum rec_reason reason;
	bool late; // outer frames, marked GUESS, were read from the target after the sample
};
/* Goes on from where the kernel walker stopped, loading what it lacked. Return 0 or -errno. */
int unwind_finish(struct unwind *u, struct process *p, const struct capture_sample *sample,
	uint64_t now, struct unwind_result *ret);

/* Makes tables that will be needed soon, for at most about budget_ns. To be called when there is
 * nothing else to do. Return whether there is more to make. */
bool unwind_idle(struct unwind *u, uint64_t budget_ns);

void unwind_get_stats(const struct unwind *u, struct unwind_stats *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ledger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"

static unsigned outcome_of(const struct rec_sample *rec)
{
	return rec->outcome < REC_OUT_MAX ? rec->outcome : REC_OUT_BROKEN;
}

void ledger_delivered(struct ledger *l, const struct rec_sample *rec)
{
	l->delivered[outcome_of(rec)]++;
}

void ledger_not_wanted(struct ledger *l, const struct rec_sample *rec)
{
	l->not_wanted[outcome_of(rec)]++;
}

void ledger_overflow(struct ledger *l, const struct rec_sample *rec)
{
	l->delivered[outcome_of(rec)]++;
	l->overflow[outcome_of(rec)]++;
}

void ledger_sample(struct ledger *l, const struct rec_sample *rec, const struct frames_stack *stack)
{
	if (rec->outcome == REC_OUT_HANDOFF)
		l->finished[stack->outcome < REC_OUT_MAX ? stack->outcome : REC_OUT_BROKEN]++;
	l->finished_late += stack->late;
	if (stack->outcome == REC_OUT_BROKEN)
		l->broken_reasons[stack->reason < REC_WHY_MAX ? stack->reason : REC_WHY_NONE]++;
}

uint64_t ledger_idle_ns(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	uint64_t ticks[5] = {0};
	char *at;

	fs_read_file("/proc/stat", &text);
	at = text.data ? strstr(text.data, "cpu ") : NULL;
	if (!at)
		return 0;
	at += strlen("cpu ");
	for (unsigned i = 0; i < ARRAY_SIZE(ticks); i++)
		ticks[i] = strtoull(at, &at, 10);
	// user nice system idle iowait (proc_stat(5)), in clock ticks
	return (ticks[3] + ticks[4]) * NSEC_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* What a counter grew by since it was last asked. */
static uint64_t advance(uint64_t *reported, uint64_t now)
{
	uint64_t grown = now > *reported ? now - *reported : 0;

	*reported += grown;
	return grown;
}

static bool emits(unsigned outcome)
{
	return outcome != REC_OUT_IDLE && outcome != REC_OUT_FILTERED &&
	       outcome != REC_OUT_LOST_RING;
}

/* Ticks counted a little late in one window are missing in the next: looked at as a whole. */
static void against_clock(
	struct ledger_base *base, const struct ledger_cut *cut, struct ledger_window *ret)
{
	uint64_t missing = base->expected > base->entries ? base->expected - base->entries : 0;
	uint64_t idle = base->idle_ns / NSEC_PER_SEC * cut->frequency +
			base->idle_ns % NSEC_PER_SEC * cut->frequency / NSEC_PER_SEC;
	uint64_t seen = base->outcomes[REC_OUT_IDLE] - base->idle_before, silent;

	// An idle CPU may sleep through its ticks; nothing ran, so nothing is lost.
	silent = MIN(missing, idle > seen ? idle - seen : 0);
	ret->idle_silent = advance(&base->idle_silent, silent);
	ret->not_delivered = advance(&base->not_delivered, missing - silent);
}

void ledger_cut(struct ledger_base *base, const struct ledger *l, const struct ledger_cut *cut,
	struct ledger_window *ret)
{
	const struct rec_counters *now = cut->kernel;

	*ret = (struct ledger_window){.samples = *l};
	for (unsigned o = 0; o < REC_OUT_MAX; o++) {
		uint64_t n = advance(&base->outcomes[o],
			emits(o) && !cut->last ? base->outcomes[o] + l->delivered[o]
					       : now->outcomes[o]);

		ret->entries += n;
		n -= MIN(n, l->not_wanted[o] + l->overflow[o]);
		ret->outcomes[o] += n;
		ret->outcomes[REC_OUT_FILTERED] += l->not_wanted[o];
		ret->outcomes[REC_OUT_LOST_RING] += l->overflow[o];
	}
	base->entries += ret->entries;
	ret->throttled = advance(&base->throttled, cut->stats.throttled);
	ret->lost_records =
		advance(&base->lost_records, cut->stats.lost_records) + l->overflow_records;
	ret->expected = cut->ticks * cut->ncpus;
	base->expected += ret->expected;
	base->idle_ns += cut->idle_ns;
	against_clock(base, cut, ret);
}

void ledger_new_rate(struct ledger_base *base)
{
	base->expected = base->entries = base->idle_ns = 0;
	base->idle_silent = base->not_delivered = 0;
	base->idle_before = base->outcomes[REC_OUT_IDLE];
}

void ledger_fill(const struct ledger_inputs *in, struct profile_meta *ret_meta)
{
	const struct ledger_window *w = in->counts;
	const struct ledger *l = &w->samples;
	struct profile_ledger *led = &ret_meta->ledger;
	const uint64_t *out = w->outcomes;

	led->entries = w->entries;
	led->idle = out[REC_OUT_IDLE];
	led->filtered = out[REC_OUT_FILTERED];
	led->kernel_only = out[REC_OUT_KERNEL_ONLY];
	led->complete = out[REC_OUT_COMPLETE];
	led->handoff = out[REC_OUT_HANDOFF];
	led->truncated = out[REC_OUT_TRUNCATED];
	led->broken = out[REC_OUT_BROKEN];
	led->bits32 = out[REC_OUT_BITS32];
	led->lost_ring = out[REC_OUT_LOST_RING];
	led->no_user = out[REC_OUT_NO_USER];
	led->finished_complete = l->finished[REC_OUT_COMPLETE];
	led->finished_truncated = l->finished[REC_OUT_TRUNCATED];
	led->finished_broken = l->finished[REC_OUT_BROKEN];
	led->finished_late = l->finished_late;
	for (unsigned i = 0; i < REC_WHY_MAX && i < 16; i++)
		led->broken_reasons[i] = l->broken_reasons[i];
	led->throttled = w->throttled;
	led->side_band_lost = w->lost_records;
	led->frames = in->naming->frames;
	led->frames_unnamed = in->naming->unnamed;
	led->frames_no_symbols = in->naming->no_symbols;
	led->aggregation_full = in->window->full;
	if (in->naming->weight_is_ns && !in->no_clock) {
		led->expected = w->expected;
		led->idle_silent = w->idle_silent;
		led->not_delivered = w->not_delivered;
	}
	ret_meta->has_ledger = true;
}

static void line(struct buf *out, const char *what, uint64_t n, uint64_t of)
{
	if (n)
		buf_printf(out, "  %-38s %10llu %5.1f %%\n", what, (unsigned long long)n,
			of ? 100.0 * (double)n / (double)of : 0.0);
}

void ledger_print(struct buf *out, const struct profile_meta *meta)
{
	const struct profile_ledger *l = &meta->ledger;
	uint64_t user = l->complete + l->handoff + l->truncated + l->broken + l->bits32;
	uint64_t whole = l->complete + l->finished_complete;

	buf_printf(out, "Loss ledger: %llu ticks sampled", (unsigned long long)l->entries);
	if (l->expected)
		buf_printf(out, " of %llu by the clock", (unsigned long long)l->expected);
	buf_append_str(out, "\n");
	line(out, "idle", l->idle, l->entries);
	line(out, "of processes not asked for", l->filtered, l->entries);
	line(out, "kernel only", l->kernel_only, l->entries);
	line(out, "user stack whole", whole, l->entries);
	line(out, "  of them finished in user space", l->finished_complete, l->entries);
	line(out, "  outer frames read after the sample", l->finished_late, l->entries);
	line(out, "user stack truncated", l->truncated + l->finished_truncated, l->entries);
	line(out, "user stack broken", l->broken + l->finished_broken, l->entries);
	for (unsigned why = 0; why < REC_WHY_MAX; why++)
		if (l->broken_reasons[why])
			buf_printf(out, "    %-36s %10llu\n", naming_reason(why),
				(unsigned long long)l->broken_reasons[why]);
	line(out, "user stack not asked for", l->no_user, l->entries);
	line(out, "32-bit task, not supported", l->bits32, l->entries);
	line(out, "lost: ring full", l->lost_ring, l->entries);
	line(out, "lost: table of samples full", l->aggregation_full, l->entries);
	line(out, "only another profile asked for", l->left_out, l->entries);
	line(out, "idle, and the kernel sent no tick", l->idle_silent, l->expected);
	line(out, "not delivered by the kernel", l->not_delivered, l->expected);
	if (l->throttled)
		buf_printf(out, "  %-38s %10llu times\n", "throttled by the kernel",
			(unsigned long long)l->throttled);
	if (l->side_band_lost)
		buf_printf(out, "  %-38s %10llu (re-read from /proc)\n", "process records lost",
			(unsigned long long)l->side_band_lost);
	if (user)
		buf_printf(out, "  %-38s %10s %5.1f %% of user stacks\n", "whole", "",
			100.0 * (double)whole / (double)user);
	if (l->read_stacks || l->read_unseen || l->read_failed)
		buf_printf(out,
			"Reader: %llu stacks for %llu samples of CPU time; %llu samples unseen, %llu "
			"stacks torn, %llu readings failed\n",
			(unsigned long long)l->read_stacks, (unsigned long long)l->read,
			(unsigned long long)l->read_unseen, (unsigned long long)l->read_torn,
			(unsigned long long)l->read_failed);
	if (!l->frames)
		return;
	buf_printf(out, "  %-38s %10llu %5.2f %% of frames\n", "frames without a name",
		(unsigned long long)l->frames_unnamed,
		100.0 * (double)l->frames_unnamed / (double)l->frames);
	buf_printf(out, "  %-38s %10llu %5.2f %% of frames\n", "  of them where no symbols exist",
		(unsigned long long)l->frames_no_symbols,
		100.0 * (double)l->frames_no_symbols / (double)l->frames);
}

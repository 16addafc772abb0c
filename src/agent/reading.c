/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reading.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define SCAN_NS NSEC_PER_SEC

/* One stack. */
static int on_stack(void *arg, const struct reader_sample *s)
{
	struct reading *r = arg;
	struct window_context context = {.uid = s->process->uid, .tid = s->tid};
	int e;

	s->process->sampled = true;
	identities_see(r->identities, r->processes, s->process);
	e = frames_read(r->frames, s->process, s->words, s->nwords);
	if (e)
		return e;
	context.thread_comm = window_comm(&r->window, s->comm);
	r->window.times = s->samples;
	r->window.now = clock_mono_ns();
	e = window_add(&r->window, &context, r->frames->frames, r->frames->count,
		s->samples * (NSEC_PER_SEC / r->frequency));
	return e == -ENOSPC ? 0 : e;
}

int reading_init(struct reading *r, const struct reading_config *c)
{
	const struct reading_options *o = &c->options;
	struct reader_config config = {
		.who =
			{
				.processes = c->frames->processes,
				.set = c->frames->runtimes->set,
				.max = o->max,
				.min_age_ns = o->min_age_ns,
				.spawned = o->spawned,
				.no_records = c->no_records,
				.only_listed = c->only_listed,
				.listed = o->pids,
				.nlisted = o->npids,
				.wanted = c->wanted,
				.arg = c->arg,
			},
		.hz = MIN(c->frequency, (unsigned)READER_HZ_MAX),
		.period_ns = NSEC_PER_SEC / c->frequency,
		.lock_only = o->lock_only,
		.sample = on_stack,
		.arg = r,
	};

	*r = (struct reading){
		.frames = c->frames,
		.identities = c->identities,
		.processes = c->frames->processes,
		.frequency = c->frequency,
		.no_records = c->no_records,
		.alone = c->alone,
	};
	window_init(&r->window, c->max_samples);
	log_info(LOGGER, "Reading %s from outside, %u times a second",
		c->only_listed ? "the Python processes of --python-pyspy-process"
			       : "Python processes",
		config.hz);
	return reader_new(&config, &r->reader);
}

void reading_deinit(struct reading *r)
{
	if (r->reader)
		window_deinit(&r->window);
	reader_free(r->reader);
	r->reader = NULL;
}

int reading_begin(struct reading *r)
{
	const struct capture_event lost = {.type = CAPTURE_LOST, .lost.count = 1};
	int e = 0;

	if (!r->reader)
		return 0;
	// Where no record tells of exits and execs, everything is in doubt once a window.
	if (r->no_records) {
		e = process_table_apply(r->processes, &lost);
		if (!e)
			e = process_table_scan(r->processes);
		process_table_sweep(r->processes);
	}
	return e ? e : reader_window(r->reader);
}

uint64_t reading_next(const struct reading *r)
{
	return r->reader ? reader_next(r->reader) : UINT64_MAX;
}

int reading_turn(struct reading *r)
{
	uint64_t now;
	int e = 0;

	if (!r->reader)
		return 0;
	now = clock_mono_ns();
	if (r->no_records && now >= r->next_scan) {
		r->next_scan = now + SCAN_NS;
		e = process_table_scan_new(r->processes);
	}
	return e ? e : reader_turn(r->reader);
}

void reading_cut(struct reading *r)
{
	const struct reader_stats *now;

	if (!r->reader)
		return;
	reader_settle(r->reader);
	now = reader_stats(r->reader);
	r->ended = (struct reader_stats){
		.ticks = now->ticks - r->base.ticks,
		.stacks = now->stacks - r->base.stacks,
		.samples = now->samples - r->base.samples,
		.torn = now->torn - r->base.torn,
		.failed = now->failed - r->base.failed,
		.unseen = now->unseen - r->base.unseen,
	};
	r->base = *now;
	log_debug(LOGGER, "Reader: %zu processes, %llu ticks, %llu stacks for %llu samples",
		reader_chosen(r->reader), (unsigned long long)r->ended.ticks,
		(unsigned long long)r->ended.stacks, (unsigned long long)r->ended.samples);
}

void reading_clear(struct reading *r)
{
	if (r->reader)
		window_clear(&r->window);
}

void reading_set_divisor(struct reading *r, unsigned divisor)
{
	unsigned hz = MIN(r->frequency, (unsigned)READER_HZ_MAX);

	if (r->reader)
		reader_set_hz(r->reader, divisor ? MAX(hz / divisor, 1u) : 0);
}

struct failing {
	struct reading *reading;
	struct failures *failures;
};

static int on_failure(void *arg, uint32_t uid, int error)
{
	struct failing *f = arg;
	struct process *p = process_table_by_uid(f->reading->processes, uid);
	char what[64], why[128];

	if (error < 0)
		return failures_add(f->failures, uid, "error",
			error == -ESRCH	   ? "process went down during profiling"
			: error == -ENOENT ? "its interpreter is gone"
			: error == -EPERM  ? "no permission to read the process"
			: error == -EINVAL ? "the structures of its interpreter are not as known"
					   : strerror(-error));
	if (!p)
		return 0;
	runtime_refuses(f->reading->frames->runtimes->set, p, what, sizeof(what));
	snprintf(why, sizeof(why), "profiling %s is not supported", what);
	return failures_add(f->failures, uid, "skipped", why);
}

int reading_name(
	struct reading *r, struct naming *naming, const struct window *sampled, struct profile *ret)
{
	struct failures failures;
	struct failing failing = {r, &failures};
	struct merge merge;
	int e;

	if (!r->reader)
		return naming_run(naming, sampled, ret);
	failures_init(&failures);
	failures.alone = r->alone;
	e = merge_init(&merge, sampled, &r->window);
	naming->merge = &merge;
	naming->failures = &failures;
	if (!e)
		e = reader_failures(r->reader, on_failure, &failing);
	if (!e)
		e = naming_run(naming, sampled, ret);
	naming->read = true;
	if (!e)
		e = naming_run(naming, &r->window, ret);
	merge_deinit(&merge);
	failures_deinit(&failures);
	naming->merge = NULL;
	naming->failures = NULL;
	return e;
}

void reading_fill(const struct reading *r, struct profile_ledger *ret)
{
	if (!r->reader)
		return;
	ret->read = r->ended.samples;
	ret->read_stacks = r->ended.stacks;
	ret->read_torn = r->ended.torn;
	ret->read_failed = r->ended.failed;
	ret->read_unseen = r->ended.unseen;
	ret->aggregation_full += r->window.full;
}

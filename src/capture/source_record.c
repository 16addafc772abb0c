/* SPDX-License-Identifier: Apache-2.0 */
/* A source around another one that keeps a copy of all it hands out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/proc_snapshot.h"
#include "capture/record_file.h"

struct source_record {
	struct capture_source base;
	struct capture_source *inner;
	struct record_writer writer;
	bool said;
	capture_event_fn fn; // of the drain under way
	void *arg;
};

static struct source_record *record_of(struct capture_source *s)
{
	return (struct source_record *)s;
}

static int write_event(void *arg, const struct capture_event *e)
{
	return record_writer_add(arg, e);
}

/* What ran before is written first, but read after the start, so that no process falls between. */
static int record_start(struct capture_source *s)
{
	struct source_record *r = record_of(s);
	uint64_t start = clock_mono_ns();
	int err = r->inner->ops->start(r->inner);

	if (!err)
		proc_snapshot("/proc", start, write_event, &r->writer);
	return err;
}

static void record_stop(struct capture_source *s)
{
	struct source_record *r = record_of(s);

	r->inner->ops->stop(r->inner);
}

static int tee(void *arg, const struct capture_event *e)
{
	struct source_record *r = arg;
	int err = record_writer_add(&r->writer, e);

	if (err && !r->said) {
		r->said = true;
		log_debug("capture", "the recording ends here: %s", strerror(-err));
	}
	return r->fn(r->arg, e);
}

static int record_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	struct source_record *r = record_of(s);

	r->fn = fn;
	r->arg = arg;
	return r->inner->ops->drain(r->inner, until, tee, r);
}

static void record_stats(struct capture_source *s, struct capture_stats *ret)
{
	struct source_record *r = record_of(s);

	r->inner->ops->stats(r->inner, ret);
}

static void record_free(struct capture_source *s)
{
	struct source_record *r = record_of(s);
	struct capture_stats stats;

	if (!s)
		return;
	r->inner->ops->stats(r->inner, &stats);
	record_writer_commit(&r->writer, &stats);
	record_writer_close(&r->writer);
	r->inner->ops->free(r->inner);
	free(r);
}

static int record_set_process(struct capture_source *s, uint32_t pid, const struct uw_process *p)
{
	struct source_record *r = record_of(s);

	return r->inner->ops->set_process(r->inner, pid, p);
}

static int record_remove_process(struct capture_source *s, uint32_t pid)
{
	struct source_record *r = record_of(s);

	return r->inner->ops->remove_process(r->inner, pid);
}

static void record_synchronize(struct capture_source *s)
{
	struct source_record *r = record_of(s);

	r->inner->ops->synchronize(r->inner);
}

/* Around a source with an in-kernel walker, and around one without. */
static const struct capture_source_ops record_ops[2] = {
	{
		.name = "record",
		.start = record_start,
		.stop = record_stop,
		.drain = record_drain,
		.stats = record_stats,
		.free = record_free,
	},
	{
		.name = "record",
		.start = record_start,
		.stop = record_stop,
		.drain = record_drain,
		.stats = record_stats,
		.free = record_free,
		.set_process = record_set_process,
		.remove_process = record_remove_process,
		.synchronize = record_synchronize,
	},
};

int capture_source_record_new(
	struct capture_source *inner, const char *path, struct capture_source **ret, char *why)
{
	struct source_record *r = calloc(1, sizeof(*r));
	int err = r ? record_writer_open(&r->writer, path, inner) : -ENOMEM;

	if (err) {
		snprintf(why, CAPTURE_WHY, "recording: %s: %s", path, strerror(-err));
		inner->ops->free(inner);
		free(r);
		return err;
	}
	why[0] = '\0';
	r->base = *inner;
	r->base.ops = &record_ops[inner->ops->set_process != NULL];
	r->inner = inner;
	*ret = &r->base;
	return 0;
}

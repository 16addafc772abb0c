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
	struct capture_source_ops ops; // what inner cannot do is NULL
	struct capture_source *inner;
	struct record_writer writer;
	bool snapped; // what ran before is written
	bool said;
	capture_event_fn fn; // of the drain under way
	void *arg;
};

static struct source_record *record_of(struct capture_source *s)
{
	return (struct source_record *)s;
}

static struct capture_source *inner_of(struct capture_source *s)
{
	return record_of(s)->inner;
}

static int write_event(void *arg, const struct capture_event *e)
{
	return record_writer_add(arg, e);
}

/* What ran before is written first, but read after records are gathered, so that no process falls between. */
static int begin(struct source_record *r, int (*gather)(struct capture_source *s))
{
	uint64_t start = clock_mono_ns();
	int err = gather(r->inner);

	if (!err && !r->snapped) {
		proc_snapshot("/proc", start, write_event, &r->writer);
		r->snapped = true;
	}
	return err;
}

static int record_prepare(struct capture_source *s)
{
	return begin(record_of(s), inner_of(s)->ops->prepare);
}

static int record_start(struct capture_source *s)
{
	return begin(record_of(s), inner_of(s)->ops->start);
}

static void record_stop(struct capture_source *s)
{
	inner_of(s)->ops->stop(inner_of(s));
}

static void write_record(struct source_record *r, const struct capture_event *e)
{
	int err = record_writer_add(&r->writer, e);

	if (err && !r->said) {
		r->said = true;
		log_debug("capture", "the recording ends here: %s", strerror(-err));
	}
}

static int tee(void *arg, const struct capture_event *e)
{
	struct source_record *r = arg;
	int err = r->fn(r->arg, e);

	write_record(r, e);
	return err;
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
	inner_of(s)->ops->stats(inner_of(s), ret);
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

static int record_set_rate(struct capture_source *s, unsigned hz)
{
	return inner_of(s)->ops->set_rate(inner_of(s), hz);
}

static int record_set_process(struct capture_source *s, uint32_t pid, const struct uw_process *p)
{
	return inner_of(s)->ops->set_process(inner_of(s), pid, p);
}

static int record_remove_process(struct capture_source *s, uint32_t pid)
{
	return inner_of(s)->ops->remove_process(inner_of(s), pid);
}

static void record_synchronize(struct capture_source *s)
{
	inner_of(s)->ops->synchronize(inner_of(s));
}

static int record_set_runtime(
	struct capture_source *s, uint8_t kind, uint32_t pid, const void *process)
{
	return inner_of(s)->ops->set_runtime(inner_of(s), kind, pid, process);
}

static int record_set_runtime_layout(
	struct capture_source *s, uint8_t kind, uint32_t index, const void *layout)
{
	return inner_of(s)->ops->set_runtime_layout(inner_of(s), kind, index, layout);
}

static int record_set_groups(struct capture_source *s, const struct capture_groups *groups)
{
	return inner_of(s)->ops->set_groups(inner_of(s), groups);
}

static int record_add_group(struct capture_source *s, uint64_t id, uint32_t pid)
{
	return inner_of(s)->ops->add_group(inner_of(s), id, pid);
}

static void record_keep(struct capture_source *s, const struct capture_event *event)
{
	write_record(record_of(s), event);
}

/* All that inner can do, and nothing else. */
static struct capture_source_ops ops_around(const struct capture_source_ops *inner)
{
#define PASS(op) .op = inner->op ? record_##op : NULL
	return (struct capture_source_ops){
		.name = "record",
		.start = record_start,
		.stop = record_stop,
		.drain = record_drain,
		.stats = record_stats,
		.free = record_free,
		.keep = record_keep,
		PASS(prepare),
		PASS(set_rate),
		PASS(set_process),
		PASS(remove_process),
		PASS(synchronize),
		PASS(set_runtime),
		PASS(set_runtime_layout),
		PASS(set_groups),
		PASS(add_group),
	};
#undef PASS
}

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
	r->ops = ops_around(inner->ops);
	r->base.ops = &r->ops;
	r->inner = inner;
	*ret = &r->base;
	return 0;
}

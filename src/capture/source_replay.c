/* SPDX-License-Identifier: Apache-2.0 */
/* Records from a file instead of a kernel. Times are those of the recording: a drain "until" a time
 * beyond them hands over everything. The counts are those of the recording once its end was
 * reached, before that what was handed over so far. */
#include "capture/source_replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "capture/record_file.h"
#include "capture/tables.h"

struct source_replay {
	struct capture_source base;
	struct record_reader reader;
	struct capture_event next; // read, but beyond the last drain's time
	bool has_next;
	bool ended;
	struct capture_stats counted;
};

static struct source_replay *replay_of(struct capture_source *s)
{
	return (struct source_replay *)s;
}

static int replay_start(struct capture_source *s)
{
	(void)s;
	return 0;
}

static void replay_stop(struct capture_source *s)
{
	(void)s;
}

static void count_sample(struct rec_counters *c, const struct rec_sample *rec)
{
	c->entries++;
	c->outcomes[rec->outcome]++;
	c->reasons[rec->reason]++;
}

static void count(struct capture_stats *st, const struct capture_event *e)
{
	if (e->type == CAPTURE_SAMPLE) {
		st->samples++;
		count_sample(&st->kernel, e->sample.rec);
		count_sample(&st->events[e->sample.rec->event % CAPTURE_EVENTS_MAX], e->sample.rec);
		return;
	}
	st->records++;
	if (e->type == CAPTURE_LOST)
		*(e->lost.samples ? &st->lost_samples : &st->lost_records) += e->lost.count;
	if (e->type == CAPTURE_THROTTLE)
		st->throttled += e->throttle.on;
}

/* At the end nothing makes a drain worthwhile any more. */
static int end(struct source_replay *r, int err)
{
	eventfd_t value;

	r->ended = true;
	return eventfd_read(r->base.poll_fd, &value) && !err ? -errno : err;
}

static int replay_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	struct source_replay *r = replay_of(s);
	int err;

	while (!r->ended) {
		if (!r->has_next) {
			err = record_reader_next(&r->reader, &r->next);
			if (err <= 0)
				return end(r, err);
			r->has_next = true;
		}
		if (until && r->next.time > until)
			return 0;
		r->has_next = false;
		count(&r->counted, &r->next);
		err = fn(arg, &r->next);
		if (err)
			return err;
	}
	return 0;
}

static void replay_stats(struct capture_source *s, struct capture_stats *ret)
{
	struct source_replay *r = replay_of(s);

	*ret = r->reader.has_stats ? r->reader.stats : r->counted;
}

static void replay_free(struct capture_source *s)
{
	struct source_replay *r = replay_of(s);

	if (!s)
		return;
	record_reader_deinit(&r->reader);
	capture_tables_unmap(&s->tables);
	if (s->poll_fd >= 0)
		close(s->poll_fd);
	free(r);
}

static const struct capture_source_ops replay_ops = {
	.name = "replay",
	.start = replay_start,
	.stop = replay_stop,
	.drain = replay_drain,
	.stats = replay_stats,
	.free = replay_free,
};

static int fail(struct source_replay *r, int err, const char *name, char *why)
{
	if (err == -EBADMSG)
		snprintf(why, CAPTURE_WHY,
			"replay: %s is no recording of this version of gprofiler (format %d): "
			"record it again",
			name, RECORD_VERSION);
	else
		snprintf(why, CAPTURE_WHY, "replay: %s: %s", name, strerror(-err));
	if (r)
		replay_free(&r->base);
	return err;
}

int source_replay_new(FILE *f, const char *name, struct capture_source **ret, char *why)
{
	struct source_replay *r = calloc(1, sizeof(*r));
	int err;

	if (!r) {
		fclose(f);
		return fail(NULL, -ENOMEM, name, why);
	}
	r->base.ops = &replay_ops;
	r->base.poll_fd = -1;
	err = record_reader_init(&r->reader, f);
	if (!err)
		err = capture_tables_map(&r->base.tables);
	if (err)
		return fail(r, err, name, why);
	r->base.poll_fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->base.poll_fd < 0)
		return fail(r, -errno, name, why);
	memcpy(r->base.events, r->reader.events, sizeof(r->base.events));
	r->base.nevents = r->reader.nevents;
	r->base.frequency = r->reader.frequency;
	r->base.ncpus = r->reader.ncpus;
	r->base.vdso = r->reader.vdso;
	r->base.vdso_len = r->reader.vdso_len;
	*ret = &r->base;
	return 0;
}

int capture_source_replay_new(const char *path, struct capture_source **ret, char *why)
{
	FILE *f = fopen(path, "re");

	return f ? source_replay_new(f, path, ret, why) : fail(NULL, -errno, path, why);
}

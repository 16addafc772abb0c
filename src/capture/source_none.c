/* SPDX-License-Identifier: Apache-2.0 */
/* No samples and no side band: the rung below perf events, where runtimes' stacks come from a timer of
 * their own (runtime/reader.h) and /proc tells which processes there are. */
#include "capture/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture/tables.h"

static int none_start(struct capture_source *s)
{
	(void)s;
	return 0;
}

static void none_stop(struct capture_source *s)
{
	(void)s;
}

static int none_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	(void)s;
	(void)until;
	(void)fn;
	(void)arg;
	return 0;
}

static void none_stats(struct capture_source *s, struct capture_stats *ret)
{
	(void)s;
	*ret = (struct capture_stats){0};
}

static int none_set_rate(struct capture_source *s, unsigned hz)
{
	(void)s;
	(void)hz;
	return 0;
}

static void none_free(struct capture_source *s)
{
	if (!s)
		return;
	capture_tables_unmap(&s->tables);
	free(s);
}

static const struct capture_source_ops none_ops = {
	.name = "reader",
	.start = none_start,
	.stop = none_stop,
	.drain = none_drain,
	.stats = none_stats,
	.free = none_free,
	.set_rate = none_set_rate,
};

int capture_source_none_new(
	const struct capture_config *config, struct capture_source **ret, char *why)
{
	struct capture_source *s = calloc(1, sizeof(*s));
	int r = s ? capture_tables_map(&s->tables) : -ENOMEM;

	if (r) {
		free(s);
		snprintf(why, CAPTURE_WHY, "reader: out of memory");
		return r;
	}
	s->ops = &none_ops;
	// CPU time of threads is what the reader measures.
	s->events[0] = (struct capture_perf_event){.name = "task-clock"};
	s->nevents = 1;
	s->frequency = config->frequency;
	s->poll_fd = -1;
	*ret = s;
	return 0;
}

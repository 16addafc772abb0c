/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/resident.h"
#include "base/thread.h"

#define LOGGER "gprofiler"

struct worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	worker_fn fn;
	void *arg;
	struct finished *queue[WORKER_QUEUE_MAX];
	unsigned len;
	bool working, closing, behind;
	struct worker_stats stats;
};

static size_t table_bytes(const struct intern *t)
{
	return t->bytes_size + t->items_size * sizeof(*t->items) + t->nslots * sizeof(*t->slots);
}

static size_t finished_bytes(const struct finished *f)
{
	const struct profile *p = &f->profile;

	return table_bytes(&p->strings) + table_bytes(&p->frames) + table_bytes(&p->contexts) +
	       pairs_bytes(&p->nodes) + pairs_bytes(&p->sample_keys) +
	       p->samples.size * sizeof(*p->samples.data);
}

static struct finished *take_first(struct worker *w)
{
	struct finished *first = w->queue[0];

	w->len--;
	for (unsigned i = 0; i < w->len; i++)
		w->queue[i] = w->queue[i + 1];
	return first;
}

/* Said once each time it begins, not at each profile. */
static void choose_depth(struct worker *w, struct finished *f)
{
	f->brief = f->brief || w->len > 0;
	if (f->brief && !w->behind && !w->closing)
		log_warning(LOGGER,
			"Writing profiles takes longer than a window: no HTML pages until it has "
			"caught up. A faster --output-dir or --no-flamegraph helps");
	if (!w->closing)
		w->behind = f->brief;
	w->stats.brief += f->brief;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct finished *f;
		int r;

		while (!w->len && !w->closing)
			pthread_cond_wait(&w->changed, &w->lock);
		if (!w->len)
			break;
		f = take_first(w);
		choose_depth(w, f);
		w->working = true;
		pthread_mutex_unlock(&w->lock);
		r = w->fn(w->arg, f);
		finished_free(f);
		// A profile is small blocks in plenty.
		resident_empty_cache();
		pthread_mutex_lock(&w->lock);
		w->working = false;
		w->stats.done++;
		w->stats.failed += r != 0;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int worker_new(worker_fn fn, void *arg, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	int r;

	if (!w)
		return -ENOMEM;
	w->fn = fn;
	w->arg = arg;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
	r = thread_start(&w->thread, 0, work, w);
	if (r) {
		worker_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

static bool full(const struct worker *w, const struct finished *next)
{
	size_t bytes = finished_bytes(next);

	for (unsigned i = 0; i < w->len; i++)
		bytes += finished_bytes(w->queue[i]);
	return w->len == WORKER_QUEUE_MAX || (w->len && bytes > WORKER_BYTES_MAX);
}

void worker_put(struct worker *w, struct finished *f)
{
	struct finished *dropped[WORKER_QUEUE_MAX];
	unsigned n = 0;

	pthread_mutex_lock(&w->lock);
	while (full(w, f))
		dropped[n++] = take_first(w);
	w->stats.dropped += n;
	w->queue[w->len++] = f;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < n; i++) {
		log_error(LOGGER,
			"A profile of %s is lost: the ones before it are still being written. Look at "
			"the load of this machine and at --output-dir",
			dropped[i]->event);
		finished_free(dropped[i]);
	}
}

bool worker_finish(struct worker *w, uint64_t timeout_ns, struct worker_stats *ret)
{
	uint64_t deadline = clock_mono_ns() + timeout_ns;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline % NSEC_PER_SEC),
	};
	bool done;

	pthread_mutex_lock(&w->lock);
	w->closing = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	done = !pthread_clockjoin_np(w->thread, NULL, CLOCK_MONOTONIC, &until);
	worker_get_stats(w, ret);
	return done;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
	free(w);
}

void worker_get_stats(struct worker *w, struct worker_stats *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->stats;
	ret->waiting = w->len;
	pthread_mutex_unlock(&w->lock);
}

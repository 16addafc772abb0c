/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identities.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/application.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/vec.h"
#include "process/identity.h"

#define PROCESSES_MAX 131072 // living and ended
#define QUEUE_MAX 32768
#define TEXTS_MAX (1u << 17)
#define TEXTS_BYTES_MAX (32u << 20)
#define YOUNG_NS (2 * NSEC_PER_SEC) // age below which a process is read a second time
#define METADATA_MAX (64u << 10) // bytes of JSON
#define STACK_BYTES ((size_t)512 << 10)

/* A process to be read. */
struct request {
	uint32_t uid, pid, parent; // parent: uid of what it was forked from, 0 none
	uint64_t start_time;
	bool shows; // one of its mappings tells of an interpreter
	char container[CONTAINER_ID_LEN + 1];
};
VEC_DEFINE(request_vec, struct request)

/* Ids in texts, 0 none. */
struct identity {
	uint32_t uid;
	uint32_t appid, metadata;
	uint32_t container; // its id
	uint64_t again; // CLOCK_MONOTONIC ns from which a further sample asks anew, 0 never
	bool read;
};
VEC_DEFINE(identity_vec, struct identity)

struct identities {
	struct identities_config config;
	struct applications applications; // of the thread
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, idle;
	struct request_vec queue; // from `first` on
	size_t first;
	struct map by_uid; // uid -> index in all + 1
	struct identity_vec all;
	struct intern texts;
	bool closing, busy, full;
};

static void *work(void *arg);

static void destroy(struct identities *ids)
{
	applications_deinit(&ids->applications);
	request_vec_deinit(&ids->queue);
	identity_vec_deinit(&ids->all);
	map_deinit(&ids->by_uid);
	intern_deinit(&ids->texts);
	pthread_mutex_destroy(&ids->lock);
	pthread_cond_destroy(&ids->wake);
	pthread_cond_destroy(&ids->idle);
	free(ids);
}

int identities_new(const struct identities_config *config, struct identities **ret)
{
	struct identities *ids = calloc(1, sizeof(*ids));
	pthread_condattr_t attr;
	int r;

	if (!ids)
		return -ENOMEM;
	ids->config = *config;
	pthread_mutex_init(&ids->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ids->wake, NULL);
	pthread_cond_init(&ids->idle, &attr);
	pthread_condattr_destroy(&attr);
	request_vec_init(&ids->queue, QUEUE_MAX);
	map_init(&ids->by_uid, PROCESSES_MAX);
	identity_vec_init(&ids->all, PROCESSES_MAX);
	intern_init(&ids->texts, TEXTS_MAX, TEXTS_BYTES_MAX);
	r = applications_init(&ids->applications, config->options, config->proc);
	if (!r)
		r = thread_start(&ids->thread, STACK_BYTES, work, ids);
	if (r) {
		destroy(ids);
		return r;
	}
	*ret = ids;
	return 0;
}

void identities_free(struct identities *ids)
{
	if (!ids)
		return;
	pthread_mutex_lock(&ids->lock);
	ids->closing = true;
	pthread_cond_signal(&ids->wake);
	pthread_mutex_unlock(&ids->lock);
	pthread_join(ids->thread, NULL);
	destroy(ids);
}

/* ---- reading ---- */

static struct identity *find(struct identities *ids, uint32_t uid)
{
	const uint64_t *at = map_get(&ids->by_uid, uid);

	return at ? &ids->all.data[*at - 1] : NULL;
}

static uint32_t text_id(struct identities *ids, const char *text, size_t len)
{
	uint32_t id;

	if (!len)
		return 0;
	if (intern_add(&ids->texts, text, len, &id) == 0)
		return id;
	ids->full = true;
	return 0;
}

/* The very process, still: not the next one of its pid. */
static bool same_process(const struct request *q)
{
	struct process_identity now;

	return process_identity_read(q->pid, &now) == 0 &&
	       process_identity_matches(&now, q->start_time);
}

static void keep(struct identities *ids, const struct request *q, const struct buf *appid,
	const json_t *metadata)
{
	_cleanup_free_ char *json = metadata ? json_dumps(metadata, JSON_COMPACT) : NULL;
	struct identity *i;

	pthread_mutex_lock(&ids->lock);
	i = find(ids, q->uid);
	if (i) {
		i->appid = text_id(ids, buf_str(appid), appid->len);
		i->metadata = json ? text_id(ids, json, strlen(json)) : 0;
		i->read = true;
	}
	pthread_mutex_unlock(&ids->lock);
}

/* It is gone: what it was forked from (0: unknown) ran the same program. With the lock. */
static void inherit(struct identities *ids, uint32_t uid, uint32_t parent)
{
	const struct identity *from = parent ? find(ids, parent) : NULL;
	struct identity *i = find(ids, uid);

	if (i && from && from->read && !i->read) {
		i->appid = from->appid;
		i->metadata = from->metadata;
	}
}

static void read_process(struct identities *ids, const struct request *q)
{
	_cleanup_buf_ struct buf appid = BUF_INIT(APPID_MAX);
	_cleanup_json_ json_t *metadata = NULL;
	const struct options *o = ids->config.options;
	struct container info;
	int r;

	if ((o->collect_appids || o->application_metadata) && !q->shows &&
		application_is_plain(&ids->applications, q->pid)) {
		keep(ids, q, &appid, NULL);
	} else if (o->collect_appids || o->application_metadata) {
		r = application_read(
			&ids->applications, q->pid, o->collect_appids ? &appid : NULL, &metadata);
		if (!r && same_process(q)) {
			keep(ids, q, &appid, metadata);
		} else {
			pthread_mutex_lock(&ids->lock);
			inherit(ids, q->uid, q->parent);
			pthread_mutex_unlock(&ids->lock);
		}
	}
	if (q->container[0] && ids->config.containers)
		containers_find(ids->config.containers, q->container, q->pid, &info);
}

static void *work(void *arg)
{
	struct identities *ids = arg;

	pthread_mutex_lock(&ids->lock);
	while (!ids->closing) {
		struct request q;

		if (ids->first == ids->queue.len) {
			request_vec_clear(&ids->queue);
			ids->first = 0;
			ids->busy = false;
			pthread_cond_broadcast(&ids->idle);
			pthread_cond_wait(&ids->wake, &ids->lock);
			continue;
		}
		ids->busy = true;
		q = ids->queue.data[ids->first++];
		pthread_mutex_unlock(&ids->lock);
		read_process(ids, &q);
		pthread_mutex_lock(&ids->lock);
	}
	ids->busy = false;
	pthread_cond_broadcast(&ids->idle);
	pthread_mutex_unlock(&ids->lock);
	return NULL;
}

/* ---- the pipeline's side ---- */

/* Of who is gone /proc says nothing; only the name of its container may still be found. */
static void ask(struct identities *ids, const struct process_table *t, const struct process *p)
{
	const char *container = intern_str(&t->strings, p->container);
	struct request q = {
		.uid = p->uid,
		.pid = p->pid,
		.parent = p->forked_from,
		.start_time = p->start_time,
		.shows = application_shows(t, p),
	};

	if (container_is_id(container)) {
		memcpy(q.container, container, sizeof(q.container));
	} else if (p->exit_time) {
		inherit(ids, p->uid, p->forked_from);
		return;
	}
	if (request_vec_push(&ids->queue, q))
		ids->full = true;
	else
		pthread_cond_signal(&ids->wake);
}

static uint64_t boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

void identities_see(struct identities *ids, const struct process_table *t, const struct process *p)
{
	const char *container;
	struct identity *i;
	uint64_t now;

	if (!ids || p->kernel_thread || !p->pid || p->pid == UINT32_MAX)
		return;
	pthread_mutex_lock(&ids->lock);
	i = find(ids, p->uid);
	if (!i) {
		struct identity fresh = {.uid = p->uid};
		uint64_t boot = boot_ns();
		bool young = p->start_time && boot < p->start_time + YOUNG_NS;

		now = clock_mono_ns();
		// An exec keeps the start time: its process was young when the new program began.
		if (young || p->execed)
			fresh.again = now + YOUNG_NS;
		container = intern_str(&t->strings, p->container);
		fresh.container = text_id(ids, container, strlen(container));
		if (identity_vec_push(&ids->all, fresh) == 0 &&
			map_set(&ids->by_uid, p->uid, ids->all.len) == 0)
			ask(ids, t, p);
		else
			ids->full = true;
	} else if (i->again && (now = clock_mono_ns()) >= i->again) {
		i->again = 0;
		container = intern_str(&t->strings, p->container);
		i->container = text_id(ids, container, strlen(container));
		ask(ids, t, p);
	}
	pthread_mutex_unlock(&ids->lock);
}

bool identities_settle(struct identities *ids, uint64_t timeout_ns)
{
	uint64_t deadline = clock_mono_ns() + timeout_ns;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline % NSEC_PER_SEC),
	};
	int r = 0;

	if (!ids)
		return true;
	pthread_mutex_lock(&ids->lock);
	while (!r && (ids->busy || ids->first < ids->queue.len))
		r = pthread_cond_timedwait(&ids->idle, &ids->lock, &until);
	pthread_mutex_unlock(&ids->lock);
	return !r;
}

void identity_texts_init(struct identity_texts *t)
{
	t->appid = BUF_INIT(APPID_MAX);
	t->metadata = BUF_INIT(METADATA_MAX);
	t->container[0] = 0;
}

void identity_texts_deinit(struct identity_texts *t)
{
	buf_deinit(&t->appid);
	buf_deinit(&t->metadata);
}

static void copy(const struct identities *ids, uint32_t id, struct buf *ret)
{
	size_t len = 0;
	const char *s = intern_get(&ids->texts, id, &len);

	if (id && len <= ret->cap)
		buf_append(ret, s, len);
}

int identities_get(struct identities *ids, uint32_t uid, struct identity_texts *ret)
{
	const struct identity *i;
	struct container info;
	const char *id;

	buf_clear(&ret->appid);
	buf_clear(&ret->metadata);
	ret->container[0] = 0;
	if (!ids)
		return 0;
	pthread_mutex_lock(&ids->lock);
	i = find(ids, uid);
	if (i) {
		copy(ids, i->appid, &ret->appid);
		copy(ids, i->metadata, &ret->metadata);
		id = intern_str(&ids->texts, i->container);
		if (id[0] && ids->config.containers &&
			containers_known(ids->config.containers, id, &info))
			memcpy(ret->container, info.name, sizeof(info.name));
	}
	pthread_mutex_unlock(&ids->lock);
	return ret->appid.bad || ret->metadata.bad ? -ENOMEM : 0;
}

/* Nothing is removed from an intern: what is still in use moves to a fresh one. */
static void compact_texts(struct identities *ids)
{
	struct intern fresh;

	if (!ids->full && !intern_is_stale(&ids->texts))
		return;
	intern_init(&fresh, TEXTS_MAX, TEXTS_BYTES_MAX);
	vec_foreach (i, &ids->all) {
		intern_move(&fresh, &ids->texts, i->appid, &i->appid);
		intern_move(&fresh, &ids->texts, i->metadata, &i->metadata);
		intern_move(&fresh, &ids->texts, i->container, &i->container);
	}
	intern_deinit(&ids->texts);
	ids->texts = fresh;
	ids->full = false;
}

void identities_sweep(struct identities *ids, const struct process_table *t)
{
	size_t left = 0;

	if (!ids)
		return;
	pthread_mutex_lock(&ids->lock);
	map_clear(&ids->by_uid);
	for (size_t n = 0; n < ids->all.len; n++) {
		struct identity i = ids->all.data[n];

		if (!process_table_by_uid(t, i.uid))
			continue;
		// There is room: there was before.
		ids->all.data[left] = i;
		if (map_set(&ids->by_uid, i.uid, left + 1) == 0)
			left++;
	}
	ids->all.len = left;
	compact_texts(ids);
	pthread_mutex_unlock(&ids->lock);
}

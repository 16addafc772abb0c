/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/queue.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define LOGGER "gprofiler.delivery"
#define SYSTEM_DIR "/var/lib/gprofiler/spool"

static int open_spool(struct queue *q, const char *dir, uint64_t bytes, uint64_t age_s)
{
	const struct spool_config config = {
		.dir = dir,
		.max_bytes = bytes,
		.max_age_s = age_s,
		.item_max = UPLOAD_KEPT_MAX,
	};
	int r = spool_open(&config, &q->spool);

	if (r)
		return r;
	q->dir = strdup(dir);
	if (spool_items(q->spool))
		log_info(LOGGER, "%zu profiles of before wait in %s and are sent first",
			spool_items(q->spool), dir);
	return 0;
}

/* Root's place, else the user's own (XDG Base Directory: state that outlives a run). */
static int open_usual(struct queue *q, uint64_t bytes, uint64_t age_s)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	_cleanup_free_ char *own = NULL;
	int r = open_spool(q, SYSTEM_DIR, bytes, age_s), n = -1;

	if (!r || r == -EBUSY)
		return r;
	if (state && state[0] == '/')
		n = asprintf(&own, "%s/gprofiler/spool", state);
	else if (home && home[0] == '/')
		n = asprintf(&own, "%s/.local/state/gprofiler/spool", home);
	if (n < 0) {
		own = NULL;
		return r;
	}
	return open_spool(q, own, bytes, age_s);
}

void queue_open(struct queue *q, const char *dir, uint64_t bytes, uint64_t age_s)
{
	int r = 0;

	*q = (struct queue){0};
	if (bytes)
		r = dir ? open_spool(q, dir, bytes, age_s) : open_usual(q, bytes, age_s);
	if (r)
		log_warning(LOGGER,
			"Profiles that cannot be sent are kept in memory only: %s: %s. Give a "
			"directory of this user's own with --spool-dir",
			dir ? dir : SYSTEM_DIR,
			r == -EBUSY ? "another gprofiler uses it" : strerror(-r));
}

void queue_close(struct queue *q)
{
	for (unsigned i = 0; i < q->nmemory; i++)
		buf_deinit(&q->memory[i].data);
	q->nmemory = 0;
	spool_close(q->spool);
	q->spool = NULL;
	free(q->dir);
	q->dir = NULL;
}

static void memory_remove(struct queue *q, unsigned at)
{
	q->memory_bytes -= q->memory[at].data.len;
	buf_deinit(&q->memory[at].data);
	q->nmemory--;
	memmove(q->memory + at, q->memory + at + 1, (q->nmemory - at) * sizeof(q->memory[0]));
}

/* nmemory: none. */
static unsigned memory_find(const struct queue *q, uint64_t id)
{
	unsigned at = 0;

	while (at < q->nmemory && q->memory[at].id != id)
		at++;
	return at;
}

static unsigned memory_oldest(const struct queue *q)
{
	unsigned at = 0;

	while (at < q->nmemory && q->memory[at].aside)
		at++;
	return at;
}

static int memory_put(struct queue *q, struct buf *encoded)
{
	if (encoded->len > QUEUE_MEMORY_BYTES)
		return -EFBIG;
	while (q->nmemory == QUEUE_MEMORY_ITEMS ||
		q->memory_bytes + encoded->len > QUEUE_MEMORY_BYTES) {
		memory_remove(q, 0);
		q->dropped++;
		log_warning(LOGGER, "A profile was dropped: the server is away, there is no spool, "
				    "and memory for waiting profiles is full");
	}
	q->memory_bytes += encoded->len;
	q->memory[q->nmemory++] = (struct queue_memory){.data = *encoded, .id = q->memory_id++};
	*encoded = BUF_INIT(0);
	return 0;
}

int queue_put(struct queue *q, const struct upload *u, bool *ret_kept)
{
	_cleanup_buf_ struct buf encoded = BUF_INIT(UPLOAD_KEPT_MAX);
	int r = upload_encode(&encoded, u);

	if (r)
		return r;
	r = q->spool ? spool_put(q->spool, encoded.data, encoded.len, clock_real_ns()) : -ENOENT;
	*ret_kept = !r;
	if (!r)
		return 0;
	if (q->spool)
		log_once(LOG_LEVEL_WARNING, LOGGER,
			"Could not write to the spool %s: %s. This profile waits in memory", q->dir,
			strerror(-r));
	return memory_put(q, &encoded);
}

bool queue_empty(const struct queue *q)
{
	return !q->nmemory && (!q->spool || !spool_items(q->spool));
}

bool queue_ready(const struct queue *q)
{
	uint64_t id;

	return memory_oldest(q) < q->nmemory || (q->spool && !spool_oldest(q->spool, &id));
}

static int from_spool(struct queue *q, struct queue_item *item)
{
	while (q->spool && !spool_oldest(q->spool, &item->id)) {
		_cleanup_buf_ struct buf data = BUF_INIT(UPLOAD_KEPT_MAX);
		int r = spool_read(q->spool, item->id, &data);

		if (!r)
			r = upload_decode(&item->upload, data.data, data.len);
		if (!r || r == -ENOMEM)
			return r;
		log_warning(LOGGER, "A profile in the spool %s cannot be read (%s): dropped",
			q->dir, r == -EINVAL ? "damaged" : strerror(-r));
		spool_remove(q->spool, item->id, true);
	}
	return -ENOENT;
}

int queue_next(struct queue *q, struct queue_item *ret)
{
	unsigned at = memory_oldest(q);
	int r;

	upload_init(&ret->upload);
	if (q->spool)
		spool_expire(q->spool, clock_real_ns());
	ret->in_memory = at < q->nmemory;
	if (ret->in_memory) {
		ret->id = q->memory[at].id;
		ret->again = q->memory[at].was_aside;
		r = upload_decode(&ret->upload, q->memory[at].data.data, q->memory[at].data.len);
	} else {
		r = from_spool(q, ret);
		ret->again = !r && spool_was_aside(q->spool, ret->id);
	}
	if (r)
		upload_deinit(&ret->upload);
	return r;
}

void queue_item_deinit(struct queue_item *item)
{
	upload_deinit(&item->upload);
}

void queue_remove(struct queue *q, const struct queue_item *item)
{
	unsigned at;

	if (!item->in_memory) {
		spool_remove(q->spool, item->id, false);
		return;
	}
	at = memory_find(q, item->id);
	if (at < q->nmemory)
		memory_remove(q, at);
}

void queue_set_aside(struct queue *q, const struct queue_item *item)
{
	unsigned at;

	if (!item->in_memory) {
		spool_set_aside(q->spool, item->id);
		return;
	}
	at = memory_find(q, item->id);
	if (at < q->nmemory)
		q->memory[at].aside = q->memory[at].was_aside = true;
}

void queue_recall(struct queue *q)
{
	for (unsigned i = 0; i < q->nmemory; i++)
		q->memory[i].aside = false;
	if (q->spool)
		spool_recall(q->spool);
}

uint64_t queue_items(const struct queue *q)
{
	return q->nmemory + (q->spool ? spool_items(q->spool) : 0);
}

uint64_t queue_bytes(const struct queue *q)
{
	return q->memory_bytes + (q->spool ? spool_bytes(q->spool) : 0);
}

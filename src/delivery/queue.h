/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/queue.h -- uploads that wait: the spool, or memory where there is none.
 *
 * What is in memory is lost first, so it goes first. One thread (delivery's lock). */
#ifndef GP_DELIVERY_QUEUE_H
#define GP_DELIVERY_QUEUE_H

#include "delivery/spool.h"
#include "delivery/upload.h"

#define QUEUE_MEMORY_ITEMS 8
#define QUEUE_MEMORY_BYTES ((size_t)8 << 20)

struct queue_memory {
	struct buf data; // an encoded upload
	uint64_t id;
	bool aside, was_aside;
};

struct queue {
	struct spool *spool; // NULL: none
	char *dir; // of the spool
	struct queue_memory memory[QUEUE_MEMORY_ITEMS]; // oldest first
	unsigned nmemory;
	uint64_t memory_id; // of the next one
	size_t memory_bytes;
	uint64_t dropped; // of memory
};

struct queue_item {
	bool in_memory;
	bool again; // it was set aside before
	uint64_t id; // in the spool or in memory
	struct upload upload; // owned
};

/* dir NULL: the first of the usual places that can be used. bytes 0: memory only.
 * Never fails; what is not possible is logged. */
void queue_open(struct queue *q, const char *dir, uint64_t bytes, uint64_t age_s);
void queue_close(struct queue *q);

/* Return 0, -ENOMEM, -EFBIG. ret_kept: it survives us. */
int queue_put(struct queue *q, const struct upload *u, bool *ret_kept);
bool queue_empty(const struct queue *q);
/* True if something waits that is not set aside. */
bool queue_ready(const struct queue *q);
/* The next one that is not set aside; damaged ones are dropped on the way. Return 0, -ENOENT when there is
 * none, -ENOMEM. */
int queue_next(struct queue *q, struct queue_item *ret);
void queue_item_deinit(struct queue_item *item);
/* The item of the last queue_next() is done with. */
void queue_remove(struct queue *q, const struct queue_item *item);
/* The item of the last queue_next() lets all others go first, until they are recalled. */
void queue_set_aside(struct queue *q, const struct queue_item *item);
void queue_recall(struct queue *q);
uint64_t queue_items(const struct queue *q);
uint64_t queue_bytes(const struct queue *q);

#endif

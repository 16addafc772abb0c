/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/spool.h -- what could not be sent yet, on disk.
 *
 * A directory of files, one an item, named by time so that their order is that of their making.
 * A file is written under a name of its own, synced, renamed, and the directory synced: after a
 * kill or a power cut there is the whole item or none. Above the cap of bytes, or when the disk is
 * full, the oldest go; so do those over the age. Each loss is counted. The directory is locked: one
 * program at a time. One thread (callers serialise). */
#ifndef GP_DELIVERY_SPOOL_H
#define GP_DELIVERY_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct spool_config {
	const char *dir; // created, mode 0700; borrowed only for the call
	uint64_t max_bytes;
	uint64_t max_age_s;
	size_t item_max; // bytes of one item; a larger file is damaged
};

struct spool_stats {
	uint64_t put, taken; // items written; items removed as delivered
	uint64_t lost_size, lost_age, lost_damaged; // items dropped
	uint64_t failed; // items that could not be written
};

struct spool;

/* Opens the directory, removes what an interrupted write left, and takes stock.
 * Return 0, -EBUSY when another program has it, -EPERM when it is not ours alone, -errno. */
int spool_open(const struct spool_config *config, struct spool **ret);
void spool_close(struct spool *s);

/* Keeps an item. now_ns is CLOCK_REALTIME. Return 0; -errno: it is not kept. */
int spool_put(struct spool *s, const void *data, size_t len, uint64_t now_ns);

/* Drops what is over its age at now_ns. */
void spool_expire(struct spool *s, uint64_t now_ns);

/* The oldest item that is not set aside; ret_id stays good until it is removed. Return 0, -ENOENT when
 * there is none. */
int spool_oldest(const struct spool *s, uint64_t *ret_id);
/* Others go before this one, until all are recalled. Nothing of it is on disk. */
void spool_set_aside(struct spool *s, uint64_t id);
bool spool_was_aside(const struct spool *s, uint64_t id);
void spool_recall(struct spool *s);
/* Appends an item to out. Return 0; -EINVAL: damaged (drop it); -ENOENT: somebody took the file;
 * -errno. */
int spool_read(struct spool *s, uint64_t id, struct buf *out);
/* Delivered, or damaged. */
void spool_remove(struct spool *s, uint64_t id, bool damaged);

size_t spool_items(const struct spool *s);
uint64_t spool_bytes(const struct spool *s);
const struct spool_stats *spool_stats(const struct spool *s);

#endif

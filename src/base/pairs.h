/* SPDX-License-Identifier: Apache-2.0 */
/* base/pairs.h -- structs of 8 bytes (two ids, say) -> dense u32 ids from 1; id 0 is "none".
 *
 * What an intern is for texts, at 16 bytes an item instead of 40: the item is its own key, so neither
 * its hash nor its place is kept. Nodes of stack trees and keys of samples are by far the most items of
 * a window. Nothing is removed; it is emptied as a whole. Capped at birth; one thread. */
#ifndef GP_BASE_PAIRS_H
#define GP_BASE_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#define PAIR_BYTES 8

struct pairs {
	char *items; // items + (id - 1) * PAIR_BYTES
	size_t size; // items there is room for
	uint32_t *slots; // id or 0
	uint32_t nslots; // a power of two, or 0
	uint32_t len, cap;
};

/* At most `cap` items, which is below UINT32_MAX. */
void pairs_init(struct pairs *t, uint32_t cap);
void pairs_deinit(struct pairs *t);
void pairs_clear(struct pairs *t);
/* The id of these PAIR_BYTES bytes, adding them if new. Return 0, -ENOSPC, -ENOMEM. */
int pairs_add(struct pairs *t, const void *pair, uint32_t *ret_id);
/* The id, or 0 if absent. */
uint32_t pairs_find(const struct pairs *t, const void *pair);
/* The item of an id, aligned to 8; dies at the next pairs_add. An unknown id yields zeros. */
const void *pairs_get(const struct pairs *t, uint32_t id);
/* Gives back what only finding and adding need: items can still be got, none is found, and an add is
 * -ENOSPC. */
void pairs_seal(struct pairs *t);
/* Bytes of memory that it holds. */
size_t pairs_bytes(const struct pairs *t);

#endif

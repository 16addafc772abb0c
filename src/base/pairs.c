/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/vec.h"

#define PAIRS_MIN_SLOTS 16

void pairs_init(struct pairs *t, uint32_t cap)
{
	*t = (struct pairs){.cap = cap};
}

void pairs_deinit(struct pairs *t)
{
	free(t->items);
	free(t->slots);
	pairs_init(t, t->cap);
}

void pairs_clear(struct pairs *t)
{
	t->len = 0;
	if (t->slots)
		memset(t->slots, 0, t->nslots * sizeof(*t->slots));
}

void pairs_seal(struct pairs *t)
{
	free(t->slots);
	t->slots = NULL;
	t->nslots = 0;
	t->cap = t->len;
}

static uint64_t item_of(const struct pairs *t, uint32_t id)
{
	uint64_t item;

	memcpy(&item, t->items + (size_t)(id - 1) * PAIR_BYTES, PAIR_BYTES);
	return item;
}

/* Where the item is, or the free slot where it would be. */
static uint32_t *slot_of(const struct pairs *t, uint64_t item)
{
	uint32_t i = (uint32_t)hash_u64(item) & (t->nslots - 1);

	while (t->slots[i] && item_of(t, t->slots[i]) != item)
		i = (i + 1) & (t->nslots - 1);
	return &t->slots[i];
}

static int rehash(struct pairs *t, uint32_t nslots)
{
	struct pairs bigger = *t;

	bigger.slots = calloc(nslots, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	bigger.nslots = nslots;
	for (uint32_t id = 1; id <= t->len; id++)
		*slot_of(&bigger, item_of(t, id)) = id;
	free(t->slots);
	*t = bigger;
	return 0;
}

static int reserve(struct pairs *t)
{
	int r;

	if (t->len >= t->cap)
		return -ENOSPC;
	if ((t->len + 1ull) * 4 > t->nslots * 3ull) {
		if (t->nslots > UINT32_MAX / 2)
			return -ENOSPC;
		r = rehash(t, t->nslots ? t->nslots * 2 : PAIRS_MIN_SLOTS);
		if (r)
			return r;
	}
	return vec_grow((void **)&t->items, &t->size, t->len + 1ull, t->cap, PAIR_BYTES);
}

int pairs_add(struct pairs *t, const void *pair, uint32_t *ret_id)
{
	uint32_t *slot;
	uint64_t item;
	int r;

	memcpy(&item, pair, PAIR_BYTES);
	if (t->nslots) {
		slot = slot_of(t, item);
		if (*slot) {
			*ret_id = *slot;
			return 0;
		}
	}
	r = reserve(t);
	if (r)
		return r;
	slot = slot_of(t, item);
	memcpy(t->items + (size_t)t->len * PAIR_BYTES, pair, PAIR_BYTES);
	*slot = ++t->len;
	*ret_id = t->len;
	return 0;
}

uint32_t pairs_find(const struct pairs *t, const void *pair)
{
	uint64_t item;

	memcpy(&item, pair, PAIR_BYTES);
	return t->nslots ? *slot_of(t, item) : 0;
}

const void *pairs_get(const struct pairs *t, uint32_t id)
{
	static const uint64_t none;

	if (id == 0 || id > t->len)
		return &none;
	return t->items + (size_t)(id - 1) * PAIR_BYTES;
}

size_t pairs_bytes(const struct pairs *t)
{
	return t->size * PAIR_BYTES + t->nslots * sizeof(*t->slots);
}

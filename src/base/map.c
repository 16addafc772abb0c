/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define MAP_MIN_SLOTS 16
#define STALE_MIN 512u // items: fewer are not worth the moving

uint64_t hash_u64(uint64_t x)
{
	// The 64-bit finaliser of MurmurHash3 (public domain).
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ull;
	x ^= x >> 33;
	return x;
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0x9e3779b97f4a7c15ull ^ len;
	uint64_t w;

	for (; len >= 8; len -= 8, p += 8) {
		memcpy(&w, p, 8);
		h = hash_u64(h ^ w);
	}
	w = 0;
	if (len)
		memcpy(&w, p, len);
	return hash_u64(h ^ w);
}

void map_init(struct map *m, size_t cap)
{
	*m = (struct map){.cap = cap};
}

void map_deinit(struct map *m)
{
	free(m->slots);
	map_init(m, m->cap);
}

void map_clear(struct map *m)
{
	if (m->slots)
		memset(m->slots, 0, m->size * sizeof(*m->slots));
	m->len = 0;
}

static struct map_slot *map_slot(const struct map *m, uint64_t key)
{
	size_t i = hash_u64(key) & (m->size - 1);

	while (m->slots[i].used && m->slots[i].key != key)
		i = (i + 1) & (m->size - 1);
	return &m->slots[i];
}

static int map_rehash(struct map *m, size_t size)
{
	struct map bigger = {.size = size, .cap = m->cap, .len = m->len};

	bigger.slots = calloc(size, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	map_foreach (slot, m)
		*map_slot(&bigger, slot->key) = *slot;
	free(m->slots);
	*m = bigger;
	return 0;
}

int map_set(struct map *m, uint64_t key, uint64_t value)
{
	struct map_slot *slot;
	uint64_t *old = map_get(m, key);
	int r;

	if (old) {
		*old = value;
		return 0;
	}
	if (m->len >= m->cap)
		return -ENOSPC;
	if ((m->len + 1) * 4 > m->size * 3) {
		r = map_rehash(m, m->size ? m->size * 2 : MAP_MIN_SLOTS);
		if (r)
			return r;
	}
	slot = map_slot(m, key);
	*slot = (struct map_slot){.key = key, .value = value, .used = 1};
	m->len++;
	return 0;
}

uint64_t *map_get(const struct map *m, uint64_t key)
{
	struct map_slot *slot;

	if (!m->len)
		return NULL;
	slot = map_slot(m, key);
	return slot->used ? &slot->value : NULL;
}

bool map_remove(struct map *m, uint64_t key)
{
	struct map_slot *slot;
	size_t hole, i;

	if (!m->len)
		return false;
	slot = map_slot(m, key);
	if (!slot->used)
		return false;
	// Backward shift: no tombstones, so lookups never slow down with churn.
	hole = (size_t)(slot - m->slots);
	for (i = (hole + 1) & (m->size - 1); m->slots[i].used; i = (i + 1) & (m->size - 1)) {
		size_t home = hash_u64(m->slots[i].key) & (m->size - 1);

		if (((i - home) & (m->size - 1)) < ((i - hole) & (m->size - 1)))
			continue;
		m->slots[hole] = m->slots[i];
		hole = i;
	}
	m->slots[hole].used = 0;
	m->len--;
	return true;
}

void intern_init(struct intern *t, uint32_t cap, size_t bytes_cap)
{
	*t = (struct intern){.cap = cap, .bytes_cap = MIN(bytes_cap, UINT32_MAX)};
}

void intern_deinit(struct intern *t)
{
	free(t->bytes);
	free(t->items);
	free(t->slots);
	intern_init(t, t->cap, t->bytes_cap);
}

void intern_clear(struct intern *t)
{
	t->bytes_len = 0;
	t->len = 0;
	if (t->slots)
		memset(t->slots, 0, t->nslots * sizeof(*t->slots));
}

bool intern_is_stale(const struct intern *t)
{
	return t->len >= MAX(2 * t->kept, MIN(t->cap / 2, STALE_MIN)) ||
	       t->bytes_len >= t->bytes_cap / 4 * 3;
}

int intern_move(struct intern *to, const struct intern *from, uint32_t id, uint32_t *ret_id)
{
	size_t len;
	const void *data = intern_get(from, id, &len);
	int r;

	*ret_id = 0;
	r = id ? intern_add(to, data, len, ret_id) : 0;
	to->kept = to->len;
	return r;
}

static uint32_t *intern_slot(const struct intern *t, const void *data, size_t len, uint64_t hash)
{
	uint32_t i = (uint32_t)hash & (t->nslots - 1);

	for (; t->slots[i]; i = (i + 1) & (t->nslots - 1)) {
		const struct intern_item *item = &t->items[t->slots[i] - 1];

		if (item->hash == hash && item->len == len &&
			(len == 0 || memcmp(t->bytes + item->off, data, len) == 0))
			break;
	}
	return &t->slots[i];
}

static int intern_rehash(struct intern *t, uint32_t nslots)
{
	uint32_t *slots = calloc(nslots, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (uint32_t id = 1; id <= t->len; id++) {
		uint32_t i = (uint32_t)t->items[id - 1].hash & (nslots - 1);

		while (slots[i])
			i = (i + 1) & (nslots - 1);
		slots[i] = id;
	}
	free(t->slots);
	t->slots = slots;
	t->nslots = nslots;
	return 0;
}

static int intern_reserve(struct intern *t, size_t bytes)
{
	size_t items_size = t->items_size;
	int r;

	if ((t->len + 1ull) * 4 > t->nslots * 3ull) {
		r = intern_rehash(t, t->nslots ? t->nslots * 2 : MAP_MIN_SLOTS);
		if (r)
			return r;
	}
	r = vec_grow((void **)&t->items, &items_size, t->len + 1ull, t->cap, sizeof(*t->items));
	t->items_size = (uint32_t)items_size;
	if (r)
		return r;
	return vec_grow((void **)&t->bytes, &t->bytes_size, t->bytes_len + bytes, t->bytes_cap, 1);
}

int intern_add(struct intern *t, const void *data, size_t len, uint32_t *ret_id)
{
	uint64_t hash = hash_bytes(data, len);
	size_t padded = (len + 8) & ~(size_t)7; // at least one byte for the NUL
	uint32_t *slot;
	int r;

	if (t->nslots) {
		slot = intern_slot(t, data, len, hash);
		if (*slot) {
			*ret_id = *slot;
			return 0;
		}
	}
	r = intern_reserve(t, padded);
	if (r)
		return r;
	slot = intern_slot(t, data, len, hash);
	if (len)
		memcpy(t->bytes + t->bytes_len, data, len);
	memset(t->bytes + t->bytes_len + len, 0, padded - len);
	t->items[t->len] = (struct intern_item){
		.off = (uint32_t)t->bytes_len,
		.len = (uint32_t)len,
		.hash = hash,
	};
	t->bytes_len += padded;
	*slot = ++t->len;
	*ret_id = t->len;
	return 0;
}

uint32_t intern_find(const struct intern *t, const void *data, size_t len)
{
	return t->nslots ? *intern_slot(t, data, len, hash_bytes(data, len)) : 0;
}

const void *intern_get(const struct intern *t, uint32_t id, size_t *ret_len)
{
	if (id == 0 || id > t->len) {
		if (ret_len)
			*ret_len = 0;
		return "";
	}
	if (ret_len)
		*ret_len = t->items[id - 1].len;
	return t->bytes + t->items[id - 1].off;
}

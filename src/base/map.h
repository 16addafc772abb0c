/* SPDX-License-Identifier: Apache-2.0 */
/* base/map.h -- hash tables with a cap given at birth.
 *
 * struct map: u64 -> u64, open addressing, deletable.
 * struct intern: byte strings (texts, or whole structs without padding) -> dense u32 ids from 1;
 * id 0 is "none". Nothing is removed from an intern; it is emptied as a whole.
 * Both owned by one thread; full is a counted answer, never growth past the cap. */
#ifndef GP_BASE_MAP_H
#define GP_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_slot {
	uint64_t key;
	uint64_t value;
	uint8_t used; // 0 free, 1 used
};

struct map {
	struct map_slot *slots;
	size_t len; // entries
	size_t size; // slots, a power of two
	size_t cap; // most entries
};

void map_init(struct map *m, size_t cap);
void map_deinit(struct map *m);
void map_clear(struct map *m);
/* Inserts or replaces. Return 0, -ENOSPC at the cap, -ENOMEM. */
int map_set(struct map *m, uint64_t key, uint64_t value);
/* Pointer to the value, or NULL. Dies at the next map_set or map_remove. */
uint64_t *map_get(const struct map *m, uint64_t key);
bool map_remove(struct map *m, uint64_t key);

/* Visits every entry in slot order; do not insert or remove inside. */
#define map_foreach(slot, m)                                                                       \
	for (struct map_slot *slot = (m)->slots; slot && slot < (m)->slots + (m)->size; slot++)    \
		if (slot->used)

struct intern_item {
	uint32_t off; // into bytes
	uint32_t len;
	uint64_t hash;
};

struct intern {
	char *bytes;
	size_t bytes_len, bytes_size, bytes_cap;
	struct intern_item *items; // items[id - 1]
	uint32_t len, items_size, cap;
	uint32_t *slots; // id or 0
	uint32_t nslots;
	uint32_t kept; // items that were moved here from an older one
};

/* At most `cap` items and `bytes_cap` (<= 4 GiB - 1) bytes. */
void intern_init(struct intern *t, uint32_t cap, size_t bytes_cap);
void intern_deinit(struct intern *t);
void intern_clear(struct intern *t);
/* The id of these bytes, adding them if new. Return 0, -ENOSPC, -ENOMEM. Texts get a NUL after
 * them in storage; structs are aligned to 8. */
int intern_add(struct intern *t, const void *data, size_t len, uint32_t *ret_id);
/* The id, or 0 if absent. */
uint32_t intern_find(const struct intern *t, const void *data, size_t len);
/* True once it is worthwhile to move what is still in use to a fresh one: it holds twice what it began with
 * (and not just a few), or is nearly full. So what came and went takes no more room than what is there. */
bool intern_is_stale(const struct intern *t);
/* The same bytes in another one; id 0 stays 0. Sets to->kept. Return as intern_add(); *ret_id is 0 then. */
int intern_move(struct intern *to, const struct intern *from, uint32_t id, uint32_t *ret_id);
/* Bytes of an id; dies at the next intern_add. An unknown id yields "" and length 0. */
const void *intern_get(const struct intern *t, uint32_t id, size_t *ret_len);
static inline const char *intern_str(const struct intern *t, uint32_t id)
{
	return intern_get(t, id, NULL);
}

uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_u64(uint64_t x);

#endif

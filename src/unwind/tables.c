/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RULE_BYTES_MAX (UW_RULES * sizeof(struct uw_rule) * 2)
#define RANGES_MAX UW_DIR_ENTRIES
#define CLOCK_TURNS 3 // spare what was used in this epoch or the one before; in this one; nothing
#define EPOCH_SHARE 8 // an epoch lasts until this fraction of the pool is filled anew
#define EVICT_SHARE 16 // free at least this fraction of the pool at a time: one wait for many pages

static void store_u32(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int own_memory(struct tables *t, uint32_t pool_bytes, uint32_t maps)
{
	t->owned = true;
	t->mem.pool = calloc(1, (size_t)pool_bytes);
	t->mem.dir = calloc(t->dir_entries, sizeof(*t->mem.dir));
	t->mem.used = calloc(t->dir_entries, 1);
	t->mem.rules = calloc(UW_RULES, sizeof(*t->mem.rules));
	t->mem.recent = calloc(1, sizeof(*t->mem.recent));
	// The walkers' search looks at entries past a process's block before it rejects them.
	t->mem.maps = calloc((size_t)maps + UW_MAPS_PER_PROCESS, sizeof(*t->mem.maps));
	t->mem.epoch = &t->own_epoch;
	return t->mem.pool && t->mem.dir && t->mem.used && t->mem.rules && t->mem.recent &&
			       t->mem.maps
		       ? 0
		       : -ENOMEM;
}

static int make_gap_page(struct tables *t)
{
	struct uw_page gap = {
		.dict = sizeof(gap), .rows = sizeof(gap) + 2, .size = sizeof(gap) + 4};
	uint32_t off;
	int r;

	for (unsigned i = 1; i < UW_BLOCKS + 2; i++)
		gap.index[i] = 1;
	r = extents_take(&t->pool, (gap.size + UW_POOL_ALIGN - 1) / UW_POOL_ALIGN, &off);
	if (r)
		return r;
	memset(t->mem.pool + (size_t)off * UW_POOL_ALIGN, 0, gap.size);
	memcpy(t->mem.pool + (size_t)off * UW_POOL_ALIGN, &gap, sizeof(gap));
	t->gap = off;
	return 0;
}

/* The first unit of each segment is never handed out, so no free range crosses from one to the next. */
static int init_pool(struct tables *t, uint32_t units)
{
	const uint32_t segment = UW_POOL_SEGMENT_BYTES / UW_POOL_ALIGN;
	int r = extents_init(&t->pool, 1, MIN(units, segment));

	for (uint32_t first = segment; !r && first < units; first += segment)
		r = extents_add(&t->pool, first + 1, MIN(units, first + segment));
	return r;
}

int tables_init(struct tables *t, const struct tables_config *config)
{
	struct uw_rule none = {.cfa = UW_CFA_NONE}, complex = {.cfa = UW_CFA_COMPLEX};
	uint32_t pool_bytes = config->pool_bytes ? config->pool_bytes : UW_POOL_BYTES;
	uint32_t maps = config->maps ? config->maps : UW_MAPS;
	int r = 0;

	memset(t, 0, sizeof(*t));
	t->source = config->source;
	t->dir_entries = config->dir_entries ? config->dir_entries : UW_DIR_ENTRIES;
	tables_limbo_vec_init(&t->limbo, 2 * UW_DIR_ENTRIES);
	tables_range_vec_init(&t->ranges, RANGES_MAX);
	intern_init(&t->rules, UW_RULES, RULE_BYTES_MAX);
	if (t->source && t->source->tables.pool)
		t->mem = t->source->tables;
	else
		r = own_memory(t, pool_bytes, maps);
	t->owner = calloc(t->dir_entries, sizeof(*t->owner));
	// Offset 0 of pool and directory stays unused: 0 means absent.
	if (!r && t->owner)
		r = init_pool(t, pool_bytes / UW_POOL_ALIGN);
	t->pool_units = pool_bytes / UW_POOL_ALIGN;
	if (!r)
		r = extents_init(&t->dir, 1, t->dir_entries);
	if (!r)
		r = extents_init(&t->maps, 0, maps);
	if (!r && t->owner)
		r = make_gap_page(t);
	if (r || !t->owner) {
		tables_deinit(t);
		return r ? r : -ENOMEM;
	}
	tables_rule(t, &none);
	tables_rule(t, &complex);
	if (!*t->mem.epoch)
		*t->mem.epoch = 1;
	return 0;
}

void tables_deinit(struct tables *t)
{
	if (t->owned) {
		free(t->mem.pool);
		free(t->mem.dir);
		free(t->mem.used);
		free(t->mem.rules);
		free(t->mem.recent);
		free(t->mem.maps);
	}
	free(t->owner);
	extents_deinit(&t->pool);
	extents_deinit(&t->dir);
	extents_deinit(&t->maps);
	tables_limbo_vec_deinit(&t->limbo);
	tables_range_vec_deinit(&t->ranges);
	intern_deinit(&t->rules);
	memset(t, 0, sizeof(*t));
}

uint16_t tables_rule(struct tables *t, const struct uw_rule *rule)
{
	uint32_t id, before = t->rules.len;

	if (intern_add(&t->rules, rule, sizeof(*rule), &id)) {
		t->stats.full++;
		return TABLES_RULE_COMPLEX;
	}
	// Written before any page that names it is published.
	if (t->rules.len > before)
		t->mem.rules[id - 1] = *rule;
	return (uint16_t)(id - 1);
}

static void deref_maps(struct tables *t, uint32_t off, uint32_t len)
{
	for (uint32_t i = off; i < off + len; i++) {
		const struct uw_mapping *m = &t->mem.maps[i];
		uint32_t at = m->dir + (uint32_t)(m->pgoff >> UW_PAGE_SHIFT);

		if ((m->flags & UW_MAP_FILE) && at < t->dir_entries && t->owner[at])
			t->ranges.data[t->owner[at] - 1].refs--;
	}
}

/* Makes walkers look all up again. One that is on its way may still add what it has just read. */
static void forget_recent(struct tables *t)
{
	for (uint32_t i = 0; i < UW_RECENT; i++)
		__atomic_store_n(&t->mem.recent->rules[i], 0, __ATOMIC_RELAXED);
}

void tables_flush(struct tables *t)
{
	if (!t->limbo.len)
		return;
	if (t->source && t->source->ops && t->source->ops->synchronize)
		t->source->ops->synchronize(t->source);
	t->stats.syncs++;
	// No walker reads the old directory any more: what is found from now on is found anew.
	forget_recent(t);
	vec_foreach (l, &t->limbo) {
		if (l->kind == TABLES_LIMBO_POOL)
			extents_give(&t->pool, l->off, l->len);
		else if (l->kind == TABLES_LIMBO_DIR)
			extents_give(&t->dir, l->off, l->len);
		else
			extents_give(&t->maps, l->off, l->len);
	}
	tables_limbo_vec_clear(&t->limbo);
}

static void give_up(struct tables *t, enum tables_limbo_kind kind, uint32_t off, uint32_t len)
{
	struct tables_limbo l = {kind, off, len};

	if (t->limbo.len >= TABLES_LIMBO_MAX)
		tables_flush(t);
	// Without memory for the note the piece is lost: that is safe.
	if (tables_limbo_vec_push(&t->limbo, l))
		t->stats.full++;
}

static uint32_t page_units(const struct tables *t, uint32_t value)
{
	const struct uw_page *p = (const void *)(t->mem.pool + (size_t)value * UW_POOL_ALIGN);

	return (p->size + UW_POOL_ALIGN - 1) / UW_POOL_ALIGN;
}

/* Takes one page out of every range of the module. Returns units that go to limbo. */
static uint32_t drop_page(struct tables *t, uint32_t head, uint64_t page)
{
	uint32_t value = 0, units;

	for (uint32_t i = head; i; i = t->ranges.data[i - 1].next) {
		const struct tables_range *r = &t->ranges.data[i - 1];

		if (page < r->first || page - r->first >= r->count)
			continue;
		uint32_t *entry = &t->mem.dir[r->base + (uint32_t)(page - r->first)];

		if (*entry)
			value = *entry;
		store_u32(entry, UW_DIR_ABSENT);
	}
	if (!value || value == t->gap)
		return 0;
	units = page_units(t, value);
	t->stats.pages--;
	give_up(t, TABLES_LIMBO_POOL, value, units);
	return units;
}

/* Epochs since a walker last marked the page, in whatever range. */
static unsigned page_age(const struct tables *t, uint32_t head, uint64_t page)
{
	unsigned age = UINT8_MAX;

	for (uint32_t i = head; i; i = t->ranges.data[i - 1].next) {
		const struct tables_range *r = &t->ranges.data[i - 1];

		if (page >= r->first && page - r->first < r->count)
			age = MIN(
				age, (unsigned)(uint8_t)(*t->mem.epoch -
							 t->mem.used[r->base + (page - r->first)]));
	}
	return age;
}

/* One turn of the clock over what is older than `spared` epochs. Returns units given up. */
static uint64_t turn_clock(struct tables *t, unsigned spared, uint64_t goal)
{
	uint64_t got = 0;

	for (uint32_t n = 0; n < t->dir_top && got < goal; n++) {
		uint32_t at = t->hand;

		t->hand = t->hand + 1 < t->dir_top ? t->hand + 1 : 0;
		if (!t->mem.dir[at] || t->mem.dir[at] == t->gap || !t->owner[at])
			continue;
		const struct tables_range *r = &t->ranges.data[t->owner[at] - 1];
		uint64_t page = r->first + (at - r->base);

		if (page_age(t, *r->head, page) < spared)
			continue;
		got += drop_page(t, *r->head, page);
		t->stats.evicted++;
	}
	return got;
}

/* Frees at least `units` of the pool by the clock; 0 or -ENOSPC. */
static int evict(struct tables *t, uint32_t units)
{
	uint64_t goal = MAX((uint64_t)units, (t->pool.used + units) / EVICT_SHARE), got = 0;

	for (unsigned turn = 1; turn <= CLOCK_TURNS && got < goal; turn++)
		got += turn_clock(t, CLOCK_TURNS - turn, goal - got);
	tables_flush(t);
	return got ? 0 : -ENOSPC;
}

/* Time, for the clock, is pages made: an idle machine forgets nothing. */
static void advance_epoch(struct tables *t, uint32_t units)
{
	t->filled += units;
	if (t->filled < t->pool_units / EPOCH_SHARE)
		return;
	t->filled = 0;
	store_u32(t->mem.epoch, *t->mem.epoch + 1);
	forget_recent(t);
}

static void drop_range(struct tables *t, uint32_t i)
{
	struct tables_range *r = &t->ranges.data[i];
	uint32_t *link;

	for (uint32_t k = 0; k < r->count; k++)
		if (t->mem.dir[r->base + k])
			drop_page(t, *r->head, r->first + k);
	for (link = r->head; *link && *link != i + 1;)
		link = &t->ranges.data[*link - 1].next;
	*link = r->next;
	memset(&t->owner[r->base], 0, r->count * sizeof(*t->owner));
	give_up(t, TABLES_LIMBO_DIR, r->base, r->count);
	*r = (struct tables_range){.next = t->free_range};
	t->free_range = i + 1;
}

/* Takes back directory ranges that no published mapping uses. */
static void reclaim_ranges(struct tables *t)
{
	for (uint32_t i = 0; i < t->ranges.len; i++) {
		const struct tables_range *r = &t->ranges.data[i];

		if (r->count && !r->refs && r->generation != t->generation)
			drop_range(t, i);
	}
	tables_flush(t);
}

bool tables_forget(struct tables *t, uint32_t *head)
{
	for (uint32_t i = *head; i; i = t->ranges.data[i - 1].next)
		if (t->ranges.data[i - 1].refs)
			return false;
	while (*head)
		drop_range(t, *head - 1);
	return true;
}

static int take(struct tables *t, struct extents *e, uint32_t len, uint32_t *ret)
{
	int r = extents_take(e, len, ret);

	if (r != -ENOSPC || !t->limbo.len)
		return r;
	tables_flush(t);
	return extents_take(e, len, ret);
}

static int new_range(
	struct tables *t, uint32_t *head, uint64_t first, uint32_t count, uint32_t *ret_index)
{
	uint32_t base, i;
	int r = take(t, &t->dir, count, &base);

	if (r == -ENOSPC) {
		reclaim_ranges(t);
		r = extents_take(&t->dir, count, &base);
	}
	if (r) {
		t->stats.full++;
		return r;
	}
	if (!t->free_range) {
		r = tables_range_vec_push(&t->ranges, (struct tables_range){0});
		if (r) {
			extents_give(&t->dir, base, count);
			return r;
		}
		t->free_range = (uint32_t)t->ranges.len;
	}
	i = t->free_range - 1;
	t->free_range = t->ranges.data[i].next;
	t->ranges.data[i] = (struct tables_range){.base = base,
		.count = count,
		.first = first,
		.next = *head,
		.head = head,
		.generation = t->generation};
	// Pages that other ranges of the module have already are shared with the new one.
	for (uint32_t k = 0; k < count; k++) {
		const struct uw_page *p = tables_page_get(t, *head, first + k);

		t->owner[base + k] = i + 1;
		t->mem.used[base + k] = (uint8_t)*t->mem.epoch;
		store_u32(&t->mem.dir[base + k],
			p ? (uint32_t)(((const uint8_t *)p - t->mem.pool) / UW_POOL_ALIGN)
			  : UW_DIR_ABSENT);
	}
	*head = i + 1;
	t->dir_top = MAX(t->dir_top, base + count);
	*ret_index = i;
	return 0;
}

int tables_range_get(
	struct tables *t, uint32_t *head, uint64_t first, uint64_t last, uint32_t *ret_dir)
{
	struct tables_range *r = NULL;
	uint32_t i;

	if (last < first || last - first >= t->dir_entries) {
		t->stats.full++;
		return -ENOSPC;
	}
	for (i = *head; i; i = r->next) {
		r = &t->ranges.data[i - 1];
		if (first >= r->first && last < r->first + r->count)
			break;
	}
	if (!i) {
		int err = new_range(t, head, first, (uint32_t)(last - first + 1), &i);

		if (err)
			return err;
		r = &t->ranges.data[i];
	}
	r->generation = t->generation;
	*ret_dir = r->base - (uint32_t)r->first;
	return 0;
}

const struct uw_page *tables_page_get(const struct tables *t, uint32_t head, uint64_t page)
{
	for (uint32_t i = head; i; i = t->ranges.data[i - 1].next) {
		const struct tables_range *r = &t->ranges.data[i - 1];

		if (page < r->first || page - r->first >= r->count)
			continue;
		uint32_t value = t->mem.dir[r->base + (uint32_t)(page - r->first)];

		if (value)
			return (const void *)(t->mem.pool + (size_t)value * UW_POOL_ALIGN);
	}
	return NULL;
}

static void publish(struct tables *t, uint32_t head, uint64_t page, uint32_t value)
{
	for (uint32_t i = head; i; i = t->ranges.data[i - 1].next) {
		const struct tables_range *r = &t->ranges.data[i - 1];

		if (page < r->first || page - r->first >= r->count)
			continue;
		uint32_t at = r->base + (uint32_t)(page - r->first);

		t->mem.used[at] = (uint8_t)*t->mem.epoch;
		store_u32(&t->mem.dir[at], value);
	}
}

bool tables_spanned(const struct tables *t, uint32_t head, uint64_t page)
{
	for (uint32_t i = head; i; i = t->ranges.data[i - 1].next)
		if (page >= t->ranges.data[i - 1].first &&
			page - t->ranges.data[i - 1].first < t->ranges.data[i - 1].count)
			return true;
	return false;
}

int tables_page_set(struct tables *t, uint32_t *head, uint64_t page, const void *bytes, size_t len)
{
	uint32_t value = t->gap, units = (uint32_t)((len + UW_POOL_ALIGN - 1) / UW_POOL_ALIGN);
	bool replaced;
	int r = 0;

	if (!tables_spanned(t, *head, page))
		return -ENOENT;
	replaced = tables_page_get(t, *head, page) != NULL;
	drop_page(t, *head, page);
	if (replaced)
		forget_recent(t);
	if (bytes) {
		r = take(t, &t->pool, units, &value);
		// Several turns may be needed where what became free is not in one piece.
		for (unsigned turn = 0; r == -ENOSPC && turn < 2 * EVICT_SHARE; turn++) {
			if (evict(t, units))
				break;
			r = extents_take(&t->pool, units, &value);
		}
		if (r) {
			t->stats.full++;
			return r;
		}
		memcpy(t->mem.pool + (size_t)value * UW_POOL_ALIGN, bytes, len);
		t->stats.pages++;
		advance_epoch(t, units);
	}
	publish(t, *head, page, value);
	t->stats.pool_used = t->pool.used * UW_POOL_ALIGN;
	return 0;
}

static void count_refs(struct tables *t, const struct tables_process *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		uint32_t at = p->maps[i].dir + (uint32_t)(p->maps[i].pgoff >> UW_PAGE_SHIFT);

		if ((p->maps[i].flags & UW_MAP_FILE) && at < t->dir_entries && t->owner[at])
			t->ranges.data[t->owner[at] - 1].refs++;
	}
}

static void drop_block(struct tables *t, struct tables_block *block)
{
	if (!block->first)
		return;
	deref_maps(t, block->first - 1, block->count);
	give_up(t, TABLES_LIMBO_MAPS, block->first - 1, block->count);
	*block = (struct tables_block){0};
}

int tables_process_set(struct tables *t, const struct tables_process *p, struct tables_block *block)
{
	struct uw_process value = {.count = p->count, .runtime = p->runtime, .seen = p->seen};
	uint32_t first = 0;
	int r = 0;

	if (block->first && block->count == p->count &&
		!memcmp(&t->mem.maps[block->first - 1], p->maps, p->count * sizeof(*p->maps)))
		return 0;
	if (p->count) {
		r = take(t, &t->maps, p->count, &first);
		if (r) {
			t->stats.full++;
			return r;
		}
		memcpy(&t->mem.maps[first], p->maps, p->count * sizeof(*p->maps));
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	value.first = first;
	if (p->pid && t->source && t->source->ops && t->source->ops->set_process)
		r = t->source->ops->set_process(t->source, p->pid, &value);
	if (r) {
		if (p->count)
			give_up(t, TABLES_LIMBO_MAPS, first, p->count);
		return r;
	}
	t->generation++;
	count_refs(t, p);
	drop_block(t, block);
	if (p->count)
		*block = (struct tables_block){first + 1, p->count};
	return 0;
}

void tables_process_remove(struct tables *t, uint32_t pid, struct tables_block *block)
{
	if (pid && t->source && t->source->ops && t->source->ops->remove_process)
		t->source->ops->remove_process(t->source, pid);
	drop_block(t, block);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/timeline.h"

#include <stdbool.h>

void timeline_init(struct timeline *t, size_t max_counts)
{
	*t = (struct timeline){.slot_ns = TIMELINE_SLOT_NS};
	timeline_count_vec_init(&t->counts, MIN(max_counts, (size_t)UINT32_MAX - 1));
}

void timeline_deinit(struct timeline *t)
{
	timeline_count_vec_deinit(&t->counts);
	free(t->newest);
	t->newest = NULL;
	t->newest_size = 0;
}

void timeline_clear(struct timeline *t)
{
	timeline_count_vec_clear(&t->counts);
	if (t->newest)
		memset(t->newest, 0, t->newest_size * sizeof(*t->newest));
	t->slot_ns = TIMELINE_SLOT_NS;
	t->base = t->full = 0;
}

/* Room for the id of a sample in `newest`; what is new is 0. */
static int reserve(struct timeline *t, uint32_t sample)
{
	size_t before = t->newest_size;
	int r;

	if (sample < before)
		return 0;
	r = vec_grow((void **)&t->newest, &t->newest_size, sample + 1ull, (size_t)UINT32_MAX,
		sizeof(*t->newest));
	if (!r)
		memset(t->newest + before, 0, (t->newest_size - before) * sizeof(*t->newest));
	return r;
}

/* Into the newest count of the sample if it is of this slot. Return what did not go in. */
static uint64_t into_newest(struct timeline *t, uint32_t sample, uint16_t slot, uint64_t count)
{
	struct timeline_count *c;
	uint64_t room;

	if (!t->newest[sample])
		return count;
	c = &t->counts.data[t->newest[sample] - 1];
	if (c->slot != slot)
		return count;
	room = MIN(count, (uint64_t)(UINT16_MAX - c->count));
	c->count = (uint16_t)(c->count + room);
	return count - room;
}

/* Two slots become one, all over; counts of one sample in one slot are joined. */
static void coarsen(struct timeline *t)
{
	size_t n = t->counts.len;

	memset(t->newest, 0, t->newest_size * sizeof(*t->newest));
	t->counts.len = 0;
	t->slot_ns *= 2;
	for (size_t i = 0; i < n; i++) {
		struct timeline_count c = t->counts.data[i];
		uint64_t left = into_newest(t, c.sample, c.slot / 2, c.count);

		if (!left)
			continue;
		t->counts.data[t->counts.len++] =
			(struct timeline_count){c.sample, c.slot / 2, (uint16_t)left};
		t->newest[c.sample] = (uint32_t)t->counts.len;
	}
}

static uint64_t slot_of(const struct timeline *t, uint64_t time)
{
	return time > t->base ? (time - t->base) / t->slot_ns : 0;
}

/* Gives up: a part of the truth would look like the whole. */
static void drop_all(struct timeline *t)
{
	timeline_count_vec_clear(&t->counts);
	memset(t->newest, 0, t->newest_size * sizeof(*t->newest));
}

int timeline_add(struct timeline *t, uint32_t sample, uint64_t time, uint64_t count)
{
	int r;

	if (t->full) {
		t->full++;
		return 0;
	}
	if (!t->counts.len)
		t->base = time;
	r = reserve(t, sample);
	if (r)
		return r;
	while (slot_of(t, time) >= TIMELINE_SLOTS)
		coarsen(t);
	for (;;) {
		uint16_t slot = (uint16_t)slot_of(t, time);
		uint64_t part;

		count = into_newest(t, sample, slot, count);
		if (!count)
			return 0;
		part = MIN(count, (uint64_t)UINT16_MAX);
		r = timeline_count_vec_push(
			&t->counts, (struct timeline_count){sample, slot, (uint16_t)part});
		if (r == -ENOSPC && timeline_slots(t) > 1) {
			coarsen(t);
			continue;
		}
		if (r == -ENOSPC) {
			t->full = 1;
			drop_all(t);
			return 0;
		}
		if (r)
			return r;
		t->newest[sample] = (uint32_t)t->counts.len;
		count -= part;
		if (!count)
			return 0;
	}
}

/* The share of a count, so that those of a sample sum to what it counts for. */
static uint64_t share(struct timeline_move *m, uint64_t count)
{
	uint64_t whole = count * m->to + m->rest;

	if (m->from == m->to || !m->from)
		return count;
	m->rest = whole % m->from;
	return whole / m->from;
}

int timeline_copy(struct timeline *t, const struct timeline *from, struct timeline_move *moves)
{
	int r = 0;

	if (from->full && !t->full) {
		t->full = from->full;
		if (t->newest)
			drop_all(t);
	}
	if (!t->counts.len)
		t->slot_ns = from->slot_ns;
	vec_foreach (c, &from->counts) {
		struct timeline_move *m = &moves[c->sample];
		uint64_t count = m->sample ? share(m, c->count) : 0;
		// The middle of a slot: it stays in it, whatever was joined here meanwhile.
		uint64_t time = from->base + c->slot * from->slot_ns + from->slot_ns / 2;

		if (!count)
			continue;
		if (!t->counts.len && !t->full)
			time = from->base;
		r = timeline_add(t, m->sample, time, count);
		if (r)
			break;
	}
	return r;
}

unsigned timeline_slots(const struct timeline *t)
{
	unsigned last = 0;

	vec_foreach (c, &t->counts)
		last = MAX(last, c->slot + 1u);
	return last;
}

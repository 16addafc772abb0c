/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/merge.h"

#include <errno.h>

#define SEED 0x9e3779b97f4a7c15ull // any odd number: rounding need not be unpredictable

static uint32_t uid_of(const struct window *w, uint32_t sample)
{
	return window_context_get(w, window_sample_get(w, sample)->context)->uid;
}

/* Adds a window's samples by process; only: those of processes in this map. */
static int sum(struct map *to, const struct window *w, const struct map *only)
{
	for (uint32_t id = 1; id <= w->sample_keys.len; id++) {
		uint32_t uid = uid_of(w, id);
		uint64_t *known = map_get(to, uid), n = w->counts.data[id - 1].samples;
		int r = 0;

		if (only && !map_get(only, uid))
			continue;
		if (known)
			*known += n;
		else
			r = map_set(to, uid, n);
		if (r)
			return r;
	}
	return 0;
}

int merge_init(struct merge *m, const struct window *sampled, const struct window *read)
{
	uint64_t samples = 0, weight = 0;
	int r;

	*m = (struct merge){.random = SEED};
	map_init(&m->read, read->contexts.len + 1);
	map_init(&m->sampled, read->contexts.len + 1);
	r = sum(&m->read, read, NULL);
	if (r)
		return r;
	vec_foreach (count, &sampled->counts) {
		samples += count->samples;
		weight += count->weight;
	}
	m->weight = samples ? weight / samples : 0;
	return sum(&m->sampled, sampled, &m->read);
}

void merge_deinit(struct merge *m)
{
	map_deinit(&m->read);
	map_deinit(&m->sampled);
}

bool merge_replaces(const struct merge *m, uint32_t uid)
{
	const uint64_t *n = map_get(&m->read, uid);

	return n && *n;
}

/* Of [0, below). */
static uint64_t draw(struct merge *m, uint64_t below)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 7;
	m->random ^= m->random << 17;
	return m->random % below;
}

struct window_count merge_scale(struct merge *m, uint32_t uid, const struct window_count *count)
{
	const uint64_t *sampled = map_get(&m->sampled, uid), *read = map_get(&m->read, uid);
	struct window_count scaled = *count;

	if (!count->samples || !read || !*read)
		return scaled;
	if (sampled && *sampled) {
		uint64_t whole = count->samples * *sampled;

		scaled.samples = whole / *read;
		scaled.samples += draw(m, *read) < whole % *read;
	}
	scaled.weight = scaled.samples * (m->weight ? m->weight : count->weight / count->samples);
	return scaled;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/window.h"

#include <errno.h>
#include <string.h>

#define BYTES_PER_STRING 24

void window_init(struct window *w, uint32_t max_samples)
{
	*w = (struct window){0};
	intern_init(&w->frames, max_samples, (size_t)max_samples * sizeof(struct window_frame) * 2);
	pairs_init(&w->nodes, max_samples * 4);
	intern_init(
		&w->contexts, max_samples, (size_t)max_samples * sizeof(struct window_context) * 2);
	pairs_init(&w->sample_keys, max_samples);
	intern_init(&w->strings, max_samples, (size_t)max_samples * BYTES_PER_STRING);
	window_count_vec_init(&w->counts, max_samples);
	timeline_init(&w->timeline, max_samples);
}

void window_deinit(struct window *w)
{
	intern_deinit(&w->frames);
	pairs_deinit(&w->nodes);
	intern_deinit(&w->contexts);
	pairs_deinit(&w->sample_keys);
	intern_deinit(&w->strings);
	window_count_vec_deinit(&w->counts);
	timeline_deinit(&w->timeline);
}

void window_clear(struct window *w)
{
	intern_clear(&w->frames);
	pairs_clear(&w->nodes);
	intern_clear(&w->contexts);
	pairs_clear(&w->sample_keys);
	intern_clear(&w->strings);
	window_count_vec_clear(&w->counts);
	timeline_clear(&w->timeline);
	w->samples = w->full = w->frame_hits = 0;
}

static int window_path(
	struct window *w, const struct window_frame *frames, size_t n, uint32_t *ret_node)
{
	struct window_node node = {0};
	uint32_t id = 0;

	for (size_t i = 0; i < n; i++) {
		int r = intern_add(&w->frames, &frames[i], sizeof(frames[i]), &node.frame);

		if (r)
			return r;
		node.parent = id;
		r = pairs_add(&w->nodes, &node, &id);
		if (r)
			return r;
	}
	*ret_node = id;
	return 0;
}

static int window_count(struct window *w, struct window_sample_key key, uint64_t weight)
{
	unsigned times = w->times ? w->times : 1;
	uint32_t id;
	int r = pairs_add(&w->sample_keys, &key, &id);

	if (r)
		return r;
	if (id > w->counts.len) {
		r = window_count_vec_push(&w->counts, (struct window_count){0});
		if (r)
			return r;
	}
	w->counts.data[id - 1].samples += times;
	w->counts.data[id - 1].weight += weight;
	return w->now ? timeline_add(&w->timeline, id, w->now, times) : 0;
}

int window_add(struct window *w, const struct window_context *context,
	const struct window_frame *frames, size_t n, uint64_t weight)
{
	struct window_sample_key key;
	int r = intern_add(&w->contexts, context, sizeof(*context), &key.context);

	if (!r)
		r = window_path(w, frames, n, &key.node);
	if (!r)
		r = window_count(w, key, weight);
	if (r == -ENOSPC)
		w->full++;
	if (r)
		return r;
	w->samples++;
	w->frame_hits += n;
	return 0;
}

uint32_t window_comm(struct window *w, const char *comm)
{
	uint32_t id = 0;

	intern_add(&w->strings, comm, strnlen(comm, REC_COMM_LEN), &id);
	return id;
}

const struct window_frame *window_frame_get(const struct window *w, uint32_t id)
{
	return intern_get(&w->frames, id, NULL);
}

const struct window_node *window_node_get(const struct window *w, uint32_t id)
{
	return pairs_get(&w->nodes, id);
}

const struct window_context *window_context_get(const struct window *w, uint32_t id)
{
	return intern_get(&w->contexts, id, NULL);
}

const struct window_sample_key *window_sample_get(const struct window *w, uint32_t id)
{
	return pairs_get(&w->sample_keys, id);
}

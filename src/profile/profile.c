/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/profile.h"

#include <errno.h>
#include <string.h>

/* What an intern keeps of one struct: padded to 8, with at least one byte for its NUL. */
#define INTERNED(type) ((sizeof(type) + 8) & ~(size_t)7)

#define APP_METADATA_MAX 65536

/* Interned as bytes: a hole would make equal things differ. */
_Static_assert(sizeof(struct profile_frame) == 40, "padding in profile_frame");
_Static_assert(sizeof(struct profile_context) == 32, "padding in profile_context");
_Static_assert(sizeof(struct profile_node) == PAIR_BYTES, "profile_node is a pair");
_Static_assert(sizeof(struct profile_sample_key) == PAIR_BYTES, "a sample's key is a pair");

static void init_table(struct intern *t, size_t items, size_t item_bytes)
{
	size_t cap = MIN(items, UINT32_MAX - 1);

	intern_init(t, (uint32_t)cap, cap * item_bytes);
}

void profile_init(struct profile *p, size_t max_samples, size_t max_bytes)
{
	*p = (struct profile){0};
	intern_init(&p->strings, UINT32_MAX - 1, max_bytes);
	init_table(&p->frames, max_samples, INTERNED(struct profile_frame));
	init_table(&p->contexts, max_samples, INTERNED(struct profile_context));
	pairs_init(&p->nodes, (uint32_t)MIN(max_samples, UINT32_MAX - 1));
	pairs_init(&p->sample_keys, (uint32_t)MIN(max_samples, UINT32_MAX - 1));
	intern_init(&p->app_metadata, APP_METADATA_MAX, max_bytes);
	profile_sample_vec_init(&p->samples, max_samples);
	timeline_init(&p->timeline, MIN(max_samples, PROFILE_TIMES_MAX));
}

void profile_deinit(struct profile *p)
{
	intern_deinit(&p->strings);
	intern_deinit(&p->frames);
	pairs_deinit(&p->nodes);
	intern_deinit(&p->contexts);
	pairs_deinit(&p->sample_keys);
	intern_deinit(&p->app_metadata);
	profile_sample_vec_deinit(&p->samples);
	timeline_deinit(&p->timeline);
	json_decref(p->header);
	p->header = NULL;
}

void profile_seal(struct profile *p)
{
	pairs_seal(&p->nodes);
	// What the samples say themselves.
	pairs_deinit(&p->sample_keys);
	pairs_init(&p->sample_keys, 0);
}

int profile_string_n(struct profile *p, const char *s, size_t len, uint32_t *ret)
{
	if (len == 0) {
		*ret = 0;
		return 0;
	}
	return intern_add(&p->strings, s, len, ret);
}

int profile_string(struct profile *p, const char *s, uint32_t *ret)
{
	return profile_string_n(p, s, s ? strlen(s) : 0, ret);
}

int profile_frame(struct profile *p, const struct profile_frame *frame, uint32_t *ret)
{
	return intern_add(&p->frames, frame, sizeof(*frame), ret);
}

int profile_node(struct profile *p, uint32_t parent, uint32_t frame, uint32_t *ret)
{
	struct profile_node node = {.parent = parent, .frame = frame};

	if (parent > p->nodes.len || frame == 0 || frame > p->frames.len)
		return -EINVAL;
	return pairs_add(&p->nodes, &node, ret);
}

int profile_context(struct profile *p, const struct profile_context *context, uint32_t *ret)
{
	return intern_add(&p->contexts, context, sizeof(*context), ret);
}

static int64_t add_saturating(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return a < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

int profile_add(struct profile *p, uint32_t context, uint32_t node, const int64_t *values)
{
	struct profile_sample_key key = {.context = context, .node = node};
	struct profile_sample *sample;
	uint32_t id;
	int r;

	if (context > p->contexts.len || node > p->nodes.len)
		return -EINVAL;
	// Room in the vector first: a key without its sample would break samples[id - 1].
	id = pairs_find(&p->sample_keys, &key);
	if (!id) {
		r = profile_sample_vec_reserve(&p->samples, 1);
		if (r)
			return r;
		r = pairs_add(&p->sample_keys, &key, &id);
		if (r)
			return r;
		r = profile_sample_vec_push(
			&p->samples, (struct profile_sample){.context = context, .node = node});
		if (r)
			return r;
	}
	sample = &p->samples.data[id - 1];
	for (unsigned i = 0; i < p->ntypes && i < PROFILE_VALUES_MAX; i++)
		sample->values[i] = add_saturating(sample->values[i], values[i]);
	return 0;
}

uint32_t profile_sample_id(const struct profile *p, uint32_t context, uint32_t node)
{
	struct profile_sample_key key = {.context = context, .node = node};

	return pairs_find(&p->sample_keys, &key);
}

const struct profile_frame *profile_frame_get(const struct profile *p, uint32_t id)
{
	static const struct profile_frame none;

	return id && id <= p->frames.len ? intern_get(&p->frames, id, NULL) : &none;
}

const struct profile_node *profile_node_get(const struct profile *p, uint32_t id)
{
	static const struct profile_node none;

	return id && id <= p->nodes.len ? pairs_get(&p->nodes, id) : &none;
}

const struct profile_context *profile_context_get(const struct profile *p, uint32_t id)
{
	static const struct profile_context none;

	return id && id <= p->contexts.len ? intern_get(&p->contexts, id, NULL) : &none;
}

size_t profile_stack(const struct profile *p, uint32_t node, uint32_t *ids, size_t max)
{
	size_t depth = 0, kept;

	for (uint32_t n = node; n; n = profile_node_get(p, n)->parent)
		depth++;
	kept = MIN(depth, max);
	for (uint32_t n = node; kept; n = profile_node_get(p, n)->parent)
		ids[--kept] = profile_node_get(p, n)->frame;
	return depth;
}

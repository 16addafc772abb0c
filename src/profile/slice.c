/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/slice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define UNSET UINT32_MAX

/* Ids of src in dst; UNSET: not looked at, or without room. */
struct merging {
	struct profile *dst;
	const struct profile *src;
	struct profile_merge *how;
	uint32_t *strings, *frames, *nodes, *contexts;
	bool *node_used;
};

_Static_assert(sizeof(struct profile_ledger) % sizeof(uint64_t) == 0, "the ledger is all counters");

static uint32_t *new_ids(size_t n)
{
	uint32_t *ids = malloc((n + 1) * sizeof(*ids));

	if (ids)
		memset(ids, 0xff, (n + 1) * sizeof(*ids));
	return ids;
}

static int merging_init(struct merging *m)
{
	m->strings = new_ids(m->src->strings.len);
	m->frames = new_ids(m->src->frames.len);
	m->nodes = new_ids(m->src->nodes.len);
	m->contexts = new_ids(m->src->contexts.len);
	m->node_used = calloc(m->src->nodes.len + 1u, sizeof(*m->node_used));
	return m->strings && m->frames && m->nodes && m->contexts && m->node_used ? 0 : -ENOMEM;
}

static void merging_deinit(struct merging *m)
{
	free(m->strings);
	free(m->frames);
	free(m->nodes);
	free(m->contexts);
	free(m->node_used);
}

/* Replaces a string id of src by that of dst. */
static int take_string(struct merging *m, uint32_t *id)
{
	uint32_t from = *id;
	int r = 0;

	if (!from || from > m->src->strings.len) {
		*id = 0;
		return 0;
	}
	if (m->strings[from] == UNSET)
		r = profile_string_n(m->dst, profile_text(m->src, from),
			strlen(profile_text(m->src, from)), &m->strings[from]);
	*id = m->strings[from];
	return r;
}

static int take_frame(struct merging *m, uint32_t id, uint32_t *ret)
{
	struct profile_frame f = *profile_frame_get(m->src, id);
	uint32_t *texts[] = {&f.name, &f.system_name, &f.file, &f.module, &f.build_id};
	int r = 0;

	for (size_t i = 0; m->frames[id] == UNSET && !r && i < ARRAY_SIZE(texts); i++)
		r = take_string(m, texts[i]);
	if (!r && m->frames[id] == UNSET)
		r = profile_frame(m->dst, &f, &m->frames[id]);
	*ret = m->frames[id];
	return r;
}

/* Without room a context has no metadata, which is true of many. */
static int take_metadata(struct merging *m, uint32_t *id)
{
	const struct intern *from = &m->src->app_metadata;
	const char *text = *id && *id <= from->len ? intern_str(from, *id) : NULL;
	int r;

	*id = 0;
	if (!text)
		return 0;
	r = intern_add(&m->dst->app_metadata, text, strlen(text), id);
	return r == -ENOSPC ? 0 : r;
}

static int take_context(struct merging *m, uint32_t id)
{
	struct profile_context c = *profile_context_get(m->src, id);
	uint32_t *texts[] = {&c.comm, &c.thread_comm, &c.container, &c.appid};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(texts); i++)
		r = take_string(m, texts[i]);
	if (!r)
		r = take_metadata(m, &c.app_metadata);
	return r ? r : profile_context(m->dst, &c, &m->contexts[id]);
}

static bool is_wanted(const struct merging *m, const struct profile_sample *s)
{
	return !m->how->wanted ||
	       m->how->wanted(m->how->arg, profile_context_get(m->src, s->context));
}

/* A parent's id is below its child's: one pass takes whole stacks. */
static int take_nodes(struct merging *m)
{
	const struct profile *src = m->src;
	int r = 0;

	vec_foreach (s, &src->samples)
		for (uint32_t n = is_wanted(m, s) ? s->node : 0; n && !m->node_used[n];
			n = profile_node_get(src, n)->parent)
			m->node_used[n] = true;
	for (uint32_t id = 1; (!r || r == -ENOSPC) && id <= src->nodes.len; id++) {
		const struct profile_node *n = profile_node_get(src, id);
		uint32_t parent = n->parent ? m->nodes[n->parent] : 0, frame;

		if (!m->node_used[id] || parent == UNSET)
			continue;
		r = take_frame(m, n->frame, &frame);
		if (!r)
			r = profile_node(m->dst, parent, frame, &m->nodes[id]);
	}
	return r == -ENOSPC ? 0 : r;
}

/* How many of n samples stay, and what they weigh. */
static void thin(struct profile_merge *how, int64_t *values, unsigned ntypes)
{
	uint64_t sum, kept;

	if (!how->of || how->keep >= how->of || values[0] <= 0)
		return;
	sum = (uint64_t)values[0] * how->keep + how->carried;
	kept = sum / how->of;
	how->carried = sum % how->of;
	values[0] = (int64_t)kept;
	if (ntypes < 2)
		return;
	how->carried_value += values[1];
	values[1] = kept ? how->carried_value : 0;
	if (kept)
		how->carried_value = 0;
}

/* Frames are named in the slice, for whoever takes them: counted like naming.c does, of samples that stay. */
static void count_frames(struct merging *m, uint32_t node, uint64_t samples)
{
	struct profile_ledger *ledger = &m->dst->meta.ledger;

	for (; node; node = profile_node_get(m->src, node)->parent) {
		unsigned flags =
			profile_frame_get(m->src, profile_node_get(m->src, node)->frame)->flags;

		if (flags & PROFILE_FRAME_INLINED)
			continue;
		ledger->frames += samples;
		ledger->frames_unnamed += flags & PROFILE_FRAME_UNNAMED ? samples : 0;
		ledger->frames_no_symbols += flags & PROFILE_FRAME_UNNAMEABLE ? samples : 0;
	}
}

static int take_sample(struct merging *m, const struct profile_sample *s)
{
	struct profile_ledger *ledger = &m->dst->meta.ledger;
	uint64_t n = (uint64_t)s->values[0];
	struct profile_sample kept = *s;
	int r = 0;

	if (!is_wanted(m, s)) {
		ledger->left_out += n;
		return 0;
	}
	thin(m->how, kept.values, m->dst->ntypes);
	ledger->left_out += n - (uint64_t)kept.values[0];
	if (!kept.values[0])
		return 0;
	if (m->contexts[s->context] == UNSET)
		r = take_context(m, s->context);
	if (!r && s->node && m->nodes[s->node] == UNSET)
		r = -ENOSPC;
	if (!r)
		r = profile_add(m->dst, m->contexts[s->context], s->node ? m->nodes[s->node] : 0,
			kept.values);
	if (!r)
		count_frames(m, s->node, (uint64_t)kept.values[0]);
	if (r == -ENOSPC)
		ledger->aggregation_full += (uint64_t)kept.values[0];
	return r == -ENOSPC ? 0 : r;
}

static void add_ledger(struct profile_ledger *to, const struct profile_ledger *from)
{
	uint64_t *sums = (uint64_t *)to;
	const uint64_t *counts = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*sums); i++)
		sums[i] += counts[i];
}

/* How busy the machine was over both; a slice shorter than a clock tick does not know. */
static double mean(
	const struct profile_meta *to, double before, const struct profile_meta *from, double slice)
{
	double a = (double)to->duration_ns, b = (double)from->duration_ns;

	if (!to->has_usage)
		before = -1;
	if (!from->has_usage || slice < 0)
		return before;
	if (before < 0 || a + b <= 0)
		return slice;
	return (before * a + slice * b) / (a + b);
}

static void add_usage(struct profile_meta *to, const struct profile_meta *from)
{
	to->cpu_avg = mean(to, to->cpu_avg, from, from->cpu_avg);
	to->mem_avg = mean(to, to->mem_avg, from, from->mem_avg);
	to->has_usage |= from->has_usage;
}

static int take_meta(struct merging *m)
{
	struct profile_meta *to = &m->dst->meta, from = m->src->meta;
	uint32_t *texts[] = {
		&from.event, &from.hostname, &from.source, &from.command, &from.comment};
	int r = 0;

	// Those of the slice; take_sample() counts the ones that are taken.
	from.ledger.frames = from.ledger.frames_unnamed = from.ledger.frames_no_symbols = 0;
	add_ledger(&to->ledger, &from.ledger);
	to->has_ledger |= from.has_ledger;
	add_usage(to, &from);
	to->duration_ns += from.duration_ns;
	to->has_hw |= from.has_hw;
	for (unsigned i = 0; i < PROFILE_HW_MAX; i++)
		to->hw.counts[i] += from.hw.counts[i];
	if (m->dst->ntypes)
		return 0;
	for (size_t i = 0; !r && i < ARRAY_SIZE(texts); i++)
		r = take_string(m, texts[i]);
	for (unsigned i = 0; !r && i < m->src->ntypes; i++) {
		m->dst->types[i] = m->src->types[i];
		r = take_string(m, &m->dst->types[i].type);
		if (!r)
			r = take_string(m, &m->dst->types[i].unit);
	}
	m->dst->ntypes = m->src->ntypes;
	from.ledger = to->ledger;
	from.has_ledger = to->has_ledger;
	from.duration_ns = to->duration_ns;
	from.has_hw = to->has_hw;
	from.hw = to->hw;
	*to = from;
	return r;
}

int profile_merge(struct profile *dst, const struct profile *src, struct profile_merge *how)
{
	struct merging m = {.dst = dst, .src = src, .how = how};
	int r = merging_init(&m);

	// Which of the samples are kept is not known one by one.
	timeline_clear(&dst->timeline);
	if (!r)
		r = take_meta(&m);
	if (!r)
		r = take_nodes(&m);
	for (size_t i = 0; !r && i < src->samples.len; i++)
		r = take_sample(&m, &src->samples.data[i]);
	merging_deinit(&m);
	return r;
}

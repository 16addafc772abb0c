/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html_compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "export/html.h"

#define NOISE_Z 2.0 // ui-anchors.md 4.10

static int copy_string(struct profile *out, const struct profile *p, uint32_t id, uint32_t *ret)
{
	return profile_string(out, profile_text(p, id), ret);
}

static int copy_frame(struct profile *out, const struct profile *p, uint32_t id, uint32_t *ret)
{
	const struct profile_frame *f = profile_frame_get(p, id);
	struct profile_frame g = {
		.start_line = f->start_line ? f->start_line : f->line,
		.kind = f->kind,
		.flags = f->flags,
	};
	int r = copy_string(out, p, f->name, &g.name);

	// No build id: a rebuilt program is still the same function.
	if (!r)
		r = copy_string(out, p, f->file, &g.file);
	if (!r)
		r = copy_string(out, p, f->module, &g.module);
	if (!r)
		r = profile_frame(out, &g, ret);
	return r;
}

static int copy_context(struct profile *out, const struct profile *p, uint32_t id, uint32_t *ret)
{
	const struct profile_context *c = profile_context_get(p, id);
	struct profile_context d = {0};
	int r = copy_string(out, p, c->comm, &d.comm);

	if (!r)
		r = copy_string(out, p, c->thread_comm, &d.thread_comm);
	if (!r)
		r = copy_string(out, p, c->container, &d.container);
	if (!r)
		r = profile_context(out, &d, ret);
	return r;
}

/* Ids of p -> ids of out. Parents of nodes precede them. */
struct moved {
	uint32_t *frames, *nodes, *contexts;
};

static void moved_free(struct moved *m)
{
	free(m->frames);
	free(m->nodes);
	free(m->contexts);
}

static int move_all(struct profile *out, const struct profile *p, struct moved *m)
{
	int r = 0;

	m->frames = calloc(p->frames.len + 1ull, sizeof(uint32_t));
	m->nodes = calloc(p->nodes.len + 1ull, sizeof(uint32_t));
	m->contexts = calloc(p->contexts.len + 1ull, sizeof(uint32_t));
	if (!m->frames || !m->nodes || !m->contexts)
		return -ENOMEM;
	for (uint32_t id = 1; !r && id <= p->frames.len; id++)
		r = copy_frame(out, p, id, &m->frames[id]);
	for (uint32_t id = 1; !r && id <= p->nodes.len; id++) {
		const struct profile_node *n = profile_node_get(p, id);

		r = profile_node(out, m->nodes[n->parent], m->frames[n->frame], &m->nodes[id]);
	}
	for (uint32_t id = 1; !r && id <= p->contexts.len; id++)
		r = copy_context(out, p, id, &m->contexts[id]);
	return r;
}

static int add_side(struct profile *out, const struct profile *p, unsigned side)
{
	struct moved m = {0};
	int r = move_all(out, p, &m);

	for (size_t i = 0; !r && i < p->samples.len; i++) {
		const struct profile_sample *s = &p->samples.data[i];
		int64_t values[PROFILE_VALUES_MAX] = {0};

		values[side] = s->values[0];
		r = profile_add(out, m.contexts[s->context], m.nodes[s->node], values);
	}
	moved_free(&m);
	return r;
}

int html_compare_merge(struct profile *out, const struct profile *a, const struct profile *b)
{
	const struct profile *sides[] = {a, b};
	int r = 0;

	if (!a->ntypes || !b->ntypes ||
		strcmp(profile_text(a, a->types[0].unit), profile_text(b, b->types[0].unit)))
		return -EINVAL;
	out->ntypes = 2;
	for (unsigned i = 0; !r && i < 2; i++) {
		r = copy_string(out, sides[i], sides[i]->types[0].type, &out->types[i].type);
		if (!r)
			r = copy_string(
				out, sides[i], sides[i]->types[0].unit, &out->types[i].unit);
		if (!r)
			r = add_side(out, sides[i], i);
	}
	out->meta = (struct profile_meta){.start_real_ns = b->meta.start_real_ns,
		.duration_ns = b->meta.duration_ns,
		.period = b->meta.period,
		.frequency = b->meta.frequency};
	if (!r)
		r = copy_string(out, b, b->meta.hostname, &out->meta.hostname);
	if (!r)
		r = copy_string(out, b, b->meta.event, &out->meta.event);
	return r;
}

int html_compare_write(
	FILE *f, const struct profile *merged, const struct profile *a, const struct profile *b)
{
	const struct html_compare compare = {a, b};

	return html_write(f, merged, &(struct html_options){.compare = &compare});
}

static int compare_changes(const void *va, const void *vb)
{
	double x = fabs(((const struct html_change *)va)->change);
	double y = fabs(((const struct html_change *)vb)->change);

	return (x < y) - (x > y);
}

static double score(double a, double b, double factor)
{
	double spread = sqrt(fabs(a) + fabs(b) * factor * factor);

	return spread > 0 ? (b * factor - a) / spread : 0;
}

int html_compare_changes(const struct profile *merged, struct html_change_vec *out)
{
	_cleanup_html_tree_ struct html_tree t = {0};
	_cleanup_free_ struct html_change *funs = NULL;
	double whole[2] = {0}, factor;
	int r = html_tree_init(
		&t, merged, &(struct html_tree_options){.budget = UINT32_MAX / 2, .by_name = true});

	if (r)
		return r;
	funs = calloc(t.nfuns + 1ull, sizeof(*funs));
	if (!funs)
		return -ENOMEM;
	for (uint32_t i = 1; i < t.nnodes; i++) {
		const int64_t *self = &t.self[(size_t)i * merged->ntypes];

		whole[0] += (double)self[0];
		whole[1] += (double)self[1];
		if (t.nodes[i].item < t.nfuns) {
			funs[t.nodes[i].item].self_a += self[0];
			funs[t.nodes[i].item].self_b += self[1];
		}
	}
	factor = whole[1] > 0 ? whole[0] / whole[1] : 1;
	for (uint32_t i = 0; !r && i < t.nfuns; i++) {
		struct html_change *c = &funs[i];
		double a = (double)c->self_a, b = (double)c->self_b;

		c->frame = i;
		c->z = score(a, b, factor);
		c->change = (whole[1] > 0 ? b / whole[1] : 0) - (whole[0] > 0 ? a / whole[0] : 0);
		if (fabs(c->z) >= NOISE_Z)
			r = html_change_vec_push(out, *c);
	}
	if (r)
		return r;
	// Function numbers become frames of that function: the tree is gone after this.
	vec_foreach (c, out) {
		const struct html_fun *fun = &t.funs[c->frame];

		for (uint32_t id = 1; id <= merged->frames.len; id++) {
			const struct profile_frame *f = profile_frame_get(merged, id);

			if (f->name == fun->name && f->module == fun->module &&
				f->file == fun->file && f->kind == fun->kind) {
				c->frame = id;
				break;
			}
		}
	}
	if (out->len)
		qsort(out->data, out->len, sizeof(*out->data), compare_changes);
	return 0;
}

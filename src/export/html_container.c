/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html_container.h"

#include <errno.h>
#include <string.h>

#include "export/html_time.h"

#define CHUNK 4096
#define VARINT_MAX 10

/* Bytes on their way: counted, and written unless `w` is NULL (the sizing pass). */
struct out {
	struct gzip_writer *w;
	uint64_t count;
	size_t len;
	int error;
	uint8_t data[CHUNK];
};

static void out_flush(struct out *o)
{
	if (o->w && !o->error && o->len)
		o->error = gzip_write(o->w, o->data, o->len);
	o->count += o->len;
	o->len = 0;
}

static void out_bytes(struct out *o, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		size_t n = MIN(len, CHUNK - o->len);

		memcpy(o->data + o->len, p, n);
		o->len += n;
		p += n;
		len -= n;
		if (o->len == CHUNK)
			out_flush(o);
	}
}

static void out_varint(struct out *o, uint64_t v)
{
	if (o->len + VARINT_MAX > CHUNK)
		out_flush(o);
	for (; v >= 0x80; v >>= 7)
		o->data[o->len++] = (uint8_t)(v | 0x80);
	o->data[o->len++] = (uint8_t)v;
}

static void out_signed(struct out *o, int64_t v)
{
	out_varint(o, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

static void out_u32(struct out *o, uint32_t v)
{
	uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

	out_bytes(o, b, sizeof(b));
}

/* The strings that are used, sorted, and the number of each profile string among them. */
struct strings {
	const struct profile *p;
	uint32_t *number; // profile string id -> number
	uint32_t *sorted; // number - 1 -> profile string id
	uint32_t count;
};

struct sort_string {
	const char *text;
	uint32_t id;
};

static int compare_strings(const void *a, const void *b)
{
	return strcmp(((const struct sort_string *)a)->text, ((const struct sort_string *)b)->text);
}

static void use_string(struct strings *s, uint32_t id)
{
	if (id && id <= s->p->strings.len && profile_text(s->p, id)[0])
		s->number[id] = 1;
}

static int strings_init(struct strings *s, const struct html_tree *t)
{
	uint32_t n = t->p->strings.len, used = 0;
	_cleanup_free_ struct sort_string *sort = NULL;

	s->p = t->p;
	s->number = calloc(n + 1ull, sizeof(*s->number));
	s->sorted = calloc(n + 1ull, sizeof(*s->sorted));
	sort = calloc(n + 1ull, sizeof(*sort));
	if (!s->number || !s->sorted || !sort)
		return -ENOMEM;
	for (uint32_t i = 0; i < t->nfuns; i++) {
		use_string(s, t->funs[i].name);
		use_string(s, t->funs[i].module);
		use_string(s, t->funs[i].file);
		use_string(s, t->funs[i].build_id);
	}
	for (uint32_t i = 0; i < t->ncontexts; i++) {
		use_string(s, t->contexts[i].comm);
		use_string(s, t->contexts[i].container);
		use_string(s, t->contexts[i].appid);
		use_string(s, t->contexts[i].thread_comm);
	}
	for (uint32_t id = 1; id <= n; id++)
		if (s->number[id])
			sort[used++] = (struct sort_string){profile_text(t->p, id), id};
	qsort(sort, used, sizeof(*sort), compare_strings);
	for (uint32_t i = 0; i < used; i++) {
		s->sorted[i] = sort[i].id;
		s->number[sort[i].id] = i + 1;
	}
	s->count = used + 1;
	return 0;
}

static void strings_deinit(struct strings *s)
{
	free(s->number);
	free(s->sorted);
}

/* The fold function's name is not one of the profile's: it is the last string, out of order. */
static const char *last_string(const struct html_tree *t)
{
	return t->fold_fun == HTML_NONE ? NULL : html_tree_fun_name(t, t->fold_fun);
}

static void section_strings(struct out *o, const struct html_tree *t, const struct strings *s)
{
	const char *last = last_string(t);

	out_varint(o, s->count + (last != NULL));
	out_bytes(o, "", 1);
	for (uint32_t i = 0; i + 1 < s->count; i++) {
		const char *text = profile_text(t->p, s->sorted[i]);

		out_bytes(o, text, strlen(text) + 1);
	}
	if (last)
		out_bytes(o, last, strlen(last) + 1);
}

static void section_functions(struct out *o, const struct html_tree *t, const struct strings *s)
{
	uint32_t before = 0;

	out_varint(o, t->nfuns);
	for (uint32_t i = 0; i < t->nfuns; i++) {
		uint32_t name = i == t->fold_fun ? s->count : s->number[t->funs[i].name];

		out_signed(o, (int64_t)name - before);
		before = name;
	}
	for (uint32_t i = 0; i < t->nfuns; i++)
		out_varint(o, s->number[t->funs[i].module]);
	for (uint32_t i = 0; i < t->nfuns; i++)
		out_varint(o, s->number[t->funs[i].file]);
	for (uint32_t i = 0; i < t->nfuns; i++)
		out_varint(o, s->number[t->funs[i].build_id]);
	for (uint32_t i = 0; i < t->nfuns; i++)
		out_varint(o, t->funs[i].line);
	for (uint32_t i = 0; i < t->nfuns; i++)
		out_varint(o, t->funs[i].kind);
}

static void section_contexts(struct out *o, const struct html_tree *t, const struct strings *s)
{
	const struct html_context *c = t->contexts;

	out_varint(o, t->ncontexts);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, c[i].kind);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, s->number[c[i].kind == HTML_CONTAINER ? c[i].container
					: c[i].kind == HTML_PROCESS ? c[i].comm
								    : c[i].thread_comm]);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, s->number[c[i].container]);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, s->number[c[i].appid]);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, c[i].pid);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, c[i].tid);
	for (uint32_t i = 0; i < t->ncontexts; i++)
		out_varint(o, c[i].uid);
}

static void section_nodes(struct out *o, const struct html_tree *t)
{
	unsigned ntypes = t->p->ntypes;

	out_varint(o, t->nnodes);
	out_varint(o, ntypes);
	for (uint32_t i = 0; i < t->nnodes; i++)
		out_varint(o, i ? t->nodes[t->order[i]].item : 0);
	for (uint32_t i = 0; i < t->nnodes; i++)
		out_varint(o, t->nodes[t->order[i]].children);
	for (uint32_t i = 0; i < t->nnodes; i++)
		out_varint(o, t->nodes[t->order[i]].flags);
	for (unsigned v = 0; v < ntypes; v++)
		for (uint32_t i = 0; i < t->nnodes; i++)
			out_signed(o, t->self[(size_t)t->order[i] * ntypes + v]);
}

static void section_times(struct out *o, const struct html_tree *t, const struct html_time *h)
{
	const struct timeline *line = &t->p->timeline;
	uint32_t node = 0, slot = 0;

	out_varint(o, line->slot_ns / 1000);
	out_varint(o, line->base / 1000);
	out_varint(o, timeline_slots(line));
	out_varint(o, h->ncounts);
	for (size_t i = 0; i < h->ncounts; i++) {
		out_varint(o, html_time_node(h->counts[i]) - node);
		node = html_time_node(h->counts[i]);
	}
	node = HTML_NONE;
	for (size_t i = 0; i < h->ncounts; i++) {
		uint32_t at = html_time_slot(h->counts[i]);

		out_varint(o, html_time_node(h->counts[i]) == node ? at - slot : at);
		node = html_time_node(h->counts[i]);
		slot = at;
	}
	for (size_t i = 0; i < h->ncounts; i++)
		out_varint(o, html_time_samples(h->counts[i]));
}

/* What the sections are made of. */
struct parts {
	const struct html_tree *t;
	const struct buf *meta;
	struct strings strings;
	struct html_time time;
};

static int parts_init(struct parts *p)
{
	int r = strings_init(&p->strings, p->t);

	return r ? r : html_time_init(&p->time, p->t);
}

static void parts_deinit(struct parts *p)
{
	strings_deinit(&p->strings);
	html_time_deinit(&p->time);
}

static void section(struct out *o, enum html_section id, const struct parts *p)
{
	const struct html_tree *t = p->t;
	const struct strings *s = &p->strings;

	switch (id) {
	case HTML_SECTION_META:
		out_bytes(o, buf_str(p->meta), p->meta->len);
		break;
	case HTML_SECTION_STR:
		section_strings(o, t, s);
		break;
	case HTML_SECTION_FUN:
		section_functions(o, t, s);
		break;
	case HTML_SECTION_CTX:
		section_contexts(o, t, s);
		break;
	case HTML_SECTION_NODE:
		section_nodes(o, t);
		break;
	case HTML_SECTION_TIME:
		section_times(o, t, &p->time);
		break;
	}
	out_flush(o);
}

/* The last one is only there for a profile with times. */
static const enum html_section sections[] = {HTML_SECTION_META, HTML_SECTION_STR, HTML_SECTION_FUN,
	HTML_SECTION_CTX, HTML_SECTION_NODE, HTML_SECTION_TIME};

/* Two passes, so that the table can stand in front: sizes, then bytes. */
static int write_sections(struct gzip_writer *w, const struct parts *p)
{
	uint64_t lengths[ARRAY_SIZE(sections)], offset;
	size_t n = ARRAY_SIZE(sections) - !p->time.ncounts;
	struct out o = {0};

	for (size_t i = 0; i < n; i++) {
		o.count = 0;
		section(&o, sections[i], p);
		lengths[i] = o.count;
		if (lengths[i] > UINT32_MAX / ARRAY_SIZE(sections))
			return -EFBIG;
	}
	o.w = w;
	offset = 12 + 12 * n;
	out_bytes(&o, "GPF1", 4);
	out_u32(&o, HTML_CONTAINER_VERSION);
	out_u32(&o, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		out_u32(&o, sections[i]);
		out_u32(&o, (uint32_t)offset);
		out_u32(&o, (uint32_t)lengths[i]);
		offset += lengths[i];
	}
	for (size_t i = 0; i < n; i++) {
		// Times hardly repeat: a search for what does takes a quarter of the page's CPU.
		if (sections[i] == HTML_SECTION_TIME && !o.error)
			o.error = gzip_runs_only(w);
		section(&o, sections[i], p);
	}
	return o.error;
}

int html_container_write(struct gzip_writer *w, const struct html_tree *t, const struct buf *meta)
{
	struct parts p = {.t = t, .meta = meta};
	int r = parts_init(&p);

	if (!r)
		r = write_sections(w, &p);
	parts_deinit(&p);
	return r;
}

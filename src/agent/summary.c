/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/export.h"

#define DEPTH_MAX 4096
#define NAME_COLUMNS 60

struct function {
	uint64_t self, total;
	uint32_t text;
	uint32_t last; // sample that counted it last: recursion counts once
};

struct top {
	const struct profile *p;
	struct intern texts;
	uint32_t *text_of; // by frame id - 1
	struct function *functions; // by text id - 1
};

/* A function is what reads the same: frames differ by address and line, their text does not. */
static int top_texts(struct top *t)
{
	const struct export_collapsed_options options = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	for (uint32_t id = 1; id <= t->p->frames.len; id++) {
		int r;

		buf_clear(&text);
		r = export_frame_text(&text, t->p, id, &options);
		if (!r)
			r = intern_add(&t->texts, buf_str(&text), text.len, &t->text_of[id - 1]);
		if (r)
			return r;
	}
	return 0;
}

static void top_count(struct top *t, uint32_t sample)
{
	const struct profile_sample *s = &t->p->samples.data[sample - 1];
	uint64_t n = (uint64_t)s->values[0];
	bool leaf = true;

	for (uint32_t node = s->node; node; node = profile_node_get(t->p, node)->parent) {
		uint32_t text = t->text_of[profile_node_get(t->p, node)->frame - 1];
		struct function *f = &t->functions[text - 1];

		f->text = text;
		if (leaf)
			f->self += n;
		if (f->last != sample)
			f->total += n;
		f->last = sample;
		leaf = false;
	}
}

static int by_self(const void *a, const void *b)
{
	const struct function *x = a, *y = b;

	if (x->self != y->self)
		return x->self < y->self ? 1 : -1;
	if (x->total != y->total)
		return x->total < y->total ? 1 : -1;
	return x->text < y->text ? -1 : x->text > y->text;
}

static void top_print(struct buf *out, const struct top *t, unsigned n)
{
	uint64_t all = 0;

	for (size_t i = 0; i < t->p->samples.len; i++)
		all += (uint64_t)t->p->samples.data[i].values[0];
	buf_printf(out, "%7s %7s  function (%llu samples)\n", "self", "total",
		(unsigned long long)all);
	for (uint32_t i = 0; all && i < t->texts.len && i < n && t->functions[i].self; i++) {
		const struct function *f = &t->functions[i];
		const char *text = intern_str(&t->texts, f->text);
		int len = (int)strlen(text);

		buf_printf(out, "%6.2f%% %6.2f%%  %.*s%s\n", 100.0 * (double)f->self / (double)all,
			100.0 * (double)f->total / (double)all, MIN(len, NAME_COLUMNS), text,
			len > NAME_COLUMNS ? "..." : "");
	}
}

int summary_top(struct buf *out, const struct profile *p, unsigned n)
{
	_cleanup_free_ uint32_t *text_of = calloc(p->frames.len + 1u, sizeof(*text_of));
	_cleanup_free_ struct function *functions = calloc(p->frames.len + 1u, sizeof(*functions));
	struct top t = {.p = p, .text_of = text_of, .functions = functions};
	int r = text_of && functions ? 0 : -ENOMEM;

	intern_init(&t.texts, p->frames.len + 1u, UINT32_MAX);
	if (!r)
		r = top_texts(&t);
	if (!r) {
		for (uint32_t id = 1; id <= p->samples.len; id++)
			top_count(&t, id);
		qsort(functions, t.texts.len, sizeof(*functions), by_self);
		top_print(out, &t, n);
	}
	intern_deinit(&t.texts);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A profile in FlameGraph's form of collapsed text: no header and no columns, blanks in the comm are
 * '_', lines sorted bytewise, a newline after each. Marks of frames stay as in our own form, because
 * what a profile says about a frame is no longer perf's text, to which the options of the perf
 * script folder apply. */
#include "export/export.h"

#include <errno.h>
#include <string.h>

#include "export/fold.h"
#include "export/text.h"

#define TREE_CAP ((size_t)64 << 20) // then sorted runs in $TMPDIR
#define TEXT_CAP ((size_t)16 << 20)

struct flamegraph {
	const struct profile *p;
	const struct export_flamegraph_options *options;
	struct fold fold;
	struct buf text;
};

static int push_text(struct flamegraph *g)
{
	uint32_t id;
	int r = g->text.bad ? -ENOSPC : fold_text(&g->fold, buf_str(&g->text), g->text.len, &id);

	return r ? r : fold_push(&g->fold, id);
}

static int push_label(struct flamegraph *g, const struct profile_context *who)
{
	const char *comm = profile_text(g->p, who->comm);

	buf_clear(&g->text);
	export_text_clean(&g->text, comm, strlen(comm));
	if (!g->text.len)
		return 0;
	if (g->options->pid || g->options->tid)
		buf_printf(&g->text, "-%u", who->pid);
	if (g->options->tid)
		buf_printf(&g->text, "/%u", who->tid);
	for (size_t i = 0; i < g->text.len; i++)
		if (g->text.data[i] == ' ')
			g->text.data[i] = '_';
	return push_text(g);
}

static int add_sample(struct flamegraph *g, const struct profile_sample *s)
{
	int r = 0;

	// The fold is told leaf first.
	for (uint32_t n = s->node; n && !r; n = profile_node_get(g->p, n)->parent) {
		buf_clear(&g->text);
		r = export_frame_text(&g->text, g->p, profile_node_get(g->p, n)->frame, NULL);
		if (!r)
			r = push_text(g);
	}
	if (!r)
		r = push_label(g, profile_context_get(g->p, s->context));
	return r ? r : fold_commit(&g->fold, (uint64_t)s->values[0]);
}

int export_flamegraph(
	FILE *f, const struct profile *p, const struct export_flamegraph_options *options)
{
	struct flamegraph g = {.p = p, .options = options, .text = BUF_INIT(TEXT_CAP)};
	int r = fold_init(&g.fold, TREE_CAP, false);

	if (r)
		return r;
	vec_foreach (s, &p->samples) {
		if (s->values[0] > 0)
			r = add_sample(&g, s);
		if (r)
			break;
	}
	if (!r)
		r = fold_write(&g.fold, f, true);
	fold_deinit(&g.fold);
	buf_deinit(&g.text);
	return r;
}

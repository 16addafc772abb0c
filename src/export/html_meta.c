/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_meta.c -- the META section of the page's container. */
#include <errno.h>

#include "base/json.h"
#include "export/col_header.h"
#include "export/html.h"

static const char *const kind_names[PROFILE_FRAME_KIND_MAX] = {
	[PROFILE_FRAME_UNKNOWN] = "unknown",
	[PROFILE_FRAME_NATIVE] = "native",
	[PROFILE_FRAME_KERNEL] = "kernel",
	[PROFILE_FRAME_CPP] = "cpp",
	[PROFILE_FRAME_RUST] = "rust",
	[PROFILE_FRAME_GO] = "go",
	[PROFILE_FRAME_JIT] = "jit",
	[PROFILE_FRAME_PYTHON] = "python",
	[PROFILE_FRAME_PYTHON_NATIVE] = "native",
	[PROFILE_FRAME_JAVA] = "java",
	[PROFILE_FRAME_RUBY] = "ruby",
	[PROFILE_FRAME_PHP] = "php",
	[PROFILE_FRAME_NODE] = "node",
	[PROFILE_FRAME_DOTNET] = "dotnet",
	[PROFILE_FRAME_PERL] = "perl",
	[PROFILE_FRAME_META] = "meta",
};

static json_t *text(const struct profile *p, uint32_t id)
{
	return id ? json_text(profile_text(p, id)) : json_null();
}

static json_t *ledger(const struct profile_meta *m)
{
	const struct profile_ledger *l = &m->ledger;
	json_t *reasons, *j;

	if (!m->has_ledger)
		return json_null();
	reasons = json_object();
	for (size_t i = 1; i < ARRAY_SIZE(l->broken_reasons) && i < REC_WHY_MAX; i++) {
		const char *name = col_header_reasons[i] ? col_header_reasons[i] : "other";

		if (l->broken_reasons[i])
			json_object_set_new(
				reasons, name, json_integer((json_int_t)l->broken_reasons[i]));
	}
	j = json_object();
#define LEDGER(name, ...) json_object_set_new(j, #name, json_integer((json_int_t)l->name));
#define CAPTURE(...)
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
	json_object_set_new(j, "reasons", reasons);
	return j;
}

static json_t *values(const struct profile *p)
{
	json_t *list = json_array();

	for (unsigned v = 0; v < p->ntypes; v++)
		json_array_append_new(
			list, json_pack("{s:o, s:o}", "name", text(p, p->types[v].type), "unit",
				      text(p, p->types[v].unit)));
	return list;
}

/* What one recorded profile says of itself. */
static json_t *origin(const struct profile *p)
{
	const struct profile_meta *m = &p->meta;

	return json_pack("{s:o, s:f, s:f, s:o, s:i, s:f, s:o, s:o, s:o, s:o}", "host",
		text(p, m->hostname), "start", (double)m->start_real_ns / 1e6, "duration",
		(double)m->duration_ns / 1e9, "event", text(p, m->event), "frequency",
		(int)m->frequency, "period", (double)m->period, "source", text(p, m->source),
		"command", text(p, m->command), "comment", text(p, m->comment), "ledger",
		ledger(m));
}

static json_t *compared(const struct html_compare *compare)
{
	if (!compare)
		return json_null();
	return json_pack("{s:o, s:o}", "a", origin(compare->a), "b", origin(compare->b));
}

int html_meta(struct buf *out, const struct html_tree *t, const struct html_compare *compare)
{
	_cleanup_json_ json_t *j = origin(t->p);
	json_t *kinds = json_array();

	for (size_t i = 0; i < PROFILE_FRAME_KIND_MAX; i++)
		json_array_append_new(kinds, json_string(kind_names[i]));
	if (!j || json_object_update_new(
			  j, json_pack("{s:s, s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:b}",
				     "agent", GP_VERSION, "values", values(t->p), "kinds", kinds,
				     "compare", compared(compare), "processes", (int)t->processes,
				     "threads", (int)t->threads, "containers", (int)t->containers,
				     "nodes", (int)t->nnodes, "folded", (int)t->folded,
				     "times_full", t->p->timeline.full != 0)))
		return -ENOMEM;
	return json_append(out, j);
}

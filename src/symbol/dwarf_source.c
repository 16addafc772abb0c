/* SPDX-License-Identifier: Apache-2.0 */
/* DWARF as the last source of a module: it adds lines and inlined functions to what has its name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/demangle.h"
#include "symbol/dwarf_lines.h"
#include "symbol/source.h"

static void cleanup_lines(struct dwarf_lines **d)
{
	dwarf_lines_free(*d);
}

static int text(struct resolver *r, const char *s, uint32_t *ret)
{
	return s && *s ? symbol_text(r, s, strlen(s), ret) : 0;
}

static int add_inline(struct resolver *r, struct symbol_query *q, const struct dwarf_inlined *in)
{
	_cleanup_buf_ struct buf name = BUF_INIT(DEMANGLE_MAX + 1);
	struct symbol_inline out = {.line = in->line};
	int e = text(r, in->file, &out.file);

	symbol_demangle(in->name, &name);
	if (!e)
		e = text(r, buf_str(&name), &out.name);
	if (!e)
		e = symbol_inline_vec_push(&r->inlines, out);
	if (e == -ENOSPC)
		return 0; // the cap: the outer ones are left out
	if (!e && !q->ninlines++)
		q->first_inline = (uint32_t)r->inlines.len;
	return e;
}

static int take_answer(void *arg, const struct dwarf_answer *a)
{
	struct symbol_group *g = arg;
	struct symbol_query *q = &g->queries[a->index];
	int e = 0;

	if (q->first_inline)
		return 0; // two units claim the address
	if (!q->start_line)
		q->start_line = a->start_line;
	if (g->resolver->config.lines) {
		e = text(g->resolver, a->file, &q->file);
		q->line = a->line;
	}
	for (unsigned i = 0; i < a->ninlines && !e; i++)
		e = add_inline(g->resolver, q, &a->inlines[i]);
	return e;
}

int symbol_source_dwarf(struct symbol_group *g)
{
	const struct resolver_config *config = &g->resolver->config;
	_cleanup_(module_standalone_cleanup) struct module *debug = NULL, *alt = NULL;
	_cleanup_(cleanup_lines) struct dwarf_lines *d = NULL;
	_cleanup_free_ struct dwarf_question *questions = NULL;
	struct dwarf_batch batch = {.inlines = config->inlines};
	struct module *m = g->module;
	int r;

	if (!config->lines && !config->inlines)
		return 0;
	if (!dwarf_lines_present(m)) {
		if ((m->symbol_slot & SYMBOL_NO_DEBUG_FILE) || m->special)
			return 0;
		r = symbol_find_debug(g, &debug);
		if (r)
			return r == -ENOMEM ? r : 0;
		m = debug;
	}
	r = symbol_find_alt(g, m, &alt);
	if (!r || r == -ENODATA)
		r = dwarf_lines_open(m, alt, &d);
	if (r)
		return r == -ENOMEM ? r : 0;
	questions = calloc(g->n, sizeof(*questions));
	if (!questions)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++) {
		struct dwarf_question *q = &questions[batch.n];

		// Go's own table has told the lines already, but not what was inlined.
		if (module_offset_to_vaddr(
			    g->module, symbol_lookup_addr(&g->queries[i]), &q->vaddr)) {
			q->index = (uint32_t)i;
			batch.n++;
		}
	}
	batch.questions = questions;
	return batch.n ? dwarf_lines_ask(d, &batch, take_answer, g) : 0;
}

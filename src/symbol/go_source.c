/* SPDX-License-Identifier: Apache-2.0 */
/* Go's own tables as a source of names; before the ELF symbols, which say less. */
#include <errno.h>

#include "symbol/go_names.h"
#include "symbol/source.h"

static void cleanup_table(struct go_names *t)
{
	go_names_close(t);
}

static int answer(
	struct symbol_group *g, const struct go_names *t, struct symbol_query *q, struct buf *text)
{
	struct resolver *r = g->resolver;
	struct go_function f;
	uint64_t vaddr;
	uint32_t line;
	int e;

	if (!module_offset_to_vaddr(g->module, symbol_lookup_addr(q), &vaddr) ||
		go_names_find(t, vaddr, &f) || go_function_name(t, &f, text))
		return 0;
	e = symbol_answer(r, q, buf_str(text), SYMBOL_KIND_GO);
	q->func_start = symbol_lookup_addr(q) - (vaddr - f.entry);
	q->start_line = go_function_start_line(t, &f);
	if (e || !r->config.lines || go_function_line(t, &f, vaddr, text, &line))
		return e;
	e = symbol_text(r, buf_str(text), text->len, &q->file);
	q->line = q->file ? line : 0;
	return e;
}

int symbol_source_go(struct symbol_group *g)
{
	_cleanup_buf_ struct buf text = BUF_INIT(GO_NAME_MAX + 1);
	_cleanup_(cleanup_table) struct go_names t = {0};
	int r = go_names_open(g->module, &t);

	if (r)
		return r == -ENOMEM ? r : 0;
	g->has_symbols = true;
	for (size_t i = 0; i < g->n && !r; i++)
		if (!g->queries[i].name)
			r = answer(g, &t, &g->queries[i], &text);
	return r;
}

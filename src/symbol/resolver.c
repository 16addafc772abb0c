/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/demangle.h"
#include "symbol/jit_files.h"
#include "symbol/kernel.h"
#include "symbol/source.h"

#define STRINGS_MAX (1u << 22)
#define STRINGS_CAP_DEFAULT (64u << 20) // bytes
#define INLINES_MAX (1u << 20)
#define OWNERS_MAX (1u << 16)

/* In the order they are asked; what adds lines and inlines to a name comes last. */
static const symbol_source_fn module_sources[] = {
	symbol_source_go,
	symbol_source_elf,
	symbol_source_plt,
	symbol_source_dwarf,
};

static const symbol_source_fn process_sources[] = {
	symbol_source_jitdump,
	symbol_source_perf_map,
};

int resolver_init(struct resolver *r, struct module_table *modules, struct process_table *processes,
	const struct resolver_config *config)
{
	size_t cap = config->strings_cap ? config->strings_cap : STRINGS_CAP_DEFAULT;
	int rc;

	*r = (struct resolver){.modules = modules, .processes = processes, .config = *config};
	intern_init(&r->strings, STRINGS_MAX, cap);
	symbol_inline_vec_init(&r->inlines, INLINES_MAX);
	r->jit = jit_files_new();
	if (!r->jit)
		return -ENOMEM;
	rc = kernel_symbols_new(config->kallsyms ? config->kallsyms : "/proc/kallsyms", &r->kernel);
	return rc;
}

void resolver_shed(struct resolver *r)
{
	intern_deinit(&r->strings);
	kernel_symbols_shed(r->kernel);
}

void resolver_deinit(struct resolver *r)
{
	kernel_symbols_free(r->kernel);
	r->kernel = NULL;
	jit_files_free(r->jit);
	r->jit = NULL;
	intern_deinit(&r->strings);
	symbol_inline_vec_deinit(&r->inlines);
}

int resolver_ksymbol(struct resolver *r, const struct capture_event *event)
{
	if (event->type != CAPTURE_KSYMBOL || !event->ksymbol.name)
		return 0;
	return kernel_symbols_add(r->kernel, event->ksymbol.addr, event->ksymbol.len,
		event->ksymbol.name, event->ksymbol.gone);
}

void resolver_note_jit(struct resolver *r, const struct process *p)
{
	jit_files_note(r->jit, r->processes, p);
}

int symbol_text(struct resolver *r, const char *text, size_t len, uint32_t *ret_id)
{
	int e = len ? intern_add(&r->strings, text, len, ret_id) : -ENOENT;

	if (e && e != -ENOMEM)
		*ret_id = 0;
	return e == -ENOMEM ? e : 0;
}

int symbol_answer(
	struct resolver *r, struct symbol_query *q, const char *raw, enum symbol_kind kind)
{
	_cleanup_buf_ struct buf text = BUF_INIT(DEMANGLE_MAX + 1);
	enum symbol_kind found = symbol_demangle(raw, &text);

	if (text.bad)
		return -ENOMEM;
	q->kind = (uint8_t)(kind == SYMBOL_KIND_UNKNOWN ? found : kind);
	return symbol_text(r, buf_str(&text), text.len, &q->name);
}

static void owners_add(struct symbol_owners *o, const struct process *p)
{
	vec_foreach (m, &p->maps)
		if (m->module != MODULE_NONE && !map_get(&o->by_module, m->module))
			map_set(&o->by_module, m->module, p->uid);
}

/* The living come first; what only the dead mapped may still lie where they found it. */
static void owners_build(struct symbol_owners *o, const struct process_table *processes)
{
	o->built = true;
	map_init(&o->by_module, OWNERS_MAX);
	map_foreach (slot, &processes->by_pid)
		owners_add(o, (const struct process *)(uintptr_t)slot->value);
	vec_foreach (p, &processes->kept)
		owners_add(o, *p);
}

struct process *symbol_owner(struct symbol_group *g)
{
	const struct process_table *processes = g->resolver->processes;
	const uint64_t *uid;

	if (!processes || !g->module)
		return NULL;
	if (!g->owners->built)
		owners_build(g->owners, processes);
	uid = map_get(&g->owners->by_module, g->module->id);
	return uid ? process_table_by_uid(processes, (uint32_t)*uid) : NULL;
}

static bool open_module(struct symbol_group *g)
{
	struct process *p;

	if (g->module->state == MODULE_OPEN)
		return true;
	if (g->module->state == MODULE_UNREADABLE)
		return false;
	p = symbol_owner(g);
	if (!p)
		return false;
	vec_foreach (m, &p->maps)
		if (m->module == g->module->id)
			return process_open_module(g->resolver->processes, p, m) == 0 &&
			       g->module->state == MODULE_OPEN;
	return false;
}

/* The same module text for every query of a group. */
static int set_module_text(struct symbol_group *g, const char *text)
{
	uint32_t id;
	int r = symbol_text(g->resolver, text, strlen(text), &id);

	for (size_t i = 0; !r && i < g->n; i++)
		g->queries[i].module = id;
	return r;
}

static int ask(struct symbol_group *g, const symbol_source_fn *sources, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (sources[i](g) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

static int resolve_module(struct symbol_group *g)
{
	int r;

	g->module = module_get(g->resolver->modules, g->queries[0].owner);
	if (!g->module)
		return 0;
	r = set_module_text(g, module_path(g->resolver->modules, g->module));
	if (r || !open_module(g))
		return r;
	r = ask(g, module_sources, ARRAY_SIZE(module_sources));
	for (size_t i = 0; i < g->n; i++)
		g->queries[i].has_symbols = g->has_symbols;
	return r;
}

static int resolve_process(struct symbol_group *g)
{
	const struct process_table *processes = g->resolver->processes;

	if (!processes)
		return 0;
	g->process = process_table_by_uid(processes, g->queries[0].owner);
	for (size_t i = 0; i < g->n; i++) {
		struct symbol_query *q = &g->queries[i];
		const char *path = intern_str(&processes->strings, q->mapping_path);
		int r = symbol_text(g->resolver, path, strlen(path), &q->module);

		if (r)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(process_sources); i++)
		if (process_sources[i](g) == -ENOMEM)
			return -ENOMEM;
	return 0;
}

static int kernel_answer(
	struct symbol_group *g, struct symbol_query *q, const struct kernel_name *name)
{
	const char *module = name->module ? name->module : "[kernel.kallsyms]";
	int r = symbol_text(g->resolver, module, strlen(module), &q->module);

	if (r || !name->name)
		return r;
	q->func_start = name->start;
	return symbol_answer(g->resolver, q, name->name, SYMBOL_KIND_KERNEL);
}

static int resolve_kernel(struct symbol_group *g)
{
	_cleanup_free_ struct kernel_name *names = calloc(g->n, sizeof(*names));
	uint64_t bytes = 0;
	int r;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++) {
		names[i].addr = symbol_lookup_addr(&g->queries[i]);
		g->queries[i].kind = SYMBOL_KIND_KERNEL;
	}
	r = kernel_symbols_resolve(g->resolver->kernel, names, g->n, &bytes);
	g->resolver->stats.bytes_read += bytes;
	for (size_t i = 0; i < g->n && !r; i++) {
		r = kernel_answer(g, &g->queries[i], &names[i]);
		g->queries[i].has_symbols = !kernel_symbols_hidden(g->resolver->kernel);
		if (!names[i].name && !g->queries[i].has_symbols)
			g->resolver->stats.kernel_hidden++;
	}
	return r;
}

static int compare_query(const void *a, const void *b)
{
	const struct symbol_query *x = a, *y = b;
	uint64_t xa = symbol_lookup_addr(x), ya = symbol_lookup_addr(y);

	if (x->space != y->space)
		return x->space < y->space ? -1 : 1;
	// Kernel text is everyone's: one group whatever the owner says.
	if (x->space != SYMBOL_KERNEL && x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return xa < ya ? -1 : xa > ya;
}

static bool same_group(const struct symbol_query *a, const struct symbol_query *b)
{
	return a->space == b->space && (a->space == SYMBOL_KERNEL || a->owner == b->owner);
}

static int resolve_group(struct symbol_group *g)
{
	switch (g->queries[0].space) {
	case SYMBOL_KERNEL:
		return resolve_kernel(g);
	case SYMBOL_MODULE:
		return resolve_module(g);
	case SYMBOL_PROCESS:
		return resolve_process(g);
	}
	return 0;
}

static void clear_answers(struct symbol_query *q)
{
	q->name = q->module = q->file = q->line = q->start_line = 0;
	q->func_start = 0;
	q->first_inline = q->ninlines = 0;
	q->kind = SYMBOL_KIND_UNKNOWN;
	q->has_symbols = false;
}

int resolver_resolve(struct resolver *r, struct symbol_query *queries, size_t n)
{
	struct symbol_owners owners = {0};
	int e = 0;

	intern_clear(&r->strings);
	symbol_inline_vec_clear(&r->inlines);
	for (size_t i = 0; i < n; i++)
		clear_answers(&queries[i]);
	if (n)
		qsort(queries, n, sizeof(*queries), compare_query);
	for (size_t i = 0; i < n && !e;) {
		struct symbol_group g = {.resolver = r, .owners = &owners, .queries = queries + i};

		while (i < n && same_group(&g.queries[0], &queries[i])) {
			i++;
			g.n++;
		}
		e = resolve_group(&g);
		if (r->config.pause)
			r->config.pause(r->config.pause_arg);
	}
	if (owners.built)
		map_deinit(&owners.by_module);
	if (r->processes)
		jit_files_sweep(r->jit, r->processes);
	r->stats.queries += n;
	for (size_t i = 0; i < n; i++)
		r->stats.named += queries[i].name != 0;
	r->stats.unnamed = r->stats.queries - r->stats.named;
	return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>

#include "elf/debug_find.h"
#include "elf/symtab.h"
#include "process/maps.h"
#include "symbol/elf_names.h"
#include "symbol/source.h"

#define NAME_BYTES_MAX 16384u
#define ROOT_MAX 96u // "/proc/PID/root"

/* The module's files that have symbols, best first. */
struct sources {
	struct module *debug; // owned: separate file or MiniDebugInfo
	struct elf_names_tables tables;
};

static void cleanup_sources(struct sources *s)
{
	module_standalone_free(s->debug);
}

static void add_table(
	struct symbol_group *g, struct sources *s, const struct module *file, uint32_t type)
{
	g->has_symbols |= type == SHT_SYMTAB;
	s->tables.file[s->tables.n] = file;
	s->tables.type[s->tables.n++] = type;
}

/* What the owner calls the file: in its mount namespace it may have another name than elsewhere. */
static int path_in_owner(struct symbol_group *g, const struct process *p, struct buf *ret)
{
	const char *path = module_path(g->resolver->modules, g->module);
	bool deleted;

	if (p)
		vec_foreach (m, &p->maps)
			if (m->module == g->module->id)
				path = intern_str(&g->resolver->processes->strings, m->path);
	return buf_append(ret, path, maps_path_len(path, &deleted));
}

/* Where separate files of the group's module are looked for. root: of ROOT_MAX bytes. Return how many roots are the
 * process's. */
static unsigned set_search(struct symbol_group *g, const struct process *p, char *root,
	struct module_debug_search *ret)
{
	unsigned n = 0;

	*ret = (struct module_debug_search){.dirs = g->resolver->config.debug_dirs};
	if (!ret->dirs)
		ret->dirs = "/usr/lib/debug";
	if (p && !p->exit_time) {
		snprintf(root, ROOT_MAX, "%s/%u/root", g->resolver->processes->proc_root, p->pid);
		ret->roots[n++] = root;
	}
	ret->roots[n] = "";
	return n;
}

int symbol_find_debug(struct symbol_group *g, struct module **ret)
{
	_cleanup_buf_ struct buf path = BUF_INIT(MAPS_PATH_MAX);
	const struct process *p = symbol_owner(g);
	struct module_debug_search search;
	char root[ROOT_MAX];
	unsigned n = set_search(g, p, root, &search);
	int r = path_in_owner(g, p, &path);

	if (r)
		return r;
	search.path = buf_str(&path);
	r = module_debug_find(g->module, &search, ret);
	return r == -ENOENT && n == 0 ? -EAGAIN : r;
}

int symbol_find_alt(struct symbol_group *g, const struct module *m, struct module **ret)
{
	struct module_debug_search search;
	char root[ROOT_MAX];

	set_search(g, symbol_owner(g), root, &search);
	return module_debug_alt(m, &search, ret);
}

/* The full table, wherever it is: 1. in the file, 2. in a separate debug file, 3. unpacked from
 * .gnu_debugdata, which leaves out what .dynsym has. 4. the dynamic table alone. */
static int find_tables(struct symbol_group *g, struct sources *s)
{
	struct module *m = g->module;
	struct module_symtab t;
	int r;

	if (module_symtab_open(m, SHT_SYMTAB, &t) == 0) {
		add_table(g, s, m, SHT_SYMTAB);
		return 0;
	}
	if (!(m->symbol_slot & SYMBOL_NO_DEBUG_FILE) && !m->special) {
		r = symbol_find_debug(g, &s->debug);
		if (r == -ENOMEM)
			return r;
		if (r == -ENOENT)
			m->symbol_slot |= SYMBOL_NO_DEBUG_FILE;
	}
	if (s->debug) {
		add_table(g, s, s->debug, SHT_SYMTAB);
		return 0;
	}
	if (!(m->symbol_slot & SYMBOL_NO_MINIDEBUG)) {
		r = module_minidebug_open(m, &s->debug);
		if (r == -ENOMEM)
			return r;
		if (r)
			m->symbol_slot |= SYMBOL_NO_MINIDEBUG;
		else
			add_table(g, s, s->debug, SHT_SYMTAB);
	}
	add_table(g, s, m, SHT_DYNSYM);
	return 0;
}

static void answer_same(const struct symbol_query *from, struct symbol_query *to)
{
	to->name = from->name;
	to->kind = from->kind;
}

static int answer(
	struct symbol_group *g, const struct sources *s, const struct elf_name *names, size_t n)
{
	_cleanup_buf_ struct buf text = BUF_INIT(NAME_BYTES_MAX);

	for (size_t i = 0; i < n; i++) {
		struct symbol_query *q = &g->queries[names[i].index];
		int r;

		if (!names[i].found)
			continue;
		q->func_start = symbol_lookup_addr(q) - (names[i].vaddr - names[i].start);
		if (names[i].same) {
			answer_same(&g->queries[names[i - 1].index], q);
			continue;
		}
		r = elf_names_text(&s->tables, &names[i], &text);
		if (r == -ENOMEM)
			return r;
		if (r)
			continue;
		r = symbol_answer(g->resolver, q, buf_str(&text), SYMBOL_KIND_UNKNOWN);
		if (r)
			return r;
	}
	return 0;
}

int symbol_source_elf(struct symbol_group *g)
{
	_cleanup_(cleanup_sources) struct sources s = {0};
	_cleanup_free_ struct elf_name *names = calloc(g->n, sizeof(*names));
	size_t n = 0;
	int r;

	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++) {
		uint64_t vaddr;

		if (g->queries[i].name || !module_offset_to_vaddr(g->module,
						  symbol_lookup_addr(&g->queries[i]), &vaddr))
			continue;
		names[n++] = (struct elf_name){.vaddr = vaddr, .index = (uint32_t)i};
	}
	if (!n)
		return 0;
	r = find_tables(g, &s);
	if (r)
		return r;
	r = elf_names_find(&s.tables, names, n);
	g->resolver->stats.bytes_read += s.tables.bytes_read;
	return r ? r : answer(g, &s, names, n);
}

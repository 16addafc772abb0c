/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/elf_names.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "elf/headers.h"
#include "elf/symtab.h"

#define NAME_BYTES_MAX 8192u
/* Bounds of the work that a hostile table can cause: overlapping symbols, endless aliases. */
#define HITS_MAX (1u << 24)
#define ALIAS_READS_MAX (1u << 17)

struct match {
	uint64_t start, size;
	uint32_t name;
	uint8_t table; // + 1; 0 = none
	uint8_t rank;
};

struct target {
	uint64_t vaddr;
	uint64_t section_start; // 0 in no section, or no headers
	uint32_t section;
	uint32_t index;
	struct match cover; // innermost symbol that holds vaddr
	struct match before; // nearest symbol that starts at or before vaddr
};

struct pass {
	struct target *targets;
	size_t n;
	const struct module_symtab *tables;
	uint8_t table;
	bool has_sections;
	uint32_t hits, alias_reads;
	struct buf *name, *other;
	bool no_memory;
};

static int compare_target(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	return x->vaddr < y->vaddr ? -1 : x->vaddr > y->vaddr;
}

/* Index of the first target at or after vaddr. */
static size_t lower_bound(const struct pass *p, uint64_t vaddr)
{
	size_t lo = 0, hi = p->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->targets[mid].vaddr < vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Tells each target which executable section of this file it lies in. */
static int assign_sections(struct pass *p, const struct module *file)
{
	struct module_section_iter it;
	int r;

	for (size_t i = 0; i < p->n; i++)
		p->targets[i].section = 0;
	p->has_sections = false;
	r = module_section_iter_init(&it, file);
	if (r)
		return r == -ENOENT || r == -EINVAL ? 0 : r;
	while ((r = module_section_iter_next(&it)) == 1) {
		const struct module_section *s = &it.section;

		if ((s->flags & (SHF_ALLOC | SHF_EXECINSTR)) != (SHF_ALLOC | SHF_EXECINSTR))
			continue;
		p->has_sections = true;
		for (size_t i = lower_bound(p, s->vaddr);
			i < p->n && p->targets[i].vaddr - s->vaddr < s->size; i++) {
			if (++p->hits > HITS_MAX)
				return 0;
			p->targets[i].section = it.index;
			p->targets[i].section_start = s->vaddr;
		}
	}
	return r == -EINVAL ? 0 : r;
}

/* Better symbols have higher ranks: functions before labels, sized before unsized, global before
 * weak before local. */
static uint8_t rank_of(const struct module_symbol *s)
{
	uint8_t bind = s->bind == STB_GLOBAL || s->bind == STB_GNU_UNIQUE ? 2 : s->bind == STB_WEAK;

	return (uint8_t)((s->type != STT_NOTYPE) << 3 | (s->size != 0) << 2 | bind);
}

static bool is_code(const struct module_symbol *s)
{
	if (s->section == SHN_UNDEF || s->section == SHN_ABS || s->section == SHN_COMMON ||
		!s->name)
		return false;
	if (s->type == STT_FUNC || s->type == STT_GNU_IFUNC)
		return true;
	return s->type == STT_NOTYPE && s->visibility != STV_HIDDEN &&
	       s->visibility != STV_INTERNAL;
}

static bool in_section(const struct pass *p, const struct target *t, const struct module_symbol *s)
{
	if (!p->has_sections || s->section == SHN_XINDEX)
		return true;
	if (t->section)
		return s->section == t->section;
	return s->type != STT_NOTYPE && s->size;
}

static size_t underscores(const struct buf *b)
{
	return strspn(buf_str(b), "_");
}

/* Labels of assemblers and of the AArch64 ABI ("$x", "$d.1") name no function. */
static bool is_label(const struct buf *b)
{
	const char *s = buf_str(b);

	return s[0] == '$' || s[0] == '\0' || strncmp(s, ".L", 2) == 0;
}

/* Return false if it is no name. */
static bool read_name(struct pass *p, const struct match *m, struct buf *ret)
{
	int r = module_symtab_name(&p->tables[m->table - 1], m->name, ret);

	p->no_memory |= r == -ENOMEM;
	return !r && !is_label(ret);
}

/* Whether name a is better than b at the same place and rank; the order is total, so that the
 * answer does not depend on the order of the table. */
static bool better_name(struct pass *p, const struct match *a, const struct match *b)
{
	if (a->table == b->table && a->name == b->name)
		return false;
	if (++p->alias_reads > ALIAS_READS_MAX)
		return false;
	if (!read_name(p, a, p->name))
		return false;
	if (!read_name(p, b, p->other))
		return true;
	if (underscores(p->name) != underscores(p->other))
		return underscores(p->name) < underscores(p->other);
	if (p->name->len != p->other->len)
		return p->name->len > p->other->len;
	return strcmp(buf_str(p->name), buf_str(p->other)) < 0;
}

static void offer(struct pass *p, struct match *best, const struct match *m)
{
	if (best->table) {
		if (m->start != best->start) {
			if (m->start < best->start)
				return;
		} else if (m->rank != best->rank) {
			if (m->rank < best->rank)
				return;
		} else if (!better_name(p, m, best)) {
			return;
		}
	}
	*best = *m;
}

static int take_symbol(void *arg, const struct module_symbol *s, uint64_t index)
{
	struct pass *p = arg;
	struct match m = {.start = s->value, .size = s->size, .name = s->name, .table = p->table};
	size_t i;

	(void)index;
	if (!is_code(s))
		return 0;
	m.rank = rank_of(s);
	i = lower_bound(p, s->value);
	if (i >= p->n)
		return 0;
	if (in_section(p, &p->targets[i], s))
		offer(p, &p->targets[i].before, &m);
	for (; i < p->n && p->targets[i].vaddr - s->value < s->size; i++) {
		if (++p->hits > HITS_MAX)
			return 1;
		if (in_section(p, &p->targets[i], s))
			offer(p, &p->targets[i].cover, &m);
	}
	return 0;
}

/* `before` was noted only at the first target after each symbol; those behind it inherit. */
static void settle(struct pass *p)
{
	for (size_t i = 1; i < p->n; i++) {
		const struct match *prev = &p->targets[i - 1].before;

		if (prev->table &&
			(!p->targets[i].before.table || prev->start > p->targets[i].before.start))
			p->targets[i].before = *prev;
	}
}

static void answer(const struct pass *p, const struct target *t, struct elf_name *ret)
{
	const struct match *m = &t->cover;

	*ret = (struct elf_name){.vaddr = t->vaddr, .index = t->index};
	// A symbol without a size runs to the next symbol, but not out of its section.
	if (!m->table && t->before.table && !t->before.size && (t->section || !p->has_sections) &&
		t->before.start >= t->section_start)
		m = &t->before;
	if (!m->table)
		return;
	ret->found = true;
	ret->table = (uint8_t)(m->table - 1);
	ret->name = m->name;
	ret->start = m->start;
	ret->size = m->size;
}

static bool same_symbol(const struct elf_name *a, const struct elf_name *b)
{
	return a->found && b->found && a->table == b->table && a->name == b->name &&
	       a->start == b->start;
}

static int run_tables(struct pass *p, struct elf_names_tables *tables)
{
	struct module_symtab *symtabs = tables->symtab;
	int r = 0;

	p->tables = symtabs;
	for (unsigned i = 0; i < tables->n && r >= 0; i++) {
		r = module_symtab_open(tables->file[i], tables->type[i], &symtabs[i]);
		if (r) {
			r = r == -ENOENT || r == -EINVAL ? 0 : r;
			continue;
		}
		r = assign_sections(p, tables->file[i]);
		if (r)
			break;
		p->table = (uint8_t)(i + 1);
		tables->bytes_read += symtabs[i].count * sizeof(Elf64_Sym);
		r = module_symtab_stream(&symtabs[i], take_symbol, p);
	}
	if (p->no_memory)
		return -ENOMEM;
	return r < 0 ? r : 0;
}

int elf_names_find(struct elf_names_tables *tables, struct elf_name *names, size_t n)
{
	_cleanup_free_ struct target *targets = calloc(n ? n : 1, sizeof(*targets));
	_cleanup_buf_ struct buf name = BUF_INIT(NAME_BYTES_MAX), other = BUF_INIT(NAME_BYTES_MAX);
	struct pass p = {.targets = targets, .n = n, .name = &name, .other = &other};
	int r;

	if (!targets)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		targets[i].vaddr = names[i].vaddr;
		targets[i].index = names[i].index;
	}
	qsort(targets, n, sizeof(*targets), compare_target);
	r = run_tables(&p, tables);
	settle(&p);
	for (size_t i = 0; i < n; i++) {
		answer(&p, &targets[i], &names[i]);
		names[i].same = i && same_symbol(&names[i], &names[i - 1]);
	}
	return r;
}

int elf_names_text(
	const struct elf_names_tables *tables, const struct elf_name *name, struct buf *ret)
{
	int r;

	if (!name->found || name->table >= tables->n)
		return -ENOENT;
	r = module_symtab_name(&tables->symtab[name->table], name->name, ret);
	if (r)
		return r;
	return is_label(ret) ? -ENOENT : 0;
}

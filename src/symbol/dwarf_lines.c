/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/dwarf_lines.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define UNITS_MAX (1u << 20)
#define RANGES_MAX (1u << 18) // of one entry
#define DEPTH_MAX 64 // of scopes in scopes
#define ENTRIES_MAX (1u << 24) // visited in one unit

/* One file, as libdw has it. */
struct dwarf_file {
	Elf *elf;
	Dwarf *dw;
	int fd; // -1 if the bytes are the module's
};

struct dwarf_lines {
	struct dwarf_file file, alt;
};

/* What is found out about a question. */
struct lookup {
	const struct dwarf_question *q;
	Dwarf_Die function;
	bool has_function;
};

struct unit_walk {
	Dwarf_Die unit;
	struct lookup *lookups; // of this unit, sorted by address
	size_t n;
	uint32_t visited;
};

bool dwarf_lines_present(const struct module *m)
{
	struct module_section s;

	return module_section(m, ".debug_info", &s) == 0 && s.size;
}

static void close_file(struct dwarf_file *f)
{
	dwarf_end(f->dw);
	elf_end(f->elf);
	if (f->fd >= 0)
		close(f->fd);
}

void dwarf_lines_free(struct dwarf_lines *d)
{
	if (!d)
		return;
	close_file(&d->file);
	close_file(&d->alt);
	free(d);
}

static int open_file(const struct module *m, struct dwarf_file *f)
{
	if (m->size > DWARF_FILE_MAX)
		return -EFBIG;
	f->fd = m->image ? -1 : fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
	if (m->image)
		f->elf = elf_memory((char *)m->image, m->size);
	else if (f->fd >= 0)
		f->elf = elf_begin(f->fd, ELF_C_READ, NULL);
	f->dw = f->elf ? dwarf_begin_elf(f->elf, DWARF_C_READ, NULL) : NULL;
	return f->dw ? 0 : -EINVAL;
}

int dwarf_lines_open(const struct module *m, const struct module *alt, struct dwarf_lines **ret)
{
	struct module_section s;
	struct dwarf_lines *d;
	int r;

	if (!dwarf_lines_present(m) || (!alt && !module_section(m, ".gnu_debugaltlink", &s)))
		return -ENOENT;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->file.fd = d->alt.fd = -1;
	elf_version(EV_CURRENT);
	r = open_file(m, &d->file);
	if (!r && alt)
		r = open_file(alt, &d->alt);
	if (r) {
		dwarf_lines_free(d);
		return r;
	}
	if (alt)
		dwarf_setalt(d->file.dw, d->alt.dw);
	*ret = d;
	return 0;
}

static int compare_question(const void *a, const void *b)
{
	const struct dwarf_question *x = a, *y = b;

	return x->vaddr < y->vaddr ? -1 : x->vaddr > y->vaddr;
}

/* Index of the first lookup at or above addr. */
static size_t first_at(const struct lookup *l, size_t n, uint64_t addr)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (l[mid].q->vaddr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void mark_function(struct unit_walk *w, Dwarf_Die *die)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t off = 0;

	for (unsigned i = 0; i < RANGES_MAX; i++) {
		off = dwarf_ranges(die, off, &base, &start, &end);
		if (off <= 0)
			return;
		for (size_t at = first_at(w->lookups, w->n, start);
			at < w->n && w->lookups[at].q->vaddr < end; at++) {
			w->lookups[at].function = *die;
			w->lookups[at].has_function = true;
		}
	}
}

/* Functions stand in units, and in Rust and C++ inside namespaces and types. */
static void find_functions(struct unit_walk *w, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die die;

	if (depth > DEPTH_MAX || dwarf_child(parent, &die) != 0)
		return;
	do {
		if (++w->visited > ENTRIES_MAX)
			return;
		switch (dwarf_tag(&die)) {
		case DW_TAG_subprogram:
			mark_function(w, &die);
			break;
		case DW_TAG_namespace:
		case DW_TAG_structure_type:
		case DW_TAG_class_type:
		case DW_TAG_union_type:
		case DW_TAG_module:
		case DW_TAG_enumeration_type:
			find_functions(w, &die, depth + 1);
			break;
		default:
			break;
		}
	} while (dwarf_siblingof(&die, &die) == 0);
}

struct chain {
	Dwarf_Die inlined[DWARF_INLINES_MAX]; // outermost first
	unsigned n;
};

/* The child that holds the address: a block, or a function inlined there. */
static bool scope_at(Dwarf_Die *parent, uint64_t addr, Dwarf_Die *ret)
{
	uint32_t visited = 0;

	if (dwarf_child(parent, ret) != 0)
		return false;
	do {
		int tag = dwarf_tag(ret);

		if ((tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block ||
			    tag == DW_TAG_try_block || tag == DW_TAG_catch_block) &&
			dwarf_haspc(ret, addr) > 0)
			return true;
	} while (++visited < ENTRIES_MAX && dwarf_siblingof(ret, ret) == 0);
	return false;
}

static void find_chain(Dwarf_Die *function, uint64_t addr, struct chain *ret)
{
	Dwarf_Die at = *function, next;

	for (unsigned depth = 0; depth < 4 * DEPTH_MAX && scope_at(&at, addr, &next); depth++) {
		at = next;
		if (dwarf_tag(&at) != DW_TAG_inlined_subroutine)
			continue;
		if (ret->n == DWARF_INLINES_MAX)
			return;
		ret->inlined[ret->n++] = at;
	}
}

static const char *name_of(Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &attr) ||
		dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attr))
		name = dwarf_formstring(&attr);
	if (!name)
		name = dwarf_diename(die);
	return name ? name : "";
}

static uint32_t number_of(Dwarf_Die *die, unsigned which)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	return dwarf_attr(die, which, &attr) && dwarf_formudata(&attr, &value) == 0 &&
			       value <= INT32_MAX
		       ? (uint32_t)value
		       : 0;
}

/* Where an inlined function was called from. */
static uint32_t call_site(Dwarf_Die *unit, Dwarf_Die *die, const char **ret_file)
{
	uint32_t number = number_of(die, DW_AT_call_file);
	Dwarf_Files *files;
	size_t n;

	if (dwarf_getsrcfiles(unit, &files, &n) == 0 && number < n)
		*ret_file = dwarf_filesrc(files, number, NULL, NULL);
	return number_of(die, DW_AT_call_line);
}

static void place_of(Dwarf_Die *unit, uint64_t addr, struct dwarf_answer *a)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, addr);
	int number;

	if (!line || dwarf_lineno(line, &number) || number <= 0)
		return;
	a->file = dwarf_linesrc(line, NULL, NULL);
	a->line = (uint32_t)number;
}

/* Moves the instruction's place to the innermost function, and gives each outer one the place of the
 * call in it. */
static void tell_inlines(struct unit_walk *w, struct lookup *l, struct dwarf_answer *a)
{
	struct chain chain = {.n = 0};

	find_chain(&l->function, a->vaddr, &chain);
	for (unsigned i = chain.n; i > 0; i--) {
		struct dwarf_inlined *in = &a->inlines[a->ninlines++];
		Dwarf_Die *die = &chain.inlined[i - 1];

		in->name = name_of(die);
		in->file = a->file;
		in->line = a->line;
		a->file = NULL;
		a->line = call_site(&w->unit, die, &a->file);
	}
}

static int answer(
	struct unit_walk *w, struct lookup *l, bool inlines, dwarf_answer_fn fn, void *arg)
{
	struct dwarf_answer a = {.vaddr = l->q->vaddr, .index = l->q->index};
	int line;

	place_of(&w->unit, a.vaddr, &a);
	if (l->has_function) {
		if (dwarf_decl_line(&l->function, &line) == 0 && line > 0)
			a.start_line = (uint32_t)line;
		if (inlines)
			tell_inlines(w, l, &a);
	}
	return a.line || a.ninlines || a.start_line ? fn(arg, &a) : 0;
}

/* The questions of one unit, taken out of all. Return how many. */
static size_t take_questions(Dwarf_Die *unit, const struct dwarf_batch *b, struct lookup *ret)
{
	Dwarf_Addr base, start, end;
	ptrdiff_t off = 0;
	size_t n = 0;

	for (unsigned i = 0; i < RANGES_MAX; i++) {
		size_t lo = 0, hi = b->n;

		off = dwarf_ranges(unit, off, &base, &start, &end);
		if (off <= 0)
			break;
		while (lo < hi) {
			size_t mid = lo + (hi - lo) / 2;

			if (b->questions[mid].vaddr < start)
				lo = mid + 1;
			else
				hi = mid;
		}
		for (; lo < b->n && n < b->n && b->questions[lo].vaddr < end; lo++)
			ret[n++] = (struct lookup){.q = &b->questions[lo]};
	}
	return n;
}

static int compare_lookup(const void *a, const void *b)
{
	const struct lookup *x = a, *y = b;

	return x->q->vaddr < y->q->vaddr ? -1 : x->q->vaddr > y->q->vaddr;
}

int dwarf_lines_ask(
	struct dwarf_lines *d, const struct dwarf_batch *batch, dwarf_answer_fn fn, void *arg)
{
	_cleanup_free_ struct lookup *lookups = calloc(batch->n, sizeof(*lookups));
	Dwarf_CU *cu = NULL;
	uint8_t type;
	int r = 0;

	if (!lookups)
		return -ENOMEM;
	qsort(batch->questions, batch->n, sizeof(*batch->questions), compare_question);
	for (unsigned i = 0; i < UNITS_MAX && !r; i++) {
		struct unit_walk w = {.lookups = lookups};

		if (dwarf_get_units(d->file.dw, cu, &cu, NULL, &type, &w.unit, NULL) != 0)
			break;
		// Of a unit whose functions are in a .dwo the lines are here; a path that the file names is
		// not opened.
		w.n = type == DW_UT_compile || type == DW_UT_skeleton
			      ? take_questions(&w.unit, batch, lookups)
			      : 0;
		if (!w.n)
			continue;
		qsort(lookups, w.n, sizeof(*lookups), compare_lookup);
		find_functions(&w, &w.unit, 0);
		for (size_t k = 0; k < w.n && !r; k++)
			r = answer(&w, &lookups[k], batch->inlines, fn, arg);
	}
	return r;
}

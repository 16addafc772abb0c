/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/symbols.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/vec.h"

#define CHUNK 65536u
#define NAME_MAX_LEN 64u
#define HITS_MAX 256u

/* Where the bytes of a wanted name stand in the string table. The linker lets a name be the tail of
 * another, so one name may have several places. */
struct hit {
	uint32_t off;
	uint32_t wanted;
};
VEC_DEFINE(hit_vec, struct hit)

struct search {
	struct runtime_symbol *wanted;
	unsigned nwanted;
	struct hit_vec hits;
	bool first[256], second[256]; // bytes that names start with
};

static int match_at(struct search *s, const char *at, size_t left, uint64_t off)
{
	for (unsigned i = 0; i < s->nwanted; i++) {
		const char *name = s->wanted[i].name;
		size_t len = strlen(name);
		size_t need = name[len - 1] == '.' ? len : len + 1;

		if (left < need || memcmp(at, name, need) != 0)
			continue;
		int r = hit_vec_push(&s->hits, (struct hit){(uint32_t)off, i});

		if (r && r != -ENOSPC)
			return r;
	}
	return 0;
}

/* Two table look-ups tell most bytes apart from the start of a name. */
static int search_chunk(struct search *s, const char *data, size_t len, uint64_t off)
{
	for (size_t i = 0; i + 1 < len; i++) {
		int r;

		if (!s->first[(uint8_t)data[i]] || !s->second[(uint8_t)data[i + 1]])
			continue;
		r = match_at(s, data + i, len - i, off + i);
		if (r)
			return r;
	}
	return 0;
}

static int search_names(struct search *s, const struct module_symtab *t)
{
	_cleanup_free_ char *data = malloc(CHUNK + NAME_MAX_LEN);
	uint64_t size = MIN(t->str_size, (uint64_t)RUNTIME_STRTAB_MAX);

	if (!data)
		return -ENOMEM;
	for (uint64_t off = 0; off < size; off += CHUNK) {
		size_t want = (size_t)MIN(size - off, (uint64_t)CHUNK + NAME_MAX_LEN);
		ssize_t got = module_read(t->m, t->str_offset + off, data, want);
		size_t before = s->hits.len;
		int r;

		if (got <= 0)
			return (int)got;
		// A name that starts past the chunk belongs to the next one.
		r = search_chunk(s, data, (size_t)got, off);
		if (r)
			return r;
		while (s->hits.len > before && s->hits.data[s->hits.len - 1].off >= off + CHUNK)
			s->hits.len--;
	}
	return 0;
}

static bool has_required(const struct search *s)
{
	vec_foreach (h, &s->hits)
		if (s->wanted[h->wanted].required)
			return true;
	return false;
}

static int compare_hits(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

static int take(void *arg, const struct module_symbol *sym, uint64_t index)
{
	struct search *s = arg;
	struct hit key = {.off = sym->name};
	const struct hit *h;
	struct runtime_symbol *w;

	(void)index;
	if (sym->section == SHN_UNDEF)
		return 0;
	h = bsearch(&key, s->hits.data, s->hits.len, sizeof(*h), compare_hits);
	if (!h)
		return 0;
	w = &s->wanted[h->wanted];
	for (unsigned i = 0; i < w->n; i++)
		if (w->symbols[i].value == sym->value)
			return 0;
	if (w->n < (w->name[strlen(w->name) - 1] == '.' ? ARRAY_SIZE(w->symbols) : 1))
		w->symbols[w->n++] = *sym;
	return 0;
}

int runtime_symbols_find(
	const struct module *m, uint32_t type, struct runtime_symbol *wanted, unsigned nwanted)
{
	struct search s = {.wanted = wanted, .nwanted = nwanted};
	struct module_symtab t;
	int r;

	r = module_symtab_open(m, type, &t);
	if (r)
		return r;
	for (unsigned i = 0; i < nwanted; i++) {
		s.first[(uint8_t)wanted[i].name[0]] = true;
		s.second[(uint8_t)wanted[i].name[1]] = true;
	}
	hit_vec_init(&s.hits, HITS_MAX);
	r = search_names(&s, &t);
	if (!r && !has_required(&s))
		r = -ENOENT;
	if (!r) {
		qsort(s.hits.data, s.hits.len, sizeof(struct hit), compare_hits);
		r = module_symtab_stream(&t, take, &s);
	}
	hit_vec_deinit(&s.hits);
	return r;
}

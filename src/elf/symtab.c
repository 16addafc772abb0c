/* SPDX-License-Identifier: Apache-2.0 */
#include "elf/symtab.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "elf/headers.h"

#define SYM_SIZE 24u
#define CHUNK_SYMS 2730u // 64 KiB of entries
#define DYNAMIC_MAX 1024u // entries of PT_DYNAMIC looked at
#define HASH_WORDS_MAX (1u << 24)

/* In one copy: this runs for every symbol of every sampled file. */
static void parse_sym(struct cursor *c, struct module_symbol *ret)
{
	Elf64_Sym sym;

	cursor_copy(c, &sym, sizeof(sym));
	ret->value = sym.st_value;
	ret->size = sym.st_size;
	ret->name = sym.st_name;
	ret->section = sym.st_shndx;
	ret->type = ELF64_ST_TYPE(sym.st_info);
	ret->bind = ELF64_ST_BIND(sym.st_info);
	ret->visibility = ELF64_ST_VISIBILITY(sym.st_other);
}

/* What PT_DYNAMIC tells about the symbol table; virtual addresses. */
struct dynamic {
	uint64_t symtab, strtab, strsz, hash, gnu_hash;
};

static int read_dynamic(const struct module *m, struct dynamic *ret)
{
	struct module_segment seg;
	int r = module_phdr(m, PT_DYNAMIC, 0, &seg);

	if (r)
		return r;
	memset(ret, 0, sizeof(*ret));
	for (uint64_t i = 0; i < MIN(seg.filesz / 16, DYNAMIC_MAX); i++) {
		uint8_t raw[16];
		struct cursor c = cursor_make(raw, sizeof(raw));
		uint64_t tag, value;

		if (module_read(m, seg.offset + i * 16, raw, sizeof(raw)) != sizeof(raw))
			return -EINVAL;
		tag = cursor_u64(&c);
		value = cursor_u64(&c);
		if (tag == DT_NULL)
			break;
		if (tag == DT_SYMTAB)
			ret->symtab = value;
		else if (tag == DT_STRTAB)
			ret->strtab = value;
		else if (tag == DT_STRSZ)
			ret->strsz = value;
		else if (tag == DT_HASH)
			ret->hash = value;
		else if (tag == DT_GNU_HASH)
			ret->gnu_hash = value;
	}
	return ret->symtab && ret->strtab ? 0 : -ENOENT;
}

static uint32_t read_u32(const struct module *m, uint64_t off)
{
	uint8_t raw[4];
	struct cursor c = cursor_make(raw, sizeof(raw));

	return module_read(m, off, raw, sizeof(raw)) == sizeof(raw) ? cursor_u32(&c) : 0;
}

/* Number of symbols by DT_GNU_HASH: the end of the chain of the highest bucket
 * (elf/dl-lookup.c of glibc walks the same structure). */
static uint64_t gnu_hash_count(const struct module *m, uint64_t off)
{
	uint32_t nbuckets = read_u32(m, off), first = read_u32(m, off + 4);
	uint32_t bloom = read_u32(m, off + 8), last = 0;
	uint64_t buckets = off + 16 + (uint64_t)bloom * 8;
	uint64_t chains = buckets + (uint64_t)nbuckets * 4;

	if (nbuckets > HASH_WORDS_MAX || chains > m->size)
		return 0;
	for (uint32_t i = 0; i < nbuckets; i++)
		last = MAX(last, read_u32(m, buckets + (uint64_t)i * 4));
	if (last < first)
		return first;
	while (last - first < HASH_WORDS_MAX &&
		chains + (uint64_t)(last - first) * 4 + 4 <= m->size &&
		!(read_u32(m, chains + (uint64_t)(last - first) * 4) & 1))
		last++;
	return (uint64_t)last + 1;
}

static int open_dynamic(const struct module *m, struct module_symtab *ret)
{
	struct dynamic d;
	uint64_t hash;
	int r = read_dynamic(m, &d);

	if (r)
		return r;
	if (!module_vaddr_to_offset(m, d.symtab, &ret->offset) ||
		!module_vaddr_to_offset(m, d.strtab, &ret->str_offset))
		return -ENOENT;
	ret->str_size = d.strsz;
	if (d.hash && module_vaddr_to_offset(m, d.hash, &hash))
		ret->count = read_u32(m, hash + 4);
	else if (d.gnu_hash && module_vaddr_to_offset(m, d.gnu_hash, &hash))
		ret->count = gnu_hash_count(m, hash);
	return ret->count ? 0 : -ENOENT;
}

static int open_section(const struct module *m, uint32_t type, struct module_symtab *ret)
{
	struct module_section syms, strs;
	int r = module_section_by_type(m, type, &syms);

	if (r)
		return r;
	if (syms.entsize != SYM_SIZE || (syms.flags & SHF_COMPRESSED))
		return -EINVAL;
	r = module_section_at(m, syms.link, &strs);
	if (r)
		return r;
	if (strs.type != SHT_STRTAB)
		return -EINVAL;
	ret->offset = syms.offset;
	ret->count = syms.size / SYM_SIZE;
	ret->str_offset = strs.offset;
	ret->str_size = strs.size;
	return 0;
}

int module_symtab_open(const struct module *m, uint32_t type, struct module_symtab *ret)
{
	struct module_symtab t = {.m = m};
	int r = open_section(m, type, &t);

	if (r && type == SHT_DYNSYM)
		r = open_dynamic(m, &t);
	if (r)
		return r;
	if (t.offset > m->size || t.str_offset > m->size)
		return -EINVAL;
	t.count = MIN(MIN(t.count, (m->size - t.offset) / SYM_SIZE), MODULE_SYMBOLS_MAX);
	t.str_size = MIN(t.str_size, m->size - t.str_offset);
	*ret = t;
	return 0;
}

int module_symtab_stream(const struct module_symtab *t, module_symbol_fn fn, void *arg)
{
	_cleanup_free_ uint8_t *chunk = malloc((size_t)CHUNK_SYMS * SYM_SIZE);

	if (!chunk)
		return -ENOMEM;
	for (uint64_t i = 0; i < t->count;) {
		uint64_t n = MIN(t->count - i, CHUNK_SYMS);
		ssize_t got = module_read(t->m, t->offset + i * SYM_SIZE, chunk, n * SYM_SIZE);
		struct cursor c;

		if (got < 0)
			return (int)got;
		if (got < (ssize_t)SYM_SIZE)
			return 0; // the file became shorter
		c = cursor_make(chunk, (size_t)got);
		while (cursor_left(&c) >= SYM_SIZE) {
			struct module_symbol sym;
			int r;

			parse_sym(&c, &sym);
			r = fn(arg, &sym, i++);
			if (r)
				return r;
		}
	}
	return 0;
}

int module_symtab_at(const struct module_symtab *t, uint64_t index, struct module_symbol *ret)
{
	uint8_t raw[SYM_SIZE];
	struct cursor c = cursor_make(raw, sizeof(raw));
	ssize_t n;

	if (index >= t->count)
		return -ENOENT;
	n = module_read(t->m, t->offset + index * SYM_SIZE, raw, sizeof(raw));
	if (n != sizeof(raw))
		return n < 0 ? (int)n : -ENOENT;
	parse_sym(&c, ret);
	return 0;
}

int module_symtab_name(const struct module_symtab *t, uint32_t name, struct buf *ret)
{
	uint64_t left = name < t->str_size ? t->str_size - name : 0;
	char piece[256];
	uint64_t off = t->str_offset + name;

	buf_clear(ret);
	if (!left)
		return -EINVAL;
	left = MIN(left, MODULE_SYMBOL_NAME_MAX);
	while (left) {
		ssize_t n = module_read(t->m, off, piece, MIN(left, sizeof(piece)));
		const char *end;
		int r;

		if (n <= 0)
			return n < 0 ? (int)n : -EINVAL;
		end = memchr(piece, '\0', (size_t)n);
		r = buf_append(ret, piece, end ? (size_t)(end - piece) : (size_t)n);
		if (r)
			return r;
		if (end)
			break;
		off += (uint64_t)n;
		left -= (uint64_t)n;
	}
	// "memcpy@@GLIBC_2.14": the static table of a library repeats the version.
	if (ret->len > 1) {
		char *at = memchr(ret->data + 1, '@', ret->len - 1);

		if (at) {
			ret->len = (size_t)(at - ret->data);
			*at = '\0';
		}
	}
	return 0;
}

struct name_search {
	const struct module_symtab *t;
	const char *name;
	size_t len;
	struct module_symbol *ret;
};

static int match_name(void *arg, const struct module_symbol *sym, uint64_t index)
{
	struct name_search *s = arg;
	char text[256];
	ssize_t n;

	(void)index;
	if (sym->section == SHN_UNDEF || !sym->name || sym->name + s->len >= s->t->str_size)
		return 0;
	n = module_read(s->t->m, s->t->str_offset + sym->name, text, s->len + 1);
	if (n < 0)
		return (int)n;
	if ((size_t)n != s->len + 1 || text[s->len] || memcmp(text, s->name, s->len) != 0)
		return 0;
	*s->ret = *sym;
	return 1;
}

int module_symtab_find(const struct module_symtab *t, const char *name, struct module_symbol *ret)
{
	struct name_search s = {.t = t, .name = name, .len = strlen(name), .ret = ret};
	int r;

	if (s.len >= 255)
		return -ENOENT;
	r = module_symtab_stream(t, match_name, &s);
	return r == 1 ? 0 : r ? r : -ENOENT;
}

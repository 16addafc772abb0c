/* SPDX-License-Identifier: Apache-2.0 */
/* Names of procedure linkage stubs. A stub jumps through a slot of the GOT; the relocation of that
 * slot names the function. The jump itself is decoded (psABI x86-64, 5.2, and the IBT variants of
 * binutils and lld), so that no layout of .plt, .plt.sec and .plt.got has to be known; a lazy stub
 * that only pushes its relocation's number gives that. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "elf/headers.h"
#include "elf/symtab.h"
#include "symbol/source.h"

#define STUB_BYTES 16u
#define RELA_SIZE 24u
#define CHUNK_RELAS 1024u
#define PLT_SECTIONS_MAX 8u
#define NAME_BYTES_MAX 8192u

struct stub {
	uint32_t query;
	bool by_number; // key is the index into .rela.plt, else the address of the GOT slot
	uint64_t key;
	uint64_t start; // virtual address
	uint32_t symbol; // of .dynsym, 0 not found
};

static int compare_stub(const void *a, const void *b)
{
	const struct stub *x = a, *y = b;

	if (x->by_number != y->by_number)
		return x->by_number ? 1 : -1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* What the stub at vaddr refers to. */
static bool decode_x86_64(const uint8_t *code, size_t len, uint64_t vaddr, struct stub *ret)
{
	uint32_t word;

	for (size_t i = 0; i + 6 <= len; i++) {
		if (code[i] != 0xff || code[i + 1] != 0x25) // jmp *disp32(%rip)
			continue;
		memcpy(&word, code + i + 2, 4);
		ret->key = vaddr + i + 6 + (uint64_t)(int64_t)(int32_t)word;
		ret->by_number = false;
		return true;
	}
	for (size_t i = 0; i <= 4 && i + 5 <= len; i += 4) { // endbr64 may come first
		if (code[i] != 0x68) // push imm32
			continue;
		memcpy(&word, code + i + 1, 4);
		ret->key = word;
		ret->by_number = true;
		return true;
	}
	return false;
}

struct plt {
	struct module_section sections[PLT_SECTIONS_MAX];
	unsigned n;
	struct module_section rela_plt, rela_dyn; // size 0: none
};

static int find_sections(const struct module *m, struct plt *ret)
{
	struct module_section_iter it;
	int r = module_section_iter_init(&it, m);

	memset(ret, 0, sizeof(*ret));
	if (r)
		return r;
	while ((r = module_section_iter_next(&it)) == 1) {
		bool plt = strcmp(it.name, ".plt") == 0 || strncmp(it.name, ".plt.", 5) == 0;

		if (plt && it.section.type == SHT_PROGBITS && ret->n < PLT_SECTIONS_MAX)
			ret->sections[ret->n++] = it.section;
		else if (it.section.type == SHT_RELA && strcmp(it.name, ".rela.plt") == 0)
			ret->rela_plt = it.section;
		else if (it.section.type == SHT_RELA && strcmp(it.name, ".rela.dyn") == 0)
			ret->rela_dyn = it.section;
	}
	return r;
}

static bool find_stub(
	const struct module *m, const struct plt *plt, uint64_t vaddr, struct stub *ret)
{
	uint8_t code[STUB_BYTES];

	for (unsigned i = 0; i < plt->n; i++) {
		const struct module_section *s = &plt->sections[i];
		uint64_t size = s->entsize == 8 ? 8 : STUB_BYTES, off;
		ssize_t n;

		if (vaddr < s->vaddr || vaddr - s->vaddr >= s->size)
			continue;
		off = (vaddr - s->vaddr) / size * size;
		n = module_read(m, s->offset + off, code, (size_t)MIN(size, s->size - off));
		ret->start = s->vaddr + off;
		return n > 0 && decode_x86_64(code, (size_t)n, ret->start, ret);
	}
	return false;
}

static void match_rela(struct stub *stubs, size_t n, const struct stub *key, uint32_t symbol)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (compare_stub(&stubs[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < n && compare_stub(&stubs[lo], key) == 0; lo++)
		stubs[lo].symbol = symbol;
}

/* Streams relocations and notes the symbols of those that stubs refer to. */
static int match_relas(const struct module *m, const struct module_section *s, bool numbered,
	struct stub *stubs, size_t n)
{
	_cleanup_free_ uint8_t *chunk = malloc((size_t)CHUNK_RELAS * RELA_SIZE);
	uint64_t count = MIN(s->size, m->size) / RELA_SIZE;

	if (!chunk)
		return -ENOMEM;
	for (uint64_t i = 0; i < count;) {
		size_t want = (size_t)MIN(count - i, CHUNK_RELAS) * RELA_SIZE;
		ssize_t got = module_read(m, s->offset + i * RELA_SIZE, chunk, want);
		struct cursor c;

		if (got < (ssize_t)RELA_SIZE)
			return got < 0 ? (int)got : 0;
		c = cursor_make(chunk, (size_t)got);
		for (; cursor_left(&c) >= RELA_SIZE; i++) {
			struct stub by_slot = {.key = cursor_u64(&c)};
			struct stub by_number = {.key = i, .by_number = true};
			uint32_t symbol = (uint32_t)(cursor_u64(&c) >> 32);

			cursor_skip(&c, 8);
			if (!symbol)
				continue;
			match_rela(stubs, n, &by_slot, symbol);
			if (numbered)
				match_rela(stubs, n, &by_number, symbol);
		}
	}
	return 0;
}

static int answer(struct symbol_group *g, const struct stub *stubs, size_t n)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(NAME_BYTES_MAX), text = BUF_INIT(NAME_BYTES_MAX);
	struct module_symtab t;
	int r = module_symtab_open(g->module, SHT_DYNSYM, &t);

	for (size_t i = 0; i < n && !r; i++) {
		struct symbol_query *q = &g->queries[stubs[i].query];
		struct module_symbol sym;

		if (!stubs[i].symbol || module_symtab_at(&t, stubs[i].symbol, &sym))
			continue;
		r = module_symtab_name(&t, sym.name, &raw);
		if (r) {
			r = r == -ENOMEM ? r : 0;
			continue;
		}
		r = symbol_answer(g->resolver, q, buf_str(&raw), SYMBOL_KIND_UNKNOWN);
		if (r || !q->name)
			continue;
		buf_clear(&text);
		r = buf_printf(&text, "%s@plt", intern_str(&g->resolver->strings, q->name));
		if (!r)
			r = symbol_text(g->resolver, buf_str(&text), text.len, &q->name);
		module_vaddr_to_offset(g->module, stubs[i].start, &q->func_start);
	}
	return r;
}

int symbol_source_plt(struct symbol_group *g)
{
	_cleanup_free_ struct stub *stubs = calloc(g->n, sizeof(*stubs));
	struct plt plt;
	size_t n = 0;
	int r;

	if (!stubs)
		return -ENOMEM;
	for (size_t i = 0; i < g->n; i++)
		n += g->queries[i].name == 0;
	if (!n || g->module->machine != EM_X86_64)
		return 0;
	r = find_sections(g->module, &plt);
	if (r)
		return r;
	n = 0;
	for (size_t i = 0; i < g->n; i++) {
		uint64_t vaddr;

		if (g->queries[i].name || !module_offset_to_vaddr(g->module,
						  symbol_lookup_addr(&g->queries[i]), &vaddr))
			continue;
		stubs[n].query = (uint32_t)i;
		n += find_stub(g->module, &plt, vaddr, &stubs[n]);
	}
	if (!n)
		return 0;
	qsort(stubs, n, sizeof(*stubs), compare_stub);
	r = match_relas(g->module, &plt.rela_plt, true, stubs, n);
	if (!r)
		r = match_relas(g->module, &plt.rela_dyn, false, stubs, n);
	return r ? r : answer(g, stubs, n);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/go_names.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

#define HEADER_BYTES 72
#define PC_STEPS_MAX 65536 // of one function's table
#define PC_BYTES_MAX 65536
#define RELA_CHUNK 1024 // entries
#define NO_FILE UINT32_MAX

static bool read_table(const struct go_names *t, uint64_t at, void *dst, size_t len)
{
	return at <= t->size && len <= t->size - at &&
	       module_read(t->m, t->offset + at, dst, len) == (ssize_t)len;
}

static bool read_u32(const struct go_names *t, uint64_t at, uint32_t *ret)
{
	return read_table(t, at, ret, sizeof(*ret));
}

static int find_section(const struct module *m, struct module_section *ret)
{
	int r = module_section(m, ".gopclntab", ret);

	return r == -ENOENT ? module_section(m, ".data.rel.ro.gopclntab", ret) : r;
}

/* The addend of the relative relocation of a word, or 0. */
static uint64_t relocation_at(const struct module *m, uint64_t vaddr)
{
	_cleanup_free_ Elf64_Rela *rela = malloc(RELA_CHUNK * sizeof(Elf64_Rela));
	struct module_section s;

	if (!rela || (module_section(m, ".rela.dyn", &s) && module_section(m, ".rela", &s)))
		return 0;
	for (uint64_t done = 0; done + sizeof(*rela) <= s.size;) {
		size_t want = (size_t)MIN(s.size - done, RELA_CHUNK * sizeof(Elf64_Rela));
		ssize_t n = module_read(m, s.offset + done, rela, want);

		if (n < (ssize_t)sizeof(*rela))
			return 0;
		for (size_t i = 0; i < (size_t)n / sizeof(*rela); i++)
			if (rela[i].r_offset == vaddr)
				return (uint64_t)rela[i].r_addend;
		done += (uint64_t)n / sizeof(*rela) * sizeof(*rela);
	}
	return 0;
}

/* The text start of the header, as the linker meant it: 1. as stored, 2. by its relocation, 3. the
 * start of .text, which is right unless C was linked in. */
static uint64_t text_start(const struct go_names *t, uint64_t stored, uint64_t field_vaddr)
{
	struct module_section s;
	uint64_t off;

	if (stored && module_vaddr_to_offset(t->m, stored, &off))
		return stored;
	stored = field_vaddr ? relocation_at(t->m, field_vaddr) : 0;
	if (stored && module_vaddr_to_offset(t->m, stored, &off))
		return stored;
	return module_section(t->m, ".text", &s) == 0 ? s.vaddr : 0;
}

static bool known_magic(uint32_t magic, enum go_version *ret)
{
	switch (magic) {
	case 0xfffffffb:
		*ret = GO_1_2;
		return true;
	case 0xfffffffa:
		*ret = GO_1_16;
		return true;
	case 0xfffffff0:
		*ret = GO_1_18;
		return true;
	case 0xfffffff1:
		*ret = GO_1_20;
		return true;
	}
	return false;
}

static int read_header(struct go_names *t, uint64_t vaddr)
{
	uint8_t bytes[HEADER_BYTES];
	struct cursor c = cursor_make(bytes, sizeof(bytes));

	if (!read_table(t, 0, bytes, sizeof(bytes)) || !known_magic(cursor_u32(&c), &t->version) ||
		cursor_u16(&c) != 0)
		return -EINVAL;
	t->quantum = cursor_u8(&c);
	if (cursor_u8(&c) != 8 || t->quantum == 0 || t->quantum > 4)
		return -EINVAL;
	t->nfunc = cursor_u64(&c);
	if (t->version == GO_1_2) {
		t->funcs = 16;
	} else {
		cursor_skip(&c, 8); // number of files
		if (t->version >= GO_1_18)
			t->text = text_start(t, cursor_u64(&c), vaddr ? vaddr + 24 : 0);
		t->names = cursor_u64(&c);
		t->cus = cursor_u64(&c);
		t->files = cursor_u64(&c);
		t->pcs = cursor_u64(&c);
		t->funcs = cursor_u64(&c);
	}
	return t->nfunc && t->nfunc <= GO_FUNCTIONS_MAX ? 0 : -EINVAL;
}

/* Bytes of one field of the function table. */
static unsigned field_bytes(const struct go_names *t)
{
	return t->version >= GO_1_18 ? 4 : 8;
}

static uint64_t field(const struct go_names *t, uint64_t i)
{
	uint64_t v = 0;

	memcpy(&v, t->functab + i * field_bytes(t), field_bytes(t));
	return v;
}

static uint64_t entry_of(const struct go_names *t, uint64_t i)
{
	return t->text + field(t, 2 * i);
}

int go_names_open(const struct module *m, struct go_names *ret)
{
	struct go_names t = {.m = m};
	struct module_section s;
	size_t len;
	int r = find_section(m, &s);

	if (r)
		return r;
	t.offset = s.offset;
	t.size = s.size;
	r = read_header(&t, s.vaddr);
	if (r)
		return r;
	if (t.version == GO_1_2) {
		uint32_t files;

		// Names and files are counted from the start; the file table's place stands behind.
		if (!read_u32(&t, 16 + (2 * t.nfunc + 1) * 8, &files))
			return -EINVAL;
		t.files = files;
	}
	len = (2 * t.nfunc + 1) * field_bytes(&t);
	if (t.funcs > t.size || len > t.size - t.funcs)
		return -EINVAL;
	t.functab = malloc(len);
	if (!t.functab)
		return -ENOMEM;
	if (!read_table(&t, t.funcs, t.functab, len)) {
		go_names_close(&t);
		return -EINVAL;
	}
	*ret = t;
	return 0;
}

void go_names_close(struct go_names *t)
{
	free(t->functab);
	t->functab = NULL;
}

int go_names_find(const struct go_names *t, uint64_t vaddr, struct go_function *ret)
{
	uint64_t lo = 0, hi = t->nfunc, off;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;

		if (entry_of(t, mid) <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || vaddr >= entry_of(t, lo))
		return -ENOENT;
	off = field(t, 2 * (lo - 1) + 1);
	*ret = (struct go_function){
		.entry = entry_of(t, lo - 1),
		.end = entry_of(t, lo),
		.at = t->version == GO_1_2 ? off : t->funcs + off,
	};
	return 0;
}

/* Offsets in a function's struct, after its entry address: name, args, deferreturn, pcsp, pcfile,
 * pcln, npcdata, cu, (1.20: start line). */
enum { FUNC_NAME = 0, FUNC_PCFILE = 16, FUNC_PCLN = 20, FUNC_CU = 28, FUNC_START_LINE = 32 };

static bool function_field(
	const struct go_names *t, const struct go_function *f, unsigned which, uint32_t *ret)
{
	return f->at <= t->size && read_u32(t, f->at + field_bytes(t) + which, ret);
}

static int read_text(const struct go_names *t, uint64_t at, struct buf *ret)
{
	char text[GO_NAME_MAX];
	size_t n, room;

	if (at >= t->size)
		return -EINVAL;
	room = (size_t)MIN(sizeof(text), t->size - at);
	if (!read_table(t, at, text, room))
		return -EINVAL;
	n = strnlen(text, room);
	buf_clear(ret);
	return n ? buf_append(ret, text, n) : -EINVAL;
}

int go_function_name(const struct go_names *t, const struct go_function *f, struct buf *ret)
{
	uint32_t name;

	if (!function_field(t, f, FUNC_NAME, &name))
		return -EINVAL;
	return read_text(t, t->names + name, ret);
}

uint32_t go_function_start_line(const struct go_names *t, const struct go_function *f)
{
	uint32_t line;

	return t->version >= GO_1_20 && function_field(t, f, FUNC_START_LINE, &line) &&
			       line <= INT32_MAX
		       ? line
		       : 0;
}

/* Runs a pc-value table: pairs of (zigzag delta of the value, delta of the pc). */
static int pc_value(
	const struct go_names *t, uint32_t off, const struct go_function *f, uint64_t vaddr)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint64_t at = t->pcs + off, pc = f->entry;
	struct cursor c;
	int64_t value = -1;
	size_t len;

	if (off == 0 || at >= t->size)
		return -1;
	len = (size_t)MIN(t->size - at, (f->end - f->entry) * 8 + 64);
	len = MIN(len, (size_t)PC_BYTES_MAX);
	bytes = malloc(len);
	if (!bytes || !read_table(t, at, bytes, len))
		return -1;
	c = cursor_make(bytes, len);
	for (unsigned step = 0; step < PC_STEPS_MAX; step++) {
		uint64_t delta = cursor_uleb(&c);

		if (c.bad || (delta == 0 && step))
			return -1;
		value += (int64_t)(delta >> 1) ^ -(int64_t)(delta & 1);
		pc += cursor_uleb(&c) * t->quantum;
		if (c.bad)
			return -1;
		if (vaddr < pc)
			return value >= 0 && value <= INT32_MAX ? (int)value : -1;
	}
	return -1;
}

/* Where the text of a file's name is. */
static bool file_offset(
	const struct go_names *t, const struct go_function *f, int file, uint64_t *ret)
{
	uint32_t cu, off;

	if (t->version == GO_1_2) {
		*ret = 0;
		if (!read_u32(t, t->files + 4ull * (unsigned)file, &off))
			return false;
		*ret = off;
		return true;
	}
	if (!function_field(t, f, FUNC_CU, &cu) ||
		!read_u32(t, t->cus + 4ull * ((uint64_t)cu + (unsigned)file), &off) ||
		off == NO_FILE)
		return false;
	*ret = t->files + off;
	return true;
}

int go_function_line(const struct go_names *t, const struct go_function *f, uint64_t vaddr,
	struct buf *ret_file, uint32_t *ret_line)
{
	uint32_t pcfile, pcln;
	uint64_t at;
	int file, line, r;

	if (!function_field(t, f, FUNC_PCFILE, &pcfile) || !function_field(t, f, FUNC_PCLN, &pcln))
		return -EINVAL;
	file = pc_value(t, pcfile, f, vaddr);
	line = pc_value(t, pcln, f, vaddr);
	if (file < 0 || line <= 0 || !file_offset(t, f, file, &at))
		return -ENOENT;
	r = read_text(t, at, ret_file);
	if (!r)
		*ret_line = (uint32_t)line;
	return r;
}

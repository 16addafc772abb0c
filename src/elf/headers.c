/* SPDX-License-Identifier: Apache-2.0 */
#include "elf/headers.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define SHDR_SIZE 64u
#define PHDR_SIZE 56u
#define NOTE_BYTES_MAX (64u << 10)
#define NOTES_MAX 1024u

struct ehdr {
	uint16_t type, machine, phentsize, shentsize, phnum16, shnum16, shstrndx16;
	uint64_t entry, phoff, shoff;
	uint32_t phnum, shnum, shstrndx; // with the escapes of section 0 applied
};

static int read_exact(const struct module *m, uint64_t off, void *dst, size_t len)
{
	ssize_t n = module_read(m, off, dst, len);

	if (n < 0)
		return (int)n;
	return (size_t)n == len ? 0 : -EINVAL;
}

static void parse_shdr(const uint8_t *p, struct module_section *ret, uint32_t *ret_name)
{
	struct cursor c = cursor_make(p, SHDR_SIZE);

	*ret_name = cursor_u32(&c);
	ret->type = cursor_u32(&c);
	ret->flags = cursor_u64(&c);
	ret->vaddr = cursor_u64(&c);
	ret->offset = cursor_u64(&c);
	ret->size = cursor_u64(&c);
	ret->link = cursor_u32(&c);
	ret->info = cursor_u32(&c);
	cursor_skip(&c, 8); // sh_addralign
	ret->entsize = cursor_u64(&c);
}

static int check_ident(struct module *m, const uint8_t *e)
{
	if (memcmp(e, ELFMAG, SELFMAG) != 0)
		return -EINVAL;
	if (e[EI_DATA] == ELFDATA2LSB)
		m->machine = (uint16_t)(e[18] | e[19] << 8);
	else if (e[EI_DATA] == ELFDATA2MSB)
		m->machine = (uint16_t)(e[19] | e[18] << 8);
	else
		return -EINVAL;
	if (e[EI_CLASS] == ELFCLASS32 || e[EI_DATA] == ELFDATA2MSB)
		return -ENOEXEC;
	return e[EI_CLASS] == ELFCLASS64 ? 0 : -EINVAL;
}

/* Counts that do not fit e_phnum, e_shnum and e_shstrndx stand in section header 0. */
static int apply_escapes(const struct module *m, struct ehdr *h)
{
	uint8_t raw[SHDR_SIZE];
	struct module_section zero;
	uint32_t name;
	int r;

	h->phnum = h->phnum16;
	h->shnum = h->shnum16;
	h->shstrndx = h->shstrndx16;
	if (!h->shoff || (h->phnum != PN_XNUM && h->shnum && h->shstrndx != SHN_XINDEX))
		return 0;
	r = read_exact(m, h->shoff, raw, sizeof(raw));
	if (r)
		return r == -EINVAL ? 0 : r; // a memory image has no section headers
	parse_shdr(raw, &zero, &name);
	if (h->phnum == PN_XNUM)
		h->phnum = zero.info;
	if (!h->shnum)
		h->shnum = (uint32_t)MIN(zero.size, MODULE_SECTIONS_MAX);
	if (h->shstrndx == SHN_XINDEX)
		h->shstrndx = zero.link;
	return 0;
}

static int read_ehdr(const struct module *m, struct ehdr *ret)
{
	uint8_t raw[sizeof(Elf64_Ehdr)];
	struct cursor c = cursor_make(raw, sizeof(raw));
	int r = read_exact(m, 0, raw, sizeof(raw));

	if (r)
		return r;
	cursor_skip(&c, EI_NIDENT);
	ret->type = cursor_u16(&c);
	ret->machine = cursor_u16(&c);
	cursor_skip(&c, 4); // e_version
	ret->entry = cursor_u64(&c);
	ret->phoff = cursor_u64(&c);
	ret->shoff = cursor_u64(&c);
	cursor_skip(&c, 4 + 2); // e_flags, e_ehsize
	ret->phentsize = cursor_u16(&c);
	ret->phnum16 = cursor_u16(&c);
	ret->shentsize = cursor_u16(&c);
	ret->shnum16 = cursor_u16(&c);
	ret->shstrndx16 = cursor_u16(&c);
	return apply_escapes(m, ret);
}

static void parse_phdr(const uint8_t *p, struct module_segment *ret, uint32_t *ret_type)
{
	struct cursor c = cursor_make(p, PHDR_SIZE);

	*ret_type = cursor_u32(&c);
	ret->flags = cursor_u32(&c);
	ret->offset = cursor_u64(&c);
	ret->vaddr = cursor_u64(&c);
	cursor_skip(&c, 8); // p_paddr
	ret->filesz = cursor_u64(&c);
	ret->memsz = cursor_u64(&c);
}

/* Calls fn for each program header until it returns nonzero, which is forwarded. */
typedef int (*phdr_fn)(void *arg, uint32_t type, const struct module_segment *seg);

static int foreach_phdr(const struct module *m, const struct ehdr *h, phdr_fn fn, void *arg)
{
	uint8_t raw[16 * PHDR_SIZE];
	uint32_t n = MIN(h->phnum, MODULE_PHDRS_MAX);

	if (!n)
		return 0;
	if (h->phentsize != PHDR_SIZE || h->phoff > m->size)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		struct module_segment seg;
		uint32_t type;
		int r;

		if (i % 16 == 0) {
			r = read_exact(m, h->phoff + (uint64_t)i * PHDR_SIZE, raw,
				MIN(n - i, 16u) * PHDR_SIZE);
			if (r)
				return r;
		}
		parse_phdr(raw + (size_t)(i % 16) * PHDR_SIZE, &seg, &type);
		r = fn(arg, type, &seg);
		if (r)
			return r;
	}
	return 0;
}

static int take_phdr(void *arg, uint32_t type, const struct module_segment *seg)
{
	struct module *m = arg;

	if (type == PT_GNU_EH_FRAME) {
		m->eh_frame_hdr_off = seg->offset;
		m->eh_frame_hdr_len = seg->filesz;
		m->eh_frame_hdr_vaddr = seg->vaddr;
		return 0;
	}
	if (type != PT_LOAD)
		return 0;
	if (seg->offset + seg->filesz < seg->offset || seg->vaddr + seg->memsz < seg->vaddr ||
		seg->vaddr + seg->filesz < seg->vaddr)
		return -EINVAL;
	// Segments beyond the table cost their addresses a name, not the module its use.
	if (m->nsegments < MODULE_SEGMENTS_MAX)
		m->segments[m->nsegments++] = *seg;
	return 0;
}

int module_read_headers(struct module *m)
{
	uint8_t ident[20];
	struct ehdr h;
	int r = read_exact(m, 0, ident, sizeof(ident));

	if (r)
		return r;
	r = check_ident(m, ident);
	if (r)
		return r;
	r = read_ehdr(m, &h);
	if (r)
		return r;
	m->elf_type = h.type;
	m->entry = h.entry;
	m->nsegments = 0;
	m->eh_frame_hdr_off = m->eh_frame_hdr_len = m->eh_frame_hdr_vaddr = 0;
	return foreach_phdr(m, &h, take_phdr, m);
}

struct phdr_search {
	uint32_t type;
	unsigned n;
	struct module_segment *ret;
};

static int match_phdr(void *arg, uint32_t type, const struct module_segment *seg)
{
	struct phdr_search *s = arg;

	if (type != s->type || s->n--)
		return 0;
	*s->ret = *seg;
	return 1;
}

int module_phdr(const struct module *m, uint32_t type, unsigned n, struct module_segment *ret)
{
	struct phdr_search s = {.type = type, .n = n, .ret = ret};
	struct ehdr h;
	int r = read_ehdr(m, &h);

	if (r)
		return r;
	r = foreach_phdr(m, &h, match_phdr, &s);
	if (r < 0)
		return r;
	return r ? 0 : -ENOENT;
}

int module_section_iter_init(struct module_section_iter *it, const struct module *m)
{
	struct module_section names;
	struct ehdr h;
	int r;

	memset(it, 0, sizeof(*it));
	it->m = m;
	r = read_ehdr(m, &h);
	if (r)
		return r;
	if (!h.shoff || !h.shnum)
		return -ENOENT;
	if (h.shentsize != SHDR_SIZE || h.shoff > m->size)
		return -EINVAL;
	it->shoff = h.shoff;
	it->shnum = (uint32_t)MIN(h.shnum, (m->size - h.shoff) / SHDR_SIZE);
	it->shnum = MIN(it->shnum, MODULE_SECTIONS_MAX);
	if (h.shstrndx != SHN_UNDEF && h.shstrndx < it->shnum) {
		uint8_t raw[SHDR_SIZE];
		uint32_t name;

		r = read_exact(m, h.shoff + (uint64_t)h.shstrndx * SHDR_SIZE, raw, sizeof(raw));
		if (r)
			return r;
		parse_shdr(raw, &names, &name);
		it->names_off = names.offset;
		it->names_size = names.size;
	}
	return 0;
}

static int read_name(struct module_section_iter *it, uint32_t off)
{
	ssize_t n;

	it->name[0] = '\0';
	if (off >= it->names_size || it->names_off > it->m->size)
		return 0;
	n = module_read(it->m, it->names_off + off, it->name,
		MIN(sizeof(it->name) - 1, it->names_size - off));
	if (n < 0)
		return (int)n;
	it->name[n] = '\0';
	return 0;
}

/* The raw header of the next section, or NULL at the end; windows are read as needed. */
static int next_raw(struct module_section_iter *it, const uint8_t **ret)
{
	const uint32_t window = sizeof(it->headers) / SHDR_SIZE;

	*ret = NULL;
	if (it->next >= it->shnum)
		return 0;
	if (!it->count || it->next >= it->first + it->count) {
		uint32_t count = MIN(it->shnum - it->next, window);
		int r = read_exact(it->m, it->shoff + (uint64_t)it->next * SHDR_SIZE, it->headers,
			(size_t)count * SHDR_SIZE);

		if (r)
			return r;
		it->first = it->next;
		it->count = count;
	}
	it->index = it->next++;
	*ret = it->headers + (size_t)(it->index - it->first) * SHDR_SIZE;
	return 0;
}

int module_section_iter_next(struct module_section_iter *it)
{
	const uint8_t *raw;
	uint32_t name;
	int r = next_raw(it, &raw);

	if (r || !raw)
		return r;
	parse_shdr(raw, &it->section, &name);
	r = read_name(it, name);
	return r ? r : 1;
}

int module_section_at(const struct module *m, uint32_t index, struct module_section *ret)
{
	struct module_section_iter it;
	const uint8_t *raw;
	uint32_t name;
	int r = module_section_iter_init(&it, m);

	if (r)
		return r;
	it.next = index;
	r = next_raw(&it, &raw);
	if (r)
		return r;
	if (!raw)
		return -ENOENT;
	parse_shdr(raw, ret, &name);
	return 0;
}

int module_section_by_type(const struct module *m, uint32_t type, struct module_section *ret)
{
	struct module_section_iter it;
	const uint8_t *raw;
	uint32_t name;
	int r = module_section_iter_init(&it, m);

	if (r)
		return r;
	while ((r = next_raw(&it, &raw)) == 0 && raw) {
		struct module_section s;

		parse_shdr(raw, &s, &name);
		if (s.type == type) {
			*ret = s;
			return 0;
		}
	}
	return r ? r : -ENOENT;
}

int module_section(const struct module *m, const char *name, struct module_section *ret)
{
	struct module_section_iter it;
	int r = module_section_iter_init(&it, m);

	if (r)
		return r;
	while ((r = module_section_iter_next(&it)) == 1) {
		if (strcmp(it.name, name) == 0) {
			*ret = it.section;
			return 0;
		}
	}
	return r ? r : -ENOENT;
}

/* Searches one run of notes. Return 0, -ENOENT. */
static int find_build_id(const uint8_t *data, size_t len, uint8_t *ret_id, uint8_t *ret_len)
{
	struct cursor c = cursor_make(data, len);

	for (unsigned i = 0; i < NOTES_MAX && cursor_left(&c) >= 12; i++) {
		uint32_t namesz = cursor_u32(&c), descsz = cursor_u32(&c), type = cursor_u32(&c);
		const uint8_t *name, *desc;

		// Padding is to 4 bytes also in 64-bit files; .note.gnu.property, the one
		// section that pads to 8, holds only descriptors that are multiples of 8.
		name = cursor_bytes(&c, namesz);
		cursor_skip(&c, MIN((size_t)(-namesz & 3u), cursor_left(&c)));
		desc = cursor_bytes(&c, descsz);
		cursor_skip(&c, MIN((size_t)(-descsz & 3u), cursor_left(&c)));
		if (c.bad || !name || !desc)
			return -ENOENT;
		if (type != NT_GNU_BUILD_ID || namesz != 4 || memcmp(name, "GNU", 4) != 0)
			continue;
		if (descsz == 0 || descsz > MODULE_BUILD_ID_MAX)
			return -ENOENT;
		memcpy(ret_id, desc, descsz);
		*ret_len = (uint8_t)descsz;
		return 0;
	}
	return -ENOENT;
}

static int build_id_at(
	const struct module *m, uint64_t off, uint64_t size, uint8_t *ret_id, uint8_t *ret_len)
{
	size_t len = (size_t)MIN(size, NOTE_BYTES_MAX);
	_cleanup_free_ uint8_t *data = NULL;
	ssize_t n;

	if (!len || off > m->size)
		return -ENOENT;
	data = malloc(len);
	if (!data)
		return -ENOMEM;
	n = module_read(m, off, data, len);
	if (n < 0)
		return (int)n;
	return find_build_id(data, (size_t)n, ret_id, ret_len);
}

int module_read_build_id(
	const struct module *m, uint8_t ret_id[static MODULE_BUILD_ID_MAX], uint8_t *ret_len)
{
	struct module_section section;
	struct module_segment seg;
	int r;

	for (unsigned i = 0; i < MODULE_SEGMENTS_MAX; i++) {
		r = module_phdr(m, PT_NOTE, i, &seg);
		if (r == -ENOENT)
			break;
		if (r)
			return r;
		r = build_id_at(m, seg.offset, seg.filesz, ret_id, ret_len);
		if (r != -ENOENT)
			return r;
	}
	// Separate debug files have their notes only as a section: PT_NOTE is there, but empty.
	r = module_section(m, ".note.gnu.build-id", &section);
	if (r)
		return r;
	if (section.type != SHT_NOTE)
		return -ENOENT;
	return build_id_at(m, section.offset, section.size, ret_id, ret_len);
}

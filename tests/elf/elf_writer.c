/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/elf/elf_writer.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (64u << 20)
#define ALIGN 4096u

static void must(int r)
{
	if (r)
		abort();
}

void elf_writer_init(struct elf_writer *w, uint16_t type)
{
	memset(w, 0, sizeof(*w));
	w->type = type;
	w->machine = EM_X86_64;
	w->nsections = 1;
	for (unsigned i = 0; i < ELF_WRITER_SECTIONS_MAX; i++)
		w->data[i] = BUF_INIT(FILE_MAX);
	w->symtab = w->strtab = w->dynsym = w->dynstr = w->shstrtab = BUF_INIT(FILE_MAX);
	must(buf_append_char(&w->shstrtab, '\0'));
}

void elf_writer_deinit(struct elf_writer *w)
{
	for (unsigned i = 0; i < ELF_WRITER_SECTIONS_MAX; i++)
		buf_deinit(&w->data[i]);
	buf_deinit(&w->symtab);
	buf_deinit(&w->strtab);
	buf_deinit(&w->dynsym);
	buf_deinit(&w->dynstr);
	buf_deinit(&w->shstrtab);
}

unsigned elf_writer_section(
	struct elf_writer *w, const struct elf_writer_section *s, const void *data, size_t len)
{
	if (w->nsections >= ELF_WRITER_SECTIONS_MAX)
		abort();
	w->sections[w->nsections] = *s;
	must(buf_append(&w->data[w->nsections], data, len));
	if (s->type != SHT_NOBITS)
		w->sections[w->nsections].size = len;
	return w->nsections++;
}

unsigned elf_writer_code(struct elf_writer *w, const char *name, uint64_t vaddr, size_t len)
{
	struct elf_writer_section s = {
		.name = name,
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC | SHF_EXECINSTR,
		.vaddr = vaddr,
	};
	_cleanup_free_ char *code = malloc(len ? len : 1);

	if (!code)
		abort();
	memset(code, 0xcc, len);
	return elf_writer_section(w, &s, code, len);
}

unsigned elf_writer_note(
	struct elf_writer *w, const char *name, uint32_t type, const void *desc, size_t len)
{
	struct elf_writer_section s = {.name = name, .type = SHT_NOTE};
	uint32_t head[4] = {4, (uint32_t)len, type, 0};
	_cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);

	memcpy(&head[3], "GNU", 4);
	must(buf_append(&b, head, sizeof(head)));
	must(buf_append(&b, desc, len));
	while (b.len % 4)
		must(buf_append_char(&b, '\0'));
	return elf_writer_section(w, &s, b.data, b.len);
}

unsigned elf_writer_build_id(struct elf_writer *w, const void *id, size_t len)
{
	return elf_writer_note(w, ".note.gnu.build-id", NT_GNU_BUILD_ID, id, len);
}

void elf_writer_segment(
	struct elf_writer *w, uint32_t type, uint32_t flags, unsigned first, unsigned last)
{
	if (w->nsegments >= ELF_WRITER_SEGMENTS_MAX)
		abort();
	w->segments[w->nsegments++] = (struct elf_writer_segment){
		.type = type,
		.flags = flags,
		.first = first,
		.last = last,
	};
}

static uint32_t add_symbol(struct buf *syms, struct buf *strs, const struct elf_writer_symbol *s)
{
	Elf64_Sym sym = {
		.st_info = (uint8_t)ELF64_ST_INFO(s->bind, s->type),
		.st_shndx = s->section,
		.st_value = s->value,
		.st_size = s->size,
	};
	const Elf64_Sym null = {0};

	if (!syms->len) {
		must(buf_append(syms, &null, sizeof(null)));
		must(buf_append_char(strs, '\0'));
	}
	sym.st_name = (uint32_t)strs->len;
	must(buf_append(strs, s->name, strlen(s->name) + 1));
	must(buf_append(syms, &sym, sizeof(sym)));
	return (uint32_t)(syms->len / sizeof(sym)) - 1;
}

void elf_writer_symbol(struct elf_writer *w, const struct elf_writer_symbol *s)
{
	add_symbol(&w->symtab, &w->strtab, s);
}

uint32_t elf_writer_dynamic_symbol(struct elf_writer *w, const struct elf_writer_symbol *s)
{
	return add_symbol(&w->dynsym, &w->dynstr, s);
}

static void add_table(struct elf_writer *w, const char *names[2], uint32_t type,
	const struct buf *syms, const struct buf *strs)
{
	struct elf_writer_section s = {
		.name = names[0],
		.type = type,
		.entsize = sizeof(Elf64_Sym),
		.link = w->nsections + 1,
	};
	struct elf_writer_section t = {.name = names[1], .type = SHT_STRTAB};

	if (!syms->len)
		return;
	elf_writer_section(w, &s, syms->data, syms->len);
	elf_writer_section(w, &t, strs->data, strs->len);
}

static void pad_to(struct buf *out, size_t len)
{
	while (out->len < len)
		must(buf_append_char(out, '\0'));
}

static void write_shdrs(struct elf_writer *w, const uint32_t *names, struct buf *out)
{
	for (unsigned i = 0; i < w->nsections; i++) {
		const struct elf_writer_section *s = &w->sections[i];
		Elf64_Shdr h = {
			.sh_name = names[i],
			.sh_type = s->type,
			.sh_flags = s->flags,
			.sh_addr = s->vaddr,
			.sh_offset = w->offset[i],
			.sh_size = s->size,
			.sh_link = s->link,
			.sh_info = s->info,
			.sh_entsize = s->entsize,
		};

		must(buf_append(out, &h, sizeof(h)));
	}
}

static void write_phdrs(const struct elf_writer *w, char *at)
{
	for (unsigned i = 0; i < w->nsegments; i++) {
		const struct elf_writer_segment *g = &w->segments[i];
		const struct elf_writer_section *last = &w->sections[g->last];
		Elf64_Phdr h = {
			.p_type = g->type,
			.p_flags = g->flags,
			.p_offset = w->offset[g->first],
			.p_vaddr = w->sections[g->first].vaddr,
			.p_align = ALIGN,
		};

		h.p_filesz = w->offset[g->last] - h.p_offset;
		if (last->type != SHT_NOBITS)
			h.p_filesz += last->size;
		h.p_memsz = h.p_filesz + g->memsz_extra;
		memcpy(at + i * sizeof(h), &h, sizeof(h));
	}
}

static void write_sections(struct elf_writer *w, struct buf *out, uint32_t *ret_names)
{
	struct elf_writer_section names = {.name = ".shstrtab", .type = SHT_STRTAB};

	for (unsigned i = 1; i < w->nsections; i++) {
		ret_names[i] = (uint32_t)w->shstrtab.len;
		must(buf_append(
			&w->shstrtab, w->sections[i].name, strlen(w->sections[i].name) + 1));
	}
	ret_names[w->nsections] = (uint32_t)w->shstrtab.len;
	must(buf_append(&w->shstrtab, ".shstrtab", 10));
	elf_writer_section(w, &names, w->shstrtab.data, w->shstrtab.len);
	for (unsigned i = 1; i < w->nsections; i++) {
		const struct elf_writer_section *s = &w->sections[i];

		if (s->vaddr)
			pad_to(out, out->len + ((s->vaddr - out->len) % ALIGN));
		else
			pad_to(out, (out->len + 7) & ~(size_t)7);
		w->offset[i] = out->len;
		must(buf_append(out, buf_str(&w->data[i]), w->data[i].len));
	}
	pad_to(out, (out->len + 7) & ~(size_t)7);
}

void elf_writer_finish(struct elf_writer *w, struct buf *out)
{
	uint32_t names[ELF_WRITER_SECTIONS_MAX + 1] = {0};
	Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1},
		.e_type = w->type,
		.e_machine = w->machine,
		.e_version = 1,
		.e_entry = w->entry,
		.e_phoff = sizeof(h),
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)w->nsegments,
		.e_shentsize = sizeof(Elf64_Shdr),
	};

	add_table(w, (const char *[]){".symtab", ".strtab"}, SHT_SYMTAB, &w->symtab, &w->strtab);
	add_table(w, (const char *[]){".dynsym", ".dynstr"}, SHT_DYNSYM, &w->dynsym, &w->dynstr);
	pad_to(out, sizeof(h) + w->nsegments * sizeof(Elf64_Phdr));
	write_sections(w, out, names);
	h.e_shoff = out->len;
	h.e_shnum = (uint16_t)w->nsections;
	h.e_shstrndx = (uint16_t)(w->nsections - 1);
	write_shdrs(w, names, out);
	memcpy(out->data, &h, sizeof(h));
	write_phdrs(w, out->data + sizeof(h));
}

void elf_writer_save(struct elf_writer *w, const char *path)
{
	_cleanup_buf_ struct buf out = BUF_INIT(FILE_MAX);
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	elf_writer_finish(w, &out);
	if (!f || fwrite(out.data, 1, out.len, f) != out.len)
		abort();
}

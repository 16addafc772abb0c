/* SPDX-License-Identifier: Apache-2.0 */
/* tests/elf/elf_writer.h -- writes small 64-bit ELF files for tests.
 *
 * Sections are added in order and keep their index (1, 2, ...); those with an address are placed in
 * the file at an offset equal to the address modulo 4096, as a loader needs. Symbols added become
 * .symtab/.strtab or .dynsym/.dynstr at the end. Data is copied. Single-threaded; aborts when out
 * of memory or slots, since a test cannot go on. */
#ifndef GP_TESTS_ELF_WRITER_H
#define GP_TESTS_ELF_WRITER_H

#include <stdint.h>

#include "base/buf.h"

#define ELF_WRITER_SECTIONS_MAX 48
#define ELF_WRITER_SEGMENTS_MAX 16

struct elf_writer_section {
	const char *name; // borrowed until the end
	uint32_t type; // SHT_
	uint64_t flags, vaddr, entsize;
	uint32_t link, info;
	uint64_t size; // SHT_NOBITS only; else the length of data
};

struct elf_writer_segment {
	uint32_t type, flags; // PT_, PF_
	unsigned first, last; // sections it spans
	uint64_t memsz_extra; // beyond the bytes in the file
};

struct elf_writer {
	uint16_t type, machine;
	uint64_t entry;
	unsigned nsections, nsegments;
	struct elf_writer_section sections[ELF_WRITER_SECTIONS_MAX];
	struct buf data[ELF_WRITER_SECTIONS_MAX];
	uint64_t offset[ELF_WRITER_SECTIONS_MAX]; // answered by elf_writer_finish()
	struct elf_writer_segment segments[ELF_WRITER_SEGMENTS_MAX];
	struct buf symtab, strtab, dynsym, dynstr, shstrtab;
};

void elf_writer_init(struct elf_writer *w, uint16_t type);
void elf_writer_deinit(struct elf_writer *w);
static inline void cleanup_elf_writer(struct elf_writer *w)
{
	elf_writer_deinit(w);
}

/* Returns the section's index. */
unsigned elf_writer_section(
	struct elf_writer *w, const struct elf_writer_section *s, const void *data, size_t len);
/* An executable section of len bytes of `int3`, with address vaddr. */
unsigned elf_writer_code(struct elf_writer *w, const char *name, uint64_t vaddr, size_t len);
/* A note section. vaddr 0: not loaded. */
unsigned elf_writer_note(
	struct elf_writer *w, const char *name, uint32_t type, const void *desc, size_t len);
/* .note.gnu.build-id */
unsigned elf_writer_build_id(struct elf_writer *w, const void *id, size_t len);
void elf_writer_segment(
	struct elf_writer *w, uint32_t type, uint32_t flags, unsigned first, unsigned last);

struct elf_writer_symbol {
	const char *name;
	uint64_t value, size;
	uint8_t bind, type; // STB_, STT_
	uint16_t section;
};
void elf_writer_symbol(struct elf_writer *w, const struct elf_writer_symbol *s);
/* Returns the symbol's index. */
uint32_t elf_writer_dynamic_symbol(struct elf_writer *w, const struct elf_writer_symbol *s);

/* Appends the file to out. Call once. */
void elf_writer_finish(struct elf_writer *w, struct buf *out);
/* The same into a file, made anew. */
void elf_writer_save(struct elf_writer *w, const char *path);

#endif

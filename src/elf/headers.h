/* SPDX-License-Identifier: Apache-2.0 */
/* elf/headers.h -- ELF headers, section headers and notes of a module, read piece by piece.
 *
 * Formats: System V gABI chapters 4 and 5 (elf.h of glibc), 64-bit little-endian. The bytes are
 * hostile: every count is bounded by the size of the file and by a cap, every offset is checked.
 * Nothing is kept but what struct module holds. Owned by the module's thread. */
#ifndef GP_ELF_HEADERS_H
#define GP_ELF_HEADERS_H

#include "elf/module.h"

/* Most section headers looked at; clang -ffunction-sections makes tens of thousands. */
#define MODULE_SECTIONS_MAX (1u << 20)
/* Most program headers looked at. */
#define MODULE_PHDRS_MAX 4096u

/* Fills machine, type, entry, segments and eh_frame_hdr from the bytes behind m->fd or m->image.
 * Return 0, -EINVAL not ELF or hostile, -ENOEXEC (machine is set) other class or byte order,
 * -errno. */
int module_read_headers(struct module *m);

/* Visits section headers in file order. name is valid until the next step, cut at 63 bytes. */
struct module_section_iter {
	const struct module *m;
	uint64_t shoff;
	uint32_t shnum, next;
	uint32_t index; // of the current section
	uint64_t names_off, names_size;
	struct module_section section;
	char name[64];
	uint8_t headers[32 * 64]; // a window of section headers
	uint32_t first, count; // sections in the window
};
/* Return 0, -ENOENT no section headers, -EINVAL hostile, -errno. */
int module_section_iter_init(struct module_section_iter *it, const struct module *m);
/* Return 1 a section, 0 the end, -errno. */
int module_section_iter_next(struct module_section_iter *it);
/* A section by index. Return 0, -ENOENT, -EINVAL, -errno. */
int module_section_at(const struct module *m, uint32_t index, struct module_section *ret);
/* The first section of this type (SHT_...). Return as above. */
int module_section_by_type(const struct module *m, uint32_t type, struct module_section *ret);

/* The GNU build id, from PT_NOTE and else from .note.gnu.build-id. Ids longer than ret_id are
 * treated as absent, as the kernel does (BUILD_ID_SIZE_MAX in include/linux/buildid.h).
 * Return 0, -ENOENT, -EINVAL, -errno. */
int module_read_build_id(
	const struct module *m, uint8_t ret_id[static MODULE_BUILD_ID_MAX], uint8_t *ret_len);

/* The n-th program header of a type, n from 0. Return 0, -ENOENT, -EINVAL, -errno. */
int module_phdr(const struct module *m, uint32_t type, unsigned n, struct module_segment *ret);

#endif

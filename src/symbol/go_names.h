/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/go_names.h -- Go functions, files and lines from .gopclntab, which stripping leaves.
 *
 * Layout: Go's src/debug/gosym/pclntab.go and src/runtime/symtab.go. Known tables: Go 1.2 to 1.15,
 * 1.16 and 1.17, 1.18 and 1.19, 1.20 and later, little-endian 64-bit. Where the linker left the
 * start of the text to a relocation (PIE), the relocation is looked up. Inlined calls are not told:
 * they need the module data, which has no name in a stripped file. Hostile bytes, read through
 * module_read(). Owned by the resolver's thread. */
#ifndef GP_SYMBOL_GO_NAMES_H
#define GP_SYMBOL_GO_NAMES_H

#include "base/buf.h"
#include "elf/module.h"

#define GO_FUNCTIONS_MAX (1u << 21)
#define GO_NAME_MAX 2048 // longer names are cut

enum go_version {
	GO_1_2,
	GO_1_16,
	GO_1_18,
	GO_1_20,
};

struct go_names {
	const struct module *m;
	enum go_version version;
	uint8_t quantum; // bytes of an instruction, at least
	uint64_t offset, size; // of the table in the file
	uint64_t nfunc;
	uint64_t text; // virtual address that 1.18 and later count from
	/* offsets from the start of the table */
	uint64_t names, cus, files, pcs, funcs;
	uint8_t *functab; // owned: nfunc entries and the end
};

struct go_function {
	uint64_t entry; // virtual address
	uint64_t end;
	uint64_t at; // of its struct in the table
};

/* Finds and checks the table. Return 0, -ENOENT no Go table, -EINVAL hostile or unknown, -ENOMEM. */
int go_names_open(const struct module *m, struct go_names *ret);
void go_names_close(struct go_names *t);
/* The function that holds a virtual address. Return 0 or -ENOENT. */
int go_names_find(const struct go_names *t, uint64_t vaddr, struct go_function *ret);
/* Replaces ret's text with its name. Return 0, -EINVAL, -ENOMEM. */
int go_function_name(const struct go_names *t, const struct go_function *f, struct buf *ret);
/* File and line of an address in it. Return 0, -ENOENT, -EINVAL, -ENOMEM. */
int go_function_line(const struct go_names *t, const struct go_function *f, uint64_t vaddr,
	struct buf *ret_file, uint32_t *ret_line);
/* Line of its func keyword, 0 before Go 1.20. */
uint32_t go_function_start_line(const struct go_names *t, const struct go_function *f);

#endif

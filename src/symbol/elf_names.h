/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/elf_names.h -- names from ELF symbol tables: many addresses, one pass over each table.
 *
 * A source of the resolver's chain (symbol/source.h). Memory grows with the addresses asked for:
 * the table streams by, each address keeps the best symbol that covers it and the nearest one
 * before it. Owned by the resolver's thread. */
#ifndef GP_SYMBOL_ELF_NAMES_H
#define GP_SYMBOL_ELF_NAMES_H

#include "base/buf.h"
#include "elf/module.h"
#include "elf/symtab.h"

/* One address: asked as a virtual address, answered with a symbol. */
struct elf_name {
	uint64_t vaddr;
	uint32_t index; // the caller's
	bool found;
	bool same; // the same symbol as the entry before: its name need not be read
	uint8_t table; // which of the tables holds the name
	uint32_t name; // offset into that table's strings
	uint64_t start, size; // of the symbol; size 0: runs to the next
};

#define ELF_NAMES_TABLES_MAX 2u

/* Up to two symbol tables that together describe a module. */
struct elf_names_tables {
	const struct module *file[ELF_NAMES_TABLES_MAX];
	uint32_t type[ELF_NAMES_TABLES_MAX]; // SHT_SYMTAB, SHT_DYNSYM
	unsigned n;
	/* answered by elf_names_find() */
	struct module_symtab symtab[ELF_NAMES_TABLES_MAX]; // count 0: not there
	uint64_t bytes_read;
};

/* Sorts names by address and finds each its symbol. Return 0, -ENOMEM, -errno. */
int elf_names_find(struct elf_names_tables *tables, struct elf_name *names, size_t n);
/* The text of a found name, as in the table. Return 0, -ENOENT, -errno. */
int elf_names_text(
	const struct elf_names_tables *tables, const struct elf_name *name, struct buf *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* elf/symtab.h -- symbol tables as a stream: 64 KiB of entries at a time, never the whole table.
 *
 * A table of one million symbols is 24 MB with 60 MB of names, of which a window needs a few
 * hundred; so entries are visited and names are fetched one by one, for the winners. Format: gABI
 * chapter 4, "Symbol Table" (Elf64_Sym of elf.h). Owned by the thread that owns the module. */
#ifndef GP_ELF_SYMTAB_H
#define GP_ELF_SYMTAB_H

#include <stdint.h>

#include "base/buf.h"
#include "elf/module.h"

/* Most entries visited in one table. */
#define MODULE_SYMBOLS_MAX (1ull << 26)
/* Longest name returned; the rest is cut. */
#define MODULE_SYMBOL_NAME_MAX 8192u

struct module_symtab {
	const struct module *m;
	uint64_t offset, count; // of entries, in the file
	uint64_t str_offset, str_size;
};

struct module_symbol {
	uint64_t value, size; // virtual address, bytes
	uint32_t name; // offset into the string table
	uint16_t section; // SHN_...
	uint8_t type, bind, visibility; // STT_, STB_, STV_
};

/* The table of a type, SHT_SYMTAB or SHT_DYNSYM. Without section headers the dynamic one is found
 * through PT_DYNAMIC. Return 0, -ENOENT, -EINVAL hostile, -errno. */
int module_symtab_open(const struct module *m, uint32_t type, struct module_symtab *ret);

/* Nonzero ends the stream and is forwarded. */
typedef int (*module_symbol_fn)(void *arg, const struct module_symbol *sym, uint64_t index);
/* Visits all entries in file order. Return 0, -ENOMEM, -errno, or what fn returned. */
int module_symtab_stream(const struct module_symtab *t, module_symbol_fn fn, void *arg);
/* One entry. Return 0, -ENOENT, -errno. */
int module_symtab_at(const struct module_symtab *t, uint64_t index, struct module_symbol *ret);
/* Replaces ret's text with a name, without its "@version". Return 0, -EINVAL outside the string
 * table, -ENOMEM, -errno. */
int module_symtab_name(const struct module_symtab *t, uint32_t name, struct buf *ret);
/* The first defined symbol of exactly this name. Return 0, -ENOENT, -errno. Costs a pass. */
int module_symtab_find(const struct module_symtab *t, const char *name, struct module_symbol *ret);

#endif

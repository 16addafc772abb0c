/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/symbols.h -- a handful of names in a module's symbol tables, in one pass.
 *
 * Every module that is sampled is asked once, so the question must be cheap where the answer is no:
 * the string table is searched for the names' bytes, and entries are looked at only if one of the
 * names that matter is there. Owned by the module's thread. */
#ifndef GP_RUNTIME_SYMBOLS_H
#define GP_RUNTIME_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "elf/symtab.h"

#define RUNTIME_STRTAB_MAX (16u << 20) // bytes of a string table searched

struct runtime_symbol {
	const char *name; // asked; ending in '.': any name that begins so
	bool required; // one of these must be there, or the table is left alone
	/* answered */
	struct module_symbol symbols[4];
	unsigned n; // found, of prefixes up to 4
};

/* Looks the names up in a table of type SHT_DYNSYM or SHT_SYMTAB; names already found are kept.
 * Return 0 (n says what was found), -ENOENT none of the required names, -ENOMEM, -errno. */
int runtime_symbols_find(
	const struct module *m, uint32_t type, struct runtime_symbol *wanted, unsigned nwanted);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/dwarf_lines.h -- lines and inlined functions from DWARF; libdw of elfutils behind one wall.
 *
 * Opened for one batch, only when --line-numbers or --inline asks for it, and dropped after it. The
 * sections are read, not mapped (a file truncated under a mapping kills the reader), so a file over
 * DWARF_FILE_MAX is left alone. Each compilation unit that holds an address is walked once for all of
 * its addresses. Owned by the resolver's thread. */
#ifndef GP_SYMBOL_DWARF_LINES_H
#define GP_SYMBOL_DWARF_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elf/module.h"

#define DWARF_FILE_MAX (256ull << 20)
#define DWARF_INLINES_MAX 32u // of an address; outer ones beyond are left out

struct dwarf_lines;

struct dwarf_inlined {
	const char *name; // linkage name if there is one, "" unknown
	const char *file; // NULL unknown
	uint32_t line; // of the address in the innermost, of the next call in the others
};

struct dwarf_answer {
	uint64_t vaddr;
	uint32_t index; // the caller's
	const char *file; // of the place in the function that is really there; NULL unknown
	uint32_t line; // 0 unknown
	uint32_t start_line; // of that function
	unsigned ninlines;
	struct dwarf_inlined inlines[DWARF_INLINES_MAX]; // innermost first
};

struct dwarf_question {
	uint64_t vaddr;
	uint32_t index;
};

struct dwarf_batch {
	struct dwarf_question *questions; // sorted by the call
	size_t n;
	bool inlines; // false: none are told; the place is then that of the instruction
};

/* Texts live until the callback returns. Nonzero ends the batch and is forwarded. */
typedef int (*dwarf_answer_fn)(void *arg, const struct dwarf_answer *answer);

/* Has the module DWARF of its own? */
bool dwarf_lines_present(const struct module *m);
/* alt: module_debug_alt()'s, NULL if it has none; without one that it needs there are no lines, since libdw would open
 * whatever path the file names. Both must stay open. Return 0, -ENOENT no DWARF, -EFBIG, -EINVAL, -ENOMEM, -errno. */
int dwarf_lines_open(const struct module *m, const struct module *alt, struct dwarf_lines **ret);
void dwarf_lines_free(struct dwarf_lines *d);
/* Calls fn for each question that something is known of. Return 0, -ENOMEM, or what fn returned. */
int dwarf_lines_ask(
	struct dwarf_lines *d, const struct dwarf_batch *batch, dwarf_answer_fn fn, void *arg);

#endif

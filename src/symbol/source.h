/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/source.h -- the chain of places that know names.
 *
 * The resolver cuts its batch into groups of one space and one owner, sorted by the address to look
 * up, and shows each group to the sources of that space in order (tables in resolver.c). The first
 * hit wins: a source leaves queries alone whose name is set. Owned by the resolver's thread. */
#ifndef GP_SYMBOL_SOURCE_H
#define GP_SYMBOL_SOURCE_H

#include "symbol/resolver.h"

/* Bits of module.symbol_slot: what was looked for in vain, not to be looked for in every window. */
#define SYMBOL_NO_DEBUG_FILE 1u
#define SYMBOL_NO_MINIDEBUG 2u

/* The processes that map a module, living before ended ones, for one batch: where deleted files can
 * still be opened, and whose root its debug files lie in. */
struct symbol_owners {
	bool built;
	struct map by_module; // module id -> process uid
};

struct symbol_group {
	struct resolver *resolver;
	struct symbol_owners *owners;
	struct module *module; // SYMBOL_MODULE: open
	struct process *process; // SYMBOL_PROCESS: living or kept, or NULL
	struct symbol_query *queries;
	size_t n;
	bool has_symbols; // a source found a whole table of names, not the exported ones alone
};

/* Return 0 (also when it knew nothing) or -ENOMEM; other errors mean "knew nothing" too. */
typedef int (*symbol_source_fn)(struct symbol_group *g);

/* The address whose function is meant. */
static inline uint64_t symbol_lookup_addr(const struct symbol_query *q)
{
	return q->return_address && q->addr ? q->addr - 1 : q->addr;
}

/* Interns a text into resolver->strings; at the cap the query stays unnamed: 0.
 * Return 0, -ENOMEM. */
int symbol_text(struct resolver *r, const char *text, size_t len, uint32_t *ret_id);
/* Names a query: demangles, sets name and kind (kind from the mangling unless it says otherwise:
 * SYMBOL_KIND_UNKNOWN). Return 0, -ENOMEM. */
int symbol_answer(
	struct resolver *r, struct symbol_query *q, const char *raw, enum symbol_kind kind);

/* A process that maps the module, a living one if there is one (exit_time 0), or NULL. */
struct process *symbol_owner(struct symbol_group *g);

/* Sources. */
int symbol_source_go(struct symbol_group *g); // .gopclntab
int symbol_source_elf(struct symbol_group *g); // .symtab, debug files, MiniDebugInfo, .dynsym
int symbol_source_plt(struct symbol_group *g); // "name@plt"
int symbol_source_dwarf(struct symbol_group *g); // lines and inlines, when asked for

/* The group's separate debug file, owned by the caller. Return 0, -ENOENT there is none, -EAGAIN none
 * was found but not everywhere was looked, -ENOMEM. */
int symbol_find_debug(struct symbol_group *g, struct module **ret);
/* What dwz moved out of m, the group's module or its debug file: module_debug_alt(). */
int symbol_find_alt(struct symbol_group *g, const struct module *m, struct module **ret);

#endif

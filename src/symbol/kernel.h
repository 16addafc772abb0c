/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/kernel.h -- names of kernel text.
 *
 * Order: 1. text announced by ksymbol records (BPF programs, trampolines), which may be gone by the
 * time it is named; 2. /proc/kallsyms, packed in memory at the first question (symbol/kernel_index.h)
 * and again when /proc/modules changes.
 * With kptr_restrict all addresses are zero: then nothing is named and the caller is told how many.
 * Owned by the resolver's thread. */
#ifndef GP_SYMBOL_KERNEL_H
#define GP_SYMBOL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel_symbols;

/* kallsyms: path of the table; "modules" is looked for beside it. Return 0, -ENOMEM. */
int kernel_symbols_new(const char *kallsyms, struct kernel_symbols **ret);
void kernel_symbols_free(struct kernel_symbols *k);

/* Kernel text that came or went. Return 0, -ENOMEM; at the cap the oldest gone is forgotten. */
int kernel_symbols_add(
	struct kernel_symbols *k, uint64_t addr, uint32_t len, const char *name, bool gone);

/* Gives the packed table back; the next question reads it again. */
void kernel_symbols_shed(struct kernel_symbols *k);

struct kernel_name {
	uint64_t addr; // asked
	/* answered; texts live until the next call of kernel_symbols_resolve() or _add() */
	uint64_t start; // of the function
	const char *name; // NULL unknown
	const char *module; // "[nf_tables]", "[bpf]", "[kernel.kallsyms]"
};
/* names must be sorted by addr. Return 0, -ENOMEM. */
int kernel_symbols_resolve(
	struct kernel_symbols *k, struct kernel_name *names, size_t n, uint64_t *ret_bytes_read);
/* True after a resolve that found every address zero (kptr_restrict, or no CAP_SYSLOG). */
bool kernel_symbols_hidden(const struct kernel_symbols *k);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/resolver.h -- address -> function, file, line, inlines; once a window, in batches.
 *
 * The caller collects the distinct addresses of a window, and asks for all of them at once: symbol
 * tables are then streamed in one pass and never held, so memory grows with what was sampled and
 * not with the size of a file. Owned by one thread at a time. */
#ifndef GP_SYMBOL_RESOLVER_H
#define GP_SYMBOL_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elf/module.h"
#include "process/process.h"

/* Where an address lies. */
enum symbol_space {
	SYMBOL_KERNEL, // addr = kernel address
	SYMBOL_MODULE, // owner = module id, addr = file offset
	SYMBOL_PROCESS, // owner = process uid, addr = address: JIT, anonymous, unknown
};

struct symbol_query {
	/* asked */
	uint8_t space; // enum symbol_space
	bool return_address; // look up addr - 1
	uint32_t owner;
	uint64_t addr;
	uint32_t cookie; // the caller's: answers come back in another order
	uint32_t mapping_path; // SYMBOL_PROCESS: id in process_table.strings, 0 none
	/* answered; ids in resolver->strings, 0 = unknown */
	uint32_t name; // demangled; 0: the caller falls back to the module's path
	uint32_t
		module; // text to show as the module: path, "[kernel.kallsyms]", "[nf_tables]", "[vdso]"
	uint32_t file;
	uint32_t line; // of addr, 0 unknown
	uint32_t start_line; // of the function, 0 unknown
	uint64_t func_start; // start of the symbol, same space as addr
	uint32_t first_inline; // index + 1 into resolver->inlines: innermost first
	uint32_t ninlines; // functions inlined at addr; `name` is the outermost, the real one
	uint8_t kind; // enum symbol_kind
	bool has_symbols; // where it lies has a whole table of names: one that is not found is missing
};

enum symbol_kind {
	SYMBOL_KIND_NATIVE,
	SYMBOL_KIND_KERNEL,
	SYMBOL_KIND_JIT, // perf map or jitdump
	SYMBOL_KIND_GO,
	SYMBOL_KIND_CPP,
	SYMBOL_KIND_RUST,
	SYMBOL_KIND_UNKNOWN,
};

struct symbol_inline {
	uint32_t name, file, line; // line: of the call or, innermost, of the address
};
VEC_DEFINE(symbol_inline_vec, struct symbol_inline)

struct resolver_config {
	bool lines; // --line-numbers: DWARF lines
	bool inlines; // --inline
	const char *kallsyms; // "/proc/kallsyms", or a fixture
	const char *debug_dirs; // colon list, default "/usr/lib/debug"
	size_t strings_cap; // bytes of names
	/* Called between two modules, processes ...; it may take long and must leave modules and
	 * processes as they are. May be NULL. */
	void (*pause)(void *arg);
	void *pause_arg;
};

struct resolver {
	struct intern strings;
	struct symbol_inline_vec inlines;
	struct module_table *modules;
	struct process_table *processes;
	struct resolver_config config;
	struct kernel_symbols *kernel; // owned, symbol/kernel.h
	struct jit_files *jit; // owned, symbol/jit_files.h
	struct resolver_stats {
		uint64_t queries, named, unnamed;
		uint64_t kernel_hidden; // kptr_restrict: addresses are zero
		uint64_t bytes_read;
	} stats;
};

int resolver_init(struct resolver *r, struct module_table *modules, struct process_table *processes,
	const struct resolver_config *config);
void resolver_deinit(struct resolver *r);
/* Drops what can be made again. Answers given are void then. */
void resolver_shed(struct resolver *r);

/* Kernel text that came and went (BPF programs): remembered, so that it is named after it is gone. */
int resolver_ksymbol(struct resolver *r, const struct capture_event *event);

/* A sample landed in anonymous code of p: holds its perf map and jitdump open, so that they can be read
 * when it is gone. Cheap once they are open; call it at most once a process and window. */
void resolver_note_jit(struct resolver *r, const struct process *p);

/* Answers all queries; the array is reordered. Ids into strings and inlines of earlier calls die
 * here: they are emptied first. Modules that are not open are opened through a living process that
 * maps them. Return 0 or -ENOMEM: what could not be named stays 0. */
int resolver_resolve(struct resolver *r, struct symbol_query *queries, size_t n);

#endif

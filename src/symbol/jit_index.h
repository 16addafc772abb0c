/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/jit_index.h -- which stretch of a process's anonymous code was said to be what.
 *
 * Names stay in the file they came from (a perf map, a jitdump); an entry keeps 16 bytes. Code is
 * thrown away and its addresses are used again without notice, so where entries overlap the one
 * that stands later in the file holds. Owned by the resolver's thread. */
#ifndef GP_SYMBOL_JIT_INDEX_H
#define GP_SYMBOL_JIT_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

#define JIT_ENTRIES_MAX (1u << 20) // of a file
#define JIT_ENTRY_SIZE_MAX (1u << 28) // bytes of one function; more is nonsense

struct jit_entry {
	uint64_t start;
	uint32_t size;
	uint32_t at; // offset of the name in the file, which also tells age
};
VEC_DEFINE(jit_entry_vec, struct jit_entry)

struct jit_index {
	struct jit_entry_vec entries;
	uint32_t biggest; // size of the largest entry
	bool sorted;
};

void jit_index_init(struct jit_index *x);
void jit_index_deinit(struct jit_index *x);
/* Entries come in file order. Size 0 or over the limit is refused. Return 0, -EINVAL, -ENOSPC (sort
 * may make room once), -ENOMEM. */
int jit_index_add(struct jit_index *x, uint64_t start, uint64_t size, uint64_t at);
/* Sorts, and drops entries that a later one with the same start replaced. */
void jit_index_sort(struct jit_index *x);
/* The youngest entry that covers addr, or NULL. The index must be sorted. */
const struct jit_entry *jit_index_find(const struct jit_index *x, uint64_t addr);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/kernel_index.h -- the kernel's own table of names, packed.
 *
 * /proc/kallsyms has 120,000 lines and takes the kernel 50 ms to print, each time it is read, so it is
 * read once: 16 bytes a symbol and its name, 4 to 5 MB. Of several names of one address the best one is
 * kept, of what is no text only where it begins. Format: kernel/kallsyms.c s_show(): address, type,
 * name, [module]. Owned by symbol/kernel. */
#ifndef GP_SYMBOL_KERNEL_INDEX_H
#define GP_SYMBOL_KERNEL_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"

struct kernel_entry {
	uint64_t start;
	uint32_t name; // offset in texts
	uint16_t module; // id in modules, 0: the kernel itself
	uint8_t rank; // 0: no text, nor a name
	uint8_t pad;
};

struct kernel_index {
	bool built;
	struct kernel_entry *entries; // sorted, one an address
	size_t count, size;
	struct buf texts; // names, each with its NUL
	struct intern modules; // "[name]"
};

void kernel_index_init(struct kernel_index *x);
void kernel_index_deinit(struct kernel_index *x);
/* Forgets everything; it is not built then. */
void kernel_index_clear(struct kernel_index *x);

/* Reads the table. Return 0; 1 all its addresses are hidden (kptr_restrict, or no CAP_SYSLOG), nothing is
 * built then; -ENOMEM, -errno. ret_bytes: read, also on failure. */
int kernel_index_build(struct kernel_index *x, const char *kallsyms, uint64_t *ret_bytes);

/* The function that holds addr. */
struct kernel_found {
	uint64_t start;
	const char *name;
	const char *module; // "[name]", NULL: the kernel itself
};
/* Texts live until the index is cleared. Return false: no function does. */
bool kernel_index_find(const struct kernel_index *x, uint64_t addr, struct kernel_found *ret);

#endif

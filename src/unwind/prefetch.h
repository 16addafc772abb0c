/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/prefetch.h -- page tables made before they are missed. Inside unwind/ only.
 *
 * A large library that starts to be hot (a compiler, a browser) would be met page by page: hundreds of
 * samples handed to user space. So each miss asks for the pages around it, the more of them the more
 * its module has missed; they are made in idle time, in small pieces, until the pool is three
 * quarters full: what is missed for real must still find room. Pipeline thread. */
#ifndef GP_UNWIND_PREFETCH_H
#define GP_UNWIND_PREFETCH_H

#include <stdint.h>

struct unwind;
struct build_module;

#define PREFETCH_WANTS 64 // misses remembered
#define PREFETCH_MISSES_MIN 2 // of a module, before anything is made
#define PREFETCH_RADIUS_MAX 4 // pages around a miss: 256 KiB to either side

struct prefetch_want {
	uint32_t module; // id
	uint32_t radius; // pages; grows from done + 1 to this
	uint32_t done; // distance reached
	uint64_t page;
};

struct prefetch {
	struct prefetch_want wants[PREFETCH_WANTS]; // a ring, the newest is served first
	uint32_t head, count;
	uint64_t pages; // made
};

/* A sample lacked the page. */
void prefetch_miss(struct unwind *u, struct build_module *bm, uint64_t page);

/* The module goes. */
void prefetch_forget(struct unwind *u, const struct build_module *bm);

#endif

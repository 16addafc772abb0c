/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/tables.h"

#include <errno.h>
#include <sys/mman.h>

#define POOL_BYTES ((size_t)UW_POOL_BYTES)
#define DIR_BYTES (sizeof(uint32_t) * UW_DIR_ENTRIES)
#define USED_BYTES ((size_t)UW_DIR_ENTRIES)
#define RULES_BYTES (sizeof(struct uw_rule) * UW_RULES)
#define RECENT_BYTES sizeof(struct uw_recent) // a multiple of a page, as all are
#define MAPS_BYTES (sizeof(struct uw_mapping) * UW_MAPS)
#define EPOCH_BYTES ((size_t)4096)
#define ALL_BYTES                                                                                  \
	(POOL_BYTES + DIR_BYTES + USED_BYTES + RULES_BYTES + RECENT_BYTES + MAPS_BYTES +           \
		EPOCH_BYTES)

int capture_tables_map(struct capture_tables *ret)
{
	uint8_t *p = mmap(NULL, ALL_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	// Every size is a multiple of a page, so each part is aligned.
	ret->pool = p;
	ret->dir = (uint32_t *)(p += POOL_BYTES);
	ret->used = p += DIR_BYTES;
	ret->rules = (struct uw_rule *)(p += USED_BYTES);
	ret->recent = (struct uw_recent *)(p += RULES_BYTES);
	ret->maps = (struct uw_mapping *)(p += RECENT_BYTES);
	ret->epoch = (uint32_t *)(p + MAPS_BYTES);
	return 0;
}

void capture_tables_unmap(struct capture_tables *t)
{
	if (t->pool)
		munmap(t->pool, ALL_BYTES);
	*t = (struct capture_tables){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/tables.h -- the table memory that walkers read (abi/unwind_table.h): who has what part of it,
 * publication, reclamation.
 *
 * A module owns directory ranges, each for a run of 64 KiB pages of file offset; a page belongs to
 * every range of its module that spans it. A page table is written whole before its directory entry
 * is, and nothing is reused before synchronize() has returned: what is given up waits in limbo.
 * The epoch advances as pages are made; walkers mark what they use with it. When the pool is full a
 * clock hand passes over the directory and evicts what was not marked lately. Pipeline thread. */
#ifndef GP_UNWIND_TABLES_H
#define GP_UNWIND_TABLES_H

#include "base/map.h"
#include "base/vec.h"
#include "capture/source.h"
#include "unwind/extents.h"

#define TABLES_RULE_NONE 0
#define TABLES_RULE_COMPLEX 1
#define TABLES_LIMBO_MAX 4096 // pieces waiting for synchronize()

/* Sizes; a field of 0 means that of the ABI. Smaller ones are for tests. */
struct tables_config {
	struct capture_source *source; // NULL: ordinary memory of our own
	uint32_t pool_bytes, dir_entries, maps;
};

struct tables_range {
	uint32_t base, count; // directory entries; count 0: a free slot
	uint64_t first; // page number of entry `base`
	uint32_t next; // range of the same module + 1, or of the free list
	uint32_t *head; // the module's list
	uint32_t refs; // published mappings
	uint32_t generation; // of the last request for it
};
VEC_DEFINE(tables_range_vec, struct tables_range)

enum tables_limbo_kind {
	TABLES_LIMBO_POOL,
	TABLES_LIMBO_DIR,
	TABLES_LIMBO_MAPS,
};
struct tables_limbo {
	uint32_t kind, off, len;
};
VEC_DEFINE(tables_limbo_vec, struct tables_limbo)

struct tables_stats {
	uint64_t pages, evicted; // now loaded, evicted ever
	uint64_t pool_used; // bytes
	uint64_t syncs, full;
};

struct tables {
	struct capture_source *source;
	struct capture_tables mem;
	bool owned; // mem is ours
	uint32_t own_epoch;
	uint32_t dir_entries;
	struct extents pool, dir, maps;
	struct tables_limbo_vec limbo;
	struct tables_range_vec ranges;
	uint32_t free_range; // + 1
	uint32_t *owner; // directory entry -> range + 1
	uint32_t dir_top; // entries ever used
	uint32_t hand; // of the clock
	uint32_t pool_units, filled; // units of the pool; handed out in this epoch
	uint32_t generation; // processes published: a range just asked for is not reclaimed
	uint32_t gap; // directory value of the page that is one gap
	struct intern rules;
	struct tables_stats stats;
};

/* Return 0 or -ENOMEM. */
int tables_init(struct tables *t, const struct tables_config *config);
void tables_deinit(struct tables *t);

/* Number of a rule; COMPLEX when the table is full. */
uint16_t tables_rule(struct tables *t, const struct uw_rule *rule);

/* Finds or makes the range that spans pages first..last of the module whose list is *head (0 at
 * birth). The list's address must stay. Return 0 with uw_mapping.dir, -ENOSPC (counted), -ENOMEM. */
int tables_range_get(
	struct tables *t, uint32_t *head, uint64_t first, uint64_t last, uint32_t *ret_dir);
/* Gives up all ranges of a module and their pages; *head is 0 then. Return false, and nothing is done, if
 * a published mapping uses one. */
bool tables_forget(struct tables *t, uint32_t *head);
/* Publishes a page's table in all ranges that span it. Return 0, -ENOSPC, -ENOMEM, -ENOENT no
 * range. bytes NULL: the page is known to be one gap. */
int tables_page_set(struct tables *t, uint32_t *head, uint64_t page, const void *bytes, size_t len);
/* Whether a published mapping may ask for the page. */
bool tables_spanned(const struct tables *t, uint32_t head, uint64_t page);
/* The table of a page, or NULL. Dies at the next tables_page_set. */
const struct uw_page *tables_page_get(const struct tables *t, uint32_t head, uint64_t page);

/* What a process has published; 0 at birth. */
struct tables_block {
	uint32_t first; // + 1
	uint32_t count;
};
/* Replaces a process's block. Return 0, -ENOSPC (counted; the old one stays), -errno. */
struct tables_process {
	uint32_t pid; // 0: not published, for the host's walker only
	uint32_t runtime;
	const struct uw_mapping *maps;
	uint32_t count;
	bool seen; // sampled before: its next sample need not be looked at soon
};
int tables_process_set(
	struct tables *t, const struct tables_process *p, struct tables_block *block);
/* pid 0: only the block is given up, the pid names another process by now. */
void tables_process_remove(struct tables *t, uint32_t pid, struct tables_block *block);

/* Waits for walkers and reuses what is in limbo. */
void tables_flush(struct tables *t);

#endif

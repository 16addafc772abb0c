/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/pages.h -- the room's state, and the page tables made on demand. Inside unwind/ only.
 * Pipeline thread. */
#ifndef GP_UNWIND_PAGES_H
#define GP_UNWIND_PAGES_H

#include "base/vec.h"
#include "unwind/build.h"
#include "unwind/live.h"
#include "unwind/prefetch.h"
#include "unwind/tables.h"
#include "unwind/unwind.h"

VEC_DEFINE(build_module_vec, struct build_module *)

struct unwind {
	struct process_table *processes;
	enum bpf_unwind_mode mode;
	struct tables tables;
	struct builder builder;
	struct build_module_vec modules; // [module.unwind_slot - 1], NULL a free slot
	uint32_t free_slots; // of them
	struct uw_mapping *scratch; // UW_MAPS_PER_PROCESS
	uint8_t *page; // PAGE_BYTES_MAX
	struct prefetch prefetch;
	struct live live; // of the stack being finished
	bool read_live; // processes of this machine, as they are now; not those of a recording
	struct unwind_stats stats;
};

/* The same as unwind_new() with sizes of table memory. */
int unwind_new_sized(const struct tables_config *config, struct process_table *processes,
	enum bpf_unwind_mode mode, struct unwind **ret);

/* What the room keeps of a module, made if new. Return 0 or -ENOMEM. */
int pages_module(struct unwind *u, struct module *m, struct build_module **ret);

/* Makes and publishes the table of the page that file offset `off` of a mapping lies in. An
 * unreadable file's page is one gap. Return 0, -ENOSPC the pool is full, -ENOMEM. */
int pages_load(struct unwind *u, struct process *p, const struct mapping *map, uint64_t off);

/* The same for page number `page` of an open module. */
int pages_make(struct unwind *u, struct module *m, struct build_module *bm, uint64_t page);
/* The same for one that nobody missed yet. Return 1, too: it would take long, and was not made. */
int pages_make_ahead(struct unwind *u, struct module *m, struct build_module *bm, uint64_t page);

/* A block of an ended process's mappings for the host's walker alone: its samples may come after its
 * end. To be withdrawn by unwind_update_process(). Return 0 or -errno. */
int pages_borrow_block(struct unwind *u, struct process *p);

/* The rule of a file offset, its page loaded if need be; a rule NONE if it cannot be. */
void pages_rule(struct unwind *u, struct process *p, const struct mapping *map, uint64_t off,
	struct uw_rule *ret);

#endif

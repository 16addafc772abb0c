/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/build.h -- makes the rows of one 64 KiB page of a module.
 *
 * Sources by address: .gopclntab where it covers the text, else .eh_frame, else .debug_frame. What
 * none of them covers is a gap: its rules come from its instructions (flow.h), NONE (frame pointer)
 * where those do not tell, except
 *   the code at e_entry               END  (ld.so's _start and _dl_start_user, static musl)
 *   musl's clone()                    END  (by its bytes)
 *   the calls of main() and of a      END  (by their bytes), where the instructions around them do
 *   thread's start                         not tell who called their function
 *   a signal trampoline               SIGNAL (by its bytes: mov $15,%rax; syscall)
 *   .plt, .plt.sec, .plt.got          by what such entries do (lld writes no CFI for them)
 * Pipeline thread. */
#ifndef GP_UNWIND_BUILD_H
#define GP_UNWIND_BUILD_H

#include "unwind/flow.h"
#include "unwind/frames.h"
#include "unwind/go_table.h"
#include "unwind/page.h"
#include "unwind/tables.h"

#define BUILD_GAP_MIN 16 // shorter gaps are padding: no row
#define BUILD_RULES_CACHED 256
#define BUILD_PLTS 3
#define BUILD_INITS 2

struct build_plt {
	uint64_t start, end;
	bool lazy; // .plt: an entry pushes its number on the second half
};

/* What is known of a module's unwind information. */
struct build_module {
	uint32_t id;
	bool opened; // sources below were looked for
	bool debug_tried;
	struct frames eh, debug;
	struct go_table go;
	struct build_plt plts[BUILD_PLTS];
	struct build_plt
		inits[BUILD_INITS]; // .init and .fini: a dozen bytes without CFI, no padding
	uint32_t ranges; // head of its directory ranges
	uint32_t refused; // pages that could not be made, since the last one that could
	uint32_t misses; // samples that lacked a page
};

struct build_rule_slot {
	struct uw_rule rule;
	uint16_t number;
	bool used;
};

struct builder {
	struct tables *tables;
	struct frames_scratch frames;
	struct frames_scratch
		debug; // apart: a gap is looked up in it from within the other's callback
	struct go_scratch go;
	struct unwind_file text;
	struct page_rows rows;
	struct flow flow; // of the page being made
	uint64_t flow_start, flow_end; // virtual addresses
	bool ahead; // the page is made before it is missed: not if that takes long
	struct build_rule_slot cache[BUILD_RULES_CACHED];
	int error; // of a source that could not be read
};

void builder_init(struct builder *b, struct tables *tables);
void builder_deinit(struct builder *b);
/* Forgets cached bytes of files. */
void builder_drop(struct builder *b);

/* Looks for the module's sources, once. m is open. Return 0 or -errno: it is to be tried again. */
int build_open(struct builder *b, const struct module *m, struct build_module *bm);
void build_close(struct build_module *bm);

/* Rows of page number `page` (file offset >> UW_PAGE_SHIFT) into b->rows. Return 0; 1 with b->ahead: it has a gap,
 * whose instructions were not looked at, and the rows are of no use; -ENOMEM, or -errno if some of what it is made
 * from could not be read. */
int build_page(struct builder *b, const struct module *m, struct build_module *bm, uint64_t page);

/* A question about one address. */
struct build_address {
	const struct module *m;
	struct build_module *bm;
	uint64_t vaddr;
};
/* Calls fn with the FDE that holds the address, if there is one. */
int build_find(struct builder *b, const struct build_address *a, frames_fn fn, void *arg);

#endif

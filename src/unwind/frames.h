/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/frames.h -- the FDEs of a module, found by address.
 *
 * .eh_frame through the sorted table of .eh_frame_hdr (LSB core 5.0 section 10.6.2), read in small
 * windows; a section without such a table (.debug_frame, objects linked without the header) gets an
 * index of its own, made once by scanning its entries. Pipeline thread. */
#ifndef GP_UNWIND_FRAMES_H
#define GP_UNWIND_FRAMES_H

#include "elf/module.h"
#include "unwind/cfi.h"
#include "unwind/file.h"

#define FRAMES_INDEX_MAX (1u << 19) // FDEs of an index of ours: 4 MiB
#define FRAMES_SCAN_MAX (256ull << 20) // bytes of a section that are scanned
#define FRAMES_ENTRY_MAX (256u << 10) // bytes of one FDE; the largest of 2,086 files had 30 KiB
#define FRAMES_CIES 16 // parsed CIEs kept
#define FRAMES_PAGE_MAX 65536 // FDEs looked at for one page

/* Windows and parsed CIEs, shared by all modules: one of each reader's. */
struct frames_cie_slot {
	const struct module *m;
	uint64_t at; // file offset
	int err;
	struct cfi_cie cie;
};
struct frames_scratch {
	struct unwind_file table, fde, cie;
	struct frames_cie_slot cies[FRAMES_CIES];
};

struct frames_item {
	uint32_t pc; // minus frames.base
	uint32_t fde; // offset in the section
};

enum frames_kind {
	FRAMES_NONE,
	FRAMES_TABLE, // .eh_frame_hdr
	FRAMES_INDEX, // made by scanning
};

struct frames {
	enum frames_kind kind;
	struct cfi_section section;
	uint64_t off, len; // of the section, in the file
	uint64_t hdr_vaddr, table_off; // FRAMES_TABLE
	uint64_t base; // FRAMES_INDEX
	uint32_t count;
	struct frames_item *items; // FRAMES_INDEX
};

void frames_scratch_init(struct frames_scratch *s);
void frames_scratch_deinit(struct frames_scratch *s);
/* Forgets what is cached of all modules. */
void frames_scratch_drop(struct frames_scratch *s);
/* As unwind_file_take_error(), of all windows. */
int frames_scratch_take_error(struct frames_scratch *s);

/* .eh_frame of an open module. Return 0 (kind NONE if it has none or none usable), -ENOMEM, or -errno if
 * it could not be read. */
int frames_open_eh(const struct module *m, struct frames_scratch *s, struct frames *ret);
/* .debug_frame, uncompressed. */
int frames_open_debug(const struct module *m, struct frames_scratch *s, struct frames *ret);
void frames_close(struct frames *f);

/* Hands over each FDE that overlaps [start, end), ascending, cut where the next one begins; fde and
 * cie live until the callback returns. Entries that do not parse are skipped. Return 0 or what fn
 * returned. */
typedef int (*frames_fn)(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde);
struct frames_query {
	const struct module *m;
	const struct frames *f;
	struct frames_scratch *s;
	uint64_t start, end; // virtual addresses
};
int frames_range(const struct frames_query *q, frames_fn fn, void *arg);

#endif

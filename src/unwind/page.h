/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/page.h -- rows of one 64 KiB page, and their compact form (struct uw_page).
 *
 * Rows are added in ascending order and coalesced; the encoder makes the table the walkers search.
 * Any thread. */
#ifndef GP_UNWIND_PAGE_H
#define GP_UNWIND_PAGE_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/unwind_table.h"

#define PAGE_ROWS_MAX 65535 // struct uw_page counts them in 16 bits
#define PAGE_DICT_MAX 256
#define PAGE_BYTES_MAX (sizeof(struct uw_page) + 2 * PAGE_DICT_MAX + 2 * PAGE_ROWS_MAX)

struct page_row {
	uint16_t off; // in the page
	uint16_t rule; // number in uw_rules
};

struct page_rows {
	struct page_row *rows;
	size_t len, size;
};

void page_rows_init(struct page_rows *r);
void page_rows_deinit(struct page_rows *r);
/* Starts a page: rule NONE from offset 0 on. Return 0 or -ENOMEM. */
int page_rows_start(struct page_rows *r);
/* From `off` on, `rule` is in force. off >= that of the last row. Return 0, -ENOSPC, -ENOMEM. */
int page_rows_add(struct page_rows *r, uint32_t off, uint16_t rule);
/* Forgets what was said of `off` and everything after it; row 0 stays. */
void page_rows_cut(struct page_rows *r, uint32_t off);
/* The rule of an offset by the plainest search: what the table must answer too. */
uint16_t page_rows_find(const struct page_rows *r, uint32_t off);

/* Bytes of the table of these rows go to dst (PAGE_BYTES_MAX at hand). If the page has more
 * distinct rules than a dictionary holds, the rarest become `overflow`. Returns its size. */
size_t page_encode(const struct page_rows *r, uint16_t overflow, void *dst);
/* The rule number of an offset. */
uint16_t page_find(const struct uw_page *page, uint32_t off);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/page.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

#define HEAD sizeof(struct uw_page)

void page_rows_init(struct page_rows *r)
{
	*r = (struct page_rows){0};
}

void page_rows_deinit(struct page_rows *r)
{
	free(r->rows);
	page_rows_init(r);
}

int page_rows_start(struct page_rows *r)
{
	int err = vec_grow((void **)&r->rows, &r->size, 1, PAGE_ROWS_MAX, sizeof(*r->rows));

	if (err)
		return err;
	r->rows[0] = (struct page_row){0, 0};
	r->len = 1;
	return 0;
}

int page_rows_add(struct page_rows *r, uint32_t off, uint16_t rule)
{
	struct page_row *last = &r->rows[r->len - 1];
	int err;

	if (off >= UW_PAGE_BYTES || off < last->off)
		return -EINVAL;
	if (last->off == off) {
		last->rule = rule;
		if (r->len > 1 && last[-1].rule == rule)
			r->len--;
		return 0;
	}
	if (last->rule == rule)
		return 0;
	err = vec_grow((void **)&r->rows, &r->size, r->len + 1, PAGE_ROWS_MAX, sizeof(*r->rows));
	if (err)
		return err;
	r->rows[r->len++] = (struct page_row){(uint16_t)off, rule};
	return 0;
}

void page_rows_cut(struct page_rows *r, uint32_t off)
{
	while (r->len > 1 && r->rows[r->len - 1].off >= off)
		r->len--;
}

uint16_t page_rows_find(const struct page_rows *r, uint32_t off)
{
	size_t i = r->len;

	while (--i && r->rows[i].off > off)
		;
	return r->rows[i].rule;
}

static int compare_u16(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static int compare_u32_down(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* Distinct rules of the page, sorted, into dict; the most frequent ones if there are too many. */
static unsigned make_dict(const struct page_rows *r, uint16_t overflow, uint16_t *dict)
{
	uint16_t seen[UW_RULES];
	uint32_t pairs[UW_RULES]; // count << 16 | rule
	unsigned n = 0;

	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; i < r->len; i++) {
		uint16_t rule = r->rows[i].rule % UW_RULES;

		if (!seen[rule])
			pairs[n++] = rule;
		if (seen[rule] < UINT16_MAX)
			seen[rule]++;
	}
	if (n > PAGE_DICT_MAX) {
		for (unsigned i = 0; i < n; i++)
			pairs[i] |= (uint32_t)seen[pairs[i]] << 16;
		qsort(pairs, n, sizeof(*pairs), compare_u32_down);
		n = PAGE_DICT_MAX - 1;
		for (unsigned i = 0; i < n; i++)
			pairs[i] &= 0xffff;
		// Already there, or in the place of the one that was dropped.
		unsigned at = 0;

		while (at < n && pairs[at] != overflow)
			at++;
		if (at == n)
			pairs[n++] = overflow;
	}
	for (unsigned i = 0; i < n; i++)
		dict[i] = (uint16_t)pairs[i];
	qsort(dict, n, sizeof(*dict), compare_u16);
	return n;
}

static unsigned dict_index(const uint16_t *dict, unsigned n, uint16_t rule, uint16_t overflow)
{
	const uint16_t *p = bsearch(&rule, dict, n, sizeof(*dict), compare_u16);

	if (!p)
		p = bsearch(&overflow, dict, n, sizeof(*dict), compare_u16);
	return p ? (unsigned)(p - dict) : 0;
}

size_t page_encode(const struct page_rows *r, uint16_t overflow, void *dst)
{
	struct uw_page *page = dst;
	uint8_t *bytes = dst;
	uint16_t dict[PAGE_DICT_MAX];
	unsigned n = make_dict(r, overflow, dict), block = 0, last = UINT32_MAX, index = 0;
	uint8_t *out;

	page->dict = HEAD;
	page->rows = (__u16)(HEAD + 2 * n);
	page->size = (__u32)(page->rows + 2 * r->len);
	memcpy(bytes + page->dict, dict, 2 * (size_t)n);
	out = bytes + page->rows;
	for (size_t i = 0; i < r->len; i++) {
		uint16_t rule = r->rows[i].rule, off = r->rows[i].off;

		while (block <= (unsigned)off >> 8)
			page->index[block++] = (__u16)i;
		// Neighbours repeat each other's rules far less than pages do; one is remembered.
		if (rule != last)
			index = dict_index(dict, n, rule, overflow);
		last = rule;
		*out++ = (uint8_t)off;
		*out++ = (uint8_t)index;
	}
	while (block < UW_BLOCKS + 2)
		page->index[block++] = (__u16)r->len;
	return page->size;
}

uint16_t page_find(const struct uw_page *page, uint32_t off)
{
	const uint8_t *bytes = (const uint8_t *)page, *row;
	unsigned block = off >> 8 & 0xff, lo = page->index[block], hi = page->index[block + 1];
	uint16_t rule;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (bytes[page->rows + 2 * mid] <= (off & 0xff))
			lo = mid + 1;
		else
			hi = mid;
	}
	row = bytes + page->rows + 2 * (size_t)(lo ? lo - 1 : 0);
	memcpy(&rule, bytes + page->dict + 2 * (size_t)row[1], sizeof(rule));
	return rule;
}

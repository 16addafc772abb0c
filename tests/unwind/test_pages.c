/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables of real libraries: the encoded table against the plain list of rows at every byte, and
 * the rules against libdw's reading of the same CFI at thousands of addresses. */
#include <fcntl.h>

#include "base/clock.h"
#include "tests/harness.h"
#include "tests/unwind/oracle.h"
#include "unwind/build.h"

#define PAGES_MAX 200 // of a large library, spread evenly
#define PF_EXEC 1

static const char *const libraries[] = {
	"/lib/x86_64-linux-gnu/libc.so.6",
	"/lib64/ld-linux-x86-64.so.2",
	"/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
	"/usr/bin/python3.11",
	"/usr/lib/llvm-14/lib/libLLVM-14.so.1",
	"/usr/bin/node",
};

struct bench {
	struct module *m;
	struct tables tables;
	struct builder builder;
	struct build_module bm;
	uint8_t page[PAGE_BYTES_MAX];
};

static bool bench_open(struct bench *b, const char *path)
{
	const struct tables_config config = {.dir_entries = 64, .maps = 64};
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	memset(b, 0, sizeof(*b));
	if (fd < 0 || module_standalone_fd(fd, &b->m))
		return false;
	assert_ok(tables_init(&b->tables, &config));
	builder_init(&b->builder, &b->tables);
	return true;
}

static void bench_close(struct bench *b)
{
	build_close(&b->bm);
	builder_deinit(&b->builder);
	tables_deinit(&b->tables);
	module_standalone_free(b->m);
}

struct totals {
	size_t pages, gaps, rows, bytes, asked, complex;
	uint64_t ns;
};

static void check_encoding(struct bench *b, struct totals *t)
{
	const struct page_rows *rows = &b->builder.rows;
	const struct uw_page *page = (const void *)b->page;
	size_t len = page_encode(rows, TABLES_RULE_COMPLEX, b->page), at = 0;

	t->bytes += len;
	assert_int_equal(page->size, len);
	for (uint32_t off = 0; off < UW_PAGE_BYTES; off++) {
		while (at + 1 < rows->len && rows->rows[at + 1].off <= off)
			at++;
		if (page_find(page, off) != rows->rows[at].rule)
			fail_msg("offset %#x: %u, not %u", off, page_find(page, off),
				rows->rows[at].rule);
	}
}

static bool agrees(const struct uw_rule *r, const struct oracle_answer *a)
{
	if (!a->covered)
		return true; // a gap: what it is is ours to say
	if (a->end)
		return r->cfa == UW_CFA_END;
	if (r->cfa == UW_CFA_COMPLEX)
		return !a->simple || a->fp == UW_SAVE_REG || !a->ra_simple || a->reg < 6;
	if (!a->simple)
		return r->cfa == UW_CFA_PLT || r->cfa == UW_CFA_DEREF || r->cfa == UW_CFA_SIGNAL ||
		       r->cfa == UW_CFA_REG;
	if (r->cfa != UW_CFA_REG || r->reg != a->reg || r->cfa_off != a->off)
		return false;
	if (a->ra_simple && (r->ra == UW_SAVE_SAME ? -8 : r->ra_off) != a->ra_off)
		return false;
	return a->fp == UW_SAVE_REG ||
	       (r->fp == a->fp && (r->fp != UW_SAVE_CFA || r->fp_off == a->fp_off));
}

static void check_rules(struct bench *b, struct oracle *o, uint64_t page, struct totals *t)
{
	const struct uw_page *p = (const void *)b->page;
	const struct page_rows *rows = &b->builder.rows;

	// At each row's first byte and the byte before it: where mistakes are.
	for (size_t i = 0; i < rows->len; i += 1 + rows->len / 300) {
		for (unsigned k = 0; k < 2 && rows->rows[i].off >= k; k++) {
			uint32_t off = rows->rows[i].off - k;
			const struct uw_rule *r = &b->tables.mem.rules[page_find(p, off)];
			struct oracle_answer a;
			uint64_t vaddr;

			if (!module_offset_to_vaddr(b->m, (page << UW_PAGE_SHIFT) + off, &vaddr))
				continue;
			oracle_ask(o, vaddr, &a);
			t->asked++;
			t->complex += r->cfa == UW_CFA_COMPLEX;
			// Ours: the function at e_entry is the first frame whatever its CFI says.
			if (r->cfa == UW_CFA_END && a.covered && !a.end &&
				vaddr + 4096 > b->m->entry && vaddr < b->m->entry + 4096)
				continue;
			if (!agrees(r, &a))
				fail_msg("%#lx: cfa %u reg %u %+d fp %u %+d ra %u %+d; libdw: "
					 "reg %u %+ld fp %u %+ld ra %+ld",
					(unsigned long)vaddr, r->cfa, r->reg, r->cfa_off, r->fp,
					r->fp_off, r->ra, r->ra_off, a.reg, (long)a.off, a.fp,
					(long)a.fp_off, (long)a.ra_off);
		}
	}
}

static void check_library(const char *path, struct oracle *o, struct bench *b)
{
	struct totals t = {0};

	for (unsigned i = 0; i < b->m->nsegments; i++) {
		const struct module_segment *g = &b->m->segments[i];
		uint64_t first = g->offset >> UW_PAGE_SHIFT;
		uint64_t n = ((g->offset + g->filesz - 1) >> UW_PAGE_SHIFT) - first + 1;

		if (!(g->flags & PF_EXEC))
			continue;
		for (uint64_t p = first; p < first + n; p += 1 + n / PAGES_MAX) {
			uint64_t began = clock_cpu_ns();

			assert_ok(build_page(&b->builder, b->m, &b->bm, p));
			t.ns += clock_cpu_ns() - began;
			t.pages++;
			t.rows += b->builder.rows.len;
			t.gaps += b->builder.rows.len == 1;
			check_encoding(b, &t);
			check_rules(b, o, p, &t);
		}
	}
	printf("# %s: %zu pages (%zu without rules), %zu rows, %.2f bytes a row, %.0f us a page, "
	       "%zu addresses asked, %zu complex\n",
		path, t.pages, t.gaps, t.rows, (double)t.bytes / (double)t.rows,
		(double)t.ns / 1000.0 / (double)t.pages, t.asked, t.complex);
	assert_true(t.asked > 1000);
}

static void pages__real_libraries(void **state)
{
	struct bench *b = malloc(sizeof(*b));
	unsigned done = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(libraries); i++) {
		struct oracle *o = oracle_open(libraries[i]);

		if (o && bench_open(b, libraries[i])) {
			check_library(libraries[i], o, b);
			bench_close(b);
			done++;
		}
		oracle_close(o);
	}
	free(b);
	if (!done)
		test_skip("none of the known libraries is here");
}

static void pages__more_rules_than_a_dictionary(void **state)
{
	struct page_rows rows;
	uint8_t *bytes = malloc(PAGE_BYTES_MAX);
	unsigned exact = 0;

	(void)state;
	page_rows_init(&rows);
	assert_ok(page_rows_start(&rows));
	for (unsigned i = 0; i < 400; i++)
		for (unsigned k = 0; k < (i < 200 ? 3 : 1); k++)
			assert_ok(page_rows_add(&rows, 1 + i * 100 + k * 20,
				(uint16_t)(i + 2 + k * 1000 * (k & 1))));
	page_encode(&rows, TABLES_RULE_COMPLEX, bytes);
	for (size_t i = 0; i < rows.len; i++) {
		uint16_t got = page_find((const void *)bytes, rows.rows[i].off);

		assert_true(got == rows.rows[i].rule || got == TABLES_RULE_COMPLEX);
		exact += got == rows.rows[i].rule;
	}
	assert_in_range(exact, 255, rows.len - 1);
	free(bytes);
	page_rows_deinit(&rows);
}

static void pages__dense(void **state)
{
	struct page_rows rows;
	uint8_t *bytes = malloc(PAGE_BYTES_MAX);

	(void)state;
	page_rows_init(&rows);
	assert_ok(page_rows_start(&rows));
	// A row a byte, but for the last: as many as the format counts.
	for (uint32_t off = 1; off < PAGE_ROWS_MAX; off++)
		assert_ok(page_rows_add(&rows, off, (uint16_t)(2 + off % 250)));
	page_encode(&rows, TABLES_RULE_COMPLEX, bytes);
	for (uint32_t off = 0; off < PAGE_ROWS_MAX; off++)
		assert_int_equal(page_find((const void *)bytes, off), off ? 2 + off % 250 : 0);
	assert_int_equal(page_rows_add(&rows, 0xffff, 1), -ENOSPC);
	free(bytes);
	page_rows_deinit(&rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages__real_libraries),
		cmocka_unit_test(pages__more_rules_than_a_dictionary),
		cmocka_unit_test(pages__dense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

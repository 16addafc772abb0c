/* SPDX-License-Identifier: Apache-2.0 */
/* Table memory: extents, publication, sharing, eviction when a tiny pool is full, reclamation. */
#include <errno.h>

#include "tests/harness.h"
#include "unwind/page.h"
#include "unwind/tables.h"

static uint64_t rng(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static void tables__extents(void **state)
{
	enum { UNITS = 500 };
	struct extents e;
	uint8_t map[UNITS] = {0};
	struct extent held[UNITS];
	unsigned n = 0;
	uint64_t seed = 7, used = 0;

	(void)state;
	assert_ok(extents_init(&e, 1, UNITS));
	for (unsigned i = 0; i < 20000; i++) {
		if (rng(&seed) % 2) {
			uint32_t len = 1 + (uint32_t)(rng(&seed) % 20), off;

			if (extents_take(&e, len, &off))
				continue;
			assert_true(off >= 1 && off + len <= UNITS);
			for (uint32_t k = 0; k < len; k++)
				assert_int_equal(map[off + k]++, 0);
			held[n++] = (struct extent){off, len};
			used += len;
		} else if (n) {
			unsigned at = (unsigned)(rng(&seed) % n);

			memset(map + held[at].off, 0, held[at].len);
			assert_ok(extents_give(&e, held[at].off, held[at].len));
			used -= held[at].len;
			held[at] = held[--n];
		}
		assert_int_equal(e.used, used);
	}
	while (n--)
		extents_give(&e, held[n].off, held[n].len);
	assert_int_equal(e.free.len, 1); // all neighbours joined
	assert_int_equal(e.free.data[0].len, UNITS - 1);
	extents_deinit(&e);
}

/* A page table that can be told from others: one rule number from offset `id` on. */
static size_t make_page(struct page_rows *rows, unsigned id, unsigned nrows, uint8_t *dst)
{
	page_rows_start(rows);
	for (unsigned i = 0; i < nrows; i++)
		assert_ok(page_rows_add(rows, id + i * 7, (uint16_t)(i % 2 ? 1 : 2 + id % 100)));
	return page_encode(rows, 1, dst);
}

static void check_page(const struct tables *t, uint32_t head, unsigned id)
{
	const struct uw_page *p = tables_page_get(t, head, id);

	assert_non_null(p);
	assert_int_equal(page_find(p, id), 2 + id % 100);
	assert_int_equal(page_find(p, id + 7), 1);
	if (id)
		assert_int_equal(page_find(p, id - 1), 0);
}

static void tables__eviction_in_a_tiny_pool(void **state)
{
	const struct tables_config config = {
		.pool_bytes = 64 << 10, .dir_entries = 4096, .maps = 128};
	static uint8_t bytes[PAGE_BYTES_MAX];
	struct page_rows rows;
	struct tables t;
	uint32_t head = 0, dir;
	unsigned loaded = 0;

	(void)state;
	page_rows_init(&rows);
	assert_ok(tables_init(&t, &config));
	assert_ok(tables_range_get(&t, &head, 0, 999, &dir));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned id = 0; id < 1000; id++) {
			size_t len = make_page(&rows, id, 20 + id % 300, bytes);

			assert_ok(tables_page_set(&t, &head, id, bytes, len));
			check_page(&t, head, id);
			// Two pages are used all the time: a walker marks them.
			for (unsigned hot = 0; hot < 2 && id > 1; hot++)
				t.mem.used[dir + hot] = (uint8_t)*t.mem.epoch;
		}
		check_page(&t, head, 0);
		check_page(&t, head, 1);
	}
	assert_true(t.stats.evicted > 2000);
	assert_true(t.pool.used * UW_POOL_ALIGN <= config.pool_bytes);
	for (unsigned id = 0; id < 1000; id++)
		if (tables_page_get(&t, head, id)) {
			check_page(&t, head, id);
			loaded++;
		}
	assert_int_equal(loaded, t.stats.pages);
	assert_true(t.stats.syncs < t.stats.evicted); // one wait serves many
	// A page that can never fit says so and harms nothing.
	assert_int_equal(tables_page_set(&t, &head, 5, bytes, 70 << 10), -ENOSPC);
	assert_null(tables_page_get(&t, head, 5));
	tables_deinit(&t);
	page_rows_deinit(&rows);
}

/* Linux 5.10 takes no map value over 4 MiB: the walker looks segments up one by one. */
static void tables__no_page_crosses_a_segment(void **state)
{
	const struct tables_config config = {.dir_entries = 8192, .maps = 16};
	static uint8_t bytes[PAGE_BYTES_MAX];
	struct page_rows rows;
	struct tables t;
	uint32_t head = 0, dir;
	bool high = false;

	(void)state;
	page_rows_init(&rows);
	assert_ok(tables_init(&t, &config));
	assert_ok(tables_range_get(&t, &head, 0, 3999, &dir));
	for (unsigned id = 0; id < 4000; id++) {
		size_t len = make_page(&rows, id, 2000 + id % 777, bytes);

		assert_ok(tables_page_set(&t, &head, id, bytes, len));
		size_t at = (size_t)((const uint8_t *)tables_page_get(&t, head, id) - t.mem.pool);

		assert_int_equal(
			at / UW_POOL_SEGMENT_BYTES, (at + len - 1) / UW_POOL_SEGMENT_BYTES);
		high |= at >= UW_POOL_SEGMENT_BYTES;
	}
	assert_true(high);
	assert_true(t.stats.evicted > 0);
	tables_deinit(&t);
	page_rows_deinit(&rows);
}

static void tables__known_gap(void **state)
{
	const struct tables_config config = {
		.pool_bytes = 64 << 10, .dir_entries = 256, .maps = 64};
	struct tables t;
	uint32_t head = 0, dir;

	(void)state;
	assert_ok(tables_init(&t, &config));
	assert_ok(tables_range_get(&t, &head, 4, 5, &dir));
	uint64_t used = t.pool.used;

	assert_ok(tables_page_set(&t, &head, 4, NULL, 0));
	assert_int_equal(t.pool.used, used); // all gaps are one page
	assert_int_equal(page_find(tables_page_get(&t, head, 4), 0xffff), 0);
	assert_null(tables_page_get(&t, head, 5));
	assert_int_equal(tables_page_set(&t, &head, 9, NULL, 0), -ENOENT);
	tables_deinit(&t);
}

static void tables__ranges_share_pages(void **state)
{
	const struct tables_config config = {
		.pool_bytes = 64 << 10, .dir_entries = 256, .maps = 64};
	static uint8_t bytes[PAGE_BYTES_MAX];
	struct page_rows rows;
	struct tables t;
	uint32_t head = 0, a, b, c;

	(void)state;
	page_rows_init(&rows);
	assert_ok(tables_init(&t, &config));
	assert_ok(tables_range_get(&t, &head, 2, 3, &a));
	size_t len = make_page(&rows, 3, 30, bytes);

	assert_ok(tables_page_set(&t, &head, 3, bytes, len));
	assert_ok(tables_range_get(&t, &head, 3, 3, &c));
	assert_int_equal(a, c); // within the first
	assert_ok(tables_range_get(&t, &head, 2, 8, &b));
	assert_int_not_equal(a, b);
	assert_int_equal(t.mem.dir[(uint32_t)(a + 3)], t.mem.dir[(uint32_t)(b + 3)]);
	len = make_page(&rows, 2, 30, bytes);
	assert_ok(tables_page_set(&t, &head, 2, bytes, len));
	assert_int_not_equal(t.mem.dir[(uint32_t)(a + 2)], 0);
	assert_int_equal(t.mem.dir[(uint32_t)(a + 2)], t.mem.dir[(uint32_t)(b + 2)]);
	tables_deinit(&t);
	page_rows_deinit(&rows);
}

static void tables__processes_and_reclaim(void **state)
{
	const struct tables_config config = {.pool_bytes = 64 << 10, .dir_entries = 64, .maps = 16};
	struct tables_block blocks[40] = {0};
	uint32_t heads[40] = {0};
	struct tables t;

	(void)state;
	assert_ok(tables_init(&t, &config));
	// Forty modules of ten pages, one after the other: six fit at a time.
	for (unsigned i = 0; i < 40; i++) {
		struct uw_mapping maps[2] = {{.start = 0x1000, .end = 0x9000},
			{.start = 0x400000, .end = 0x4a0000, .pgoff = 0, .flags = UW_MAP_FILE}};
		struct tables_process p = {.pid = 100 + i, .maps = maps, .count = 2};

		assert_ok(tables_range_get(&t, &heads[i], 0, 9, &maps[1].dir));
		assert_ok(tables_process_set(&t, &p, &blocks[i]));
		assert_int_equal(blocks[i].count, 2);
		assert_int_equal(t.mem.maps[blocks[i].first - 1].start, 0x1000);
		// The same again publishes nothing.
		struct tables_block before = blocks[i];

		assert_ok(tables_process_set(&t, &p, &blocks[i]));
		assert_memory_equal(&before, &blocks[i], sizeof(before));
		assert_ok(tables_page_set(&t, &heads[i], 3, NULL, 0));
		if (i >= 4) {
			tables_process_remove(&t, 100 + i - 4, &blocks[i - 4]);
			assert_int_equal(blocks[i - 4].first, 0);
		}
	}
	assert_int_equal(t.stats.full, 0);
	assert_int_equal(heads[0], 0); // its range was taken back
	// With every range in use there is no more.
	struct uw_mapping map = {.flags = UW_MAP_FILE};
	uint32_t head = 0;

	assert_int_equal(tables_range_get(&t, &head, 0, 62, &map.dir), -ENOSPC);
	assert_true(t.stats.full > 0);
	tables_deinit(&t);
}

static void tables__rules(void **state)
{
	const struct tables_config config = {.pool_bytes = 64 << 10, .dir_entries = 64, .maps = 16};
	struct uw_rule rule = {.cfa = UW_CFA_REG, .reg = 7};
	struct tables t;

	(void)state;
	assert_ok(tables_init(&t, &config));
	assert_int_equal(t.mem.rules[TABLES_RULE_NONE].cfa, UW_CFA_NONE);
	assert_int_equal(t.mem.rules[TABLES_RULE_COMPLEX].cfa, UW_CFA_COMPLEX);
	for (int i = 0; i < (int)UW_RULES + 10; i++) {
		rule.cfa_off = 8 * i;
		uint16_t n = tables_rule(&t, &rule);

		if (i < (int)UW_RULES - 2)
			assert_memory_equal(&t.mem.rules[n], &rule, sizeof(rule));
		else
			assert_int_equal(n, TABLES_RULE_COMPLEX);
	}
	rule.cfa_off = 80;
	assert_int_equal(tables_rule(&t, &rule), 12);
	tables_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables__extents),
		cmocka_unit_test(tables__eviction_in_a_tiny_pool),
		cmocka_unit_test(tables__no_page_crosses_a_segment),
		cmocka_unit_test(tables__known_gap),
		cmocka_unit_test(tables__ranges_share_pages),
		cmocka_unit_test(tables__processes_and_reclaim),
		cmocka_unit_test(tables__rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

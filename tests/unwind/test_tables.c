/* SPDX-License-Identifier: Apache-2.0 */
/* Table memory: extents, publication, sharing, eviction when a tiny pool is full, reclamation. */
#include <errno.h>

#include "tests/harness.h"
#include "unwind/native.h"
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

static int read_stack(void *arg, void *dst, uint32_t len, uint64_t addr)
{
	(void)arg;
	memset(dst, 0, len);
	for (uint32_t i = 0; i < len; i += 8)
		((uint64_t *)dst)[i / 8] = 0x401234 + addr % 2;
	return 0;
}

static enum native_host_result step_at(struct tables *t, uint64_t pc, enum rec_reason *ret_why)
{
	struct native_host h = {
		.tables = &t->mem, .count = 2, .mode = BPF_UNWIND_TABLE, .read = read_stack};
	struct native_frame f = {.exact = true};

	f.regs.r[CFI_REG_RA] = pc;
	f.regs.r[CFI_REG_SP] = 0x7ffe0000;
	return native_host_step(&h, &f, ret_why);
}

/* What was looked up lately is found without its table; not where the address means something else by now. */
static void tables__recent(void **state)
{
	const struct uw_rule call = {.cfa = UW_CFA_REG, .reg = 7, .cfa_off = 16};
	static uint8_t bytes[PAGE_BYTES_MAX];
	enum rec_reason why = REC_WHY_NONE;
	struct uw_mapping maps[2] = {{.start = 0x400000, .end = 0x420000, .flags = UW_MAP_FILE},
		{.start = 0x500000, .end = 0x520000, .pgoff = 0x20000, .flags = UW_MAP_FILE}};
	struct tables_block block = {0};
	struct tables_process p = {.maps = maps, .count = 2};
	struct page_rows rows;
	struct tables t;
	uint32_t head = 0;
	size_t len;

	(void)state;
	page_rows_init(&rows);
	assert_ok(tables_init(&t, &(struct tables_config){.maps = 128}));
	assert_ok(tables_range_get(&t, &head, 0, 3, &maps[0].dir));
	maps[1].dir = maps[0].dir;
	assert_ok(tables_process_set(&t, &p, &block));
	assert_int_equal(step_at(&t, 0x401000, &why), NATIVE_HOST_ASK);
	assert_int_equal(why, REC_WHY_NO_TABLE);
	page_rows_start(&rows);
	assert_ok(page_rows_add(&rows, 0x100, tables_rule(&t, &call)));
	len = page_encode(&rows, TABLES_RULE_COMPLEX, bytes);
	assert_ok(tables_page_set(&t, &head, 0, bytes, len));
	assert_int_equal(step_at(&t, 0x401000, &why), NATIVE_HOST_MORE);
	// The same place of the other mapping is another page.
	assert_int_equal(step_at(&t, 0x501000, &why), NATIVE_HOST_ASK);
	// Without its table the address that was looked up is known, one beside it is not.
	t.mem.dir[maps[0].dir] = UW_DIR_ABSENT;
	assert_int_equal(step_at(&t, 0x401000, &why), NATIVE_HOST_MORE);
	assert_int_equal(step_at(&t, 0x401001, &why), NATIVE_HOST_ASK);
	assert_int_equal(step_at(&t, 0x421000, &why), NATIVE_HOST_ASK);
	assert_int_equal(why, REC_WHY_NO_MAPPING);
	// Another table of the page: what it says holds.
	assert_ok(tables_page_set(&t, &head, 0, bytes, len));
	assert_int_equal(step_at(&t, 0x401000, &why), NATIVE_HOST_MORE);
	assert_ok(tables_page_set(&t, &head, 0, NULL, 0));
	assert_int_equal(step_at(&t, 0x401000, &why), NATIVE_HOST_BROKEN);
	assert_int_equal(why, REC_WHY_NO_TABLE);
	// A directory range that may be another module's next.
	tables_process_remove(&t, 0, &block);
	assert_true(tables_forget(&t, &head));
	tables_flush(&t);
	for (unsigned i = 0; i < UW_RECENT; i++)
		assert_true(!t.mem.recent->rules[i]);
	page_rows_deinit(&rows);
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
		cmocka_unit_test(tables__recent),
		cmocka_unit_test(tables__rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tables made before they are missed: around misses, within the budget, not past the pool's share. */
#include <unistd.h>

#include "tests/harness.h"
#include "unwind/pages.h"

struct bench {
	struct module_table modules;
	struct process_table processes;
	struct process *self;
	struct unwind *unwind;
};

static void bench_open(struct bench *b, uint32_t pool_bytes)
{
	const struct tables_config config = {.pool_bytes = pool_bytes};

	module_table_init(&b->modules, 1000, 100);
	assert_ok(process_table_init(&b->processes, &b->modules, "/proc"));
	assert_ok(process_table_scan_pid(&b->processes, (uint32_t)getpid()));
	b->self = process_table_find(&b->processes, (uint32_t)getpid());
	assert_non_null(b->self);
	assert_ok(unwind_new_sized(&config, &b->processes, BPF_UNWIND_SMART, &b->unwind));
	assert_ok(unwind_update_process(b->unwind, b->self));
}

static void bench_close(struct bench *b)
{
	unwind_free(b->unwind);
	process_table_deinit(&b->processes);
	module_table_deinit(&b->modules);
}

/* The C library: a dozen pages or more of code. */
static const struct mapping *big_mapping(const struct bench *b)
{
	const struct mapping *m = process_mapping(b->self, (uint64_t)(uintptr_t)&getpid + 16);

	for (size_t i = 0; i < b->self->maps.len; i++) {
		const struct mapping *x = &b->self->maps.data[i];

		if (x->kind == MAPPING_FILE && (!m || x->end - x->start > m->end - m->start))
			m = x;
	}
	assert_non_null(m);
	assert_true(m->end - m->start > 8 * UW_PAGE_BYTES);
	return m;
}

static void prefetch__pages_around_misses(void **state)
{
	struct unwind_stats stats;
	struct bench b = {0};

	(void)state;
	bench_open(&b, 0);
	const struct mapping *m = big_mapping(&b);
	uint64_t off = m->pgoff + 4 * UW_PAGE_BYTES;

	assert_ok(pages_load(b.unwind, b.self, m, off));
	unwind_idle(b.unwind, 1000000000);
	unwind_get_stats(b.unwind, &stats);
	assert_int_equal(stats.pages_ahead, 0); // one miss is no habit
	assert_ok(pages_load(b.unwind, b.self, m, off + UW_PAGE_BYTES));
	unwind_idle(b.unwind, 0);
	unwind_get_stats(b.unwind, &stats);
	assert_int_equal(stats.pages_ahead, 0);
	unwind_idle(b.unwind, 1000000000);
	unwind_get_stats(b.unwind, &stats);
	// The second miss asks for two pages to either side, of which one is there.
	assert_int_equal(stats.pages_ahead, 3);
	assert_int_equal(stats.pages_built, 5);
	unwind_idle(b.unwind, 1000000000);
	unwind_get_stats(b.unwind, &stats);
	assert_int_equal(stats.pages_ahead, 3);
	bench_close(&b);
}

/* Ahead, what can be had from call frame information is made, as it would be later; .init has none in any file. */
static void prefetch__code_without_a_source_is_left(void **state)
{
	unsigned made = 0, left = 0;
	struct unwind_stats stats;
	struct bench b = {0};

	(void)state;
	bench_open(&b, 0);
	for (size_t i = 0; i < b.self->maps.len; i++) {
		const struct mapping *m = &b.self->maps.data[i];
		struct module *file = module_get(&b.modules, m->module);
		struct build_module *bm;

		if (m->kind != MAPPING_FILE)
			continue;
		assert_ok(process_open_module(&b.processes, b.self, m));
		assert_ok(pages_module(b.unwind, file, &bm));
		for (uint64_t page = m->pgoff >> UW_PAGE_SHIFT;
			page < (m->pgoff + m->end - m->start) >> UW_PAGE_SHIFT; page++) {
			int r = pages_make_ahead(b.unwind, file, bm, page);
			const struct uw_page *p =
				tables_page_get(&b.unwind->tables, bm->ranges, page);
			struct uw_page *ahead;

			assert_int_equal(r == 0, p != NULL);
			if (r) {
				assert_int_equal(r, 1);
				left++;
				continue;
			}
			made++;
			ahead = malloc(p->size);
			assert_non_null(ahead);
			memcpy(ahead, p, p->size);
			assert_ok(pages_make(b.unwind, file, bm, page));
			p = tables_page_get(&b.unwind->tables, bm->ranges, page);
			assert_memory_equal(p, ahead, ahead->size);
			free(ahead);
		}
	}
	assert_true(made && left);
	unwind_get_stats(b.unwind, &stats);
	assert_int_equal(stats.pages_failed, 0);
	bench_close(&b);
}

static void prefetch__leaves_room_in_the_pool(void **state)
{
	struct unwind_stats stats;
	struct bench b = {0};

	(void)state;
	bench_open(&b, 64 << 10);
	const struct mapping *m = big_mapping(&b);

	for (unsigned i = 0; i < 20; i++)
		pages_load(b.unwind, b.self, m, m->pgoff + i % 4 * UW_PAGE_BYTES);
	unwind_idle(b.unwind, 1000000000);
	unwind_get_stats(b.unwind, &stats);
	assert_true(stats.pool_used <= 64 << 10);
	// The last page made ahead may pass the mark, the next one is not begun.
	uint64_t ahead = stats.pages_ahead;

	if (stats.pool_used >= 48 << 10) {
		unwind_idle(b.unwind, 1000000000);
		unwind_get_stats(b.unwind, &stats);
		assert_int_equal(stats.pages_ahead, ahead);
	}
	bench_close(&b);
}

static bool drop(void *arg, struct module *m)
{
	return unwind_forget_module(arg, m);
}

/* A process that for months loads a library of another file each time, and unloads it: nothing of those
 * that are gone is kept, and what is mapped keeps its tables. */
static void forget__libraries_come_and_go(void **state)
{
	const uint64_t at = 0x10000000;
	struct bench b = {0};
	uint64_t dir_used = 0;
	size_t slots = 0;

	(void)state;
	bench_open(&b, 0);
	const struct mapping *big = big_mapping(&b);
	struct module *kept = module_get(&b.modules, big->module);
	uint64_t off = big->pgoff + UW_PAGE_BYTES;

	assert_ok(pages_load(b.unwind, b.self, big, off));
	for (unsigned i = 1; i <= 20000; i++) {
		char path[64];
		struct capture_event e = {
			.type = CAPTURE_MMAP,
			.pid = b.self->pid,
			.tid = b.self->pid,
			.time = i,
			.mmap = {.start = at,
				.len = 16 * UW_PAGE_BYTES,
				.maj = 8,
				.min = 77,
				.ino = 1000000 + i,
				.prot = 5,
				.path = path},
		};

		snprintf(path, sizeof(path), "/nowhere/lib%u.so (deleted)", i);
		assert_ok(process_table_apply(&b.processes, &e));
		assert_ok(unwind_update_process(b.unwind, b.self));
		if (i % 10)
			continue;
		process_table_sweep(&b.processes);
		assert_ok(process_table_sweep_modules(&b.processes, drop, b.unwind));
		assert_true(b.modules.by_id.len <= 1000);
		if (i == 5000) {
			dir_used = b.unwind->tables.dir.used;
			slots = b.unwind->modules.len;
		}
	}
	assert_int_equal(b.unwind->stats.full + b.unwind->tables.stats.full, 0);
	assert_true(b.unwind->modules.len <= 2 * slots);
	assert_true(b.unwind->tables.dir.used <= 2 * dir_used);
	const struct mapping *last = process_mapping(b.self, at);

	assert_non_null(last);
	assert_non_null(module_get(&b.modules, last->module));
	assert_ptr_equal(module_get(&b.modules, kept->id), kept);
	assert_non_null(tables_page_get(&b.unwind->tables,
		b.unwind->modules.data[kept->unwind_slot - 1]->ranges, off >> UW_PAGE_SHIFT));
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefetch__pages_around_misses),
		cmocka_unit_test(prefetch__code_without_a_source_is_left),
		cmocka_unit_test(prefetch__leaves_room_in_the_pool),
		cmocka_unit_test(forget__libraries_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

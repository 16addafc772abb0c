/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation, open and read fails once while page tables of the C library are made and a stack
 * in it is finished. Afterwards, with nothing failing, the same page can be made. */
#include "tests/scratch.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "process/process.h"
#include "tests/torture_io.h"
#include "unwind/pages.h"

#define PID 5u
#define PID_TEXT "5"

struct fixture {
	char root[SCRATCH_DIR];
	uint64_t inside; // an address in the C library's text, here and in the fixture
};

/* The line of our own maps that holds the address. */
static void find_line(uint64_t addr, char *line, int size)
{
	FILE *maps = fopen("/proc/self/maps", "r");

	assert_non_null(maps);
	while (fgets(line, size, maps)) {
		char *end;
		uint64_t lo = strtoull(line, &end, 16), hi = strtoull(end + 1, NULL, 16);

		if (addr >= lo && addr < hi)
			break;
	}
	fclose(maps);
}

static void write_fixture(struct fixture *f)
{
	void *volatile inside = (void *)(uintptr_t)&qsort;
	char line[512] = "";

	// Under a sanitizer it may be the program's own: any module with CFI will do.
	f->inside = (uintptr_t)inside + 32;
	find_line(f->inside, line, sizeof(line));
	assert_non_null(strchr(line, '/'));
	scratch_begin(f->root, "torture");
	scratch_put(f->root, PID_TEXT "/stat",
		PID_TEXT " (prog) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0");
	scratch_put(f->root, PID_TEXT "/maps", line);
	scratch_put(f->root, PID_TEXT "/cgroup", "0::/one\n");
}

/* A stack of one frame: what is below it is zeroes. */
static int finish(struct unwind *u, struct process *p, uint64_t pc)
{
	static const uint8_t stack[256];
	struct rec_handoff handoff = {.valid = (1ull << 17) - 1, .stack_len = sizeof(stack)};
	struct rec_sample rec = {.pid = PID, .outcome = REC_OUT_HANDOFF, .handoff_exact = 1};
	struct capture_sample sample = {.rec = &rec, .handoff = &handoff, .stack = stack};
	struct unwind_result *result = calloc(1, sizeof(*result));
	int r;

	if (!result)
		return -ENOMEM;
	handoff.stack_base = handoff.regs[REC_REG_X86_SP] = 0x7ffe00000000;
	handoff.regs[REC_REG_X86_IP] = pc;
	r = unwind_finish(u, p, &sample, 1000, result);
	if (!r && (!result->nwords || (result->words[0] & REC_FRAME_DATA_MASK) != pc))
		r = 1;
	free(result);
	return r;
}

static bool use(struct unwind *u, struct process_table *t, const struct fixture *f)
{
	struct process *p;
	const struct mapping *map;
	struct uw_rule rule;
	int r;

	if (process_table_scan_pid(t, PID) || !(p = process_table_find(t, PID)))
		return true;
	map = process_mapping(p, f->inside);
	if (!map)
		return true;
	r = unwind_update_process(u, p);
	if (r > 0 || finish(u, p, f->inside) > 0)
		return false;
	unwind_idle(u, 1000000);
	if (torture_at > torture_count || map->module == MODULE_NONE)
		return true;
	// A read error is final for the file: it is then one gap. Else the rule is there now.
	r = unwind_update_process(u, p);
	pages_rule(u, p, map, f->inside - map->start + map->pgoff, &rule);
	return !r && (rule.cfa != UW_CFA_NONE ||
			     module_get(t->modules, map->module)->state != MODULE_OPEN ||
			     u->stats.pages_failed);
}

static bool run(const struct fixture *f)
{
	const struct tables_config config = {.pool_bytes = 1 << 20, .dir_entries = 256, .maps = 64};
	struct module_table modules;
	struct process_table t;
	struct unwind *u = NULL;
	bool good = true;
	int r;

	module_table_init(&modules, 64, 4);
	r = process_table_init(&t, &modules, f->root);
	if (!r)
		r = unwind_new_sized(&config, &t, BPF_UNWIND_SMART, &u);
	if (!r)
		good = use(u, &t, f);
	unwind_free(u);
	process_table_deinit(&t);
	module_table_deinit(&modules);
	return good;
}

static void torture__page_tables(void **state)
{
	struct fixture f;
	unsigned long failed;

	(void)state;
	write_fixture(&f);
	failed = torture_each(run(&f));
	printf("# %lu calls failed\n", failed);
	assert_true(failed > 40);
	scratch_end(f.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__page_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

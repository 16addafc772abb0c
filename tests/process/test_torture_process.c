/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation, open and read fails once while /proc (a fixture) is read and records are applied.
 * A second pass, with nothing failing, must know everything. */
#include "tests/scratch.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "process/process.h"
#include "tests/torture_io.h"

#define PROCESSES 3

struct fixture {
	char root[SCRATCH_DIR];
	char program[SCRATCH_DIR + 16]; // a regular file that is no ELF file
};

static void put(const struct fixture *f, unsigned pid, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "%u/%s", pid, name);
	scratch_put(f->root, path, text);
}

static void write_fixture(struct fixture *f)
{
	char text[256];

	scratch_begin(f->root, "torture");
	snprintf(f->program, sizeof(f->program), "%s/1/stat", f->root);
	for (unsigned pid = 1; pid <= PROCESSES; pid++) {
		snprintf(text, sizeof(text),
			"%u (prog %u) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 100 0 0", pid,
			pid);
		put(f, pid, "stat", text);
		snprintf(text, sizeof(text),
			"400000-401000 r-xp 00000000 08:01 %u %s\n7f0000-7f1000 r-xp 0 00:00 0\n",
			pid, f->program);
		put(f, pid, "maps", text);
		put(f, pid, "cgroup",
			"0::/docker/"
			"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n");
	}
}

/* A life: born of 1, a program of its own, a thread, a library, an end. */
static int apply_records(struct process_table *t, const struct fixture *f, uint64_t now)
{
	const struct capture_event events[] = {
		{.type = CAPTURE_FORK, .pid = 10, .tid = 10, .fork = {1, 1}},
		{.type = CAPTURE_COMM, .pid = 10, .tid = 10, .comm = {"child", true}},
		{.type = CAPTURE_MMAP,
			.pid = 10,
			.tid = 10,
			.mmap = {.start = 0x400000,
				.len = 0x1000,
				.maj = 8,
				.min = 1,
				.ino = 77,
				.prot = PROT_READ | PROT_EXEC,
				.path = f->program}},
		{.type = CAPTURE_FORK, .pid = 10, .tid = 11, .fork = {10, 10}},
		{.type = CAPTURE_COMM, .pid = 10, .tid = 11, .comm = {"worker", false}},
		{.type = CAPTURE_MMAP,
			.pid = 2,
			.tid = 2,
			.mmap = {.start = 0x600000,
				.len = 0x1000,
				.prot = PROT_READ | PROT_EXEC,
				.path = "//anon"}},
		{.type = CAPTURE_EXIT, .pid = 10, .tid = 11},
		{.type = CAPTURE_EXIT, .pid = 10, .tid = 10},
		{.type = CAPTURE_LOST, .lost = {.count = 3}},
	};
	int first = 0;

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		struct capture_event e = events[i];
		int r;

		e.time = now + i;
		r = process_table_apply(t, &e);
		if (r && r != -ENOMEM)
			return r;
		first = first ? first : r;
	}
	return first;
}

static int nothing(void *arg, struct process *p)
{
	unsigned *n = arg;

	*n += p != NULL;
	return 0;
}

static bool knows_all(struct process_table *t)
{
	for (unsigned pid = 1; pid <= PROCESSES; pid++) {
		struct process *p;
		char comm[16];

		if (process_table_scan_pid(t, pid))
			return false;
		p = process_table_find(t, pid);
		snprintf(comm, sizeof(comm), "prog %u", pid);
		if (!p || strcmp(p->comm, comm) || p->maps.len < 2 ||
			!process_mapping(p, 0x400010) || process_mapping(p, 0x401000))
			return false;
	}
	return true;
}

static bool use(struct process_table *t, const struct fixture *f)
{
	unsigned n = 0;
	int r = process_table_scan(t);
	struct process *p;

	r = apply_records(t, f, 1000);
	if (r && r != -ENOMEM)
		return false;
	p = process_table_ensure(t, 2, "prog 2");
	if (!p)
		return false;
	if (p->maps.len)
		process_open_module(t, p, &p->maps.data[0]);
	process_mapping_resync(t, p, 0x10, 5000);
	r = process_table_take_dirty(t, nothing, &n);
	process_table_sweep(t);
	if (torture_at > torture_count)
		return true; // it has yet to fail, or never will
	return (!r || r == -ENOMEM) && !process_table_take_dirty(t, nothing, &n) && knows_all(t);
}

static bool run(const struct fixture *f)
{
	struct module_table modules;
	struct process_table t;
	bool good = true;

	module_table_init(&modules, 64, 4);
	if (!process_table_init(&t, &modules, f->root))
		good = use(&t, f);
	process_table_deinit(&t);
	module_table_deinit(&modules);
	return good;
}

static void torture__table(void **state)
{
	struct fixture f;
	unsigned long failed;

	(void)state;
	write_fixture(&f);
	failed = torture_each(run(&f));
	printf("# %lu calls failed\n", failed);
	assert_true(failed > 60);
	scratch_end(f.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

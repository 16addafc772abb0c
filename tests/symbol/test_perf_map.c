/* SPDX-License-Identifier: Apache-2.0 */
/* Perf maps: growing, overlapping, hostile; and the rules by which a process's file is believed. */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "symbol/jit_files.h"
#include "symbol/perf_map.h"

static void add(const struct perf_map *m, const char *text)
{
	lseek(m->fd, 0, SEEK_END);
	assert_int_equal(write(m->fd, text, strlen(text)), strlen(text));
}

static void assert_name(const struct perf_map *m, uint64_t addr, const char *name)
{
	struct buf text = BUF_INIT(4096);
	uint64_t start;
	int r = perf_map_name(m, addr, &text, &start);

	if (!name)
		assert_int_equal(r, -ENOENT);
	else
		assert_string_equal(r ? "(none)" : buf_str(&text), name);
	buf_deinit(&text);
}

static void perf_map__grows(void **state)
{
	struct perf_map m;

	(void)state;
	perf_map_init(&m, memfd_create("map", MFD_CLOEXEC));
	assert_ok(perf_map_update(&m));
	add(&m, "1000 100 one\n0x2000 0x80 LazyCompile:*f /a b/x.js:1\r\n30");
	assert_ok(perf_map_update(&m));
	assert_name(&m, 0x1000, "one");
	assert_name(&m, 0x10ff, "one");
	assert_name(&m, 0x1100, NULL);
	assert_name(&m, 0xfff, NULL);
	assert_name(&m, 0x2040, "LazyCompile:*f /a b/x.js:1");
	assert_name(&m, 0x3000, NULL);
	add(&m, "00 10 three\n");
	assert_ok(perf_map_update(&m));
	assert_name(&m, 0x3008, "three");
	assert_int_equal(m.index.entries.len, 3);
	// Truncated and written anew.
	assert_ok(ftruncate(m.fd, 0));
	add(&m, "5000 10 new\n");
	assert_ok(perf_map_update(&m));
	assert_name(&m, 0x5000, "new");
	assert_name(&m, 0x1000, NULL);
	perf_map_deinit(&m);
}

static void perf_map__later_entries_win(void **state)
{
	struct perf_map m;

	(void)state;
	perf_map_init(&m, memfd_create("map", MFD_CLOEXEC));
	add(&m, "1000 1000 old\n1800 100 inner\n1000 200 young\n900 800 youngest\n");
	assert_ok(perf_map_update(&m));
	assert_name(&m, 0x900, "youngest");
	assert_name(&m, 0x10ff, "youngest");
	assert_name(&m, 0x1100, "young");
	assert_name(&m, 0x1810, "inner");
	// "old" was replaced as a whole: its address is another function's now.
	assert_name(&m, 0x1300, NULL);
	perf_map_deinit(&m);
}

static void perf_map__hostile(void **state)
{
	static char line[200000];
	struct perf_map m;

	(void)state;
	perf_map_init(&m, memfd_create("map", MFD_CLOEXEC));
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	add(&m, "zz 10 a\n1000 0 zero\nffffffffffffffff 10 wraps\n1000 fffffffff huge\n\n1000\n"
		"11111111111111111 1 seventeen\n2000 10 \n");
	add(&m, line);
	add(&m, "4000 10 good\n");
	assert_ok(perf_map_update(&m));
	assert_int_equal(m.index.entries.len, 1);
	assert_name(&m, 0x4000, "good");
	assert_true(m.malformed >= 7);
	perf_map_deinit(&m);
}

/* A million functions, each compiled twice: time and memory. */
static void perf_map__large(void **state)
{
	struct perf_map m;
	uint64_t t0;
	FILE *f;

	(void)state;
	perf_map_init(&m, memfd_create("map", MFD_CLOEXEC));
	f = fdopen(dup(m.fd), "w");
	for (int i = 0; i < 400000; i++)
		fprintf(f, "%x 40 Function:some.rather.long.name.of.a.function.%d\n",
			0x10000000 + i / 2 * 0x40, i);
	fclose(f);
	t0 = clock_cpu_ns();
	assert_ok(perf_map_update(&m));
	printf("# %.1f MB in %.0f ms, %zu entries\n", (double)m.done / 1e6,
		(double)(clock_cpu_ns() - t0) / 1e6, m.index.entries.len);
	assert_int_equal(m.index.entries.len, 200000);
	assert_name(
		&m, 0x10000000 + 77 * 0x40 + 5, "Function:some.rather.long.name.of.a.function.155");
	perf_map_deinit(&m);
}

static char path[64];

static void write_map(const char *text)
{
	FILE *f;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	unlink(path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* The whole way: a process of the table, its file in /tmp, a query. Then not ours, then too old. */
static void jit_files__owner_and_age(void **state)
{
	struct module_table modules;
	struct process_table processes;
	struct resolver r;
	struct resolver_config config = {.kallsyms = "/dev/null"};
	struct symbol_query q = {.space = SYMBOL_PROCESS, .addr = 0x1010};
	struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct process *p;

	(void)state;
	module_table_init(&modules, 1024, 16);
	assert_ok(process_table_init(&processes, &modules, "/proc"));
	assert_ok(resolver_init(&r, &modules, &processes, &config));
	assert_ok(process_table_scan_pid(&processes, (uint32_t)getpid()));
	p = process_table_find(&processes, (uint32_t)getpid());
	q.owner = p->uid;

	write_map("1000 100 function of mine\n");
	assert_ok(utimensat(AT_FDCWD, path, old, 0));
	assert_ok(resolver_resolve(&r, &q, 1));
	assert_int_equal(q.name, 0);
	if (geteuid() == 0) {
		write_map("1000 100 function of mine\n");
		assert_ok(chown(path, 65534, 65534));
		assert_ok(resolver_resolve(&r, &q, 1));
		assert_int_equal(q.name, 0);
	}
	unlink(path);
	assert_ok(mkfifo(path, 0600));
	assert_ok(resolver_resolve(&r, &q, 1));
	assert_int_equal(q.name, 0);

	write_map("1000 100 function of mine\n");
	resolver_note_jit(&r, p);
	unlink(path); // held open
	assert_ok(resolver_resolve(&r, &q, 1));
	assert_string_equal(intern_str(&r.strings, q.name), "function of mine");
	assert_int_equal(q.kind, SYMBOL_KIND_JIT);
	assert_int_equal(q.func_start, 0x1000);
	resolver_deinit(&r);
	process_table_deinit(&processes);
	module_table_deinit(&modules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(perf_map__grows),
		cmocka_unit_test(perf_map__later_entries_win),
		cmocka_unit_test(perf_map__hostile),
		cmocka_unit_test(perf_map__large),
		cmocka_unit_test(jit_files__owner_and_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

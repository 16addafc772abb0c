/* SPDX-License-Identifier: Apache-2.0 */
/* Records into the table, and /proc from a fixture directory: no privileges, no real processes. */
#include "tests/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/process.h"
#include "process/table.h"

struct fixture {
	char root[SCRATCH_DIR];
	struct module_table modules;
	struct process_table t;
	uint64_t now;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scratch_begin(f->root, "table");
	module_table_init(&f->modules, 4096, 64);
	f->now = 1000;
	*state = f;
	return process_table_init(&f->t, &f->modules, f->root);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	process_table_deinit(&f->t);
	module_table_deinit(&f->modules);
	scratch_end(f->root);
	free(f);
	return 0;
}

static void put_file(const struct fixture *f, uint32_t pid, const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "%u/%s", pid, name);
	scratch_put(f->root, path, text);
}

static void drop(const struct fixture *f, uint32_t pid, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%u/%s", f->root, pid, name);
	assert_ok(unlink(path));
}

static void put_process(const struct fixture *f, uint32_t pid, unsigned ticks, const char *maps)
{
	char stat[256];

	snprintf(stat, sizeof(stat),
		"%u (prog %u) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 %u 0 0", pid, pid,
		ticks);
	put_file(f, pid, "stat", stat);
	put_file(f, pid, "maps", maps);
	put_file(f, pid, "cgroup", "0::/slice/one\n");
}

static int apply(struct fixture *f, struct capture_event e)
{
	e.time = f->now++;
	return process_table_apply(&f->t, &e);
}

static void do_fork(struct fixture *f, uint32_t pid, uint32_t tid, uint32_t ppid)
{
	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_FORK,
				   .pid = pid,
				   .tid = tid,
				   .fork = {.ppid = ppid, .ptid = ppid}}));
}

static void do_exec(struct fixture *f, uint32_t pid, const char *name)
{
	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_COMM,
				   .pid = pid,
				   .tid = pid,
				   .comm = {.text = name, .exec = true}}));
}

static void do_comm(struct fixture *f, uint32_t pid, uint32_t tid, const char *name)
{
	assert_ok(apply(
		f, (struct capture_event){
			   .type = CAPTURE_COMM, .pid = pid, .tid = tid, .comm = {.text = name}}));
}

static void do_exit(struct fixture *f, uint32_t pid, uint32_t tid)
{
	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_EXIT, .pid = pid, .tid = tid}));
}

static void do_mmap(struct fixture *f, uint32_t pid, uint64_t start, uint64_t len, const char *path)
{
	bool file = path[0] == '/' && path[1] != '/';

	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_MMAP,
				   .pid = pid,
				   .tid = pid,
				   .mmap = {.start = start,
					   .len = len,
					   .pgoff = 0x1000,
					   .maj = file ? 8 : 0,
					   .min = file,
					   .ino = file ? 100 + strlen(path) : 0,
					   .prot = PROT_READ | PROT_EXEC,
					   .path = path}}));
}

static int count_dirty(void *arg, struct process *p)
{
	(void)p;
	++*(unsigned *)arg;
	return 0;
}

static void table__exec_ends_the_old_record(void **state)
{
	struct fixture *f = *state;
	struct process *parent, *child, *next;
	uint32_t uid;
	unsigned dirty = 0;

	do_exec(f, 10, "shell");
	do_mmap(f, 10, 0x400000, 0x2000, "/bin/sh");
	do_fork(f, 11, 11, 10);
	parent = process_table_find(&f->t, 10);
	child = process_table_find(&f->t, 11);
	assert_string_equal(child->comm, "shell");
	assert_int_equal(child->ppid, 10);
	assert_int_equal(child->maps.len, 1);
	assert_true(child->maps.data != parent->maps.data);
	child->sampled = true;
	uid = child->uid;
	do_exec(f, 11, "program");
	next = process_table_find(&f->t, 11);
	assert_int_not_equal(next->uid, uid);
	assert_int_equal(next->maps.len, 0);
	assert_string_equal(next->comm, "program");
	assert_int_equal(next->start_time, child->start_time);
	child = process_table_by_uid(&f->t, uid);
	assert_non_null(child);
	assert_true(child->exit_time != 0);
	assert_non_null(process_mapping(child, 0x401fff));
	assert_null(process_mapping(child, 0x402000));
	assert_null(process_mapping(child, 0x3fffff));
	assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
	assert_int_equal(dirty, 3);
	process_table_sweep(&f->t);
	assert_null(process_table_by_uid(&f->t, uid));
	assert_ptr_equal(process_table_find(&f->t, 11), next);
}

static void table__kept_until_shown_and_unreferenced(void **state)
{
	struct fixture *f = *state;
	struct process *p;
	uint32_t uid;
	unsigned dirty = 0;

	do_exec(f, 10, "a");
	p = process_table_ensure(&f->t, 10, "a");
	uid = p->uid;
	do_exit(f, 10, 10);
	assert_null(process_table_find(&f->t, 10));
	// A sample of the task between its exit record and its end.
	assert_ptr_equal(process_table_ensure(&f->t, 10, "a"), p);
	process_table_sweep(&f->t); // not shown yet
	assert_non_null(process_table_by_uid(&f->t, uid));
	assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
	assert_int_equal(dirty, 1);
	p->refs = 1;
	process_table_sweep(&f->t);
	assert_non_null(process_table_by_uid(&f->t, uid));
	p->refs = 0;
	process_table_sweep(&f->t);
	assert_null(process_table_by_uid(&f->t, uid));
}

static void table__threads_outlive_the_leader(void **state)
{
	struct fixture *f = *state;

	do_exec(f, 10, "a");
	do_fork(f, 10, 12, 10);
	do_fork(f, 10, 13, 10);
	do_comm(f, 10, 13, "worker");
	assert_string_equal(process_thread_comm(process_table_find(&f->t, 10), 13), "worker");
	assert_string_equal(process_thread_comm(process_table_find(&f->t, 10), 12), "a");
	do_exit(f, 10, 10);
	assert_non_null(process_table_find(&f->t, 10));
	do_exit(f, 10, 12);
	assert_non_null(process_table_find(&f->t, 10));
	do_exit(f, 10, 13);
	assert_null(process_table_find(&f->t, 10));
}

/* A thread that is not the leader execs: the leader's exit record comes first. */
static void table__exec_by_a_thread(void **state)
{
	struct fixture *f = *state;

	do_exec(f, 10, "a");
	do_fork(f, 10, 12, 10);
	do_exit(f, 10, 10);
	do_exec(f, 10, "b");
	assert_string_equal(process_table_find(&f->t, 10)->comm, "b");
	do_exit(f, 10, 10);
	assert_null(process_table_find(&f->t, 10));
}

static void table__names_of_process_and_thread(void **state)
{
	struct fixture *f = *state;
	struct process *p;

	do_exec(f, 10, "a-very-long-program-name");
	do_comm(f, 10, 10, "renamed");
	p = process_table_find(&f->t, 10);
	assert_string_equal(p->comm, "a-very-long-pro");
	assert_string_equal(process_thread_comm(p, 10), "renamed");
	do_fork(f, 11, 11, 10);
	p = process_table_find(&f->t, 11);
	assert_string_equal(p->comm, "a-very-long-pro");
	assert_string_equal(process_thread_comm(p, 11), "renamed");
}

static void table__pid_reuse_without_exit(void **state)
{
	struct fixture *f = *state;
	uint32_t uid;

	do_exec(f, 10, "a");
	uid = process_table_find(&f->t, 10)->uid;
	do_fork(f, 10, 10, 9);
	assert_int_not_equal(process_table_find(&f->t, 10)->uid, uid);
	assert_true(process_table_by_uid(&f->t, uid)->exit_time != 0);
}

static void table__mappings_cut_and_split(void **state)
{
	struct fixture *f = *state;
	struct process *p;

	do_exec(f, 10, "a");
	do_mmap(f, 10, 0x10000, 0x10000, "/lib/one.so");
	do_mmap(f, 10, 0x14000, 0x1000, "//anon");
	do_mmap(f, 10, 0x7fff00000000, 0x2000, "[vdso]");
	p = process_table_find(&f->t, 10);
	assert_int_equal(p->maps.len, 4);
	assert_int_equal(process_mapping(p, 0x13fff)->pgoff, 0x1000);
	assert_int_equal(process_mapping(p, 0x14000)->kind, MAPPING_ANON);
	assert_int_equal(process_mapping(p, 0x14000)->module, MODULE_NONE);
	assert_int_equal(process_mapping(p, 0x15000)->pgoff, 0x6000);
	assert_int_equal(process_mapping(p, 0x7fff00000000)->module, f->t.vdso_module);
	assert_false(p->bits32);
	// Data over code: no longer code.
	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_MMAP,
				   .pid = 10,
				   .tid = 10,
				   .mmap = {.start = 0x10000,
					   .len = 0x10000,
					   .prot = PROT_READ,
					   .path = "/x"}}));
	assert_int_equal(p->maps.len, 1);
	do_mmap(f, 10, 0xf7fc0000, 0x2000, "[vdso]");
	assert_true(p->bits32);
}

static void table__mapping_cap_is_counted(void **state)
{
	struct fixture *f = *state;

	do_exec(f, 10, "a");
	for (uint64_t i = 0; i < 5000; i++)
		do_mmap(f, 10, 0x10000 + i * 0x2000, 0x1000, "//anon");
	assert_int_equal(process_table_find(&f->t, 10)->maps.len, PROCESS_MAPPINGS_MAX);
	assert_int_equal(f->t.stats.full, 5000 - PROCESS_MAPPINGS_MAX);
}

static void table__process_cap_is_counted(void **state)
{
	struct fixture *f = *state;
	struct process *p;

	for (uint32_t pid = 1; pid <= PROCESSES_MAX + 10; pid++)
		do_exec(f, pid, "a");
	assert_int_equal(f->t.by_pid.len, PROCESSES_MAX);
	assert_true(f->t.stats.full >= 10);
	p = process_table_ensure(&f->t, PROCESSES_MAX + 5, "a");
	assert_string_equal(p->comm, "[other]");
	assert_ptr_equal(process_table_by_uid(&f->t, p->uid), p);
	assert_null(process_mapping_resync(&f->t, p, 0x1000, 1));
}

/* Ended processes between two sweeps are bounded too; those that no sample hit make room. */
static void table__storm_is_bounded(void **state)
{
	struct fixture *f = *state;
	unsigned dirty = 0;

	do_exec(f, 1, "parent");
	for (uint32_t i = 0; i < 300000; i++) {
		do_fork(f, 2 + i % 1000, 2 + i % 1000, 1);
		do_exit(f, 2 + i % 1000, 2 + i % 1000);
		if (i % 1000 == 0)
			assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
	}
	assert_int_equal(f->t.stats.full, 0);
	assert_true(f->t.by_uid.len <= PROCESSES_MAX + PROCESSES_KEPT_MAX);
	assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
	process_table_sweep(&f->t);
	assert_int_equal(f->t.by_uid.len, 1);
	// Shown to nobody: they stay, and what finds no room is counted.
	for (uint32_t i = 0; i < 120000; i++) {
		do_fork(f, 2 + i % 1000, 2 + i % 1000, 1);
		do_exit(f, 2 + i % 1000, 2 + i % 1000);
	}
	assert_true(f->t.by_uid.len <= PROCESSES_MAX + PROCESSES_KEPT_MAX);
	assert_true(f->t.stats.full > 0);
}

/* Whole lives of programs that no sample hits: their records alone are enough. /proc would tell of each. */
static void table__nobody_reads_of_whom_no_sample_hits(void **state)
{
	struct fixture *f = *state;
	unsigned dirty = 0;

	put_process(f, 20, 0, "400000-402000 r-xp 00001000 08:01 5 /bin/prog\n");
	do_exec(f, 1, "shell");
	for (unsigned i = 0; i < 1000; i++) {
		do_fork(f, 20, 20, 1);
		do_exec(f, 20, "prog");
		for (unsigned k = 0; k < 15; k++)
			do_mmap(f, 20, 0x400000 + k * 0x10000, 0x1000, "/bin/prog");
		if (i % 3 == 0)
			assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
		do_exit(f, 20, 20);
		if (i % 10 == 0) {
			assert_ok(process_table_take_dirty(&f->t, count_dirty, &dirty));
			process_table_sweep(&f->t);
		}
	}
	assert_int_equal(f->t.stats.reads, 0);
	do_fork(f, 20, 20, 1);
	do_exec(f, 20, "prog");
	assert_string_equal(process_table_ensure(&f->t, 20, "prog")->comm, "prog");
	assert_int_equal(f->t.stats.reads, 1); // its cgroup, which no record tells
	process_table_ensure(&f->t, 20, "prog");
	assert_int_equal(f->t.stats.reads, 1);
}

static const char maps_a[] = "400000-402000 r-xp 00001000 08:01 5 /bin/prog\n"
			     "500000-501000 rw-p 00000000 00:00 0 [heap]\n"
			     "7f0000000000-7f0000001000 r-xp 00000000 08:01 6 /lib/a.so (deleted)\n"
			     "7f0000010000-7f0000011000 rwxs 00000000 00:05 7 /dev/zero (deleted)\n"
			     "7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0 [vdso]\n"
			     "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";

static void scan__fixture(void **state)
{
	struct fixture *f = *state;
	const struct mapping *m;
	struct process *p;

	put_process(f, 20, 77, maps_a);
	put_file(f, 21, "stat",
		"21 (kthread/0:1-ev) I 2 0 0 0 -1 69238880 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	put_file(f, 22, "stat", "22 (zombie) Z 1 0 0 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	put_file(f, 23, "maps", ""); // its stat is gone already
	assert_ok(process_table_scan(&f->t));
	p = process_table_find(&f->t, 20);
	assert_string_equal(p->comm, "prog 20");
	assert_int_equal(p->start_time, 770000000);
	assert_int_equal(p->maps.len, 4);
	assert_string_equal(intern_str(&f->t.strings, p->cgroup_path), "/slice/one");
	m = process_mapping(p, 0x7f0000000010);
	assert_int_equal(m->kind, MAPPING_FILE);
	assert_true(module_get(&f->modules, m->module)->deleted);
	assert_int_equal(module_get(&f->modules, m->module)->key.ino, 6);
	assert_string_equal(intern_str(&f->t.strings, m->path), "/lib/a.so (deleted)");
	assert_string_equal(
		module_path(&f->modules, module_get(&f->modules, m->module)), "/lib/a.so");
	assert_int_equal(process_mapping(p, 0x7f0000010000)->kind, MAPPING_NOFILE);
	assert_int_equal(
		process_open_module(&f->t, p, process_mapping(p, 0x7f0000010000)), -EMEDIUMTYPE);
	assert_true(process_table_find(&f->t, 21)->kernel_thread);
	assert_null(process_table_find(&f->t, 22));
	assert_null(process_table_find(&f->t, 23));
	assert_int_equal(f->t.stats.races, 2);
	// Records older than the scan change nothing.
	f->now = 1000;
	do_fork(f, 20, 20, 1);
	do_fork(f, 20, 30, 20);
	assert_ptr_equal(process_table_find(&f->t, 20), p);
	assert_int_equal(p->nthreads, 1);
}

static void scan__pid_reuse_by_start_time(void **state)
{
	struct fixture *f = *state;
	uint32_t uid;

	put_process(f, 20, 77, maps_a);
	assert_ok(process_table_scan(&f->t));
	uid = process_table_find(&f->t, 20)->uid;
	put_process(f, 20, 99, maps_a);
	assert_ok(process_table_scan_pid(&f->t, 20));
	assert_int_not_equal(process_table_find(&f->t, 20)->uid, uid);
	assert_true(process_table_by_uid(&f->t, uid)->exit_time != 0);
}

static void lose(struct fixture *f)
{
	assert_ok(apply(f, (struct capture_event){
				   .type = CAPTURE_LOST, .pid = UINT32_MAX, .lost = {.count = 3}}));
}

static void lost__resync_at_next_sample(void **state)
{
	struct fixture *f = *state;
	struct process *p;
	uint32_t uid;

	put_process(f, 20, 77, maps_a);
	put_process(f, 24, 77, maps_a);
	put_process(f, 25, 77, maps_a);
	assert_ok(process_table_scan(&f->t));
	p = process_table_ensure(&f->t, 20, "x");
	uid = p->uid;
	// A library more: the same program.
	put_process(f, 20, 77,
		"400000-402000 r-xp 00001000 08:01 5 /bin/prog\n"
		"7e0000000000-7e0000001000 r-xp 00000000 08:01 9 /lib/b.so\n");
	assert_ptr_equal(process_table_ensure(&f->t, 20, "x"), p);
	assert_null(process_mapping(p, 0x7e0000000000));
	lose(f);
	assert_int_equal(f->t.stats.lost, 3);
	assert_ptr_equal(process_table_ensure(&f->t, 20, "x"), p);
	assert_non_null(process_mapping(p, 0x7e0000000000));
	// Nothing in common: an exec was lost.
	put_process(f, 20, 77, "600000-602000 r-xp 00001000 08:01 15 /bin/other\n");
	lose(f);
	p = process_table_ensure(&f->t, 20, "x");
	assert_int_not_equal(p->uid, uid);
	assert_non_null(process_mapping(p, 0x600000));
	assert_non_null(process_mapping(process_table_by_uid(&f->t, uid), 0x400000));
	// Exits were lost: the sweep finds out.
	drop(f, 24, "stat");
	process_table_sweep(&f->t);
	assert_null(process_table_find(&f->t, 24));
	assert_non_null(process_table_find(&f->t, 25));
}

static void resync__on_a_miss_at_most_every_100_ms(void **state)
{
	struct fixture *f = *state;
	struct process *p;
	uint64_t t0;

	put_process(f, 20, 77, maps_a);
	assert_ok(process_table_scan(&f->t));
	p = process_table_find(&f->t, 20);
	t0 = p->resync_time;
	put_process(f, 20, 77,
		"400000-402000 r-xp 00001000 08:01 5 /bin/prog\n"
		"900000-902000 rwxp 00000000 00:00 0 \n");
	assert_null(process_mapping_resync(&f->t, p, 0x900000, t0 + 99000000));
	assert_int_equal(f->t.stats.resyncs, 0);
	assert_non_null(process_mapping_resync(&f->t, p, 0x900000, t0 + 100000000));
	assert_int_equal(f->t.stats.resyncs, 1);
}

static void ensure__unknown_and_gone(void **state)
{
	struct fixture *f = *state;
	struct process *p = process_table_ensure(&f->t, 33, "ghost");

	assert_string_equal(p->comm, "ghost");
	assert_true(p->sampled);
	assert_ptr_equal(process_table_ensure(&f->t, 33, "ghost"), p);
	assert_true(process_table_ensure(&f->t, 0, "swapper/0")->kernel_thread);
	process_table_sweep(&f->t);
	assert_null(process_table_find(&f->t, 33));
}

/* A file's mappings come with a build id in records and with an inode in /proc: one module stays. */
static void scan__keeps_the_module_of_the_record(void **state)
{
	struct fixture *f = *state;
	struct process *p;
	uint32_t module;

	do_exec(f, 20, "prog 20");
	assert_ok(apply(f, (struct capture_event){.type = CAPTURE_MMAP,
				   .pid = 20,
				   .tid = 20,
				   .mmap = {.start = 0x400000,
					   .len = 0x2000,
					   .pgoff = 0x1000,
					   .prot = PROT_EXEC,
					   .build_id_len = 20,
					   .build_id = {1, 2},
					   .path = "/bin/prog"}}));
	p = process_table_find(&f->t, 20);
	module = p->maps.data[0].module;
	put_process(f, 20, 0, maps_a);
	assert_ok(process_table_scan_pid(&f->t, 20));
	assert_int_equal(process_mapping(p, 0x400000)->module, module);
	assert_int_equal(p->maps.len, 4);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(table__exec_ends_the_old_record),
		CASE(table__kept_until_shown_and_unreferenced),
		CASE(table__threads_outlive_the_leader),
		CASE(table__exec_by_a_thread),
		CASE(table__names_of_process_and_thread),
		CASE(table__pid_reuse_without_exit),
		CASE(table__mappings_cut_and_split),
		CASE(table__mapping_cap_is_counted),
		CASE(table__process_cap_is_counted),
		CASE(table__storm_is_bounded),
		CASE(table__nobody_reads_of_whom_no_sample_hits),
		CASE(scan__fixture),
		CASE(scan__pid_reuse_by_start_time),
		CASE(lost__resync_at_next_sample),
		CASE(resync__on_a_miss_at_most_every_100_ms),
		CASE(ensure__unknown_and_gone),
		CASE(scan__keeps_the_module_of_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

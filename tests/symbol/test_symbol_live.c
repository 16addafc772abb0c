/* SPDX-License-Identifier: Apache-2.0 */
/* Names in other processes: a program deleted while it runs, and debug files that only the target's
 * root has. The program itself is the workload. */
#include "tests/harness.h"

#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "elf/symtab.h"
#include "symbol/resolver.h"
#include "tests/elf/elf_writer.h"

static const uint8_t build_id[20] = {0xde, 0xad, 1, 2, 3};

struct room {
	struct module_table modules;
	struct process_table processes;
	struct resolver resolver;
	char dir[64];
	pid_t child;
};

static int setup(void **state)
{
	struct room *x = calloc(1, sizeof(*x));
	struct resolver_config config = {0};

	module_table_init(&x->modules, 4096, 64);
	assert_ok(process_table_init(&x->processes, &x->modules, "/proc"));
	assert_ok(resolver_init(&x->resolver, &x->modules, &x->processes, &config));
	snprintf(x->dir, sizeof(x->dir), "/tmp/test_symbol_live_XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct room *x = *state;

	if (x->child > 0) {
		kill(x->child, SIGKILL);
		waitpid(x->child, NULL, 0);
	}
	resolver_deinit(&x->resolver);
	process_table_deinit(&x->processes);
	module_table_deinit(&x->modules);
	free(x);
	return 0;
}

static void join(char *dst, size_t size, const char *a, const char *b)
{
	assert_true((size_t)snprintf(dst, size, "%s%s", a, b) < size);
}

static void copy_self(const char *to)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT(64 << 20);
	_cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_ok(fs_read_file("/proc/self/exe", &bytes));
	assert_ok(fs_write_full(fd, bytes.data, bytes.len));
}

/* Waits until the child wrote a byte. */
static void await(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
	close(fd);
}

/* Module of the mapping of a process whose path ends so. */
static struct module *mapped(struct room *x, const char *suffix)
{
	struct process *p = process_table_find(&x->processes, (uint32_t)x->child);

	assert_non_null(p);
	vec_foreach (m, &p->maps) {
		const char *path = intern_str(&x->processes.strings, m->path);

		if (m->module && strstr(path, suffix))
			return module_get(&x->modules, m->module);
	}
	fail_msg("no mapping of %s", suffix);
	return NULL;
}

static void symbol_live__deleted_program(void **state)
{
	struct room *x = *state;
	struct symbol_query q = {.space = SYMBOL_MODULE};
	struct module_symtab t;
	struct module_symbol sym;
	struct module *m, *self;
	char path[128];
	int ready[2];

	join(path, sizeof(path), x->dir, "/gone");
	copy_self(path);
	assert_ok(pipe(ready));
	x->child = fork();
	if (!x->child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ready[1], STDOUT_FILENO);
		execl(path, path, "--wait", NULL);
		_exit(127);
	}
	close(ready[1]);
	await(ready[0]);
	unlink(path);
	assert_ok(process_table_scan_pid(&x->processes, (uint32_t)x->child));
	m = mapped(x, "/gone");
	assert_true(m->deleted);
	assert_int_equal(m->state, MODULE_NAMED);
	// Where `main` is, from this process's own file: the same bytes.
	assert_ok(module_standalone_fd(open("/proc/self/exe", O_RDONLY), &self));
	assert_ok(module_symtab_open(self, SHT_SYMTAB, &t));
	assert_ok(module_symtab_find(&t, "main", &sym));
	assert_true(module_vaddr_to_offset(self, sym.value + 4, &q.addr));
	module_standalone_free(self);
	q.owner = m->id;
	assert_ok(resolver_resolve(&x->resolver, &q, 1));
	assert_int_equal(m->state, MODULE_OPEN);
	assert_string_equal(intern_str(&x->resolver.strings, q.name), "main");
	assert_string_equal(intern_str(&x->resolver.strings, q.module), path);
	rmdir(x->dir);
}

static void write_part(const char *path, bool debug)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct elf_writer_symbol s = {"in_debug_file", 0x1000, 0x100, STB_LOCAL, STT_FUNC, 1};
	unsigned note;

	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 0x1000);
	note = elf_writer_build_id(&w, build_id, sizeof(build_id));
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_segment(&w, PT_NOTE, PF_R, note, note);
	if (debug)
		elf_writer_symbol(&w, &s);
	assert_ok(fs_mkdir_parents(path, 0755));
	elf_writer_save(&w, path);
}

/* The child: enters the root, maps the stripped file executable, tells, waits. */
static void live_in(const char *root, int ready)
{
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chroot(root) || chdir("/"))
		_exit(1);
	fd = open("/opt/stripped", O_RDONLY);
	if (mmap(NULL, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0x1000) == MAP_FAILED)
		_exit(2);
	if (write(ready, "x", 1) != 1)
		_exit(3);
	for (;;)
		pause();
}

static void symbol_live__debug_file_in_the_targets_root(void **state)
{
	struct room *x = *state;
	struct symbol_query q = {.space = SYMBOL_MODULE, .addr = 0x1010};
	char path[256], debug[256];
	struct module *m;
	int ready[2];

	if (geteuid() != 0)
		test_skip("chroot needs root");
	join(path, sizeof(path), x->dir, "/opt/stripped");
	write_part(path, false);
	join(debug, sizeof(debug), x->dir,
		"/usr/lib/debug/.build-id/de/ad010203000000000000000000000000000000.debug");
	write_part(debug, true);
	assert_ok(pipe(ready));
	x->child = fork();
	if (!x->child)
		live_in(x->dir, ready[1]);
	close(ready[1]);
	await(ready[0]);
	assert_ok(process_table_scan_pid(&x->processes, (uint32_t)x->child));
	m = mapped(x, "/opt/stripped");
	q.owner = m->id;
	assert_ok(resolver_resolve(&x->resolver, &q, 1));
	assert_string_equal(intern_str(&x->resolver.strings, q.name), "in_debug_file");
	unlink(path);
	unlink(debug);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(symbol_live__deleted_program),
		CASE(symbol_live__debug_file_in_the_targets_root),
	};

	if (argc == 2 && strcmp(argv[1], "--wait") == 0) {
		if (write(STDOUT_FILENO, "x", 1) != 1)
			return 1;
		for (;;)
			pause();
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

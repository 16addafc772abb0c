/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and inlined functions of a program that gcc makes here, in one file, through the resolver and
 * its chain, and with the DWARF in a separate file. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "elf/symtab.h"
#include "symbol/resolver.h"

static const char source[] =
	"volatile int sink;\n" // 1
	"static inline __attribute__((always_inline)) void inner(int x)\n"
	"{\n"
	"	sink += x * x;\n" // 4
	"}\n"
	"static inline __attribute__((always_inline)) void middle(int x)\n"
	"{\n"
	"	sink = x;\n" // 8
	"	inner(x + 1);\n" // 9
	"}\n"
	"__attribute__((noinline)) void outer(int x)\n" // 11
	"{\n"
	"	sink = 3;\n" // 13
	"	middle(x);\n" // 14
	"}\n"
	"int main(int argc, char **argv) { (void)argv; outer(argc); return 0; }\n";

struct world {
	char dir[48];
	struct module_table modules;
	struct process_table processes;
	struct resolver r;
};

static int run(const char *dir, const char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (chdir(dir))
			_exit(126);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int setup(void **state)
{
	struct resolver_config config = {.lines = true, .inlines = true, .kallsyms = "/dev/null"};
	struct world *w = calloc(1, sizeof(*w));
	char path[96];
	FILE *f;

	snprintf(w->dir, sizeof(w->dir), "/tmp/test_dwarf_lines.XXXXXX");
	if (!mkdtemp(w->dir))
		return -1;
	snprintf(path, sizeof(path), "%s/prog.c", w->dir);
	f = fopen(path, "w");
	if (!f)
		return -1;
	fputs(source, f);
	fclose(f);
	module_table_init(&w->modules, 64, 16);
	*state = w;
	return process_table_init(&w->processes, &w->modules, "/proc") ||
	       resolver_init(&w->r, &w->modules, &w->processes, &config);
}

static int teardown(void **state)
{
	struct world *w = *state;
	int r = run("/", (const char *[]){"rm", "-rf", w->dir, NULL});

	resolver_deinit(&w->r);
	process_table_deinit(&w->processes);
	module_table_deinit(&w->modules);
	free(w);
	return r;
}

static struct module *open_program(struct world *w)
{
	struct module *m;
	char path[96];

	snprintf(path, sizeof(path), "%s/prog", w->dir);
	assert_ok(module_table_intern(&w->modules, &(struct module_key){0}, path, &m));
	assert_ok(module_open_fd(&w->modules, m, open(path, O_RDONLY | O_CLOEXEC)));
	return m;
}

static const char *str(const struct world *w, uint32_t id)
{
	return intern_str(&w->r.strings, id);
}

static void check_innermost(struct world *w, const struct symbol_query *q)
{
	const struct symbol_inline *in = &w->r.inlines.data[q->first_inline - 1];

	assert_string_equal(str(w, in[0].name), "inner");
	assert_int_equal(in[0].line, 4);
	assert_string_equal(str(w, in[1].name), "middle");
	assert_int_equal(in[1].line, 9);
	assert_non_null(strstr(str(w, in[1].file), "prog.c"));
	assert_int_equal(q->line, 14);
}

/* Asks for every byte of outer() at once. */
static void check_outer(struct world *w, uint64_t off, uint64_t size)
{
	struct module *m = open_program(w);
	struct symbol_query *q = calloc(size, sizeof(*q));
	unsigned inner = 0, middle = 0, own = 0;

	for (uint64_t i = 0; i < size; i++)
		q[i] = (struct symbol_query){
			.space = SYMBOL_MODULE, .owner = m->id, .addr = off + i};
	assert_ok(resolver_resolve(&w->r, q, size));
	for (uint64_t i = 0; i < size; i++) {
		assert_string_equal(str(w, q[i].name), "outer");
		assert_non_null(strstr(str(w, q[i].file), "prog.c"));
		assert_int_equal(q[i].start_line, 11);
		assert_in_range(q[i].line, 11, 15);
		if (q[i].ninlines == 2) {
			check_innermost(w, &q[i]);
			inner++;
		} else if (q[i].ninlines == 1) {
			assert_int_equal(q[i].line, 14);
			middle++;
		} else {
			own++;
		}
	}
	free(q);
	assert_true(inner && middle && own);
}

static void find_outer(struct world *w, uint64_t *ret_off, uint64_t *ret_size)
{
	struct module *m = open_program(w);
	struct module_symtab symtab;
	struct module_symbol sym;

	assert_ok(module_symtab_open(m, SHT_SYMTAB, &symtab));
	assert_ok(module_symtab_find(&symtab, "outer", &sym));
	assert_true(module_vaddr_to_offset(m, sym.value, ret_off));
	*ret_size = sym.size;
}

static void compile(struct world *w, const char *format)
{
	if (run(w->dir, (const char *[]){"gcc", "-O2", format, "prog.c", "-o", "prog", NULL}))
		test_skip("no gcc");
}

static void dwarf__in_the_file(void **state)
{
	struct world *w = *state;
	uint64_t off, size;

	compile(w, "-gdwarf-5");
	find_outer(w, &off, &size);
	check_outer(w, off, size);
}

static void dwarf__version_4(void **state)
{
	struct world *w = *state;
	uint64_t off, size;

	compile(w, "-gdwarf-4");
	find_outer(w, &off, &size);
	check_outer(w, off, size);
}

static void dwarf__in_a_separate_file(void **state)
{
	struct world *w = *state;
	struct world fresh;
	struct resolver_config config = w->r.config;
	uint64_t off, size;

	compile(w, "-gdwarf-5");
	find_outer(w, &off, &size);
	if (run(w->dir,
		    (const char *[]){"objcopy", "--only-keep-debug", "prog", "prog.debug", NULL}) ||
		run(w->dir, (const char *[]){"strip", "prog", NULL}) ||
		run(w->dir, (const char *[]){
				    "objcopy", "--add-gnu-debuglink=prog.debug", "prog", NULL}))
		test_skip("no objcopy");
	fresh = *w;
	module_table_init(&fresh.modules, 64, 16);
	assert_ok(process_table_init(&fresh.processes, &fresh.modules, "/proc"));
	assert_ok(resolver_init(&fresh.r, &fresh.modules, &fresh.processes, &config));
	check_outer(&fresh, off, size);
	resolver_deinit(&fresh.r);
	process_table_deinit(&fresh.processes);
	module_table_deinit(&fresh.modules);
}

/* As Debian packs debug information: what several programs share lies in a file beside them. */
static void compile_shared(struct world *w, char ret_common[static 80])
{
	snprintf(ret_common, 80, "%s/common.debug", w->dir);
	if (run(w->dir,
		    (const char *[]){"gcc", "-O2", "-g", "-include", "stdio.h",
			    "-fno-eliminate-unused-debug-types", "prog.c", "-o", "prog", NULL}) ||
		run(w->dir, (const char *[]){"cp", "prog", "prog2", NULL}) ||
		run(w->dir, (const char *[]){"dwz", "-m", ret_common, "-M", ret_common, "prog",
				    "prog2", NULL}))
		test_skip("no gcc or no dwz");
	assert_ok(access(ret_common, R_OK));
}

static void dwarf__shared_by_dwz(void **state)
{
	struct world *w = *state;
	uint64_t off, size;
	char common[80];

	compile_shared(w, common);
	find_outer(w, &off, &size);
	check_outer(w, off, size);
}

/* The first byte of outer(): named, and what is known of its line. */
static void ask_first(struct world *w, struct symbol_query *ret)
{
	uint64_t off, size;

	find_outer(w, &off, &size);
	*ret = (struct symbol_query){
		.space = SYMBOL_MODULE, .owner = open_program(w)->id, .addr = off};
	assert_ok(resolver_resolve(&w->r, ret, 1));
	assert_string_equal(str(w, ret->name), "outer");
}

/* A file may name any path for it: only a regular file of that build id is ever opened, so this does
 * not wait for a writer for ever. */
static void dwarf__shared_by_a_fifo(void **state)
{
	struct world *w = *state;
	uint64_t off, size;
	char common[80];

	compile_shared(w, common);
	assert_ok(unlink(common));
	assert_ok(mkfifo(common, 0600));
	find_outer(w, &off, &size);
	// Each byte, and so what was inlined: that is what refers to the other file.
	for (uint64_t i = 0; i < size; i++) {
		struct symbol_query q = {
			.space = SYMBOL_MODULE, .owner = open_program(w)->id, .addr = off + i};

		assert_ok(resolver_resolve(&w->r, &q, 1));
		assert_string_equal(str(w, q.name), "outer");
		assert_int_equal(q.line, 0);
	}
}

static void dwarf__compressed(void **state)
{
	struct world *w = *state;
	uint64_t off, size;

	if (run(w->dir,
		    (const char *[]){"gcc", "-O2", "-g", "-gz=zlib", "prog.c", "-o", "prog", NULL}))
		test_skip("no gcc");
	find_outer(w, &off, &size);
	check_outer(w, off, size);
}

/* Functions stand in a .dwo that is not opened; the lines are in the file. */
static void dwarf__split(void **state)
{
	struct world *w = *state;
	struct symbol_query q;

	if (run(w->dir, (const char *[]){
				"gcc", "-O2", "-g", "-gsplit-dwarf", "prog.c", "-o", "prog", NULL}))
		test_skip("no gcc");
	ask_first(w, &q);
	assert_in_range(q.line, 11, 15);
	assert_int_equal(q.ninlines, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(dwarf__in_the_file),
		CASE(dwarf__version_4),
		CASE(dwarf__in_a_separate_file),
		CASE(dwarf__shared_by_dwz),
		CASE(dwarf__shared_by_a_fifo),
		CASE(dwarf__compressed),
		CASE(dwarf__split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

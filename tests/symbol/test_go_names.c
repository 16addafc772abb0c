/* SPDX-License-Identifier: Apache-2.0 */
/* Go tables of binaries that `go build` makes here, stripped and as PIE, against the ELF symbols of
 * the same program unstripped. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "elf/symtab.h"
#include "symbol/go_names.h"

static const char source[] = "package main\n"
			     "\n"
			     "import \"fmt\"\n"
			     "\n"
			     "type T struct{ n int }\n"
			     "\n"
			     "//go:noinline\n"
			     "func (t *T) Spin(n int) int {\n" // line 8
			     "	s := t.n\n"
			     "	for i := 0; i < n; i++ {\n"
			     "		s += i * s\n"
			     "	}\n"
			     "	return s\n"
			     "}\n" // line 14
			     "\n"
			     "func main() { t := &T{1}; fmt.Println(t.Spin(10)) }\n";

struct world {
	char dir[48];
	struct module_table modules;
};

static int run(const char *dir, const char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (chdir(dir) || dup2(null, 1) < 0 || dup2(null, 2) < 0)
			_exit(126);
		setenv("HOME", dir, 1);
		setenv("GO111MODULE", "off", 1);
		setenv("GOFLAGS", "", 1);
		execvp(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int setup(void **state)
{
	static struct world w;
	char path[128];
	FILE *f;

	snprintf(w.dir, sizeof(w.dir), "/tmp/test_go_names.XXXXXX");
	if (!mkdtemp(w.dir))
		return -1;
	snprintf(path, sizeof(path), "%s/main.go", w.dir);
	f = fopen(path, "w");
	if (!f)
		return -1;
	fputs(source, f);
	fclose(f);
	module_table_init(&w.modules, 64, 16);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	module_table_deinit(&w->modules);
	return run("/", (const char *[]){"rm", "-rf", w->dir, NULL});
}

static struct module *build(struct world *w, const char *name, const char *mode, const char *flags)
{
	struct module *m;
	char path[128];

	if (run(w->dir, (const char *[]){"go", "build", mode, flags, "-o", name, "main.go", NULL}))
		test_skip("go build %s %s does not work here", mode, flags);
	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	assert_ok(module_table_intern(&w->modules, &(struct module_key){0}, path, &m));
	assert_ok(module_open_fd(&w->modules, m, open(path, O_RDONLY | O_CLOEXEC)));
	return m;
}

struct truth {
	const struct module_symtab *symtab;
	const struct go_names *table;
	unsigned agreed, differed;
};

static int check_symbol(void *arg, const struct module_symbol *sym, uint64_t index)
{
	struct truth *t = arg;
	struct buf want = BUF_INIT(1 << 16), got = BUF_INIT(1 << 16);
	struct go_function f;

	(void)index;
	if (sym->type != STT_FUNC || !sym->size)
		return 0;
	assert_ok(module_symtab_name(t->symtab, sym->name, &want));
	// A few symbols of the runtime are marks, not functions, and ABI wrappers have a suffix.
	if (go_names_find(t->table, sym->value + sym->size / 2, &f) == 0 &&
		go_function_name(t->table, &f, &got) == 0 && f.entry == sym->value &&
		strncmp(buf_str(&want), buf_str(&got), got.len) == 0)
		t->agreed++;
	else
		t->differed++;
	buf_deinit(&want);
	buf_deinit(&got);
	return 0;
}

static void agree(const struct module *named, const struct module *stripped)
{
	struct module_symtab symtab;
	struct go_names table;
	struct truth truth = {.symtab = &symtab, .table = &table};

	assert_ok(module_symtab_open(named, SHT_SYMTAB, &symtab));
	assert_ok(go_names_open(stripped, &table));
	assert_ok(module_symtab_stream(&symtab, check_symbol, &truth));
	printf("# %u functions agree, %u differ\n", truth.agreed, truth.differed);
	assert_true(truth.agreed > 1000);
	assert_true(truth.differed * 100 < truth.agreed);
	go_names_close(&table);
}

static void go__stripped_has_the_names_of_unstripped(void **state)
{
	struct world *w = *state;
	struct module *stripped = build(w, "strip", "-buildmode=exe", "-ldflags=-s");
	struct module_symtab none;

	assert_int_equal(module_symtab_open(stripped, SHT_SYMTAB, &none), -ENOENT);
	agree(build(w, "plain", "-buildmode=exe", "-ldflags="), stripped);
}

static void go__pie(void **state)
{
	struct world *w = *state;

	agree(build(w, "pie", "-buildmode=pie", "-ldflags="),
		build(w, "pie-strip", "-buildmode=pie", "-ldflags=-s"));
}

static void go__lines(void **state)
{
	struct world *w = *state;
	struct module *m = build(w, "plain2", "-buildmode=exe", "-ldflags=");
	struct module_symtab symtab;
	struct module_symbol sym;
	struct go_names table;
	struct go_function f;
	struct buf text = BUF_INIT(4096);
	uint32_t line, last = 0;

	assert_ok(module_symtab_open(m, SHT_SYMTAB, &symtab));
	assert_ok(module_symtab_find(&symtab, "main.(*T).Spin", &sym));
	assert_ok(go_names_open(m, &table));
	assert_ok(go_names_find(&table, sym.value, &f));
	assert_ok(go_function_name(&table, &f, &text));
	assert_string_equal(buf_str(&text), "main.(*T).Spin");
	for (uint64_t pc = f.entry; pc < sym.value + sym.size; pc++) {
		assert_ok(go_function_line(&table, &f, pc, &text, &line));
		assert_non_null(strstr(buf_str(&text), "/main.go"));
		assert_in_range(line, 8, 14);
		last = line > last ? line : last;
	}
	assert_int_equal(last, 13);
	assert_int_equal(go_names_find(&table, 1, &f), -ENOENT);
	assert_int_equal(go_names_find(&table, UINT64_MAX, &f), -ENOENT);
	go_names_close(&table);
	buf_deinit(&text);
}

static void go__c_program_has_none(void **state)
{
	struct world *w = *state;
	struct go_names table;
	struct module *m;

	assert_ok(module_table_intern(&w->modules, &(struct module_key){0}, "/bin/sleep", &m));
	assert_ok(module_open_fd(&w->modules, m, open("/bin/sleep", O_RDONLY | O_CLOEXEC)));
	assert_int_equal(go_names_open(m, &table), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(go__stripped_has_the_names_of_unstripped),
		cmocka_unit_test(go__pie),
		cmocka_unit_test(go__lines),
		cmocka_unit_test(go__c_program_has_none),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

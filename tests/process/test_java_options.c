/* SPDX-License-Identifier: Apache-2.0 */
/* What a JVM was told, by everybody who tells it something, in its order: a fixture of /proc with argument files. */
#include "tests/scratch.h"

#include "process/java_options.h"

struct fixture {
	char proc[SCRATCH_DIR];
	struct arguments args;
	struct java_options options;
};

#define PUT(f, path, text) scratch_put_bytes((f)->proc, path, text, sizeof(text) - 1)

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scratch_begin(f->proc, "java");
	scratch_rooted(f->proc, 7);
	arguments_init(&f->args);
	java_options_init(&f->options);
	snprintf(f->args.cwd, sizeof(f->args.cwd), "/app");
	snprintf(f->args.exe, sizeof(f->args.exe), "/jdk/bin/java");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	scratch_end(f->proc);
	arguments_deinit(&f->args);
	java_options_deinit(&f->options);
	free(f);
	return 0;
}

/* All options, one after the other; those of the environment with a star. */
static void expect(const struct fixture *f, const char *text)
{
	_cleanup_buf_ struct buf out = BUF_INIT(65536);

	for (unsigned i = 0; i < f->options.n; i++)
		buf_printf(&out, "%s%s%s", i ? "|" : "", f->options.all[i].environment ? "*" : "",
			java_option_text(&f->options, i));
	assert_string_equal(buf_str(&out), text);
}

static void given(struct fixture *f, const char *line, size_t len)
{
	buf_clear(&f->args.text);
	buf_append(&f->args.text, line, len);
	arguments_split(&f->args);
	assert_ok(java_options_read(&f->options, f->proc, 7, &f->args));
}
#define GIVEN(f, line) given(f, line, sizeof(line))

static void java_options__words(void **state)
{
	struct fixture *f = *state;

	assert_ok(java_options_variable(&f->options, " -a 'b c'd\t\"e'f\" '' -g\\n \"open", true));
	expect(f, "*-a|*b cd|*e'f|*|*-g\\n|*open");
	java_options_deinit(&f->options);
	assert_ok(java_options_file(&f->options,
		"-a # not this\n\"b c\" \"d\\te\\\\\" f\\g\n'h\\\n   i' -j\\\n  k\n\"open\n-l\r\n#last"));
	expect(f, "-a|b c|d\te\\|f\\g|hi|-jk|open|-l");
}

static void java_options__every_source_in_the_jvms_order(void **state)
{
	struct fixture *f = *state;
	static const char environ[] = "HOME=/x\0JAVA_TOOL_OPTIONS=-XX:+First\0MY_JAVA_OPTIONS=-no\0"
				      "JDK_JAVA_OPTIONS=-second @more\0_JAVA_OPTIONS=-last";

	scratch_put_bytes(f->proc, "/7/environ", environ, sizeof(environ));
	PUT(f, "/fs/app/more", "-third -cp\nx.jar \"-Dfour=4 4\" @nested");
	PUT(f, "/fs/etc/args", "-six");
	GIVEN(f, "java\0-five\0@/etc/args\0@absent\0@@seven\0-jar\0app.jar\0-XX:+NotOurs\0@more");
	// @nested is no option, so it is the program; and what follows is its own.
	expect(f, "*-XX:+First|-second|-third|-Dfour=4 4|*-last");
	PUT(f, "/fs/app/more", "-third");
	GIVEN(f, "java\0-five\0@/etc/args\0@absent\0-jar\0app.jar\0-XX:+NotOurs\0@more");
	expect(f, "*-XX:+First|-second|-third|-five|-six|*-last");
	GIVEN(f, "java\0-cp\0-XX:+Operand\0--disable-@files\0@more");
	expect(f, "*-XX:+First|-second|-third|--disable-@files|*-last");
	// Not the launcher: it looks at its own arguments in its own way, and the JVM at two variables.
	snprintf(f->args.exe, sizeof(f->args.exe), "/opt/jsvc");
	GIVEN(f, "jsvc\0-XX:+A");
	expect(f, "*-XX:+First|-XX:+A|*-last");
}

static void java_options__what_is_no_file_is_left_out(void **state)
{
	struct fixture *f = *state;
	char path[128];

	PUT(f, "/fs/app/x", "");
	snprintf(path, sizeof(path), "%s/fs/app/pipe", f->proc);
	assert_ok(mkfifo(path, 0600));
	snprintf(path, sizeof(path), "%s/fs/app/out", f->proc);
	assert_ok(symlink("/etc/hostname", path));
	GIVEN(f, "java\0-a\0@pipe\0@out\0@\0@..\0-b");
	expect(f, "-a|-b");
}

static void java_options__caps(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *line = malloc(2u * JAVA_OPTIONS_BYTES_MAX);

	assert_non_null(line);
	for (unsigned i = 0; i < JAVA_OPTIONS_MAX + 5u; i++)
		memcpy(line + 3u * i, "-a ", 4);
	assert_ok(java_options_variable(&f->options, line, true));
	assert_int_equal(f->options.n, JAVA_OPTIONS_MAX);
	java_options_deinit(&f->options);
	memset(line, 'x', JAVA_OPTIONS_BYTES_MAX + 5u);
	memcpy(line + JAVA_OPTIONS_BYTES_MAX + 5u, " -b", 4);
	assert_ok(java_options_variable(&f->options, line, true));
	assert_int_equal(f->options.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(java_options__words, setup, teardown),
		cmocka_unit_test_setup_teardown(
			java_options__every_source_in_the_jvms_order, setup, teardown),
		cmocka_unit_test_setup_teardown(
			java_options__what_is_no_file_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(java_options__caps, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

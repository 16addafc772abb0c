/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax of config files, line by line. */
#include "tests/harness.h"

#include "config/table.h"

struct parsed {
	struct options o;
	struct buf why;
	int r;
};

static void parse_bytes(struct parsed *p, const char *text, size_t len)
{
	p->why = BUF_INIT(1 << 20);
	assert_ok(option_defaults(&p->o, &p->why));
	p->r = option_file_parse(&p->o, text, len, OPTION_FROM_FILE, &p->why);
}

static void parse(struct parsed *p, const char *text)
{
	parse_bytes(p, text, strlen(text));
	if (p->r)
		fail_msg("'%s': %s", text, buf_str(&p->why));
}

static void parsed_end(struct parsed *p)
{
	options_deinit(&p->o);
	buf_deinit(&p->why);
}

static void assert_file_refused(const char *text, const char *part)
{
	struct parsed p;

	parse_bytes(&p, text, strlen(text));
	if (p.r != 1 || !strstr(buf_str(&p.why), part))
		fail_msg("'%s': %d %s", text, p.r, buf_str(&p.why));
	parsed_end(&p);
}

static void assert_log_file(const char *line, const char *want)
{
	struct parsed p;

	parse(&p, line);
	if (!p.o.log_file || strcmp(p.o.log_file, want) != 0)
		fail_msg("'%s': '%s', not '%s'", line, p.o.log_file ? p.o.log_file : "", want);
	parsed_end(&p);
}

static void file__forms_of_a_line(void **state)
{
	static const char *const lines[] = {"log-file=/a/b", "log-file = /a/b", "log-file:/a/b",
		"log-file: /a/b", "log-file /a/b", "--log-file /a/b", "--log-file=/a/b",
		"  log-file =   /a/b  ", "log-file = \"/a/b\"", "log-file = '/a/b'",
		"log-file '/a/b'", "log-file = /a/b # why", "log-file = /a/b ; why",
		"log-file = '/a/b' # it's", "log-file\t/a/b\r", "log-file = x\nlog-file = /a/b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_log_file(lines[i], "/a/b");
	assert_log_file("log-file = /a/b#c", "/a/b#c");
	assert_log_file("log-file = /a b/c", "/a b/c");
	assert_log_file("log-file = a=b:c", "a=b:c");
	assert_log_file("log-file = '/a # b'", "/a # b");
	assert_log_file("log-file = 'it's'", "it's");
	assert_log_file("log-file = \"open", "\"open");
}

static void file__ignored_lines(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "# comment\n; comment\n[section]\n---\n--- yaml\n\n   \n\t# indented\n"
		  "verbose\nprofiling-frequency = 99");
	assert_true(p.o.verbose);
	assert_int_equal(p.o.frequency, 99);
	parsed_end(&p);
	parse(&p, "");
	parsed_end(&p);
}

static void file__flags_and_lists(void **state)
{
	struct parsed p;

	(void)state;
	parse(&p, "verbose\nrootless = yes\ninsert-dso-name: ON\nno-flamegraph true\n"
		  "disable-pidns-check = 1\nrotating-output = no\ncontinuous = 0 # not here\n"
		  "pids = [1, '2', \"3\", ]\nperf-events = [cycles, instructions]\n");
	assert_true(p.o.verbose);
	assert_true(p.o.rootless);
	assert_true(p.o.insert_dso_name);
	assert_false(p.o.flamegraph);
	assert_false(p.o.pid_ns_check);
	assert_false(p.o.rotating_output);
	assert_false(p.o.continuous);
	assert_int_equal(p.o.pids.len, 3);
	assert_int_equal(p.o.pids.data[2], 3);
	assert_int_equal(p.o.perf_events.len, 2);
	parsed_end(&p);
	parse(&p, "pids = 4,5\nverbose # loud");
	assert_int_equal(p.o.pids.len, 2);
	assert_true(p.o.verbose);
	parsed_end(&p);
	// The last line of a key counts, also for lists.
	parse(&p, "pids = 4,5\npids = 6\nverbose\nverbose = no");
	assert_int_equal(p.o.pids.len, 1);
	assert_false(p.o.verbose);
	parsed_end(&p);
}

static void file__refused_lines(void **state)
{
	char nul[] = "log-file = a\0b";
	struct parsed p;

	(void)state;
	assert_file_refused("\n\nno-such-key = 1", "line 3: unrecognized arguments: --no-such-key");
	assert_file_refused("log-fle = x", "did you mean log-file?");
	assert_file_refused("= x", "line 1: a line is no");
	assert_file_refused(": x", "a line is no");
	assert_file_refused("log-file# x", "a line is no");
	assert_file_refused("verbose = loud", "Unexpected value for verbose: 'loud'");
	assert_file_refused("verbose =", "Unexpected value for verbose: ''");
	assert_file_refused("profiling-frequency = many", "expected a whole number");
	assert_file_refused("profiling-frequency = [1, 2]", "takes one value, not a list");
	assert_file_refused("profiling-frequency", "invalid value 'true'");
	// Options of a verb, and those that only a person gives.
	assert_file_refused("json = true", "unrecognized arguments: --json");
	assert_file_refused("help = true", "unrecognized arguments: --help");
	assert_file_refused("f = 3", "unrecognized arguments: --f");
	assert_file_refused("tokne = hush", "did you mean token?");
	parse_bytes(&p, nul, sizeof(nul) - 1);
	assert_int_equal(p.r, 1);
	parsed_end(&p);
}

static void file__long_values_are_refused_not_cut(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct parsed p;

	(void)state;
	buf_append_str(&text, "log-file = ");
	for (int i = 0; i < 70000; i++)
		buf_append_char(&text, 'x');
	parse_bytes(&p, text.data, text.len);
	assert_int_equal(p.r, 1);
	assert_non_null(strstr(buf_str(&p.why), "--log-file: the value is too long"));
	parsed_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file__forms_of_a_line),
		cmocka_unit_test(file__ignored_lines),
		cmocka_unit_test(file__flags_and_lists),
		cmocka_unit_test(file__refused_lines),
		cmocka_unit_test(file__long_values_are_refused_not_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

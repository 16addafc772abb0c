/* SPDX-License-Identifier: Apache-2.0 */
/* Options are parsed whole, or not at all with -ENOMEM, whichever allocation fails. */
#include "tests/harness.h"

#include <errno.h>

#include "config/options.h"
#include "config/table.h"
#include "tests/torture.h"

static bool parse_once(int *ret_worked)
{
	char program[] = "gprofiler", out[] = "--output-dir=x", pids[] = "-p1,2,3", v[] = "-v";
	char token[] = "--token=secret", events[] = "--perf-events=cycles,nonsense";
	char env_file[] = "GPROFILER_LOG_FILE=/a/b", mode[] = "GPROFILER_PYTHON_MODE=auto";
	char *argv[] = {program, out, pids, v, token, events, NULL};
	char *const env[] = {env_file, mode, NULL};
	const struct options_input in = {.env = env, .system_file = "/proc/self/no-such-file"};
	struct buf text = BUF_INIT(1 << 16);
	struct options o;
	int r = options_parse(&o, 6, argv, &in, &text);
	bool fine = r == -ENOMEM;

	if (r == OPTIONS_RUN) {
		fine = o.output_dir && strcmp(o.output_dir, "x") == 0 && o.pids.len == 3 &&
		       o.verbose && o.token && o.perf_events.len == 1 && o.log_file &&
		       strcmp(o.log_file, "/a/b") == 0;
		++*ret_worked;
	}
	options_deinit(&o);
	buf_deinit(&text);
	return fine;
}

static void options__every_allocation_may_fail(void **state)
{
	int worked = 0;
	unsigned long failed = torture_each(parse_once(&worked));

	(void)state;
	assert_true(failed > 10);
	assert_true(worked >= 1);
}

static bool file_once(int *ret_worked)
{
	static const char text[] = "log-file = '/a b' # x\npids = [1, 2, 3]\nverbose\n"
				   "perf-events = [cycles, odd, instructions]\ntoken hush\n";
	struct buf why = BUF_INIT(1 << 16);
	struct options o;
	int r = option_defaults(&o, &why);
	bool fine;

	if (!r)
		r = option_file_parse(&o, text, sizeof(text) - 1, OPTION_FROM_FILE, &why);
	fine = r == -ENOMEM;
	if (!r) {
		fine = strcmp(o.log_file, "/a b") == 0 && o.pids.len == 3 && o.perf_events.len == 2;
		++*ret_worked;
	}
	options_deinit(&o);
	buf_deinit(&why);
	return fine;
}

static void file__every_allocation_may_fail(void **state)
{
	int worked = 0;
	unsigned long failed = torture_each(file_once(&worked));

	(void)state;
	assert_true(failed > 10);
	assert_true(worked >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options__every_allocation_may_fail),
		cmocka_unit_test(file__every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

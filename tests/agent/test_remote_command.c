/* SPDX-License-Identifier: Apache-2.0 */
/* Each key of combined_config, and each refusal (gprofiler-agent.md 4.5, gprofiler-studio.md A.1). */
#include "tests/agent/commands.h"

#include <errno.h>

#define HOST "node-1"

/* Options of an agent that waits for commands, with more words of a command line. */
static void base_options(struct options *ret, const char *more)
{
	static char line[512];
	char *argv[32], *rest;
	const struct options_input none = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	int argc = 0;

	snprintf(line, sizeof(line),
		"gprofiler -u --token t --service-name s --enable-heartbeat-server %s", more);
	for (char *word = strtok_r(line, " ", &rest); word && argc < 31;
		word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	argv[argc] = NULL;
	if (options_parse(ret, argc, argv, &none, &text) != OPTIONS_RUN)
		fail_msg("%s: %s", more, buf_str(&text));
}

/* A start whose combined_config has these members: what its profile's options are. */
static int plan(const char *line, const char *config, struct options *ret, struct buf *why)
{
	_cleanup_options_ struct options base = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct remote_command c;
	int r;

	base_options(&base, line);
	buf_printf(&text, "{\"command_type\": \"start\", \"combined_config\": {%s}}", config);
	c = command_of(1, buf_str(&text));
	r = remote_command_options(&c, &base, HOST, ret, why);
	remote_command_deinit(&c);
	return r;
}

/* The text of an option, as the command line would say it. */
static void assert_gives_on(
	const char *line, const char *config, enum option_id id, const char *expect)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX), text = BUF_INIT(4096);
	_cleanup_options_ struct options o = {0};

	if (plan(line, config, &o, &why))
		fail_msg("%s: %s", config, buf_str(&why));
	options_value_text(&o, id, &text);
	if (strcmp(buf_str(&text), expect) != 0)
		fail_msg("%s: '%s', not '%s'", config, buf_str(&text), expect);
}

static void assert_gives(const char *config, enum option_id id, const char *expect)
{
	assert_gives_on("", config, id, expect);
}

static void assert_refused(const char *config, const char *part)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	struct options o = {0};
	int r = plan("", config, &o, &why);

	if (r != 1 || !strstr(buf_str(&why), part))
		fail_msg("%s: %d, %s", config, r, buf_str(&why));
}

static void remote__kinds(void **state)
{
	static const struct {
		const char *text;
		enum remote_kind kind;
	} cases[] = {
		{"{}", REMOTE_ONCE},
		{"{\"command_type\": null, \"combined_config\": null}", REMOTE_ONCE},
		{ONCE_TEXT, REMOTE_ONCE},
		{"{\"combined_config\": {\"continuous\": false}}", REMOTE_ONCE},
		{"{\"combined_config\": {\"continuous\": null}}", REMOTE_ONCE},
		{CONTINUOUS_TEXT, REMOTE_CONTINUOUS},
		{STOP_TEXT, REMOTE_STOP},
		{"{\"command_type\": \"stop\", \"combined_config\": {\"continuous\": true}}",
			REMOTE_STOP},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct remote_command c = command_of(1, cases[i].text);

		assert_int_equal(c.kind, cases[i].kind);
		remote_command_deinit(&c);
	}
}

/* n lists in one another, as a value of combined_config. */
static void nested(struct buf *text, unsigned n)
{
	buf_append_str(text, "{\"combined_config\": {\"x\": ");
	for (unsigned i = 0; i < n; i++)
		buf_append_char(text, '[');
	for (unsigned i = 0; i < n; i++)
		buf_append_char(text, ']');
	buf_append_str(text, "}}");
}

static void remote__what_is_no_command(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"[]", "an object"},
		{"{\"combined_config\": []}", "combined_config"},
		{"{\"combined_config\": \"x\"}", "combined_config"},
		{"{\"command_type\": \"dance\"}", "Unknown command type: dance"},
		{"{\"command_type\": 7}", "Unknown command type"},
		{"{\"combined_config\": {\"continuous\": \"yes\"}}", "continuous"},
	};
	_cleanup_buf_ struct buf deep = BUF_INIT(4096), large = BUF_INIT(1 << 20);

	(void)state;
	nested(&deep, 65);
	buf_append_str(&large, "{\"combined_config\": {\"x\": \"");
	while (large.len < REMOTE_BODY_MAX)
		buf_append_char(&large, 'x');
	buf_append_str(&large, "\"}}");
	for (size_t i = 0; i < ARRAY_SIZE(cases) + 2; i++) {
		_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
		const char *text = i < ARRAY_SIZE(cases)    ? cases[i].text
				   : i == ARRAY_SIZE(cases) ? buf_str(&deep)
							    : buf_str(&large);
		const char *expect = i < ARRAY_SIZE(cases) ? cases[i].why : "less than 64 KiB";
		_cleanup_json_ json_t *body = json_loads(text, 0, NULL);
		struct remote_command c;

		assert_non_null(body);
		assert_int_equal(remote_command_read(&c, "the-id", body, &why), 1);
		assert_string_equal(c.id, "the-id");
		if (!strstr(buf_str(&why), expect))
			fail_msg("%s: %s", expect, buf_str(&why));
		remote_command_deinit(&c);
	}
}

static void remote__ids(void **state)
{
	char wide[REMOTE_ID_MAX + 2];

	(void)state;
	memset(wide, 'x', sizeof(wide));
	wide[REMOTE_ID_MAX + 1] = 0;
	assert_false(remote_id_good(wide));
	wide[REMOTE_ID_MAX] = 0;
	assert_true(remote_id_good(wide));
	assert_true(remote_id_good("0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11"));
	assert_true(remote_id_is_uuid("0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11"));
	assert_true(remote_id_is_uuid("0F9C1C3E-7d0b-4f36-9d34-5d5f0f3b2a11"));
	assert_false(remote_id_is_uuid("") || remote_id_is_uuid("cmd-1") ||
		     remote_id_is_uuid("0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a1") ||
		     remote_id_is_uuid("0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a111") ||
		     remote_id_is_uuid("0f9c1c3e07d0b04f3609d3405d5f0f3b2a11") ||
		     remote_id_is_uuid("0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a1g"));
	assert_false(remote_id_good("") || remote_id_good("a b") || remote_id_good("a\n") ||
		     remote_id_good("a\"") || remote_id_good("a\\") || remote_id_good("\xc3\xa9"));
}

static void remote__duration_frequency_mode(void **state)
{
	(void)state;
	assert_gives("", OPTION_duration, "60");
	assert_gives_on("-d 7 -f 99", "", OPTION_duration, "7");
	assert_gives_on("-d 7 -f 99", "", OPTION_frequency, "99");
	assert_gives_on("-d 7", "\"duration\": 30, \"frequency\": null", OPTION_duration, "30");
	assert_gives("\"frequency\": 1000", OPTION_frequency, "1000");
	assert_gives("\"profiling_mode\": \"cpu\"", OPTION_mode, "cpu");
	assert_gives("\"unknown_key\": [1, {}]", OPTION_mode, "cpu");
	assert_refused("\"frequency\": 0", "frequency");
	assert_refused("\"frequency\": 1001", "frequency");
	assert_refused("\"frequency\": 11.5", "frequency");
	assert_refused("\"frequency\": \"11\"", "frequency");
	assert_refused("\"duration\": 0", "duration");
	assert_refused("\"duration\": -5", "duration");
	assert_refused("\"duration\": 9223372036854775807", "duration");
	assert_refused("\"duration\": \"long\"", "duration");
	assert_refused("\"profiling_mode\": 1", "profiling_mode");
	assert_refused("\"profiling_mode\": \"dance\"", "dance");
	assert_refused("\"profiling_mode\": \"allocation\"", "allocation");
	assert_refused("\"profiling_mode\": \"none\"", "disabled");
}

static void remote__continuous_and_its_page(void **state)
{
	(void)state;
	assert_gives("\"continuous\": true", OPTION_continuous, "true");
	assert_gives_on("-c", "\"continuous\": false", OPTION_continuous, "false");
	assert_gives("", OPTION_flamegraph, "true");
	// A word on the command line stands.
	assert_gives_on("--no-flamegraph", "", OPTION_flamegraph, "false");
}

static void remote__processes(void **state)
{
	(void)state;
	assert_gives("\"pids\": [30, 20, 30, 4194304]", OPTION_pids, "30,20,4194304");
	assert_gives("\"pids\": []", OPTION_pids, "");
	assert_gives("\"pids\": null", OPTION_pids, "");
	assert_gives_on("-p 5", "\"pids\": []", OPTION_pids, "5");
	assert_gives_on("-p 5", "\"pids\": [6]", OPTION_pids, "6");
	assert_refused("\"pids\": 5", "pids");
	assert_refused("\"pids\": {}", "pids");
	assert_refused("\"pids\": [\"5\"]", "pids");
	assert_refused("\"pids\": [0]", "pids");
	assert_refused("\"pids\": [-1]", "pids");
	assert_refused("\"pids\": [4194305]", "pids");
	assert_refused("\"pids\": [1.0]", "pids");
	assert_refused("\"pids\": [null]", "pids");
}

static void remote__limits_hosts_and_perfspect(void **state)
{
	(void)state;
	// 10 whatever the command line says (A.1); 0 is no limit.
	assert_gives("", OPTION_max_processes_runtime, "10");
	assert_gives_on(
		"--max-processes-runtime-profiler 3", "", OPTION_max_processes_runtime, "10");
	assert_gives("\"max_processes\": 25", OPTION_max_processes_runtime, "25");
	assert_refused("\"max_processes\": -1", "max-processes");
	assert_refused("\"max_processes\": \"many\"", "max_processes");
	assert_gives("\"target_hostnames\": [\"other\", \"" HOST "\"]", OPTION_mode, "cpu");
	assert_gives("\"target_hostnames\": null", OPTION_mode, "cpu");
	assert_refused("\"target_hostnames\": [\"other\", 7]", "target_hostnames");
	assert_refused("\"target_hostnames\": []", "target_hostnames");
	assert_refused("\"target_hostnames\": \"" HOST "\"", "target_hostnames");
	assert_gives("\"enable_perfspect\": true", OPTION_mode, "cpu");
	assert_refused("\"enable_perfspect\": 1", "enable_perfspect");
}

static void remote__no_limit_of_processes(void **state)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	_cleanup_options_ struct options o = {0};

	(void)state;
	assert_ok(plan("", "\"max_processes\": 0", &o, &why));
	assert_int_equal(o.max_processes_runtime, 0);
}

#define PERF(value) "\"profiler_configs\": {\"perf\": " value "}"

static void remote__perf(void **state)
{
	static const char limits[] =
		"--heartbeat-perf-restricted-max-processes 61 --heartbeat-perf-restricted-max-containers 3";

	(void)state;
	assert_gives(PERF("\"enabled_restricted\""), OPTION_skip_system_above, "600");
	assert_gives(PERF("{}"), OPTION_perf_max_containers, "2");
	assert_gives(PERF("{\"mode\": \"enabled_aggressive\"}"), OPTION_skip_system_above, "1500");
	assert_gives(PERF("\"enabled_aggressive\""), OPTION_perf_max_containers, "50");
	assert_gives_on(limits, PERF("null"), OPTION_skip_system_above, "61");
	assert_gives_on(limits, PERF("{\"mode\": null}"), OPTION_perf_max_containers, "3");
	assert_gives(PERF("\"disabled\""), OPTION_perf_mode, "disabled");
	assert_gives(PERF("{\"mode\": \"disabled\", \"events\": [\"x\"]}"), OPTION_perf_mode,
		"disabled");
	// What the command line has off, no mode brings back: absent is as it was, too.
	assert_gives_on("--skip-system-profilers-above 5", "\"profiler_configs\": {}",
		OPTION_skip_system_above, "5");
	assert_gives_on("--skip-system-profilers-above 5", "", OPTION_skip_system_above, "5");
	assert_refused(PERF("\"sometimes\""), "sometimes");
	assert_refused(PERF("7"), "perf");
	assert_refused(PERF("{\"mode\": 7}"), "perf");
}

static void remote__events(void **state)
{
	(void)state;
	assert_gives(PERF("{}"), OPTION_perf_events, "cycles");
	assert_gives(PERF("{\"events\": []}"), OPTION_perf_events, "cycles");
	assert_gives(PERF("{\"events\": [\"cpu-cycles\"]}"), OPTION_perf_events, "cycles");
	assert_gives(PERF("{\"events\": [\"cpu/instructions/\", \"cpu/cpu-cycles/\"]}"),
		OPTION_perf_events, "instructions,cycles");
	assert_gives(PERF("{\"events\": [\"cache-misses\", \"branch-misses\"]}"),
		OPTION_perf_events, "cache-misses,branch-misses");
	assert_refused(PERF("{\"events\": [\"nonsense\"]}"), "Unknown perf event: nonsense");
	assert_refused(PERF("{\"events\": [\"cpu//\"]}"), "cpu//");
	assert_refused(PERF("{\"events\": [\"\"]}"), "Unknown perf event");
	assert_refused(PERF("{\"events\": [\"cycles,instructions\"]}"), "Unknown perf event");
	assert_refused(
		PERF("{\"events\": [\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxx\"]}"),
		"Unknown perf event");
	assert_refused(PERF("{\"events\": [1]}"), "perf.events");
	assert_refused(PERF("{\"events\": \"cycles\"}"), "perf.events");
	assert_refused(PERF("{\"events\": [\"cycles\",\"cycles\",\"cycles\",\"cycles\",\"cycles\","
			    "\"cycles\",\"cycles\",\"cycles\",\"cycles\"]}"),
		"perf.events");
}

#define CONFIGS(members) "\"profiler_configs\": {" members "}"

static void remote__python(void **state)
{
	static const struct {
		const char *configs, *mode;
	} cases[] = {
		{CONFIGS("\"pyperf\": \"enabled\""), "auto"},
		{CONFIGS("\"pyperf\": \"enabled\", \"pyspy\": \"enabled_fallback\""), "auto"},
		{CONFIGS("\"pyperf\": \"enabled\", \"pyspy\": \"disabled\""), "pyperf"},
		{CONFIGS("\"pyperf\": \"enabled\", \"pyspy\": \"enabled\""), "pyspy"},
		{CONFIGS("\"pyperf\": \"disabled\", \"pyspy\": \"enabled_fallback\""), "auto"},
		{CONFIGS("\"pyperf\": \"disabled\", \"pyspy\": \"enabled\""), "pyspy"},
		{CONFIGS("\"pyperf\": \"disabled\", \"pyspy\": \"disabled\""), "disabled"},
		// The reference turns it on again here.
		{CONFIGS("\"pyperf\": \"disabled\""), "disabled"},
		{CONFIGS("\"pyperf\": null, \"rbspy\": \"disabled\""), "auto"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_gives(cases[i].configs, OPTION_python_mode, cases[i].mode);
	assert_gives(CONFIGS("\"pyperf\": \"enabled\""), OPTION_pyperf_skip_above, "1500");
	assert_gives_on("--python-mode pyspy", "", OPTION_python_mode, "pyspy");
	assert_refused(CONFIGS("\"pyperf\": {}"), "pyperf");
	assert_refused(CONFIGS("\"pyspy\": true"), "pyspy");
	assert_refused(CONFIGS("\"perf\": \"disabled\", \"pyperf\": \"disabled\""),
		"All profilers are disabled");
}

static void remote__java(void **state)
{
	static const char *const good[] = {"true", "false, \"time\": \"dance\"",
		"true, \"time\": \"cpu\"", "true, \"time\": \"itimer\"", "true, \"time\": \"wall\"",
		"true, \"time\": \"auto\"", "true, \"time\": null"};
	char text[160];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), CONFIGS("\"async_profiler\": {\"enabled\": %s}"),
			good[i]);
		assert_gives(text, OPTION_java_mode, "disabled");
	}
	assert_gives(CONFIGS("\"async_profiler\": \"disabled\""), OPTION_java_mode, "disabled");
	assert_gives(CONFIGS("\"async_profiler\": \"enabled_wall\""), OPTION_mode, "cpu");
	assert_refused(CONFIGS("\"async_profiler\": {\"time\": \"sometimes\"}"), "sometimes");
	assert_refused(CONFIGS("\"async_profiler\": {\"time\": 7}"), "async_profiler");
	assert_refused(CONFIGS("\"async_profiler\": 7"), "async_profiler");
	assert_refused(
		CONFIGS("\"async_profiler\": {\"enabled\": \"false\"}"), "async_profiler.enabled");
	assert_refused(CONFIGS("\"async_profiler\": {\"time\": \"alloc\"}"), "allocation");
	assert_refused(CONFIGS("\"async_profiler\": \"enabled_alloc\""), "allocation");
}

static void remote__other_runtimes(void **state)
{
	static const struct {
		const char *key;
		enum option_id id;
	} keys[] = {
		{"rbspy", OPTION_ruby_mode},
		{"phpspy", OPTION_php_mode},
		{"dotnet_trace", OPTION_dotnet_mode},
		{"nodejs_perf", OPTION_nodejs_mode},
	};
	char text[96];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		snprintf(text, sizeof(text), CONFIGS("\"%s\": \"disabled\""), keys[i].key);
		assert_gives(text, keys[i].id, "disabled");
		// Only "disabled" acts: nothing is turned on that the command line has off.
		snprintf(text, sizeof(text), CONFIGS("\"%s\": \"enabled\""), keys[i].key);
		assert_gives(text, keys[i].id, "disabled");
		snprintf(text, sizeof(text), CONFIGS("\"%s\": 1"), keys[i].key);
		assert_refused(text, keys[i].key);
	}
	assert_refused("\"profiler_configs\": []", "profiler_configs");
	assert_refused("\"profiler_configs\": \"all\"", "profiler_configs");
}

static void remote__stops(void **state)
{
	static const struct {
		const char *config;
		bool partial;
	} cases[] = {
		{"{}", false},
		{"{\"stop_level\": \"host\"}", false},
		{"{\"stop_level\": \"process\"}", false},
		{"{\"stop_level\": \"process\", \"pids\": []}", false},
		{"{\"stop_level\": \"process\", \"pids\": [7]}", true},
		{"{\"pids\": [7]}", true},
		{"{\"stop_level\": \"host\", \"pids\": [7]}", false},
		{"{\"stop_level\": 7, \"pids\": [7]}", true},
		{"{\"pids\": \"7\"}", false},
		{"null", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct remote_command c;
		char text[128];

		snprintf(text, sizeof(text),
			"{\"command_type\": \"stop\", \"combined_config\": %s}", cases[i].config);
		c = command_of(1, text);
		if (remote_command_is_partial(&c) != cases[i].partial)
			fail_msg("%s", text);
		remote_command_deinit(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remote__kinds),
		cmocka_unit_test(remote__what_is_no_command),
		cmocka_unit_test(remote__ids),
		cmocka_unit_test(remote__duration_frequency_mode),
		cmocka_unit_test(remote__continuous_and_its_page),
		cmocka_unit_test(remote__processes),
		cmocka_unit_test(remote__limits_hosts_and_perfspect),
		cmocka_unit_test(remote__no_limit_of_processes),
		cmocka_unit_test(remote__perf),
		cmocka_unit_test(remote__events),
		cmocka_unit_test(remote__python),
		cmocka_unit_test(remote__java),
		cmocka_unit_test(remote__other_runtimes),
		cmocka_unit_test(remote__stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

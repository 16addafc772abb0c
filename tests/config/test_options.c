/* SPDX-License-Identifier: Apache-2.0 */
/* Options: rows, the command line's mechanics, precedence, what is refused, what is printed. */
#include "tests/harness.h"

#include <unistd.h>

#include "base/fs.h"
#include "config/options.h"
#include "config/table.h"

#define WORDS_MAX 20

/* One parse: a command line split at blanks, an environment, files. */
struct run {
	struct options o;
	struct buf text;
	char line[1024];
	char *argv[WORDS_MAX + 2];
	int result;
};

static void run_start_with(struct run *r, const char *line, char *const *env, const char *file)
{
	const struct options_input in = {.env = env, .system_file = file};
	int argc = 0;

	*r = (struct run){.text = BUF_INIT(1 << 20)};
	snprintf(r->line, sizeof(r->line), "gprofiler %s", line);
	for (char *p = r->line; *p; p += strspn(p, " ")) {
		assert_true(argc < WORDS_MAX);
		r->argv[argc++] = p;
		p += strcspn(p, " ");
		if (*p)
			*p++ = 0;
	}
	r->result = options_parse(&r->o, argc, r->argv, &in, &r->text);
}

static void run_start(struct run *r, const char *line)
{
	run_start_with(r, line, NULL, NULL);
}

static void run_end(struct run *r)
{
	options_deinit(&r->o);
	buf_deinit(&r->text);
}

/* The line is refused, and the message holds `part`. */
static void assert_refused(const char *line, const char *part)
{
	struct run r;

	run_start(&r, line);
	if (r.result != OPTIONS_REFUSED || !strstr(buf_str(&r.text), part))
		fail_msg("'%s': result %d, text: %s", line, r.result, buf_str(&r.text));
	assert_int_equal(strncmp(buf_str(&r.text), "usage: gprofiler", 16), 0);
	assert_non_null(strstr(buf_str(&r.text), "\ngprofiler: error: "));
	run_end(&r);
}

static void run_accepted(struct run *r, const char *line)
{
	run_start(r, line);
	if (r->result != OPTIONS_RUN)
		fail_msg("'%s': result %d, text: %s", line, r->result, buf_str(&r->text));
}

static void assert_accepted(const char *line)
{
	struct run r;

	run_accepted(&r, line);
	run_end(&r);
}

static void rows__have_help_and_sane_bounds(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		assert_non_null(row->name);
		assert_true(strlen(row->name) >= 2 && strlen(row->name) < 60);
		assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
			strlen(row->name));
		assert_true(strlen(row->help) >= 8 && strlen(row->help) < 160);
		// Help is half a sentence: it goes on in lower case, and ends without a stop.
		assert_int_not_equal(row->help[strlen(row->help) - 1], '.');
		assert_true(row->min <= row->max);
		assert_true(row->target < OPTION_COUNT);
		assert_int_equal(option_rows[row->target].target, row->target);
		// What is not in this version cannot at the same time have no effect.
		assert_int_not_equal(row->flags & (OPTION_NOT_YET | OPTION_ACCEPTED),
			OPTION_NOT_YET | OPTION_ACCEPTED);
		for (unsigned j = 0; j < i; j++) {
			bool same_verb = option_groups[row->group].verb ==
					 option_groups[option_rows[j].group].verb;

			if (same_verb)
				assert_string_not_equal(row->name, option_rows[j].name);
			if (same_verb && row->letter)
				assert_int_not_equal(row->letter, option_rows[j].letter);
		}
	}
}

/* A numeric default lies within its bounds, and an enum's is one of its values: the defaults go
 * through the parser of user input. */
static void rows__defaults_parse(void **state)
{
	_cleanup_buf_ struct buf why = BUF_INIT(4096);
	struct options o;

	(void)state;
	assert_ok(option_defaults(&o, &why));
	assert_int_equal(o.frequency, 11);
	assert_int_equal(o.duration, 60);
	assert_int_equal(o.perf_mode, OPTION_PERF_SMART);
	assert_int_equal(o.perf_dwarf_stack_size, 8192);
	assert_string_equal(o.pid_file, "/var/run/gprofiler.pid");
	assert_string_equal(o.log_file, "/var/log/gprofiler/gprofiler.log");
	assert_int_equal(o.log_rotate_max_size, 5242880);
	assert_true(o.flamegraph);
	assert_true(o.pid_ns_check);
	assert_false(o.continuous);
	assert_int_equal(o.perf_events.len, 1);
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		assert_false(options_given(&o, i));
		assert_true(option_is_default(&o, i));
	}
	options_deinit(&o);
}

/* The values of an enum row are those of the C enum. */
static void rows__enum_values_match(void **state)
{
	static const struct {
		enum option_id id;
		int value;
		const char *text;
	} cases[] = {
		{OPTION_mode, OPTION_MODE_NONE, "none"},
		{OPTION_source, OPTION_SOURCE_RING, "ring"},
		{OPTION_perf_mode, OPTION_PERF_FP, "fp"},
		{OPTION_perf_mode, OPTION_PERF_DWARF, "dwarf"},
		{OPTION_perf_mode, OPTION_PERF_SMART, "smart"},
		{OPTION_perf_mode, OPTION_PERF_DISABLED, "disabled"},
		{OPTION_perf_mode, OPTION_PERF_DISABLED, "none"},
		{OPTION_python_mode, OPTION_PYTHON_AUTO, "auto"},
		{OPTION_python_mode, OPTION_PYTHON_PYPERF, "pyperf"},
		{OPTION_python_mode, OPTION_PYTHON_PYSPY, "pyspy"},
		{OPTION_python_mode, OPTION_PYTHON_PYSPY, "py-spy"},
		{OPTION_python_mode, OPTION_PYTHON_DISABLED, "none"},
		{OPTION_convert_from, OPTION_FROM_PERF_SCRIPT, "perf-script"},
		{OPTION_convert_from, OPTION_FROM_PPROF, "pprof"},
		{OPTION_convert_to, OPTION_FORMAT_SPEEDSCOPE, "speedscope"},
		{OPTION_convert_dialect, OPTION_DIALECT_FLAMEGRAPH, "flamegraph"},
	};
	_cleanup_buf_ struct buf why = BUF_INIT(4096);
	struct options o;

	(void)state;
	assert_ok(option_defaults(&o, &why));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const int *field = (void *)((char *)&o + option_rows[cases[i].id].offset);

		assert_ok(option_assign(
			&o, cases[i].id, cases[i].text, OPTION_FROM_COMMAND_LINE, &why));
		assert_int_equal(*field, cases[i].value);
	}
	options_deinit(&o);
}

static void cmdline__ways_to_give_a_value(void **state)
{
	static const char *const lines[] = {"-o out -d 5 -f 99", "-oout -d5 -f99",
		"-o=out -d=5 -f=99", "--output-dir out --profiling-d 5 --profiling-frequency 99",
		"--output-dir=out --profiling-duration=5 --profiling-frequency=99",
		"--out out --profiling-d=5 --profiling-fr 99", "-vd5 -vf99 -voout",
		"-f 7 -o out -d 5 -f 99"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct run r;

		run_accepted(&r, lines[i]);
		assert_string_equal(r.o.output_dir, "out");
		assert_int_equal(r.o.duration, 5);
		assert_int_equal(r.o.frequency, 99);
		run_end(&r);
	}
}

static void cmdline__prefixes_prefer_the_reference(void **state)
{
	struct run r;

	(void)state;
	// --inline and --include-idle are ours: "--in" still means --insert-dso-name, "--inc" ours.
	run_accepted(&r, "-o x --in");
	assert_true(r.o.insert_dso_name);
	run_end(&r);
	run_accepted(&r, "-o x --inc --inl");
	assert_true(r.o.include_idle);
	assert_true(r.o.inline_frames);
	run_end(&r);
	// --format is ours; the reference's --flamegraph is whole.
	run_accepted(&r, "-o x --fl --no-fl");
	assert_false(r.o.flamegraph);
	run_end(&r);
	run_accepted(&r, "-o x --no-k");
	assert_false(r.o.kernel_stacks);
	run_end(&r);
	assert_refused("-o x --perf-event-period 3", "--perf-event-period is not in this version");
	// Upstream has an option of this name; to the reference it is an abbreviation.
	run_accepted(&r, "-o x --perf-event instructions");
	assert_string_equal(r.o.perf_events.data[0], "instructions");
	run_end(&r);
	assert_refused("-o x --prof",
		"ambiguous option: --prof could match --profiling-frequency, "
		"--profiling-duration, --profile-spawned-processes, --profile-api-version");
	assert_refused("--ver", "--version, --verbose");
	assert_refused("-o x --prof=3", "ambiguous option: --prof could");
}

/* Every unambiguous abbreviation of the reference's names means what it meant there, whatever names
 * we have added. */
static void cmdline__no_abbreviation_of_the_reference_is_lost(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		if (!(row->flags & OPTION_REF))
			continue;
		for (size_t n = 1; n <= strlen(row->name); n++) {
			_cleanup_buf_ struct buf why = BUF_INIT(1 << 14);
			char word[80], program[] = "gprofiler", value[] = "1";
			char *argv[] = {program, word, value, NULL};
			struct option_givens given;
			struct options o;
			unsigned matches = 0;

			for (unsigned j = 0; j < OPTION_COUNT; j++)
				matches += option_rows[j].flags & OPTION_REF &&
					   strncmp(option_rows[j].name, row->name, n) == 0;
			snprintf(word, sizeof(word), "--%.*s", (int)n, row->name);
			option_givens_init(&given, 16);
			assert_ok(option_defaults(&o, &why));
			if (option_cmdline_scan(&o, 3, argv, &given, &why) == 0) {
				assert_true(matches == 1 || given.data[0].id == i ||
					    strlen(option_rows[given.data[0].id].name) == n);
				if (matches == 1)
					assert_int_equal(given.data[0].id, i);
			} else if (matches == 1) {
				fail_msg("%s: %s", word, buf_str(&why));
			}
			option_givens_deinit(&given);
			options_deinit(&o);
		}
	}
}

static void cmdline__command_and_verbs(void **state)
{
	struct run r;

	(void)state;
	run_accepted(&r, "-f 99 -- prog -f 3 -- x");
	assert_int_equal(r.o.frequency, 99);
	assert_int_equal(r.o.command_argc, 5);
	assert_string_equal(r.o.command[0], "prog");
	assert_string_equal(r.o.command[4], "x");
	assert_null(r.o.command[5]);
	assert_null(r.o.verb);
	// Where the person stands, with something to read on the terminal.
	assert_string_equal(r.o.output_dir, ".");
	assert_true(r.o.top > 0);
	run_end(&r);
	run_accepted(&r, "convert --from perf-script --to html -o page.html in.txt");
	assert_string_equal(r.o.verb, "convert");
	assert_int_equal(r.o.convert_from, OPTION_FROM_PERF_SCRIPT);
	assert_int_equal(r.o.convert_to, OPTION_FORMAT_HTML);
	assert_string_equal(r.o.convert_output, "page.html");
	assert_null(r.o.output_dir);
	assert_int_equal(r.o.args.len, 2);
	assert_string_equal(r.o.args.data[1], "in.txt");
	run_end(&r);
	run_accepted(&r, "convert -v --to pprof -- -odd-name -");
	assert_true(r.o.verbose);
	assert_int_equal(r.o.args.len, 3);
	assert_string_equal(r.o.args.data[1], "-odd-name");
	run_end(&r);
	run_accepted(&r, "convert --dia flamegraph --to=pprof --ke");
	assert_int_equal(r.o.convert_to, OPTION_FORMAT_PPROF);
	assert_int_equal(r.o.convert_dialect, OPTION_DIALECT_FLAMEGRAPH);
	assert_true(r.o.convert_kernel);
	run_end(&r);
	run_accepted(&r, "check --json");
	assert_true(r.o.check_json);
	run_end(&r);
	// A verb's options are unknown before it and to other verbs.
	assert_refused("--json check", "unrecognized arguments: --json");
	assert_refused("check --dialect flamegraph", "unrecognized arguments: --dialect");
	assert_refused("--", "a command is missing");
	assert_refused("--file-path x upload-file", "unrecognized arguments: --file-path");
	assert_refused("upload-file", "required: --file-path");
	assert_refused("upload-file --file-path x", "Must provide --token");
	assert_refused("upload-file --file-path x --token t", "Must provide --service-name");
	run_accepted(&r, "--token t upload-file --file-path x --service-name s");
	assert_string_equal(r.o.upload_file_path, "x");
	assert_string_equal(r.o.token, "t");
	run_end(&r);
	assert_refused("extract-resources", "extract-resources is not in this version");
}

static void cmdline__errors_name_subject_and_remedy(void **state)
{
	(void)state;
	assert_refused("", "Must pass at least one output method (--upload-results / "
			   "--output-dir): add -o DIR");
	assert_refused("-u", "Must provide --token when --upload-results is passed");
	assert_refused("-u --token t", "Must provide --service-name when --upload-results");
	assert_refused("-o x -u --service-name s", "Must provide --token");
	assert_refused("-o x -f", "argument -f/--profiling-frequency: expected a value");
	assert_refused("-o x -f -v", "argument -f/--profiling-frequency: expected a value");
	assert_refused("-o x -f 0", "expected 1 to 1000");
	assert_refused("-o x -f 1001", "expected 1 to 1000");
	assert_refused("-o x -f -3", "invalid value '-3'");
	assert_refused("-o x -f 1e3", "expected a whole number");
	assert_refused("-o x -f 99999999999999999999", "expected 1 to 1000");
	assert_refused("-o x -d 0", "-d/--profiling-duration");
	assert_refused("-o x --pids 1,,2", "process ids separated by commas");
	assert_refused("-o x --pids 0", "process ids are 1 to");
	assert_refused("-o x --pids=", "process ids separated by commas");
	assert_refused("-o x --perf-mode quick", "choose from 'fp', 'dwarf', 'smart'");
	assert_refused("-o x --java-async-profiler-features probesp,vtabel",
		"choose from 'probesp', 'vtable', 'comptask'");
	assert_refused("-o x --format svg", "choose from 'collapsed', 'html'");
	assert_refused("-o x --perf-dwarf-stack-size 65529", "expected 0 to 65528");
	assert_refused("-o x --flamegraph=yes", "--flamegraph: takes no value");
	assert_refused("-o x --no-perf=1", "--no-perf: takes no value");
	assert_refused("-o x -v=1", "takes no value");
	assert_refused("-o x --frequency 99", "did you mean --profiling-frequency?");
	assert_refused("-o x --falmegraph", "did you mean --flamegraph?");
	assert_refused("-o x --duration 3", "did you mean --profiling-duration?");
	assert_refused("-o x -z", "unrecognized arguments: -z");
	assert_refused("-o x --max-processes-runtime-profiler 0", "invalid value '0'");
	assert_refused("-p 1 --profile-spawned-processes", "not allowed with");
	assert_refused("-p 1 -- true", "not allowed with -- COMMAND");
	assert_refused("-o x --mode none -f 9", "only allowed with --mode cpu");
	assert_refused("-o x --alloc-interval 3mb", "--alloc-interval");
	assert_refused("-o x --config absent.ini", "Unable to open config file: absent.ini");
}

static void values__lists_masks_and_sizes(void **state)
{
	uint64_t v;
	struct run r;

	(void)state;
	run_accepted(&r, "-p 3,4 --pids=5 -p4");
	assert_int_equal(r.o.pids.len, 3);
	assert_int_equal(r.o.pids.data[2], 5);
	run_end(&r);
	run_accepted(&r, "-o x --format pprof,html");
	assert_int_equal(r.o.format,
		OPTION_FORMAT_BIT(OPTION_FORMAT_PPROF) | OPTION_FORMAT_BIT(OPTION_FORMAT_HTML));
	run_end(&r);
	run_accepted(&r, "-o x --no-flamegraph");
	assert_int_equal(r.o.format, OPTION_FORMAT_BIT(OPTION_FORMAT_COLLAPSED));
	run_end(&r);
	run_accepted(&r, "-o x");
	assert_int_equal(r.o.format,
		OPTION_FORMAT_BIT(OPTION_FORMAT_COLLAPSED) | OPTION_FORMAT_BIT(OPTION_FORMAT_HTML));
	run_end(&r);
	// cpu-cycles is cycles; what is unknown is dropped, as the reference does, but said.
	run_accepted(&r, "-o x --perf-events cpu-cycles,instructions,cycles,nonsense");
	assert_int_equal(r.o.perf_events.len, 2);
	assert_string_equal(r.o.perf_events.data[0], "cycles");
	assert_string_equal(r.o.perf_events.data[1], "instructions");
	assert_int_equal(r.o.warnings.len, 1);
	assert_non_null(strstr(r.o.warnings.data[0], "nonsense"));
	run_end(&r);
	run_accepted(&r, "-o x --perf-events nonsense");
	assert_int_equal(r.o.perf_events.len, 1);
	assert_string_equal(r.o.perf_events.data[0], "cycles");
	run_end(&r);
	assert_ok(option_parse_size("2mb", &v));
	assert_int_equal(v, 2 << 20);
	assert_ok(option_parse_size(" 512 KiB", &v));
	assert_int_equal(v, 512 << 10);
	assert_ok(option_parse_size("7", &v));
	assert_int_equal(v, 7);
	assert_int_not_equal(option_parse_size("2 parsecs", &v), 0);
	assert_int_not_equal(option_parse_size("99999999999999999 gb", &v), 0);
	assert_int_not_equal(option_parse_size("", &v), 0);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_ok(fclose(f));
}

static void precedence__strongest_origin_wins(void **state)
{
	char etc[] = "/tmp/gp-test-etc-XXXXXX", own[] = "/tmp/gp-test-own-XXXXXX";
	char line[256], config_env[256];
	struct run r;
	int fd;

	(void)state;
	fd = mkstemp(etc);
	close(fd);
	fd = mkstemp(own);
	close(fd);
	write_file(etc, "output-dir = etc\nprofiling-duration = 1\nprofiling-frequency=1\n"
			"perf-mode = fp\npids = 1\nno-flamegraph\n");
	write_file(own, "profiling-duration = 2\nprofiling-frequency=2\nperf-mode = dwarf\n"
			"pids = [2, 3]\n");
	snprintf(config_env, sizeof(config_env), "GPROFILER_CONFIG=%s", own);

	char frequency[] = "GPROFILER_PROFILING_FREQUENCY=3", mode[] = "GPROFILER_PERF_MODE=fp";
	char *const env[] = {frequency, mode, NULL};
	char *const env_config[] = {config_env, NULL};

	snprintf(line, sizeof(line), "--config %s --perf-mode smart --flamegraph -p 9", own);
	run_start_with(&r, line, env, etc);
	assert_int_equal(r.result, OPTIONS_RUN);
	assert_string_equal(r.o.output_dir, "etc");
	assert_int_equal(r.o.origin[OPTION_output_dir], OPTION_FROM_SYSTEM_FILE);
	assert_int_equal(r.o.duration, 2);
	assert_int_equal(r.o.origin[OPTION_duration], OPTION_FROM_FILE);
	assert_int_equal(r.o.frequency, 3);
	assert_int_equal(r.o.origin[OPTION_frequency], OPTION_FROM_ENVIRONMENT);
	assert_int_equal(r.o.perf_mode, OPTION_PERF_SMART);
	assert_int_equal(r.o.origin[OPTION_perf_mode], OPTION_FROM_COMMAND_LINE);
	assert_true(r.o.flamegraph);
	// A stronger origin replaces a list, it does not extend it.
	assert_int_equal(r.o.pids.len, 1);
	assert_int_equal(r.o.pids.data[0], 9);
	run_end(&r);

	run_start_with(&r, "", env_config, etc);
	assert_int_equal(r.result, OPTIONS_RUN);
	assert_int_equal(r.o.pids.len, 2);
	assert_int_equal(r.o.perf_mode, OPTION_PERF_DWARF);
	assert_false(r.o.flamegraph);
	run_end(&r);

	// A broken file does not keep help from being read.
	write_file(etc, "no such thing\n");
	run_start_with(&r, "--help", NULL, etc);
	assert_int_equal(r.result, OPTIONS_SHOWN);
	run_end(&r);
	run_start_with(&r, "-o x", NULL, etc);
	assert_int_equal(r.result, OPTIONS_REFUSED);
	assert_non_null(strstr(buf_str(&r.text), "unrecognized arguments: --no"));
	run_end(&r);
	unlink(etc);
	unlink(own);
	run_start_with(&r, "-o x", NULL, etc);
	assert_int_equal(r.result, OPTIONS_RUN);
	run_end(&r);
}

static void environment__flags_are_booleans(void **state)
{
	char yes[] = "GPROFILER_VERBOSE=YES", no[] = "GPROFILER_CONTINUOUS=off";
	char odd[] = "GPROFILER_VERBOSE=maybe", empty[] = "GPROFILER_VERBOSE=";
	char no_perf[] = "GPROFILER_NO_PERF=1", no_java[] = "GPROFILER_NO_JAVA=0";
	char foreign[] = "GPROFILER_IN_K8S=1", version[] = "GPROFILER_VERSION=true";
	char *const good[] = {yes, no, no_perf, no_java, foreign, version, NULL};
	char *const bad[] = {odd, NULL}, *const bare[] = {empty, NULL};
	char aws[] = "AWS_EXECUTION_ENV=AWS_ECS_FARGATE", *const fargate[] = {aws, NULL};
	char ec2[] = "AWS_EXECUTION_ENV=AWS_ECS_EC2", *const elsewhere[] = {ec2, NULL};
	struct run r;

	(void)state;
	run_start_with(&r, "-o x", good, NULL);
	assert_int_equal(r.result, OPTIONS_RUN);
	assert_true(r.o.verbose);
	assert_false(r.o.continuous);
	assert_int_equal(r.o.perf_mode, OPTION_PERF_DISABLED);
	run_end(&r);
	run_start_with(&r, "-o x", fargate, NULL);
	assert_int_equal(r.result, OPTIONS_RUN);
	assert_false(r.o.pid_ns_check);
	assert_int_equal(r.o.perf_mode, OPTION_PERF_DISABLED);
	assert_true(r.o.warnings.len == 1 && strstr(r.o.warnings.data[0], "Fargate"));
	run_end(&r);
	// It is so whatever was asked for; who asked for nothing else is not told.
	run_start_with(&r, "-o x --perf-mode fp", fargate, NULL);
	assert_int_equal(r.o.perf_mode, OPTION_PERF_DISABLED);
	run_end(&r);
	run_start_with(&r, "-o x --no-perf", fargate, NULL);
	assert_int_equal(r.o.warnings.len, 0);
	run_end(&r);
	run_start_with(&r, "-o x", elsewhere, NULL);
	assert_true(r.o.pid_ns_check && r.o.perf_mode == OPTION_PERF_SMART);
	run_end(&r);
	run_start_with(&r, "-o x", bad, NULL);
	assert_int_equal(r.result, OPTIONS_REFUSED);
	assert_non_null(
		strstr(buf_str(&r.text), "Unexpected value for GPROFILER_VERBOSE: 'maybe'"));
	run_end(&r);
	run_start_with(&r, "-o x", bare, NULL);
	assert_int_equal(r.result, OPTIONS_REFUSED);
	run_end(&r);
}

/* gprofiler check in a pod whose environment is the agent's. */
static void verbs__run_beside_the_agents_settings(void **state)
{
	char mode[] = "GPROFILER_MODE=allocation", java[] = "GPROFILER_JAVA_MODE=ap";
	char *const env[] = {mode, java, NULL};
	struct run r;

	(void)state;
	run_start_with(&r, "check", env, NULL);
	assert_int_equal(r.result, OPTIONS_RUN);
	run_end(&r);
	run_start_with(&r, "-o x", env, NULL);
	assert_int_equal(r.result, OPTIONS_REFUSED);
	run_end(&r);
	assert_refused("--mode allocation check", "--mode allocation is not in this version");
}

/* Every option that takes a URL, whoever gives it: neither user, nor password, nor query is shown. */
static void secrets_of_urls(void)
{
	static const char *const secrets[][2] = {
		{"http://hush@h:1", "\"http://***@h:1\""},
		{"https://u:hush@h/p", "\"https://***@h/p\""},
		{"tcp://h:1?key=hush", "\"tcp://h:1?***\""},
		{"https://u:hu@sh@h/p?k=hush@x#hush", "\"https://***@h/p?***\""},
		{"u:hush@h", "\"***@h\""},
	};
	unsigned n = 0;

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		if (strcmp(option_rows[i].values, "URL") != 0 || option_rows[i].target != i)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(secrets); k++) {
			_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
			_cleanup_json_ json_t *j = NULL;
			char line[128];
			struct run r;

			snprintf(line, sizeof(line), "-o x --%s %s", option_rows[i].name,
				secrets[k][0]);
			run_accepted(&r, line);
			j = options_to_json(&r.o);
			assert_ok(json_append(&text, j));
			if (strstr(buf_str(&text), "hush") ||
				!strstr(buf_str(&text), secrets[k][1]))
				fail_msg("%s: %s", line, buf_str(&text));
			run_end(&r);
			n++;
		}
	}
	assert_int_equal(n, 3 * ARRAY_SIZE(secrets));
}

static void secrets__are_never_printed(void **state)
{
	char env[] = "GPROFILER_TOKEN=hush-hush", *const envp[] = {env, NULL};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	_cleanup_json_ json_t *j = NULL;
	struct run r;

	(void)state;
	run_accepted(&r, "-o x --token hush-hush --service-name shown --server-host "
			 "https://user:hush@host/a@b");
	assert_string_equal(r.o.token, "hush-hush");
	// Not even in the process listing.
	assert_string_equal(r.argv[4], "*********");
	j = options_to_json(&r.o);
	assert_ok(json_append(&text, j));
	assert_null(strstr(buf_str(&text), "hush"));
	assert_non_null(strstr(buf_str(&text), "\"https://***@host/a@b\""));
	assert_non_null(strstr(buf_str(&text), "\"service_name\": \"shown\""));
	run_end(&r);
	secrets_of_urls();
	run_start_with(&r, "--token=hush-hush", envp, NULL);
	assert_int_equal(r.result, OPTIONS_REFUSED);
	assert_null(strstr(buf_str(&r.text), "hush"));
	assert_string_equal(r.argv[1], "--token=*********");
	run_end(&r);
	assert_refused("-o x --tokne=hush-hush", "--tokne (did you mean --token?)");
	run_start(&r, "-o x --tokne=hush-hush");
	assert_null(strstr(buf_str(&r.text), "hush"));
	run_end(&r);
}

static void text__version_help_and_man(void **state)
{
	struct run r;

	(void)state;
	run_start(&r, "--version");
	assert_int_equal(r.result, OPTIONS_SHOWN);
	assert_string_equal(buf_str(&r.text), GP_VERSION "\n");
	run_end(&r);
	run_start(&r, "-h");
	assert_int_equal(r.result, OPTIONS_SHOWN);
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		char name[80];

		snprintf(name, sizeof(name), "--%s", option_rows[i].name);
		if (option_rows[i].flags & OPTION_HIDDEN ||
			option_groups[option_rows[i].group].verb)
			continue;
		if (!strstr(buf_str(&r.text), name))
			fail_msg("%s is not in --help", name);
	}
	for (const char *p = buf_str(&r.text); *p; p += strcspn(p, "\n"), p += *p == '\n') {
		assert_true(strcspn(p, "\n") <= 80);
		assert_true(!strcspn(p, "\n") || p[strcspn(p, "\n") - 1] != ' ');
	}
	run_end(&r);
	run_start(&r, "convert --help");
	assert_int_equal(r.result, OPTIONS_SHOWN);
	assert_non_null(strstr(buf_str(&r.text), "--dialect"));
	assert_null(strstr(buf_str(&r.text), "--output-dir"));
	run_end(&r);
	run_start(&r, "--help-man");
	assert_int_equal(r.result, OPTIONS_SHOWN);
	assert_int_equal(strncmp(buf_str(&r.text), ".TH GPROFILER", 13), 0);
	assert_non_null(strstr(buf_str(&r.text), "\\fB\\-\\-output\\-dir\\fR"));
	run_end(&r);
}

/* What is said once in the log of a line that is taken; "" nothing. */
static void assert_said(const char *line, const char *want)
{
	struct run r;
	const char *said = "";

	run_start(&r, line);
	if (r.result != OPTIONS_RUN)
		fail_msg("%s: %s", line, buf_str(&r.text));
	vec_foreach (text, &r.o.warnings)
		if (strstr(*text, "No effect yet"))
			said = *text;
	if (want[0] ? !strstr(said, want) : said[0])
		fail_msg("%s: \"%s\", not \"%s\"", line, said, want);
	run_end(&r);
}

/* A runtime that is not there yet stops no fleet: its flags are taken, and named in one line. */
static void later__is_taken_and_said_once(void **state)
{
	(void)state;
	assert_said("-o x --java-mode ap --java-async-profiler-mode cpu --java-safemode=all "
		    "--php-mode phpspy --ruby-mode rbspy --dotnet-mode=dotnet-trace "
		    "--nodejs-mode attach-maps",
		"No effect yet in this version: --java-mode ap, --java-async-profiler-mode cpu, "
		"--java-safemode, --php-mode phpspy, --ruby-mode rbspy, --dotnet-mode "
		"dotnet-trace, --nodejs-mode attach-maps. ");
	assert_said("-o x --java-mode ap --no-java --no-php --ruby-mode none", "");
	assert_said("-o x --java-line-numbers line-of-function", "--java-line-numbers line-of");
	// perf maps and jitdumps are what this mode of the reference reads.
	assert_said("-o x --nodejs-mode perf", "");
	assert_refused("-o x --nodejs-mode perf --perf-mode dwarf", "need --perf-mode fp or smart");
	assert_refused("-o x --nodejs-mode attach-maps --no-perf", "need --perf-mode fp or smart");
}

/* Every flag of the reference (gprofiler-agent.md 1.2, 1.3) and what becomes of it. */
static void reference__every_flag_is_taken_or_refused_by_name(void **state)
{
	static const char *const taken[] = {"--pid-file x", "-f 99", "--profiling-frequency 1000",
		"-d 1", "-c", "--continuous", "--controller-pid 1", "--profiling-duration 3",
		"--min-profiling-duration 3", "--insert-dso-name", "-o y", "--output-dir y",
		"--flamegraph", "--no-flamegraph", "--mode cpu", "--mode none", "--rotating-output",
		"--pids 1", "--max-processes-runtime-profiler 20", "--rootless",
		"--python-mode pyspy", "--python-mode py-spy", "--python-pyperf-verbose",
		"--python-pyspy-process 3,4", "--gil", "--spark-sample-period 3",
		"--collect-spark-metrics", "--nodejs-mode disabled", "--nodejs-mode none",
		"--no-nodejs", "--enable-memory-management", "--memory-cleanup-threshold-mb 9",
		"--dont-disable-core-files", "-v", "--verbose", "--log-file x",
		"--log-rotate-max-size 9", "--log-rotate-backup-count 2", "--dont-send-logs",
		"--disable-container-names", "--metrics-server-url tcp://h:1",
		"--disable-pidns-check", "--disable-metrics-collection",
		"--disable-metadata-collection", "--disable-application-identifiers",
		"--disable-application-metadata", "--app-id-args-filter x",
		"--java-collect-spark-app-name-as-appid", "--databricks-job-name-as-service-name",
		"--sli-metric-uuid x", "--diagnostics", "--enable-hw-metrics-collection",
		"--perfspect-path x", "--external-metadata x",
		"--enable-publish-metrics --metrics-server-url tcp://h",
		"--profile-spawned-processes", "--heartbeat-file x", "--heartbeat-interval 9",
		"--heartbeat-perf-restricted-max-processes 9",
		"--heartbeat-perf-restricted-max-containers 9",
		"--heartbeat-perf-aggressive-max-processes 9",
		"--heartbeat-perf-aggressive-max-containers 9", "--perfspect-duration 9",
		"-u --token t --service-name s", "--profile-api-version v1", "--spool-dir d",
		"--upload-results --token t --service-name s", "--spool-size 0", "--server-host h",
		"--api-server h", "--glogger-server h", "--server-upload-timeout 9", "--token t",
		"--service-name s", "--curlify-requests", "--no-verify", "--tls-client-cert x",
		"--tls-client-key x", "--tls-ca-bundle x", "--tls-cert-refresh-enabled",
		"--tls-cert-refresh-interval 9", "--perf-mode fp", "--perf-mode dwarf",
		"--perf-mode smart", "--perf-mode disabled", "--perf-mode none",
		"--perf-dwarf-stack-size 65528", "--perf-no-memory-restart", "--perf-use-cgroups",
		"--log-usage", "--max-memory 9mb", "--max-cpu 0",
		"--skip-system-profilers-above 500", "--perf-max-cgroups 3",
		"--perf-max-docker-containers 3", "--perf-events cycles", "--no-perf",
		"--java-mode disabled", "--java-mode none", "--no-java", "--java-no-version-check",
		"--java-async-profiler-mode auto", "--java-async-profiler-safemode 0",
		"--java-async-profiler-features probesp,vtable",
		"--java-async-profiler-features probesp,vtable,comptask", "--java-safemode",
		"--java-safemode all", "--java-jattach-timeout 9", "--java-async-profiler-mcache 9",
		"--java-async-profiler-no-report-meminfo", "--java-collect-jvm-flags",
		"--java-collect-jvm-flags none", "--java-line-numbers none", "--python-mode auto",
		"--python-mode pyperf", "--python-mode disabled", "--pyperf-user-stacks-pages 4",
		"--python-mode none", "--no-python", "--no-python-versions",
		"--pyperf-user-stacks-pages 0", "--python-skip-pyperf-profiler-above 9",
		"--php-mode disabled", "--no-php", "--php-proc-filter x", "--ruby-mode none",
		"--no-ruby", "--dotnet-mode disabled", "--no-dotnet",
		// Without dwarf's limit of 100 Hz.
		"-f 999 --perf-mode smart", "-f 999 --perf-mode dwarf",
		// Of runtimes that are not there yet.
		"--nodejs-mode perf", "--nodejs-mode attach-maps", "--java-mode ap",
		"--java-async-profiler-mode cpu", "--java-async-profiler-mode alloc",
		"--java-async-profiler-safemode 1", "--java-async-profiler-features comptask",
		"--java-async-profiler-args x", "--java-full-hserr",
		"--java-include-method-modifiers", "--java-line-numbers line-of-function",
		"--php-mode phpspy", "--ruby-mode rbspy", "--dotnet-mode dotnet-trace"};
	static const char *const refused[] = {
		"--mode allocation", "--mode allocation --alloc-interval 1mb"};
	char line[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		snprintf(line, sizeof(line), "-o x %s", taken[i]);
		assert_accepted(line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		snprintf(line, sizeof(line), "-o x %s", refused[i]);
		assert_refused(line, "is not in this version");
	}
	// The weaker origin's wish does not count once it is switched off.
	assert_accepted("-o x --java-mode ap --no-java");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows__have_help_and_sane_bounds),
		cmocka_unit_test(rows__defaults_parse),
		cmocka_unit_test(rows__enum_values_match),
		cmocka_unit_test(cmdline__ways_to_give_a_value),
		cmocka_unit_test(cmdline__prefixes_prefer_the_reference),
		cmocka_unit_test(cmdline__no_abbreviation_of_the_reference_is_lost),
		cmocka_unit_test(cmdline__command_and_verbs),
		cmocka_unit_test(cmdline__errors_name_subject_and_remedy),
		cmocka_unit_test(values__lists_masks_and_sizes),
		cmocka_unit_test(precedence__strongest_origin_wins),
		cmocka_unit_test(environment__flags_are_booleans),
		cmocka_unit_test(verbs__run_beside_the_agents_settings),
		cmocka_unit_test(secrets__are_never_printed),
		cmocka_unit_test(text__version_help_and_man),
		cmocka_unit_test(later__is_taken_and_said_once),
		cmocka_unit_test(reference__every_flag_is_taken_or_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

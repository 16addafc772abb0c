/* SPDX-License-Identifier: Apache-2.0 */
/* The .col form, byte by byte (gprofiler-agent.md 3.2, 3.3, 3.5), and read back. */
#include "tests/harness.h"

#include <sys/mman.h>

#include "base/clock.h"
#include "base/fs.h"
#include "bpf/abi/record.h"
#include "export/export.h"
#include "export/import.h"

struct spec {
	const char *name, *module, *file;
	enum profile_frame_kind kind;
	unsigned flags, line;
};

static uint32_t text(struct profile *p, const char *s)
{
	uint32_t id;

	assert_ok(profile_string(p, s, &id));
	return id;
}

static void add(struct profile *p, const struct profile_context *who, const struct spec *specs,
	size_t n, int64_t count)
{
	const int64_t values[PROFILE_VALUES_MAX] = {count};
	uint32_t context, frame, node = 0;

	for (size_t i = 0; i < n; i++) {
		struct profile_frame f = {
			.name = text(p, specs[i].name),
			.module = text(p, specs[i].module),
			.file = text(p, specs[i].file),
			.kind = (uint16_t)specs[i].kind,
			.flags = (uint16_t)specs[i].flags,
			.line = specs[i].line,
		};

		assert_ok(profile_frame(p, &f, &frame));
		assert_ok(profile_node(p, node, frame, &node));
	}
	assert_ok(profile_context(p, who, &context));
	assert_ok(profile_add(p, context, node, values));
}

static char *written(const struct profile *p, const struct export_collapsed_options *options)
{
	char *data = NULL;
	size_t size;
	FILE *f = open_memstream(&data, &size);

	assert_non_null(f);
	assert_ok(export_collapsed(f, p, options));
	fclose(f);
	return data;
}

static void assert_written(const struct profile *p, const struct export_collapsed_options *options,
	const char *expected)
{
	char *data = written(p, options);

	assert_string_equal(data, expected);
	free(data);
}

static void start(struct profile *p)
{
	profile_init(p, 1000, 1 << 20);
	p->ntypes = 1;
}

static void collapsed__columns_suffixes_and_no_last_newline(void **state)
{
	static const struct spec kernel[] = {{"start", NULL, NULL, PROFILE_FRAME_KERNEL, 0, 0},
		{"do_idle", "[kernel.kallsyms]", NULL, PROFILE_FRAME_KERNEL, 0, 0}};
	static const struct spec python[] = {
		{"<module> (/app/srv.py:1)", NULL, NULL, PROFILE_FRAME_PYTHON, 0, 0},
		{"PyEval", "/lib/p.so", NULL, PROFILE_FRAME_PYTHON_NATIVE, 0, 0}};
	static const struct spec plain[] = {
		{"(/usr/sbin/sshd)", "/usr/sbin/sshd", NULL, PROFILE_FRAME_NATIVE,
			PROFILE_FRAME_NO_SYMBOL, 0},
		{"__poll", "/lib/libc.so.6", NULL, PROFILE_FRAME_NATIVE, 0, 0}};
	struct export_collapsed_options options = {.header = true, .contexts = true};
	struct profile_context who = {.pid = 0};
	struct profile p;

	(void)state;
	start(&p);
	p.header =
		json_pack("{s:[s], s:b}", "containers", "web-1", "application_metadata_enabled", 1);
	who.comm = text(&p, "swapper");
	add(&p, &who, kernel, 2, 41);
	who = (struct profile_context){.pid = 5, .comm = text(&p, "python3"), .app_metadata = 1};
	who.container = text(&p, "web-1");
	who.appid = text(&p, "python: /app/srv.py (/app/srv.py)");
	add(&p, &who, python, 2, 17);
	who = (struct profile_context){.pid = 6, .comm = text(&p, "sshd")};
	add(&p, &who, plain, 2, 3);
	assert_written(&p, &options,
		"# {\"containers\": [\"web-1\"], \"application_metadata_enabled\": true}\n"
		"0;;swapper;start_[k];do_idle_[k] 41\n"
		"1;web-1;python3;appid: python: /app/srv.py (/app/srv.py);<module> "
		"(/app/srv.py:1)_[p];PyEval_[pn] 17\n"
		"0;;sshd;(/usr/sbin/sshd);__poll 3");
	options = (struct export_collapsed_options){.insert_dso_name = true};
	assert_written(&p, &options,
		"swapper;start_[k];do_idle_[k] 41\n"
		"python3;appid: python: /app/srv.py (/app/srv.py);<module> "
		"(/app/srv.py:1)_[p];PyEval_[pn] 17\n"
		"sshd;(/usr/sbin/sshd);__poll (/lib/libc.so.6) 3");
	profile_deinit(&p);
}

static void collapsed__index_column_follows_the_header(void **state)
{
	static const struct spec one[] = {{"f", NULL, NULL, PROFILE_FRAME_NATIVE, 0, 0}};
	const struct export_collapsed_options options = {.header = true, .contexts = true};
	struct profile_context who = {0};
	struct profile p;

	(void)state;
	start(&p);
	who.comm = text(&p, "sh");
	who.container = text(&p, "c");
	add(&p, &who, one, 1, 1);
	p.header = json_pack("{s:b}", "application_metadata_enabled", 0);
	assert_written(&p, &options, "# {\"application_metadata_enabled\": false}\nc;sh;f 1");
	profile_deinit(&p);
}

static void collapsed__threads_and_lines_merge(void **state)
{
	static const struct spec a[] = {{"f", "/m", "a.c", PROFILE_FRAME_NATIVE, 0, 10}};
	static const struct spec b[] = {{"f", "/m", "a.c", PROFILE_FRAME_NATIVE, 0, 20}};
	struct export_collapsed_options options = {0};
	struct profile_context who = {.pid = 1, .tid = 1};
	struct profile p;

	(void)state;
	start(&p);
	who.comm = text(&p, "x");
	add(&p, &who, a, 1, 1);
	who.tid = 2;
	add(&p, &who, b, 1, 2);
	add(&p, &who, a, 1, 4);
	assert_written(&p, &options, "x;f 7");
	options.line_numbers = true;
	assert_written(&p, &options, "x;f (a.c:10) 5\nx;f (a.c:20) 2");
	options.insert_dso_name = true;
	assert_written(&p, &options, "x;f (a.c:10) (/m) 5\nx;f (a.c:20) (/m) 2");
	profile_deinit(&p);
}

static void collapsed__hostile_names_break_no_line(void **state)
{
	static const struct spec bad[] = {{"a;b\nc 7", "/m;\n", NULL, PROFILE_FRAME_NATIVE, 0, 0},
		{" trailing \t", NULL, NULL, PROFILE_FRAME_KERNEL, 0, 0},
		{"\n", NULL, NULL, PROFILE_FRAME_NATIVE, 0, 0},
		{"[unknown]", NULL, NULL, PROFILE_FRAME_UNKNOWN, PROFILE_FRAME_NO_SYMBOL, 0}};
	const struct export_collapsed_options options = {.insert_dso_name = true};
	struct profile_context who = {0};
	struct profile p;

	(void)state;
	start(&p);
	who.comm = text(&p, "#c;\rx");
	add(&p, &who, bad, 4, 1);
	assert_written(&p, &options,
		"_c: x;a:b c 7 (/m:);trailing_[k];[unknown] (unknown);[unknown] (unknown) 1");
	profile_deinit(&p);
}

static void collapsed__zero_and_negative_counts_are_left_out(void **state)
{
	static const struct spec a[] = {{"a", NULL, NULL, PROFILE_FRAME_NATIVE, 0, 0}};
	static const struct spec b[] = {{"b", NULL, NULL, PROFILE_FRAME_NATIVE, 0, 0}};
	const struct export_collapsed_options options = {0};
	struct profile_context who = {0};
	struct profile p;

	(void)state;
	start(&p);
	add(&p, &who, a, 1, 0);
	add(&p, &who, b, 1, -3);
	assert_written(&p, &options, "");
	add(&p, &who, a, 1, 2);
	add(&p, &who, a, 0, 5);
	assert_written(&p, &options, "a 2\n[unknown] 5");
	profile_deinit(&p);
}

static void read_text(struct profile *p, const char *in, unsigned bad)
{
	struct text_complaints complaints = {.name = "test", .quiet = true};
	struct import_stats stats;
	struct text_reader reader;
	int fd = memfd_create("in", MFD_CLOEXEC);

	assert_ok(fs_write_full(fd, in, strlen(in)));
	lseek(fd, 0, SEEK_SET);
	profile_init(p, 1000, 1 << 20);
	assert_ok(text_reader_init(&reader, fd, IMPORT_LINE_MAX));
	assert_ok(import_collapsed(&reader, p, &complaints, &stats));
	assert_int_equal(stats.bad, bad);
	assert_int_equal(complaints.count, bad);
	text_reader_deinit(&reader);
	close(fd);
}

/* Text in, profile, text out. */
static void assert_round_trip(const char *in, const char *expected, unsigned bad)
{
	struct export_collapsed_options options = {0};
	struct profile p;

	read_text(&p, in, bad);
	options.header = options.contexts = p.header != NULL;
	assert_written(&p, &options, expected);
	profile_deinit(&p);
}

static void collapsed__reads_what_it_writes(void **state)
{
	static const char col[] =
		"# {\"metadata\": {\"hostname\": \"h\"}, \"application_metadata_enabled\": true}\n"
		"0;;swapper;do_idle_[k] 41\n"
		"1;web-1;python3;appid: python: x;f (a.py:1)_[p];g_[pn] 17\n"
		"0;;sshd;(/usr/sbin/sshd);(anonymous namespace)::f();__poll 3";
	static const char v1[] =
		"# {\"metadata\": {\"run_arguments\": {\"profile_api_version\": \"v1\"}}, "
		"\"application_metadata_enabled\": true}\nsh;f 1";

	(void)state;
	assert_round_trip(col, col, 0);
	assert_round_trip("a;b_[j];c_[0] 1\nx;y_[rb];z_[php];w_[net] 2",
		"a;b_[j];c_[0] 1\nx;y_[rb];z_[php];w_[net] 2", 0);
	// A v1 file has neither index nor container.
	assert_round_trip(v1, v1, 0);
}

static void collapsed__reads_the_many_process_form_and_bad_lines(void **state)
{
	(void)state;
	assert_round_trip("python-12/15;mod.f (a.py:3)_[p];clone_[pn] 4\r\na-b-1/2;f 1",
		"python;mod.f (a.py:3)_[p];clone_[pn] 4\na-b;f 1", 0);
	assert_round_trip("# comment\n\nok 1\nno count\nbad -1\nbad 1.5\nbad "
			  "99999999999999999999\nok 2\nlast 3",
		"ok 3\nlast 3", 4);
}

static void collapsed__header_fills_the_meta(void **state)
{
	static const char ours[] =
		"# {\"metadata\": {\"hostname\": \"box\", \"current_time\": "
		"\"2026-01-02T03:04:10\", \"run_arguments\": {\"duration\": 60}}, "
		"\"sampling_event\": \"cpu-clock\", \"sampling_frequency\": 100, "
		"\"start_time\": \"2026-01-02T03:04:05\", \"end_time\": \"2026-01-02T03:04:08\", "
		"\"duration_ns\": 2500000000, \"ledger\": {\"expected\": 1000, \"entries\": 900, "
		"\"complete\": 41, \"frames_unnamed\": 7, \"broken\": -5, \"idle\": \"many\", "
		"\"reasons\": {\"no unwind table\": 3, \"never heard of\": 9}}}\n;sh;f 41";
	static const char theirs[] =
		"# {\"metadata\": {\"current_time\": \"2026-01-02T03:04:10.123456\", "
		"\"run_arguments\": {\"duration\": 60}}}\n;sh;f 41";
	static const char broken[] =
		"# {\"metadata\": {\"hostname\": 5, \"current_time\": \"soon\"}, \"ledger\": [], "
		"\"sampling_frequency\": 1e300, \"start_time\": \"9999999999-01-01T00:00:00\", "
		"\"duration_ns\": -1}\n;sh;f 41";
	const uint64_t start = 1767323045ull * NSEC_PER_SEC; // 2026-01-02T03:04:05 UTC
	struct profile p;

	(void)state;
	read_text(&p, ours, 0);
	assert_string_equal(profile_text(&p, p.meta.hostname), "box");
	assert_string_equal(profile_text(&p, p.meta.event), "cpu-clock");
	assert_int_equal(p.meta.frequency, 100);
	assert_int_equal(p.meta.period, 10000000);
	assert_int_equal(p.meta.start_real_ns, start);
	assert_int_equal(p.meta.duration_ns, 2500000000);
	assert_true(p.meta.has_ledger);
	assert_int_equal(p.meta.ledger.expected, 1000);
	assert_int_equal(p.meta.ledger.entries, 900);
	assert_int_equal(p.meta.ledger.complete, 41);
	assert_int_equal(p.meta.ledger.frames_unnamed, 7);
	assert_int_equal(p.meta.ledger.broken, 0);
	assert_int_equal(p.meta.ledger.idle, 0);
	assert_int_equal(p.meta.ledger.broken_reasons[REC_WHY_NO_TABLE], 3);
	profile_deinit(&p);
	read_text(&p, theirs, 0);
	assert_int_equal(p.meta.duration_ns, 60 * NSEC_PER_SEC);
	assert_int_equal(p.meta.start_real_ns, start - 55 * NSEC_PER_SEC);
	assert_false(p.meta.has_ledger);
	profile_deinit(&p);
	read_text(&p, broken, 0);
	assert_int_equal(p.meta.hostname, 0);
	assert_int_equal(p.meta.frequency, 0);
	assert_int_equal(p.meta.start_real_ns, 0);
	assert_int_equal(p.meta.duration_ns, 0);
	assert_false(p.meta.has_ledger);
	profile_deinit(&p);
}

static void collapsed__ledger_of_the_first_of_two_files_is_not_shown(void **state)
{
	static const char two[] = "# {\"metadata\": {}, \"ledger\": {\"complete\": 1}}\n;sh;f 1\n"
				  "# {\"metadata\": {}, \"ledger\": {\"complete\": 2}}\n;sh;f 2";
	struct profile p;

	(void)state;
	read_text(&p, two, 0);
	assert_false(p.meta.has_ledger);
	assert_int_equal(p.samples.len, 1);
	profile_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(collapsed__columns_suffixes_and_no_last_newline),
		cmocka_unit_test(collapsed__index_column_follows_the_header),
		cmocka_unit_test(collapsed__threads_and_lines_merge),
		cmocka_unit_test(collapsed__hostile_names_break_no_line),
		cmocka_unit_test(collapsed__zero_and_negative_counts_are_left_out),
		cmocka_unit_test(collapsed__reads_what_it_writes),
		cmocka_unit_test(collapsed__reads_the_many_process_form_and_bad_lines),
		cmocka_unit_test(collapsed__header_fills_the_meta),
		cmocka_unit_test(collapsed__ledger_of_the_first_of_two_files_is_not_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

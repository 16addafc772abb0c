/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of servers, service names, curl lines; uploads kept, sent and cut. */
#include "tests/harness.h"

#include <errno.h>

#include "base/compress.h"
#include "base/json.h"
#include "delivery/pack.h"
#include "delivery/studio.h"

static struct studio_answer judge(long status, const char *body)
{
	struct studio_answer a = {0};

	studio_judge(status, body, strlen(body), true, &a);
	return a;
}

static void judge__verdicts(void **state)
{
	static const struct {
		long status;
		const char *body;
		enum studio_verdict verdict;
	} rows[] = {
		{200, "{\"message\": \"ok\", \"gpid\": 7}", STUDIO_DONE},
		{200, "{\"message\": \"ok\"}", STUDIO_DONE},
		{204, "", STUDIO_BUSY},
		{200, "<html>log in</html>", STUDIO_BUSY},
		{200, "{}", STUDIO_BUSY},
		{200, "[]", STUDIO_BUSY},
		{200, "{\"gpid\": 7", STUDIO_BUSY},
		{400, "{\"message\": \"Failed to parse v2 metadata\"}", STUDIO_REFUSED},
		{400, "nonsense", STUDIO_REFUSED},
		{400, "{\"message\": \"Invalid API key\"}", STUDIO_DENIED},
		{400, "{\"message\": \"Invalid GPROFILER-SERVICE-NAME header\"}", STUDIO_DENIED},
		{401, "", STUDIO_DENIED},
		{403, "", STUDIO_DENIED},
		{404, "", STUDIO_DENIED},
		{302, "", STUDIO_DENIED},
		{408, "", STUDIO_BUSY},
		{411, "", STUDIO_INVALID},
		{413, "<html>", STUDIO_TOO_LARGE},
		{422, "{\"detail\": []}", STUDIO_INVALID},
		{429, "", STUDIO_BUSY},
		{500, "", STUDIO_BUSY},
		{503, "", STUDIO_BUSY},
		{0, "", STUDIO_BUSY},
		{-5, "", STUDIO_BUSY},
		{999, "", STUDIO_BUSY},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct studio_answer a = judge(rows[i].status, rows[i].body);

		if (a.verdict != rows[i].verdict)
			fail_msg("%ld %s: %d", rows[i].status, rows[i].body, a.verdict);
	}
}

static void judge__gpids(void **state)
{
	static const char *const rows[][2] = {
		{"{\"gpid\": 7}", "7"},
		{"{\"gpid\": -9223372036854775808}", "-9223372036854775808"},
		{"{\"gpid\": \"a\\\"b\"}", "\"a\\\"b\""},
		{"{\"gpid\": \"\"}", "\"\""},
		{"{\"gpid\": null}", "\"\""},
		{"{\"gpid\": 1.5}", "\"\""},
		{"{\"gpid\": true}", "\"\""},
		{"{\"gpid\": {}}", "\"\""},
		{"{\"gpid\": 99999999999999999999999}", "\"\""},
		{"{\"gpid\": \"\\u0000\"}", "\"\""},
		{"nonsense", "\"\""},
	};
	_cleanup_buf_ struct buf long_one = BUF_INIT(4096);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(judge(200, rows[i][0]).gpid, rows[i][1]);
	buf_append_str(&long_one, "{\"gpid\": \"");
	for (unsigned i = 0; i < 1000; i++)
		buf_append_char(&long_one, 'x');
	buf_append_str(&long_one, "\"}");
	assert_string_equal(judge(200, buf_str(&long_one)).gpid, "\"\"");
}

static void judge__messages_are_one_printable_line(void **state)
{
	struct studio_answer a = judge(500, "a\nb\x1b[31m\x7f c");

	(void)state;
	assert_string_equal(a.message, "a b [31m  c");
	assert_string_equal(judge(400, "{}").message, "(no message in response)");
	assert_string_equal(judge(400, "{\"message\": 5}").message, "(no message in response)");
}

static void service__as_the_server_keeps_it(void **state)
{
	static const char *const rows[][2] = {{"web", "web"}, {"__my svc/1.0-a_b", "mysvc1.0-a_b"},
		{"\xc3\xa9_x", "x"}, {"_a_", "a_"}};
	_cleanup_buf_ struct buf b = BUF_INIT(256);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_ok(studio_clean_service(rows[i][0], &b));
		assert_string_equal(buf_str(&b), rows[i][1]);
	}
	assert_int_equal(studio_clean_service("", &b), -EINVAL);
	assert_int_equal(studio_clean_service("___ /", &b), -EINVAL);
}

static int into_buf(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static void compress(struct buf *out, const char *text)
{
	struct gzip_writer *w;

	assert_ok(gzip_writer_new(9, into_buf, out, &w));
	assert_ok(gzip_write(w, text, strlen(text)));
	assert_ok(gzip_finish(w));
	gzip_writer_free(w);
}

static void curl__line_without_secrets(void **state)
{
	static const char *const headers[] = {
		"GPROFILER-API-KEY: s3cr/t", "Content-Encoding: gzip", NULL};
	_cleanup_buf_ struct buf body = BUF_INIT(4096), line = BUF_INIT(1 << 16);
	struct http_request q = {
		.method = "POST",
		.url = "http://h/api?key=s3cr%2Ft",
		.headers = headers,
	};

	(void)state;
	compress(&body, "{\"a\": \"it's s3cr/t\n\"}");
	q.body = body.data;
	q.body_len = body.len;
	assert_ok(http_curl_line(&line, &q, "s3cr/t"));
	assert_string_equal(buf_str(&line),
		"curl -X POST $'http://h/api?key=***' -H $'GPROFILER-API-KEY: ***' -d $'{\"a\": "
		"\"it\\'s ***\\n\"}'");
	buf_clear(&line);
	q.url = "http://me:pw@h/a@b";
	assert_ok(http_curl_line(&line, &q, "s3cr/t"));
	assert_non_null(strstr(buf_str(&line), "$'http://'***$'@h/a@b'"));
	buf_clear(&line);
	q.body_len = 12; // cut
	assert_ok(http_curl_line(&line, &q, NULL));
	assert_non_null(strstr(buf_str(&line), "'(12 bytes)'"));
}

static void gzip__prepend(void **state)
{
	_cleanup_buf_ struct buf member = BUF_INIT(4096), out = BUF_INIT(8192),
				 text = BUF_INIT(8192);
	static char big[70000];

	(void)state;
	compress(&member, "world");
	assert_ok(gzip_prepend(&out, "hello ", 6, member.data, member.len));
	assert_ok(gzip_inflate(out.data, out.len, &text));
	assert_string_equal(buf_str(&text), "hello world");
	buf_clear(&text);
	assert_ok(gzip_prepend(&out, "", 0, member.data, member.len));
	assert_ok(gzip_inflate(out.data, out.len, &text));
	assert_string_equal(buf_str(&text), "world");
	for (size_t n = 0; n < 18; n++)
		assert_int_equal(gzip_prepend(&out, "x", 1, member.data, n), -EINVAL);
	assert_int_equal(gzip_prepend(&out, big, sizeof(big), member.data, member.len), -EINVAL);
	member.data[3] = 8; // a name follows
	assert_int_equal(gzip_prepend(&out, "x", 1, member.data, member.len), -EINVAL);
	out.cap = 20;
	member.data[3] = 0;
	assert_int_equal(gzip_prepend(&out, "hello", 5, member.data, member.len), -ENOSPC);
}

#define HEADER                                                                                     \
	"# {\"a\": 1, \"flamegraph_html\": \"<b c=\\\"d\\\\\\\"e\\\\\\\\\\\">\", \"z\": "          \
	"\"\xc3\xa9\"}"

#define NO_PAGE "# {\"a\": 1, \"flamegraph_html\": null, \"z\": \"\xc3\xa9\"}\n"

struct text {
	const char *const *lines;
	unsigned many; // generated lines besides
	unsigned calls;
};

static int write_lines(FILE *f, bool page, void *arg)
{
	struct text *t = arg;

	(void)page;
	t->calls++;
	for (unsigned i = 0; t->lines[i]; i++)
		fprintf(f, "%s%s", i ? "\n" : "", t->lines[i]);
	for (unsigned i = 0; i < t->many; i++)
		fprintf(f, "\n0;;process-%u;f%08x;g%08x 2", i % 50, i * 2654435761u,
			i * 40503u * 2654435761u);
	return fflush(f) ? -EIO : 0;
}

struct got {
	struct upload uploads[300];
	unsigned n;
};

static int take(struct upload *u, void *arg)
{
	struct got *g = arg;

	assert_true(g->n < ARRAY_SIZE(g->uploads));
	g->uploads[g->n++] = *u;
	upload_init(u);
	return 0;
}

static void got_deinit(struct got *g)
{
	for (unsigned i = 0; i < g->n; i++)
		upload_deinit(&g->uploads[i]);
	g->n = 0;
}

static struct pack_job job_of(struct text *t, struct got *g, size_t preferred)
{
	static char run[] = "run", service[] = "service", host[] = "host";

	return (struct pack_job){
		.origin = {.run = run, .service = service, .hostname = host},
		.fields = "\"start_time\": \"t\", \"profile\": \"",
		.preferred = preferred,
		.text = write_lines,
		.text_arg = t,
		.sink = take,
		.sink_arg = g,
	};
}

/* The text of an upload as the server reads it. */
static json_t *body_of(const struct upload *u, const char *gpid)
{
	_cleanup_buf_ struct buf body = BUF_INIT(1 << 24), text = BUF_INIT(1 << 26);
	json_t *root;

	assert_ok(upload_body(&body, u, gpid));
	assert_ok(gzip_inflate(body.data, body.len, &text));
	root = json_loadb(text.data, text.len, 0, NULL);
	assert_non_null(root);
	return root;
}

static void pack__lines_the_server_can_read(void **state)
{
	static const char *const lines[] = {HEADER, "0;;a;b 1", "", "#x;y;z;w 2", "0;;a;b",
		"0;;a;b x", "0;;a;b 0", "0;;a;b -1", "0;;a;b 1.5", "nothing 3", " 4", "5",
		"0;;a;b\t\"q\\ 99999999999999999999", "0;c;\xff\xfe;\"q\" \\n 6", NULL};
	struct text t = {.lines = lines};
	struct got g = {0};
	struct pack_job job = job_of(&t, &g, UPLOAD_PREFERRED);
	struct pack_stats stats;
	_cleanup_json_ json_t *root = NULL;

	(void)state;
	assert_ok(pack_profile(&job, &stats));
	assert_int_equal(g.n, 1);
	assert_int_equal(stats.lines, 3);
	assert_int_equal(stats.samples, 9);
	assert_int_equal(stats.lines_refused, 9);
	root = body_of(&g.uploads[0], "4001");
	assert_int_equal(json_integer_value(json_object_get(root, "gpid")), 4001);
	assert_string_equal(json_string_value(json_object_get(root, "start_time")), "t");
	assert_string_equal(json_string_value(json_object_get(root, "profile")),
		HEADER "\n0;;a;b 1\n_x;y;z;w 2\n0;c;\xef\xbf\xbd\xef\xbf\xbd;\"q\" \\n 6");
	got_deinit(&g);
}

static int count_lines(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void pack__parts_hold_every_line_once(void **state)
{
	static const char *const lines[] = {HEADER, NULL};
	struct text t = {.lines = lines, .many = 20000};
	struct got g = {0};
	struct pack_job job = job_of(&t, &g, 30000);
	struct pack_stats stats;
	int total = 0;

	(void)state;
	job.page = true;
	assert_ok(pack_profile(&job, &stats));
	assert_true(stats.page_dropped);
	assert_true(g.n > 4 && g.n == stats.parts);
	assert_int_equal(stats.samples, 40000);
	for (unsigned i = 0; i < g.n; i++) {
		_cleanup_json_ json_t *root = body_of(&g.uploads[i], STUDIO_GPID_NONE);
		const char *text = json_string_value(json_object_get(root, "profile"));

		assert_non_null(text);
		assert_memory_equal(text, HEADER "\n", strlen(HEADER) + 1);
		total += count_lines(text);
	}
	assert_int_equal(total, 20000);
	got_deinit(&g);
}

static void pack__again_without_the_page(void **state)
{
	static const char *const lines[] = {HEADER, "0;;a;b\"\\c 7", NULL};
	struct text t = {.lines = lines, .many = 20000};
	struct got g = {0}, parts = {0};
	struct pack_job job = job_of(&t, &g, UPLOAD_PREFERRED);
	struct pack_stats stats;
	int total = 0;

	(void)state;
	assert_ok(pack_profile(&job, &stats));
	assert_int_equal(g.n, 1);
	assert_ok(pack_again(&g.uploads[0], take, &parts));
	assert_true(parts.n >= 2);
	for (unsigned i = 0; i < parts.n; i++) {
		_cleanup_json_ json_t *root = body_of(&parts.uploads[i], STUDIO_GPID_NONE);
		const char *text = json_string_value(json_object_get(root, "profile"));

		assert_true(parts.uploads[i].member.len < g.uploads[0].member.len * 9 / 10);
		assert_string_equal(json_string_value(json_object_get(root, "start_time")), "t");
		assert_ptr_equal(strstr(text, NO_PAGE), text);
		if (strstr(text, "0;;a;b"))
			assert_non_null(strstr(text, "0;;a;b\"\\c 7"));
		total += count_lines(text);
	}
	assert_int_equal(total, 20001);
	got_deinit(&g);
	got_deinit(&parts);
}

static void pack__failures_are_forwarded(void **state)
{
	static const char *const none[] = {"no header", NULL}, *const lines[] = {HEADER, NULL};
	struct text t = {.lines = none};
	struct got g = {0};
	struct pack_job job = job_of(&t, &g, UPLOAD_PREFERRED);
	struct pack_stats stats;

	(void)state;
	assert_int_equal(pack_profile(&job, &stats), -EINVAL);
	t.lines = lines;
	assert_ok(pack_profile(&job, &stats));
	assert_int_equal(pack_again(&g.uploads[0], take, &g), -EFBIG);
	got_deinit(&g);
	// Every line alone is too much for so small a limit.
	t.many = 2000;
	job.preferred = 10;
	assert_ok(pack_profile(&job, &stats));
	assert_true(g.n > 1);
	got_deinit(&g);
}

static void upload__kept_and_read(void **state)
{
	static const char *const lines[] = {HEADER, "0;;a;b 1", NULL};
	_cleanup_buf_ struct buf kept = BUF_INIT(UPLOAD_KEPT_MAX);
	_cleanup_upload_ struct upload back;
	struct text t = {.lines = lines};
	struct got g = {0};
	struct pack_job job = job_of(&t, &g, UPLOAD_PREFERRED);
	struct pack_stats stats;

	(void)state;
	upload_init(&back);
	job.origin.v1 = true;
	assert_ok(pack_profile(&job, &stats));
	assert_ok(upload_encode(&kept, &g.uploads[0]));
	assert_ok(upload_decode(&back, kept.data, kept.len));
	assert_string_equal(back.origin.service, "service");
	assert_true(back.origin.v1);
	assert_int_equal(back.member.len, g.uploads[0].member.len);
	for (size_t n = 0; n < kept.len; n++)
		assert_int_equal(upload_decode(&back, kept.data, n), -EINVAL);
	got_deinit(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judge__verdicts),
		cmocka_unit_test(judge__gpids),
		cmocka_unit_test(judge__messages_are_one_printable_line),
		cmocka_unit_test(service__as_the_server_keeps_it),
		cmocka_unit_test(curl__line_without_secrets),
		cmocka_unit_test(gzip__prepend),
		cmocka_unit_test(pack__lines_the_server_can_read),
		cmocka_unit_test(pack__parts_hold_every_line_once),
		cmocka_unit_test(pack__again_without_the_page),
		cmocka_unit_test(pack__failures_are_forwarded),
		cmocka_unit_test(upload__kept_and_read),
	};

	return cmocka_run_group_tests_name("studio", tests, NULL, NULL);
}

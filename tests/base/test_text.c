/* SPDX-License-Identifier: Apache-2.0 */
/* Capped buffers, JSON in Python's layout, gzip. */
#include "tests/harness.h"

#include <errno.h>

#include "base/buf.h"
#include "base/compress.h"
#include "base/json.h"

static void buf__cap_changes_nothing_and_marks(void **state)
{
	struct buf b = BUF_INIT(10);
	char *stolen;

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_ok(buf_append_str(&b, "12345"));
	assert_ok(buf_printf(&b, "%d", 678));
	assert_int_equal(buf_append_str(&b, "abc"), -ENOSPC);
	assert_true(b.bad);
	assert_string_equal(buf_str(&b), "12345678");
	assert_int_equal(buf_printf(&b, "%s", "abc"), -ENOSPC);
	assert_string_equal(buf_str(&b), "12345678");
	assert_ok(buf_append_str(&b, "90"));
	assert_int_equal(buf_append_char(&b, 'x'), -ENOSPC);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOSPC);
	buf_clear(&b);
	assert_false(b.bad);
	assert_string_equal(buf_str(&b), "");
	assert_ok(buf_append_str(&b, "1234567890"));
	stolen = buf_steal(&b);
	assert_string_equal(stolen, "1234567890");
	assert_int_equal(b.len, 0);
	free(stolen);
	stolen = buf_steal(&b);
	assert_string_equal(stolen, "");
	free(stolen);
	buf_deinit(&b);
	buf_deinit(&b);
}

static void assert_json_string(const char *bytes, size_t len, const char *want)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024);

	assert_ok(json_append_string(&b, bytes, len));
	assert_string_equal(buf_str(&b), want);
}

/* The right side is what json.dumps printed. */
static void json__strings_as_python(void **state)
{
	_cleanup_buf_ struct buf small = BUF_INIT(4);

	(void)state;
	assert_json_string("a/b \"c\" \\", 9, "\"a/b \\\"c\\\" \\\\\"");
	assert_json_string(
		"\b\f\n\r\t\x01\x1f\x7f~", 9, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f~\"");
	assert_json_string("\0x", 2, "\"\\u0000x\"");
	assert_json_string(
		"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\\u00e9\\u20ac\\ud83d\\ude00\"");
	// Overlong, surrogate, beyond U+10FFFF, cut short: each byte that starts nothing is U+FFFD.
	assert_json_string("\xc0\x80", 2, "\"\\ufffd\\ufffd\"");
	assert_json_string("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");
	assert_json_string("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	assert_json_string("\xe2\x82", 2, "\"\\ufffd\\ufffd\"");
	assert_json_string("\x80z", 2, "\"\\ufffdz\"");
	assert_int_equal(json_append_string(&small, "abcdef", 6), -ENOSPC);
}

static void json__documents_as_python(void **state)
{
	static const struct {
		double value;
		const char *text;
	} reals[] = {{0.1, "0.1"}, {12.5, "12.5"}, {100, "100.0"}, {0, "0.0"}, {-0.5, "-0.5"},
		{1e15, "1000000000000000.0"}, {1e16, "1e+16"}, {1.5e-7, "1.5e-07"},
		{0.0001, "0.0001"}, {0.00001, "1e-05"}, {1.0 / 3, "0.3333333333333333"},
		{123456789.125, "123456789.125"}, {5e-324, "5e-324"},
		{1.7976931348623157e308, "1.7976931348623157e+308"}};
	_cleanup_buf_ struct buf b = BUF_INIT(4096), small = BUF_INIT(8);
	_cleanup_json_ json_t *j = json_pack("{s:[i,b,n], s:s, s:{}, s:[]}", "list", -3, 1, "text",
		"\xc3\xa9\x7f", "empty", "none");

	(void)state;
	assert_non_null(j);
	assert_ok(json_append(&b, j));
	assert_string_equal(buf_str(&b),
		"{\"list\": [-3, true, null], \"text\": \"\\u00e9\\u007f\", "
		"\"empty\": {}, \"none\": []}");
	assert_int_equal(json_append(&small, j), -ENOSPC);
	for (size_t i = 0; i < ARRAY_SIZE(reals); i++) {
		_cleanup_json_ json_t *real = json_real(reals[i].value);

		buf_clear(&b);
		assert_ok(json_append(&b, real));
		assert_string_equal(buf_str(&b), reals[i].text);
	}
}

static void json__text_replaces_what_is_no_text(void **state)
{
	_cleanup_json_ json_t *j = json_text("ok \xff"), *none = json_text(NULL);

	(void)state;
	assert_string_equal(json_string_value(j), "ok \xef\xbf\xbd");
	assert_true(json_is_null(none));
}

static int sink(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static void pack(struct buf *out, const void *data, size_t len)
{
	struct gzip_writer *w;

	assert_ok(gzip_writer_new(6, sink, out, &w));
	for (size_t at = 0; at < len; at += 4099)
		assert_ok(gzip_write(w, (const char *)data + at, MIN(len - at, (size_t)4099)));
	assert_ok(gzip_finish(w));
	gzip_writer_free(w);
}

static void gzip__round_trips_and_bounds(void **state)
{
	_cleanup_buf_ struct buf packed = BUF_INIT(4 << 20), plain = BUF_INIT(4 << 20);
	_cleanup_buf_ struct buf out = BUF_INIT(4 << 20), small = BUF_INIT(1000);
	_cleanup_buf_ struct buf full = BUF_INIT(16);
	struct gzip_writer *w;

	(void)state;
	for (unsigned i = 0; i < 200000; i++)
		buf_printf(&plain, "%u;", i * 2654435761u);
	pack(&packed, plain.data, plain.len);
	assert_true(packed.len < plain.len);
	assert_ok(gzip_inflate(packed.data, packed.len, &out));
	assert_int_equal(out.len, plain.len);
	assert_memory_equal(out.data, plain.data, plain.len);
	// The cap holds against a bomb.
	assert_int_equal(gzip_inflate(packed.data, packed.len, &small), -ENOSPC);
	assert_true(small.len <= 1000);
	// Cut anywhere, it is malformed.
	for (size_t cut = 0; cut < packed.len; cut += 1 + packed.len / 50) {
		buf_clear(&out);
		assert_int_equal(gzip_inflate(packed.data, cut, &out), -EINVAL);
	}
	// Two members are one text; an empty one is a text.
	buf_clear(&packed);
	buf_clear(&out);
	pack(&packed, "one ", 4);
	pack(&packed, "", 0);
	pack(&packed, "two", 3);
	assert_ok(gzip_inflate(packed.data, packed.len, &out));
	assert_string_equal(buf_str(&out), "one two");
	// What the sink says is forwarded.
	assert_ok(gzip_writer_new(1, sink, &full, &w));
	assert_ok(gzip_write(w, plain.data, 100));
	assert_int_equal(gzip_finish(w), -ENOSPC);
	gzip_writer_free(w);
	gzip_writer_free(NULL);
}

/* One text, whatever was looked for in its halves, and wherever one ends. */
static void gzip__looks_for_runs_only_from_where_it_is_told(void **state)
{
	_cleanup_buf_ struct buf plain = BUF_INIT(1 << 20);

	(void)state;
	for (unsigned i = 0; i < 60000; i++)
		buf_printf(&plain, "%u;", i * 2654435761u % 977);
	for (size_t half = 0; half <= plain.len; half += 1 + plain.len / 7) {
		_cleanup_buf_ struct buf packed = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
		_cleanup_buf_ struct buf full = BUF_INIT(16);
		struct gzip_writer *w;

		assert_ok(gzip_writer_new(5, sink, &packed, &w));
		assert_ok(gzip_write(w, plain.data, half));
		assert_ok(gzip_runs_only(w));
		assert_ok(gzip_write(w, plain.data + half, plain.len - half));
		assert_ok(gzip_finish(w));
		gzip_writer_free(w);
		assert_ok(gzip_inflate(packed.data, packed.len, &out));
		assert_int_equal(out.len, plain.len);
		assert_memory_equal(out.data, plain.data, plain.len);
		if (half < 1000)
			continue;
		assert_ok(gzip_writer_new(5, sink, &full, &w));
		assert_ok(gzip_write(w, plain.data, 1000));
		assert_int_equal(gzip_runs_only(w), -ENOSPC);
		gzip_writer_free(w);
	}
}

/* A text of just the cap fits: the end of the stream needs no room. */
static void gzip__exact_cap_is_enough(void **state)
{
	_cleanup_buf_ struct buf packed = BUF_INIT(1 << 16), out = BUF_INIT(20000);
	char text[20000];

	(void)state;
	memset(text, 'x', sizeof(text));
	pack(&packed, text, sizeof(text));
	assert_ok(gzip_inflate(packed.data, packed.len, &out));
	assert_int_equal(out.len, sizeof(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buf__cap_changes_nothing_and_marks),
		cmocka_unit_test(json__strings_as_python),
		cmocka_unit_test(json__documents_as_python),
		cmocka_unit_test(json__text_replaces_what_is_no_text),
		cmocka_unit_test(gzip__round_trips_and_bounds),
		cmocka_unit_test(gzip__looks_for_runs_only_from_where_it_is_told),
		cmocka_unit_test(gzip__exact_cap_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets, versions, strings and lines of CPython, from bytes. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>

#include "base/buf.h"
#include "runtime/python/lines.h"
#include "runtime/python/locate.h"
#include "runtime/python/object.h"
#include "runtime/python/offsets.h"
#include "tests/elf/elf_writer.h"
#include "tests/runtime/debug_offsets.h"

static void offsets__table(void **state)
{
	struct py_offsets o;

	(void)state;
	assert_ok(py_offsets_table(PY_HEX(2, 7, 18), EM_X86_64, &o));
	assert_true(o.bytes_names);
	assert_int_equal(o.layout.tstate_interp, 8);
	assert_ok(py_offsets_table(PY_HEX(3, 7, 3), EM_X86_64, &o));
	assert_int_equal(o.runtime_tstate_current, 1392);
	assert_ok(py_offsets_table(PY_HEX(3, 7, 4), EM_X86_64, &o));
	assert_int_equal(o.runtime_tstate_current, 1480);
	assert_ok(py_offsets_table(PY_HEX(3, 12, 1), EM_X86_64, &o));
	assert_int_equal(o.layout.version, 0x030c);
	assert_int_equal(o.layout.entry_kind, 2);
	assert_true(o.frame_size > o.layout.frame_entry && o.frame_size <= PY_FRAME_BYTES_MAX);
	assert_ok(py_offsets_table(PY_HEX(3, 9, 2), EM_AARCH64, &o));
	assert_int_equal(o.runtime_tstate_current, 584);
	assert_int_equal(o.runtime_key, 604);
	assert_int_equal(o.interp_id, 24);
	assert_ok(py_offsets_table(PY_HEX(3, 12, 1), EM_AARCH64, &o));
	assert_int_equal(o.runtime_tstate_current, 0);
	assert_int_equal(py_offsets_table(PY_HEX(3, 5, 10), EM_X86_64, &o), PY_OFFSETS_UNKNOWN);
	assert_int_equal(py_offsets_table(PY_HEX(3, 15, 0), EM_X86_64, &o), PY_OFFSETS_UNKNOWN);
	assert_int_equal(py_offsets_table(0, EM_X86_64, &o), PY_OFFSETS_UNKNOWN);
	assert_int_equal(py_offsets_table(0x030c00a5, EM_X86_64, &o), PY_OFFSETS_PRERELEASE);
}

static void offsets__debug_313(void **state)
{
	struct py_offsets o;

	(void)state;
	assert_ok(py_offsets_debug(debug_offsets_313, sizeof(debug_offsets_313), &o));
	assert_int_equal(o.hex, PY_HEX(3, 13, 0));
	assert_int_equal(o.runtime_interp_head, 632);
	assert_int_equal(o.interp_tstate_head, 7344);
	assert_int_equal(o.layout.chain, PY_CHAIN_INTERP);
	assert_int_equal(o.layout.tstate_frame, 72);
	assert_int_equal(o.layout.frame_entry, 70);
	assert_int_equal(o.layout.code_flags, 48);
	assert_int_equal(o.layout.code_kwonlyargcount, 60);
	assert_int_equal(o.layout.code_adaptive, 200);
	assert_int_equal(o.layout.code_tag_mask, 0);
	assert_int_equal(o.ascii_size, 40);
	assert_int_equal(o.compact_size, 56);
	assert_int_equal(o.bytes_data, 32);
}

static void offsets__debug_314(void **state)
{
	struct py_offsets o;

	(void)state;
	assert_ok(py_offsets_debug(debug_offsets_314, sizeof(debug_offsets_314), &o));
	assert_int_equal(o.layout.tstate_frame, 72);
	assert_int_equal(o.layout.tstate_native_tid, 160);
	assert_int_equal(o.layout.frame_entry, 74);
	assert_int_equal(o.layout.code_adaptive, 208);
	assert_int_equal(o.layout.code_tag_mask, 3);
	assert_int_equal(o.ascii_size, 40);
	assert_int_equal(o.bytes_data, 32);
}

/* Every word replaced by nonsense, one after the other: refused, or within the structure's bounds. */
static void offsets__debug_hostile(void **state)
{
	static const uint64_t nonsense[] = {UINT64_MAX, 1, 3, 4096, 1ull << 32, 0};
	uint64_t w[sizeof(debug_offsets_313) / 8];
	struct py_offsets o;

	(void)state;
	for (size_t i = 3; i < sizeof(w) / 8; i++) {
		for (size_t k = 0; k < sizeof(nonsense) / 8; k++) {
			memcpy(w, debug_offsets_313, sizeof(w));
			w[i] = nonsense[k];
			if (py_offsets_debug(w, sizeof(w), &o))
				continue;
			assert_true(o.code_size <= PY_CODE_BYTES_MAX);
			assert_true(o.frame_size <= PY_FRAME_BYTES_MAX + 8);
			assert_true(o.tstate_size <= PY_TSTATE_BYTES_MAX + 8);
		}
	}
	for (size_t n = 24; n < 64 * 8; n += 8)
		assert_int_not_equal(py_offsets_debug(debug_offsets_313, n, &o), 0);
	assert_int_equal(py_offsets_debug("xdebugpx", 8, &o), -EINVAL);
	memcpy(w, debug_offsets_313, sizeof(w));
	w[2] = 1;
	assert_int_equal(py_offsets_debug(w, sizeof(w), &o), PY_OFFSETS_FREE_THREADED);
	assert_int_equal(o.hex, PY_HEX(3, 13, 0));
	w[2] = 0;
	w[1] = 0x030d00c2;
	assert_int_equal(py_offsets_debug(w, sizeof(w), &o), PY_OFFSETS_PRERELEASE);
	w[1] = 0x030f00f0;
	assert_int_equal(py_offsets_debug(w, sizeof(w), &o), PY_OFFSETS_UNKNOWN);
}

static void version__of_name(void **state)
{
	(void)state;
	assert_int_equal(py_version_of_name("/usr/lib/libpython3.10.so.1.0"), 0x030a);
	assert_int_equal(py_version_of_name("/usr/bin/python2.7"), 0x0207);
	assert_int_equal(py_version_of_name("/opt/python3.9/bin/uwsgi"), 0);
	assert_int_equal(py_version_of_name("python"), 0);
	assert_int_equal(py_version_of_name("python3"), 0);
	assert_int_equal(py_version_of_name("python99999999999.1"), 0);
	assert_int_equal(py_version_of_name(""), 0);
}

static uint32_t scan(const char *bytes, size_t len, uint16_t hint, bool *ret_ambiguous)
{
	struct py_version_scan s = {.hint = hint};

	py_version_scan(&s, (const uint8_t *)bytes, len);
	*ret_ambiguous = s.ambiguous;
	return s.found;
}

static void version__of_text(void **state)
{
	static const char tail[] = "xx\0/opt/versions/3.10.13\0";
	static const char plus[] = "\0"
				   "2.7.15+\0 1.2.11\0";
	static const char two[] = "\0"
				  "3.8.1\0"
				  "3.9.1\0";
	static const char none[] = "\0"
				   "3.41.2\0"
				   "13.8.1\0"
				   "3.8.1rc1\0"
				   "3.8\0"
				   "3.8.1.2\0";
	bool ambiguous;

	(void)state;
	assert_int_equal(scan(tail, sizeof(tail), 0, &ambiguous), PY_HEX(3, 10, 13));
	assert_int_equal(scan(plus, sizeof(plus), 0, &ambiguous), PY_HEX(2, 7, 15));
	assert_false(ambiguous);
	scan(two, sizeof(two), 0, &ambiguous);
	assert_true(ambiguous);
	assert_int_equal(scan(two, sizeof(two), 0x0308, &ambiguous), PY_HEX(3, 8, 1));
	assert_false(ambiguous);
	assert_int_equal(scan(none, sizeof(none), 0, &ambiguous), 0);
}

static void strings__kinds(void **state)
{
	static const uint16_t two[] = {'a', 0x10d, 0xd800, 0x20ac};
	static const uint32_t four[] = {0x10330, 0x110000, '\n', 'z'};
	_cleanup_buf_ struct buf b = BUF_INIT(256);

	(void)state;
	assert_ok(py_string_append(&b, (const uint8_t *)"na\xefve", 5, 1));
	assert_string_equal(buf_str(&b), "na\xc3\xafve");
	buf_clear(&b);
	assert_ok(py_string_append(&b, (const uint8_t *)two, 4, 2));
	assert_string_equal(buf_str(&b), "a\xc4\x8d\xef\xbf\xbd\xe2\x82\xac");
	buf_clear(&b);
	assert_ok(py_string_append(&b, (const uint8_t *)four, 4, 4));
	assert_string_equal(buf_str(&b), "\xf0\x90\x8c\xb0\xef\xbf\xbd?z");
}

static void strings__head(void **state)
{
	uint64_t head[8] = {0, 0, 5, 0, 1 << 2 | 1 << 5 | 1 << 6};
	struct py_string_head h;
	struct py_offsets o;

	(void)state;
	assert_ok(py_offsets_table(PY_HEX(3, 8, 0), EM_X86_64, &o));
	assert_ok(py_string_parse(&o, (const uint8_t *)head, sizeof(head), &h));
	assert_int_equal(h.data, 48);
	head[4] = 2 << 2 | 1 << 5;
	assert_ok(py_string_parse(&o, (const uint8_t *)head, sizeof(head), &h));
	assert_int_equal(h.data, 72);
	assert_int_equal(h.kind, 2);
	head[4] = 1 << 2;
	assert_ok(py_string_parse(&o, (const uint8_t *)head, sizeof(head), &h));
	assert_int_equal(h.data, 0);
	head[4] = 3 << 2 | 1 << 5;
	assert_int_equal(py_string_parse(&o, (const uint8_t *)head, sizeof(head), &h), -EINVAL);
	head[4] = 1 << 2 | 1 << 5;
	head[2] = 1 << 20;
	assert_int_equal(py_string_parse(&o, (const uint8_t *)head, sizeof(head), &h), -EINVAL);
	assert_int_equal(py_string_parse(&o, (const uint8_t *)head, 20, &h), -EINVAL);
}

static void lines__formats(void **state)
{
	static const uint8_t lnotab[] = {6, 1, 8, 0xfe, 255, 0, 45, 127};
	static const uint8_t pep626[] = {4, 1, 6, 0x80, 2, 0xff};
	// Two units on line +1 (short form), one without a line, one long form: line +300.
	static const uint8_t locations[] = {
		0x80 | 11 << 3 | 1, 0, 0, 0x80 | 15 << 3, 0x80 | 14 << 3, 0x58, 0x09, 0, 0, 0};

	(void)state;
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, lnotab, sizeof(lnotab), 10, 0), 10);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, lnotab, sizeof(lnotab), 10, 6), 11);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, lnotab, sizeof(lnotab), 10, 14), 9);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, lnotab, sizeof(lnotab), 10, 313), 9);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, lnotab, sizeof(lnotab), 10, 314), 136);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB_UNSIGNED, lnotab, sizeof(lnotab), 10, 14), 265);
	assert_int_equal(py_line_of(PY_LINES_PEP626, pep626, sizeof(pep626), 10, 0), 11);
	assert_int_equal(py_line_of(PY_LINES_PEP626, pep626, sizeof(pep626), 10, 5), 0);
	assert_int_equal(py_line_of(PY_LINES_PEP626, pep626, sizeof(pep626), 10, 10), 10);
	assert_int_equal(py_line_of(PY_LINES_PEP626, pep626, sizeof(pep626), 10, 99), 10);
	assert_int_equal(py_line_of(PY_LINES_LOCATIONS, locations, sizeof(locations), 10, 3), 11);
	assert_int_equal(py_line_of(PY_LINES_LOCATIONS, locations, sizeof(locations), 10, 4), 0);
	assert_int_equal(py_line_of(PY_LINES_LOCATIONS, locations, sizeof(locations), 10, 6), 311);
	assert_int_equal(py_line_of(PY_LINES_LOCATIONS, locations, sizeof(locations), 10, -1), 10);
	assert_int_equal(py_line_of(PY_LINES_LOCATIONS, locations, 5, 10, 6), 10);
	assert_int_equal(py_line_of(PY_LINES_LNOTAB, NULL, 0, 10, 6), 10);
}

/* A file that is no CPython, one that only imports its symbols, and one that is. */
static struct module *write_elf(const char *symbol, uint16_t section, uint64_t size)
{
	_cleanup_buf_ struct buf image = BUF_INIT(1 << 20);
	struct elf_writer w;
	struct module *m;
	struct elf_writer_symbol sym = {symbol, 0x401000, size, STB_GLOBAL, STT_FUNC, section};
	struct elf_writer_symbol current = {
		"_PyThreadState_Current", 0x403000, 8, STB_GLOBAL, STT_OBJECT, section};
	uint8_t *copy;
	size_t len;

	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x401000, 0x6000);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_symbol(&w, &sym);
	elf_writer_symbol(&w, &current);
	elf_writer_finish(&w, &image);
	elf_writer_deinit(&w);
	len = image.len;
	copy = malloc(len);
	assert_non_null(copy);
	memcpy(copy, image.data, len);
	assert_ok(module_standalone_image(copy, len, &m));
	return m;
}

static void locate__by_content(void **state)
{
	struct module *m = write_elf("envoy_main", 1, 0x5000);
	struct py_module py;

	(void)state;
	// A variable of that name alone is no interpreter: there is no eval function.
	assert_int_equal(py_locate(m, "/usr/lib/libpython3.6m.so", &py), -ENOENT);
	module_standalone_free(m);
	m = write_elf("_PyEval_EvalFrameDefault", SHN_UNDEF, 0x5000);
	assert_int_equal(py_locate(m, "/usr/lib/libpython3.6m.so", &py), -ENOENT);
	module_standalone_free(m);
	m = write_elf("_PyEval_EvalFrameDefault", 1, 0x5000);
	assert_ok(py_locate(m, "/opt/renamed/libpython3.6m.so", &py));
	assert_int_equal(py.refused, 0);
	assert_int_equal(py.offsets.layout.version, 0x0306);
	assert_int_equal(py.nranges, 1);
	assert_int_equal(py.eval[0].start, 0x401000);
	assert_int_equal(py.current, 0x403000);
	// Nothing tells the version: refused, not guessed.
	assert_ok(py_locate(m, "/opt/renamed", &py));
	assert_int_equal(py.refused, PY_OFFSETS_UNKNOWN);
	module_standalone_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets__table),
		cmocka_unit_test(offsets__debug_313),
		cmocka_unit_test(offsets__debug_314),
		cmocka_unit_test(offsets__debug_hostile),
		cmocka_unit_test(version__of_name),
		cmocka_unit_test(version__of_text),
		cmocka_unit_test(strings__kinds),
		cmocka_unit_test(strings__head),
		cmocka_unit_test(lines__formats),
		cmocka_unit_test(locate__by_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#include "symbol/demangle.h"

struct demangle_case {
	const char *raw, *text;
	enum symbol_kind kind;
};

static void demangle__names(void **state)
{
	static const struct demangle_case cases[] = {
		{"main", "main", SYMBOL_KIND_NATIVE},
		{"_start", "_start", SYMBOL_KIND_NATIVE},
		{"_Zfoo", "_Zfoo", SYMBOL_KIND_NATIVE},
		{"_ZN3foo3barEi", "foo::bar", SYMBOL_KIND_CPP},
		{"_ZN3fooplERKS_", "foo::operator+", SYMBOL_KIND_CPP},
		{"_ZNSt6vectorIiSaIiEE9push_backEOi",
			"std::vector<int, std::allocator<int> >::push_back", SYMBOL_KIND_CPP},
		{"_ZN3foo3barEi.cold", "foo::bar", SYMBOL_KIND_CPP},
		{"_ZTv0_n24_N1A1fEv", "virtual thunk to A::f()", SYMBOL_KIND_CPP},
		{"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad",
			SYMBOL_KIND_RUST},
		{"_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE",
			"core::ptr::drop_in_place<alloc::string::String>", SYMBOL_KIND_RUST},
		{"_RNvC6_123foo3bar", "123foo::bar", SYMBOL_KIND_RUST},
		{"_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar", SYMBOL_KIND_RUST},
		{"_D3foo3barFiZv", "foo.bar(int)", SYMBOL_KIND_NATIVE},
		{"main.main", "main.main", SYMBOL_KIND_NATIVE},
		{"evil\nname\x1b[0m", "evil?name?[0m", SYMBOL_KIND_NATIVE},
		{"", "", SYMBOL_KIND_NATIVE},
	};
	_cleanup_buf_ struct buf text = BUF_INIT(DEMANGLE_MAX + 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(symbol_demangle(cases[i].raw, &text), cases[i].kind);
		assert_string_equal(buf_str(&text), cases[i].text);
	}
}

/* Each parameter is a pair of the one before it: output doubles with every two bytes of input. */
static void demangle__expansion_is_cut(void **state)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(1 << 16), text = BUF_INIT(DEMANGLE_MAX + 1);

	(void)state;
	buf_append_str(&raw, "_Z1fI1aE");
	buf_clear(&raw);
	buf_append_str(&raw, "_ZN1AI1BIiiE");
	for (unsigned i = 0; i < 30; i++)
		buf_printf(&raw, "1BIS%c_S%c_E", i < 10 ? '0' + (int)i : 'A' + (int)i - 10,
			i < 10 ? '0' + (int)i : 'A' + (int)i - 10);
	buf_append_str(&raw, "E1fEv");
	symbol_demangle(buf_str(&raw), &text);
	assert_true(text.len > 0 && text.len <= DEMANGLE_MAX);
}

static void demangle__deep_nesting(void **state)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(1 << 20), text = BUF_INIT(DEMANGLE_MAX + 1);

	(void)state;
	for (unsigned n = 100; n <= 200000; n *= 10) {
		buf_clear(&raw);
		buf_append_str(&raw, "_Z1f");
		for (unsigned i = 0; i < n; i++)
			buf_append_char(&raw, 'P');
		buf_append_str(&raw, "i");
		symbol_demangle(buf_str(&raw), &text);
		assert_true(text.len > 0 && text.len <= DEMANGLE_MAX);
		raw.data[1] = 'D';
		symbol_demangle(buf_str(&raw), &text);
		assert_true(text.len > 0 && text.len <= DEMANGLE_MAX);
	}
}

static void demangle__long_but_honest(void **state)
{
	_cleanup_buf_ struct buf raw = BUF_INIT(1 << 16), text = BUF_INIT(DEMANGLE_MAX + 1);

	(void)state;
	buf_append_str(&raw, "_ZN");
	for (unsigned i = 0; i < 250; i++)
		buf_printf(&raw, "6name%02x", i & 0xff);
	buf_append_str(&raw, "Ev");
	assert_true(raw.len > 1500);
	assert_int_equal(symbol_demangle(buf_str(&raw), &text), SYMBOL_KIND_CPP);
	assert_memory_equal(buf_str(&text), "name00::name01::", 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(demangle__names),
		cmocka_unit_test(demangle__expansion_is_cut),
		cmocka_unit_test(demangle__deep_nesting),
		cmocka_unit_test(demangle__long_but_honest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

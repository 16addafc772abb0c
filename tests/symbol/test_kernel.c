/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "symbol/kernel.h"

static const char table[] = "0000000000001000 A fixed_percpu_data\n"
			    "ffffffff81000000 T _text\n"
			    "ffffffff81000000 T _stext\n"
			    "ffffffff81000000 t first\n"
			    "ffffffff81001000 T do_thing\n"
			    "ffffffff81001000 W __weak_thing\n"
			    "ffffffff81001000 t a_much_longer_local_alias\n"
			    "ffffffff81001800 t do_thing.cold\n"
			    "ffffffff81002000 D data_in_between\n"
			    "ffffffff81003000 T last_core\n"
			    "ffffffff81004000 T _etext\n"
			    "ffffffff82000000 D some_data\n"
			    "bad line\n"
			    "zz T not_hex\n"
			    "ffffffffc0000000 t mod_a\t[alpha]\n"
			    "ffffffffc0000100 t mod_b\t[alpha]\n"
			    "ffffffffc0100000 t beta_fn\t[beta]\n"
			    "ffffffffc0200000 t bpf_prog_0011_x\t[bpf]\n";

struct fixture {
	char dir[32], kallsyms[64], modules[64];
	struct kernel_symbols *k;
};

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/test_kernel_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->kallsyms, sizeof(f->kallsyms), "%s/kallsyms", f->dir);
	snprintf(f->modules, sizeof(f->modules), "%s/modules", f->dir);
	put(f->kallsyms, table);
	assert_ok(kernel_symbols_new(f->kallsyms, &f->k));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kallsyms);
	unlink(f->modules);
	rmdir(f->dir);
	kernel_symbols_free(f->k);
	free(f);
	return 0;
}

static uint64_t ask(struct fixture *f, uint64_t addr, struct kernel_name *ret)
{
	uint64_t bytes = 0;

	*ret = (struct kernel_name){.addr = addr};
	assert_ok(kernel_symbols_resolve(f->k, ret, 1, &bytes));
	return bytes;
}

static void expect(struct fixture *f, uint64_t addr, const char *name, const char *module)
{
	struct kernel_name n;

	ask(f, addr, &n);
	if (!name) {
		assert_null(n.name);
		return;
	}
	assert_non_null(n.name);
	assert_string_equal(n.name, name);
	assert_string_equal(n.module, module);
}

static void kernel__names(void **state)
{
	struct fixture *f = *state;

	expect(f, 0xffffffff81000010, "first", "[kernel.kallsyms]"); // not a mark
	expect(f, 0xffffffff81001004, "do_thing", "[kernel.kallsyms]"); // global before aliases
	expect(f, 0xffffffff81001900, "do_thing.cold", "[kernel.kallsyms]");
	expect(f, 0xffffffff81003fff, "last_core", "[kernel.kallsyms]");
	expect(f, 0xffffffff81004010, NULL, NULL); // past the end of text
	expect(f, 0xffffffff80ffffff, NULL, NULL);
	expect(f, 0xffffffffc0000080, "mod_a", "[alpha]");
	expect(f, 0xffffffffc0000180, "mod_b", "[alpha]");
	expect(f, 0xffffffffc0000100 + (70 << 10), NULL, NULL); // a hole between modules
	expect(f, 0xffffffffc0200020, "bpf_prog_0011_x", "[bpf]");
	expect(f, 0xffffffffffffffff, NULL, NULL);
}

static void kernel__data_ends_a_function(void **state)
{
	struct kernel_name n;

	// data_in_between ends the cold part, and names nothing itself.
	expect(*state, 0xffffffff81001fff, "do_thing.cold", "[kernel.kallsyms]");
	ask(*state, 0xffffffff81002000, &n);
	assert_null(n.name);
}

static void kernel__a_batch_is_one_pass_and_cached(void **state)
{
	struct fixture *f = *state;
	struct kernel_name n[3] = {
		{.addr = 0xffffffff81001004},
		{.addr = 0xffffffff81001004},
		{.addr = 0xffffffffc0100001},
	};
	uint64_t bytes = 0;

	assert_ok(kernel_symbols_resolve(f->k, n, 3, &bytes));
	assert_int_equal(bytes, sizeof(table) - 1);
	assert_string_equal(n[1].name, "do_thing");
	assert_int_equal(n[1].start, 0xffffffff81001000);
	assert_string_equal(n[2].name, "beta_fn");
	// Another address of a known function, and an unknown one asked twice.
	assert_int_equal(ask(f, 0xffffffff81001123, n), 0);
	assert_int_equal(ask(f, 0xffffffff81004010, n), 0);
	assert_null(n[0].name);
}

static void kernel__module_change_forgets_modules(void **state)
{
	struct fixture *f = *state;
	struct kernel_name n;

	put(f->modules, "alpha 16384 0 - Live 0xffffffffc0000000\n");
	expect(f, 0xffffffffc0000080, "mod_a", "[alpha]");
	expect(f, 0xffffffff81001004, "do_thing", "[kernel.kallsyms]");
	put(f->modules, "alpha 16384 7 beta, Live 0xffffffffc0000000\n"); // only a use count
	assert_int_equal(ask(f, 0xffffffffc0000080, &n), 0);
	put(f->kallsyms, "ffffffff81001000 T do_thing\nffffffffc0000000 t other\t[gamma]\n");
	put(f->modules, "gamma 16384 0 - Live 0xffffffffc0000000\n");
	expect(f, 0xffffffffc0000080, "other", "[gamma]");
	assert_int_equal(ask(f, 0xffffffff81001004, &n), 0);
	assert_string_equal(n.name, "do_thing");
}

/* Modules are printed in the order of their list, not of their addresses. */
static void kernel__modules_out_of_order(void **state)
{
	struct fixture *f = *state;

	put(f->kallsyms, "ffffffff81000000 T core\n"
			 "ffffffffc0300000 t late_fn\t[late]\n"
			 "ffffffffc0300040 d late_data\t[late]\n"
			 "ffffffffc0100000 t early_data_end\t[early]\n"
			 "ffffffffc0100040 d early_data\t[early]\n"
			 "ffffffffc0100080 t __early_fn\t[early]\n"
			 "ffffffffc0100080 t early_fn\t[early]\n");
	expect(f, 0xffffffffc0300010, "late_fn", "[late]");
	expect(f, 0xffffffffc0300050, NULL, NULL);
	expect(f, 0xffffffffc0100010, "early_data_end", "[early]");
	expect(f, 0xffffffffc0100050, NULL, NULL);
	expect(f, 0xffffffffc0100090, "early_fn", "[early]");
	expect(f, 0xffffffffc0300000 - 1, NULL, NULL);
}

static void kernel__the_table_is_read_once(void **state)
{
	struct fixture *f = *state;
	struct kernel_name n;

	put(f->modules, "alpha 4096 0 - Live 0xffffffffc0000000\n");
	assert_int_equal(ask(f, 0xffffffff81001004, &n), strlen(table));
	assert_int_equal(ask(f, 0xffffffff81003004, &n), 0);
	assert_string_equal(n.name, "last_core");
	expect(f, 0xffffffffc0000080, "mod_a", "[alpha]");
	// Modules change, and the table with them.
	put(f->kallsyms, "ffffffff81000000 T _stext\nffffffffc0000000 t other\t[gamma]\n");
	put(f->modules, "gamma 4096 0 - Live 0xffffffffc0000000\n");
	expect(f, 0xffffffffc0000080, "other", "[gamma]");
	kernel_symbols_shed(f->k);
	assert_true(ask(f, 0xffffffffc0000080, &n) > 0);
	assert_string_equal(n.name, "other");
}

static void kernel__announced_text_outlives_its_end(void **state)
{
	struct fixture *f = *state;

	expect(f, 0xffffffffc0200020, "bpf_prog_0011_x", "[bpf]");
	assert_ok(kernel_symbols_add(f->k, 0xffffffffc0200000, 64, "bpf_prog_22_new", false));
	expect(f, 0xffffffffc0200020, "bpf_prog_22_new", "[bpf]");
	assert_ok(kernel_symbols_add(f->k, 0xffffffffc0200000, 64, "bpf_prog_22_new", true));
	expect(f, 0xffffffffc020003f, "bpf_prog_22_new", "[bpf]");
	assert_ok(kernel_symbols_add(f->k, 0xffffffffc0200010, 16, "bpf_prog_33_over", false));
	expect(f, 0xffffffffc0200018, "bpf_prog_33_over", "[bpf]");
	assert_ok(kernel_symbols_add(f->k, UINT64_MAX - 2, 64, "wraps", false));
}

static void kernel__announcements_are_capped(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 10000; i++)
		assert_ok(kernel_symbols_add(
			f->k, 0xffffffffd0000000 + i * 64, 64, "bpf_prog_many", i < 9000));
	expect(f, 0xffffffffd0000000 + 9999 * 64, "bpf_prog_many", "[bpf]");
}

static void kernel__kptr_restrict_is_seen(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf zeroes = BUF_INIT(1 << 20);
	struct kernel_name n;

	for (unsigned i = 0; i < 8000; i++)
		buf_printf(&zeroes, "0000000000000000 T function_%u\n", i);
	put(f->kallsyms, zeroes.data);
	assert_true(ask(f, 0xffffffff81001004, &n) < zeroes.len); // stops early
	assert_null(n.name);
	assert_true(kernel_symbols_hidden(f->k));
	put(f->kallsyms, table);
	expect(f, 0xffffffff81001004, "do_thing", "[kernel.kallsyms]");
	assert_false(kernel_symbols_hidden(f->k));
}

static void kernel__a_line_without_end(void **state)
{
	struct fixture *f = *state;
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	buf_append_str(&text, "ffffffff81000000 T before\n");
	while (text.len < 200000)
		buf_append_str(&text, "ffffffff81001000 T x");
	buf_append_str(&text, "\nffffffff81001000 T after\n");
	put(f->kallsyms, text.data);
	expect(f, 0xffffffff81001004, "after", "[kernel.kallsyms]");
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(kernel__names),
		CASE(kernel__data_ends_a_function),
		CASE(kernel__a_batch_is_one_pass_and_cached),
		CASE(kernel__module_change_forgets_modules),
		CASE(kernel__modules_out_of_order),
		CASE(kernel__the_table_is_read_once),
		CASE(kernel__announced_text_outlives_its_end),
		CASE(kernel__announcements_are_capped),
		CASE(kernel__kptr_restrict_is_seen),
		CASE(kernel__a_line_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

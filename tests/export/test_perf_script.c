/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of `perf script` and both dialects of folding, on vectors of
 * gprofiler-agent.md 3.9 and D.5 and runtime-and-memory-anchors.md C1.3; and that a tiny cap, which
 * sends everything through sorted runs, changes nothing. */
#include "tests/harness.h"

#include <sys/mman.h>

#include "base/fs.h"
#include "export/fold.h"
#include "export/fold_perf.h"

#define K "([kernel.kallsyms])"

struct answer {
	char *text;
	struct fold_perf_stats stats;
	uint64_t complaints;
};

static struct answer folded(const char *in, size_t len, const struct fold_perf_options *options)
{
	struct text_complaints complaints = {.name = "test", .quiet = true};
	struct answer a = {0};
	struct text_reader reader;
	int fd = memfd_create("in", MFD_CLOEXEC);
	size_t size;
	FILE *out = open_memstream(&a.text, &size);

	assert_ok(fs_write_full(fd, in, len));
	lseek(fd, 0, SEEK_SET);
	assert_ok(text_reader_init(&reader, fd, 1 << 20));
	assert_ok(fold_perf_script(&reader, out, options, &complaints, &a.stats));
	text_reader_deinit(&reader);
	fclose(out);
	close(fd);
	a.complaints = complaints.count;
	return a;
}

static void assert_folded(
	const char *in, const struct fold_perf_options *options, const char *expected)
{
	struct answer a = folded(in, strlen(in), options);

	assert_string_equal(a.text, expected);
	assert_int_equal(a.complaints, 0);
	free(a.text);
}

static const struct fold_perf_options ours;
static const struct fold_perf_options theirs = {.flamegraph = true};

static void perf_script__our_form(void **state)
{
	(void)state;
	assert_folded("# comment\nbash 77/77 [003] 12.345678: 1 cycles:\n"
		      "\tffffffff81 bar+0x1f " K
		      "\n\t40 foo+0x2 (/bin/bash)\n\t41 main (/bin/bash)\n",
		&ours, "bash;main;foo;bar_[k] 1");
	// Where the reference has bugs: operator+ stays whole, modules are kernel, a user's path is not.
	assert_folded("a b 1/2 1.5: cycles:u:\n\t1 operator+ (/x/kernel/lib.so)\n"
		      "\t2 nf+0x3 ([nf_conntrack])\n\t3 v ([vdso])\n\n",
		&ours, "a b;v;nf_[k];operator+ 1");
	assert_folded(
		"x 1/1 [0] 1.0: e:\n\t1 [unknown] (/lib/libudev.so (deleted))\n"
		"\t2 [unknown] ([unknown])\n\t3 [unknown] ([vdso])\n\t4 f(int) const (/a (b)/c)\n",
		&ours, "x;f(int) const;(vdso);[unknown];(/lib/libudev.so (deleted)) 1");
	// A sample without frames is dropped, samples of the same text are summed.
	assert_folded("x 1/1 1.0: e:\n\nx 1/1 1.0: e:\n\t1 f (a)\n\ny 1 1.0: e:\n\t1 f (a)\n\n"
		      "x 2/2 1.0: e:\r\n\t9 f+0x9 (a)\r\n\r\n",
		&ours, "x;f 2\ny;f 1");
	assert_folded("swapper -1/-1 [001] 5.0: 10 cycles:ppp:\n\tffffffff9 idle " K "\n", &ours,
		"swapper;idle_[k] 1");
}

static void perf_script__comms_with_numbers_and_spaces(void **state)
{
	(void)state;
	assert_folded("my 12 th 34/56 [000] 1.0: e:\n\t1 f (a)\n", &ours, "my 12 th;f 1");
	assert_folded("my 12 th 34/56 [000] 1.0: e:\n\t1 f (a)\n", &theirs, "my;f 1\n");
	assert_folded("         dd 77 [001] d..2.  12.5: cpu-clock: 7f00 f (/bin/dd)\n"
		      "   Web Cont 78 [001]  12.5: cpu-clock: 7f00 f (/bin/w)\n",
		&ours, "Web Cont;f 1\ndd;f 1");
	assert_folded("99 5/5 1.0: e:\n\t1 f (a)\n", &ours, "99;f 1");
	// Samples without callchains, one after the other, whose comm looks like an address.
	assert_folded("  dd 77 [001] 1.5: probe:x: (f)\n  dd 77 [001] 1.5: probe:x: (f)\n", &theirs,
		"dd 2\n");
}

static void perf_script__flamegraph_form(void **state)
{
	static const struct fold_perf_options all = {
		.flamegraph = true, .pid = true, .tid = true, .kernel = true, .jit = true};
	static const struct fold_perf_options addrs = {.flamegraph = true, .addrs = true};

	(void)state;
	assert_folded("java 7/8 1.0: 100 cycles:\n"
		      "\t1 La/b;.f(I)V+0x1 (/tmp/perf-7.map)\n\t2 x->y::z->w (/tmp/perf-7.map)\n"
		      "\t3 read+0x10 " K
		      "\n\t4 s (/usr/lib/debug/vmlinux)\n\t5 t (/x/vmlinux-6.1)\n\n",
		&all, "java-7/8;t;s_[k];read_[k];x_[j];y::z_[i];w_[i];a/b:.f_[j] 100\n");
	assert_folded(
		"a b 5 1.0: 3 e:\n\t1 net/http.(*Client).Do (/g)\n"
		"\t2 (anonymous namespace)::q(int) (/g)\n\t3 n::(anonymous namespace)::r<int>(x) (/g)\n"
		"\t4 \"quo'ted\" (/g)\n\n",
		&theirs, "a_b;quoted;n::(anonymous namespace)::r<int>;net/http.(*Client).Do 3\n");
	assert_folded("c 5 1.0: e:\n\t7f01 [unknown] (/lib/libc.so.6)\n\t0 [unknown] ([unknown])\n",
		&theirs, "c;[unknown];[libc.so.6] 1\n");
	assert_folded(
		"c 5 1.0: e:\n\t7f01 [unknown] (/lib/libc.so.6)\n\t7f02 [unknown] (/lib/libc.so.6)\n"
		"\t0 [unknown] ([unknown])\n\t9 g (a)\n",
		&addrs, "c;g;[unknown <0>];[libc.so.6 <7f02>];[libc.so.6 <7f01>] 1\n");
	assert_folded("c 5 1.0: e:\n\t1 f (a)\n", &all, "c-?/5;f 1\n");
}

static void perf_script__one_event_in_flamegraph_form(void **state)
{
	static const char in[] =
		"a 1/1 1.0: 5 cycles:u:\n\t1 f (x)\n\nb 1/1 1.0: 7 faults:\n\t1 g (x)\n\n"
		"a 1/1 1.0: 2 cycles:u:\n\t1 f (x)\n\n";
	static const struct fold_perf_options faults = {.flamegraph = true, .event = "faults"};
	static const struct fold_perf_options cycles = {.flamegraph = true, .event = "cycles"};

	(void)state;
	assert_folded(in, &theirs, "a;f 7\n");
	assert_folded(in, &faults, "b;g 7\n");
	assert_folded(in, &cycles, "a;f 7\n");
	assert_folded(in, &ours, "a;f 2\nb;g 1");
}

static void perf_script__malformed_text_costs_its_own_sample_only(void **state)
{
	static const char in[] = "a 1/1 1.0: e:\n\t1 f (x)\n\n"
				 "b 1/1 1.0: e:\n\t1 g (x)\n\tgarbage\n\t2 h (x)\n\n"
				 "no header at all\n\t1 z (x)\n\n"
				 "c 1/1 1.0: e:\n\t1 i (x)\n\t2 j (x)\n";
	struct answer a = folded(in, strlen(in), &ours);

	(void)state;
	assert_string_equal(a.text, "a;f 1\nc;j;i 1");
	assert_int_equal(a.complaints, 2);
	assert_int_equal(a.stats.malformed, 1);
	free(a.text);
	a = folded(in, strlen(in), &theirs);
	assert_string_equal(a.text, "a;f 1\nb;h;g 1\nc;j;i 1\n");
	free(a.text);
	// Side-band records and source lines are no mistakes.
	assert_folded(
		"a 1/1 1.0: e:\n\t7f0001 f (x)\n  main.c:12\n\t7f0002 g (x)\n  libc.so.6[29d90]\n\n"
		"perf 0 [000] 0.0: PERF_RECORD_MMAP -1/0: [0xff(0x1) @ 0]: x [kernel]_text\n",
		&ours, "a;g;f 1");
}

static void perf_script__order_is_bytewise_by_stack(void **state)
{
	(void)state;
	assert_folded(
		"x 1/1 1.0: e:\n\t1 b (a)\n\nx 1/1 1.0: e:\n\t1 z (a)\n\t1 b (a)\n\n"
		"x 1/1 1.0: e:\n\t1 b c (a)\n\nx 1/1 1.0: e:\n\t1 b! (a)\n\nx 1/1 1.0: e:\n\t1 bb (a)\n\n"
		"x 1/1 1.0: e:\n\t1 z (a)\n\t1 b! (a)\n\n",
		&ours, "x;b 1\nx;b c 1\nx;b! 1\nx;b!;z 1\nx;b;z 1\nx;bb 1");
}

/* A stream with many distinct stacks, names with every sorting trap, and repeats. */
static void generate(struct buf *b, unsigned samples)
{
	static const char *const tails[] = {
		"", " x", "!", "<a, b>", ":", "zz", "_long_name_of_a_function"};
	uint64_t s = 88172645463325252ull;

	for (unsigned i = 0; i < samples; i++) {
		unsigned depth = 1 + (unsigned)(s % 40);

		buf_printf(b, "comm %c %u/%u [000] %u.000001: 10 cycles:\n", 'a' + (char)(s % 7),
			i % 9, i % 33, i);
		for (unsigned d = 0; d < depth; d++) {
			s ^= s << 13, s ^= s >> 7, s ^= s << 17;
			buf_printf(b, "\t%llx fn%u%s+0x%x (%s)\n",
				(unsigned long long)(s & 0xffffffffffff), (unsigned)(s >> 20) % 200,
				tails[(s >> 40) % ARRAY_SIZE(tails)], (unsigned)s & 0xff,
				s >> 60 & 1 ? "/lib/a.so" : "[kernel.kallsyms]");
		}
		buf_append_char(b, '\n');
	}
	assert_false(b->bad);
}

static void fold__a_tiny_cap_changes_nothing(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT(64 << 20);
	struct fold_perf_options options = {.cap = 256 << 20};
	struct answer big, small;

	(void)state;
	generate(&in, 9000);
	for (int flamegraph = 0; flamegraph < 2; flamegraph++) {
		options.flamegraph = options.kernel = flamegraph;
		options.cap = 256 << 20;
		big = folded(in.data, in.len, &options);
		assert_int_equal(big.stats.spills, 0);
		options.cap = FOLD_CAP_MIN;
		small = folded(in.data, in.len, &options);
		// More runs than may be open at once: they were merged on the way, too.
		assert_true(small.stats.spills > FOLD_RUNS_MAX);
		assert_string_equal(big.text, small.text);
		assert_int_equal(small.stats.counted, 9000);
		assert_int_equal(small.stats.too_large, 0);
		free(big.text);
		free(small.text);
	}
}

static void fold__a_stack_larger_than_the_cap_is_counted(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT(64 << 20);
	const struct fold_perf_options options = {.cap = FOLD_CAP_MIN};
	struct answer a;

	(void)state;
	buf_append_str(&in, "a 1/1 1.0: e:\n\t1 f (x)\n\na 1/1 1.0: e:\n");
	for (unsigned i = 0; i < 20000; i++)
		buf_printf(&in, "\t%x distinct_function_number_%u (x)\n", i + 1, i);
	buf_append_str(&in, "\na 1/1 1.0: e:\n\t1 f (x)\n\nb 1/1 1.0: e:\n\t1 f (x)\n");
	a = folded(in.data, in.len, &options);
	assert_string_equal(a.text, "a;f 2\nb;f 1");
	assert_int_equal(a.stats.too_large, 1);
	assert_int_equal(a.stats.counted, 3);
	free(a.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(perf_script__our_form),
		cmocka_unit_test(perf_script__comms_with_numbers_and_spaces),
		cmocka_unit_test(perf_script__flamegraph_form),
		cmocka_unit_test(perf_script__one_event_in_flamegraph_form),
		cmocka_unit_test(perf_script__malformed_text_costs_its_own_sample_only),
		cmocka_unit_test(perf_script__order_is_bytewise_by_stack),
		cmocka_unit_test(fold__a_tiny_cap_changes_nothing),
		cmocka_unit_test(fold__a_stack_larger_than_the_cap_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

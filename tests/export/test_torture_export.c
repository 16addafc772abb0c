/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once while a window is filled, named and written in each
 * format. What is reported as written is what an untroubled run writes. */
#include "tests/harness.h"

#include <errno.h>
#include <unistd.h>

#include "base/fs.h"
#include "export/export.h"
#include "profile/naming.h"
#include "profile/window.h"
#include "tests/torture.h"

#define TEXT_MAX 65536

enum format { FORMAT_COLLAPSED, FORMAT_FLAMEGRAPH, FORMAT_PPROF, FORMAT_SPEEDSCOPE };

struct output {
	enum format format;
	char kallsyms[40];
	char whole[TEXT_MAX]; // of an untroubled run
	size_t len;
	bool known;
};

static int fill(struct window *w)
{
	int r = 0;

	for (uint64_t i = 0; i < 40 && !r; i++) {
		struct window_context context = {.uid = 1, .tid = (uint32_t)i % 3};
		struct window_frame frames[] = {
			{.space = SYMBOL_PROCESS, .owner = 1, .addr = 0x1000 + i % 5},
			{.space = SYMBOL_KERNEL, .addr = 0xffffffff81000010 + i % 7},
		};

		// A thread's name may be done without.
		context.thread_comm = window_comm(w, "worker");
		w->now = (i + 1) * 20000000;
		r = context.thread_comm ? window_add(w, &context, frames, ARRAY_SIZE(frames), 10)
					: -ENOMEM;
	}
	return r;
}

static int name(struct process_table *t, struct module_table *m, const char *kallsyms,
	const struct window *w, struct profile *p)
{
	struct resolver_config config = {.kallsyms = kallsyms, .debug_dirs = "/nowhere"};
	struct resolver resolver;
	struct naming naming = {
		.resolver = &resolver, .processes = t, .modules = m, .event = "cpu-clock"};
	int r = resolver_init(&resolver, m, t, &config);

	if (!r)
		r = naming_run(&naming, w, p);
	resolver_deinit(&resolver);
	return r;
}

static int make(const char *kallsyms, struct profile *p)
{
	struct module_table modules;
	struct process_table t;
	struct window w;
	int r;

	module_table_init(&modules, 16, 4);
	window_init(&w, 1000);
	r = process_table_init(&t, &modules, "/nonexistent");
	if (!r)
		r = fill(&w);
	if (!r)
		r = name(&t, &modules, kallsyms, &w, p);
	window_deinit(&w);
	process_table_deinit(&t);
	module_table_deinit(&modules);
	return r;
}

static int write_format(FILE *f, enum format format, const struct profile *p)
{
	const struct export_collapsed_options collapsed = {.contexts = true};
	const struct export_flamegraph_options flamegraph = {.pid = true};

	switch (format) {
	case FORMAT_COLLAPSED:
		return export_collapsed(f, p, &collapsed);
	case FORMAT_FLAMEGRAPH:
		return export_flamegraph(f, p, &flamegraph);
	case FORMAT_PPROF:
		return export_pprof(f, p);
	case FORMAT_SPEEDSCOPE:
		return export_speedscope(f, p);
	}
	return -EINVAL;
}

static bool run(struct output *o)
{
	static char text[TEXT_MAX];
	struct profile p;
	FILE *f = fmemopen(text, sizeof(text), "w");
	long len = 0;
	int r;

	assert_non_null(f);
	profile_init(&p, 10000, 1 << 20);
	r = make(o->kallsyms, &p);
	if (!r)
		r = write_format(f, o->format, &p);
	fflush(f);
	len = ftell(f);
	fclose(f);
	profile_deinit(&p);
	if (!o->known) {
		o->known = true;
		o->len = (size_t)len;
		memcpy(o->whole, text, o->len);
		return r == 0 && len > 20;
	}
	return r < 0 || ((size_t)len == o->len && !memcmp(text, o->whole, o->len));
}

static void torture_format(enum format format)
{
	static const char symbols[] = "ffffffff81000000 T do_thing\nffffffff81001000 T end\n";
	struct output *o = calloc(1, sizeof(*o));
	unsigned long failed;
	int fd;

	assert_non_null(o);
	o->format = format;
	snprintf(o->kallsyms, sizeof(o->kallsyms), "/tmp/test_torture.XXXXXX");
	fd = mkstemp(o->kallsyms);
	assert_ok(fs_write_full(fd, symbols, sizeof(symbols) - 1));
	close(fd);
	assert_true(run(o));
	failed = torture_each(run(o));
	printf("# %lu calls failed\n", failed);
	assert_true(failed > 30);
	unlink(o->kallsyms);
	free(o);
}

static void torture__collapsed(void **state)
{
	(void)state;
	torture_format(FORMAT_COLLAPSED);
}

static void torture__flamegraph(void **state)
{
	(void)state;
	torture_format(FORMAT_FLAMEGRAPH);
}

static void torture__pprof(void **state)
{
	(void)state;
	torture_format(FORMAT_PPROF);
}

static void torture__speedscope(void **state)
{
	(void)state;
	torture_format(FORMAT_SPEEDSCOPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__collapsed),
		cmocka_unit_test(torture__flamegraph),
		cmocka_unit_test(torture__pprof),
		cmocka_unit_test(torture__speedscope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

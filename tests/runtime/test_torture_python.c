/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once while a living Python is found, read and named. */
#include "tests/harness.h"

#include <errno.h>

#include "base/clock.h"
#include "runtime/reader.h"
#include "runtime/runtime.h"
#include "tests/runtime/live_python.h"
#include "tests/torture.h"

struct seen {
	struct runtime_set *set;
	struct process *p;
	bool inner;
};

static int look(void *arg, const struct runtime_thread *t)
{
	struct seen *s = arg;

	for (size_t i = 0; i < t->nwords; i += runtime_frame_words(REC_FRAME_PYTHON)) {
		struct runtime_frame f;
		int r = runtime_name_frame(s->set, s->p, t->words + i, &f);

		if (r)
			return r;
		s->inner |= strcmp(runtime_text(s->set, f.name), "inner") == 0;
	}
	return 0;
}

/* True if the stack was read and named, or it is said that it was not. (A line may be missing.) */
static bool run(uint32_t pid)
{
	struct module_table modules;
	struct process_table processes;
	struct runtime_config config = {
		.processes = &processes, .python = true, .python_versions = true};
	struct seen s = {.set = NULL};
	int r;

	module_table_init(&modules, 1024, 16);
	r = process_table_init(&processes, &modules, "/proc");
	if (!r)
		r = process_table_scan_pid(&processes, pid);
	if (!r)
		r = runtime_set_new(&config, &s.set);
	s.p = r ? NULL : process_table_find(&processes, pid);
	if (s.p)
		r = runtime_read_threads(
			s.set, s.p, &(struct runtime_visitor){.fn = look, .arg = &s});
	runtime_set_free(s.set);
	process_table_deinit(&processes);
	module_table_deinit(&modules);
	return s.inner || r || !s.p;
}

static void torture__read_python_under_failing_allocations(void **state)
{
	struct live_python python;
	unsigned long failed;

	(void)state;
	if (!live_python_start(&python)) {
		live_python_end(&python);
		test_skip("no python3 in the path");
	}
	failed = torture_each(run((uint32_t)python.pid));
	printf("# %lu allocations failed\n", failed);
	live_python_end(&python);
	assert_true(failed > 20);
}

struct reading {
	struct module_table modules;
	struct process_table processes;
	struct runtime_set *set;
	unsigned stacks;
};

static bool only_this(void *arg, const struct process *p, bool *ret_asked_for)
{
	*ret_asked_for = true;
	return p->pid == *(const uint32_t *)arg;
}

static int count(void *arg, const struct reader_sample *s)
{
	struct reading *r = arg;

	r->stacks += s->nwords != 0;
	return 0;
}

/* True if a stack came, or the reader said that it has no memory. */
static bool read_by_timer(struct reading *r, uint32_t pid)
{
	const struct reader_config config = {
		.who = {.processes = &r->processes,
			.set = r->set,
			.wanted = only_this,
			.arg = &pid},
		.hz = READER_HZ_MAX,
		.period_ns = 1,
		.sample = count,
		.arg = r,
	};
	uint64_t end = clock_mono_ns() + 20 * NSEC_PER_SEC;
	struct reader *reader = NULL;
	int e = reader_new(&config, &reader);

	r->stacks = 0;
	if (!e)
		e = reader_window(reader);
	while (!e && !r->stacks && clock_mono_ns() < end) {
		uint64_t now = clock_mono_ns(), next = reader_next(reader);

		clock_sleep_ns(next > now ? next - now : 0);
		e = reader_turn(reader);
	}
	reader_free(reader);
	return r->stacks || e == -ENOMEM;
}

static void torture__reader_under_failing_allocations(void **state)
{
	struct runtime_config runtimes = {.processes = NULL, .python = true};
	struct reading r = {.stacks = 0};
	struct live_python python;
	unsigned long failed;

	(void)state;
	if (!live_python_run(&python, LIVE_PYTHON_SPINS)) {
		live_python_end(&python);
		test_skip("no python3 in the path");
	}
	module_table_init(&r.modules, 1024, 16);
	assert_ok(process_table_init(&r.processes, &r.modules, "/proc"));
	assert_ok(process_table_scan_pid(&r.processes, (uint32_t)python.pid));
	runtimes.processes = &r.processes;
	assert_ok(runtime_set_new(&runtimes, &r.set));
	failed = torture_each(read_by_timer(&r, (uint32_t)python.pid));
	printf("# %lu allocations failed\n", failed);
	runtime_set_free(r.set);
	process_table_deinit(&r.processes);
	module_table_deinit(&r.modules);
	live_python_end(&python);
	assert_true(failed > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__read_python_under_failing_allocations),
		cmocka_unit_test(torture__reader_under_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

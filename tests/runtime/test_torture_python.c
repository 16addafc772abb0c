/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once while a living Python is found, read and named. */
#include "tests/harness.h"

#include <errno.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__read_python_under_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

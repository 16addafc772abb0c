/* SPDX-License-Identifier: Apache-2.0 */
/* A living interpreter: what the source is told of it, and which of its frames are believed. */
#include "tests/harness.h"

#include <errno.h>

#include "bpf/abi/python.h"
#include "runtime/runtime.h"
#include "tests/runtime/live_python.h"

struct fake {
	struct capture_source source;
	struct py_layout layouts[PY_LAYOUTS];
	unsigned nlayouts, nset, nremoved;
	struct py_process process;
	uint32_t pid;
	int refuse; // what set_runtime returns
};

static int set_runtime(struct capture_source *s, uint8_t kind, uint32_t pid, const void *process)
{
	struct fake *f = (struct fake *)s;

	assert_int_equal(kind, REC_FRAME_PYTHON);
	assert_int_equal(pid, f->pid);
	if (!process) {
		f->nremoved++;
		return 0;
	}
	f->nset++;
	memcpy(&f->process, process, sizeof(f->process));
	assert_true(f->process.layout < f->nlayouts);
	return f->refuse;
}

static int set_layout(struct capture_source *s, uint8_t kind, uint32_t index, const void *layout)
{
	struct fake *f = (struct fake *)s;

	assert_int_equal(kind, REC_FRAME_PYTHON);
	assert_int_equal(index, f->nlayouts);
	memcpy(&f->layouts[f->nlayouts++], layout, sizeof(f->layouts[0]));
	return 0;
}

struct live {
	struct live_python python;
	struct module_table modules;
	struct process_table processes;
	struct capture_source_ops ops;
	struct fake fake;
	struct runtime_set *set;
	struct process *p;
	uint64_t words[8];
	size_t nwords;
	struct runtime_visitor visitor;
};

static int keep(void *arg, const struct runtime_thread *t)
{
	struct live *l = arg;

	assert_int_equal(t->tid, l->python.pid);
	assert_false(t->torn);
	assert_int_equal(t->nwords, 3 * PY_FRAME_WORDS);
	memcpy(l->words, t->words, t->nwords * sizeof(uint64_t));
	l->nwords = t->nwords;
	return 0;
}

static int setup(void **state)
{
	struct live *l = calloc(1, sizeof(*l));
	struct runtime_config config = {.python = true, .python_versions = true};

	assert_non_null(l);
	*state = l;
	l->visitor = (struct runtime_visitor){.fn = keep, .arg = l};
	if (!live_python_start(&l->python))
		return 0;
	l->ops = (struct capture_source_ops){
		.set_runtime = set_runtime, .set_runtime_layout = set_layout};
	l->fake.source.ops = &l->ops;
	l->fake.pid = (uint32_t)l->python.pid;
	module_table_init(&l->modules, 1024, 16);
	assert_ok(process_table_init(&l->processes, &l->modules, "/proc"));
	config.source = &l->fake.source;
	config.processes = &l->processes;
	assert_ok(runtime_set_new(&config, &l->set));
	assert_ok(process_table_scan_pid(&l->processes, l->fake.pid));
	l->p = process_table_find(&l->processes, l->fake.pid);
	assert_non_null(l->p);
	return 0;
}

static int teardown(void **state)
{
	struct live *l = *state;

	live_python_end(&l->python);
	if (l->set) {
		runtime_set_free(l->set);
		process_table_deinit(&l->processes);
		module_table_deinit(&l->modules);
	}
	free(l);
	return 0;
}

static struct live *ready(void **state)
{
	struct live *l = *state;

	if (!l->set)
		test_skip("no python3 in the path");
	return l;
}

static void names__published(void **state)
{
	struct live *l = ready(state);
	struct py_process first;

	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	assert_int_equal(l->fake.nset, 1);
	assert_true(l->fake.process.nranges >= 1);
	assert_int_not_equal(l->fake.process.tstate_by, PY_TSTATE_NONE);
	assert_int_not_equal(l->fake.process.slot_by, PY_SLOT_NONE);
	for (unsigned i = 0; i < l->fake.process.nranges; i++)
		assert_non_null(process_mapping(l->p, l->fake.process.eval[i].start));
	// Shown again, nothing changes; forgotten, it is taken back once.
	first = l->fake.process;
	for (size_t i = 0; i < l->p->maps.len; i++) {
		const struct mapping m = l->p->maps.data[i];

		if (m.kind == MAPPING_FILE && !process_open_module(&l->processes, l->p, &m))
			assert_ok(runtime_meet(l->set, l->p, &m));
	}
	assert_int_equal(l->fake.nset, 1);
	assert_memory_equal(&first, &l->fake.process, sizeof(first));
	runtime_forget(l->set, l->p);
	assert_int_equal(l->fake.nremoved, 1);
	runtime_forget(l->set, l->p);
	assert_int_equal(l->fake.nremoved, 1);
}

static void names__refused_by_source(void **state)
{
	struct live *l = ready(state);

	l->fake.refuse = -ENOSPC;
	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	assert_int_equal(l->nwords, 3 * PY_FRAME_WORDS);
	runtime_forget(l->set, l->p);
	assert_int_equal(l->fake.nremoved, 0);
}

static void names__believed(void **state)
{
	struct live *l = ready(state);
	struct runtime_frame f;

	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	assert_ok(runtime_name_frame(l->set, l->p, l->words, &f));
	assert_string_equal(runtime_text(l->set, f.name), "inner");
	assert_string_equal(runtime_text(l->set, f.file), "<string>");
	assert_int_equal(f.start_line, 2);
	assert_int_equal(f.line, 3);
	assert_false(f.stale);
	assert_int_equal(f.package, 0);
	// The kernel could not read the code object: no checksum, and none is asked for.
	l->words[1] = PY_FRAME_REST(0, PY_FRAME_LASTI(l->words[1]));
	assert_ok(runtime_name_frame(l->set, l->p, l->words, &f));
	assert_string_equal(runtime_text(l->set, f.name), "inner");
}

static bool want_none(void *arg, uint32_t tid)
{
	struct live *l = arg;

	assert_int_equal(tid, l->python.pid);
	return false;
}

static void names__wanted(void **state)
{
	struct live *l = ready(state);

	l->visitor.want = want_none;
	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	assert_int_equal(l->nwords, 0);
	l->visitor.want = NULL;
	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	assert_int_equal(l->nwords, 3 * PY_FRAME_WORDS);
}

static void names__stale(void **state)
{
	struct live *l = ready(state);
	struct runtime_frame f;
	uint64_t word;

	assert_ok(runtime_read_threads(l->set, l->p, &l->visitor));
	// Another object stands there: the checksum tells.
	word = PY_FRAME_REST(PY_FRAME_COOKIE(l->words[1]) ^ 1, 0);
	assert_ok(runtime_name_frame(l->set, l->p, (uint64_t[]){l->words[0], word}, &f));
	assert_true(f.stale);
	assert_string_equal(runtime_text(l->set, f.name), "[stale Python frame]");
	assert_int_equal(f.line, 0);
	// No object at all.
	word = REC_FRAME(REC_FRAME_PYTHON, 0, 0, 0x1000);
	assert_ok(runtime_name_frame(l->set, l->p, (uint64_t[]){word, l->words[1]}, &f));
	assert_true(f.stale);
	// The process ended: what was named keeps its name, the rest is stale.
	assert_ok(runtime_name_frame(l->set, l->p, l->words, &f));
	kill(l->python.pid, SIGKILL);
	waitpid(l->python.pid, NULL, 0);
	l->python.pid = 0;
	assert_ok(runtime_name_frame(l->set, l->p, l->words, &f));
	assert_string_equal(runtime_text(l->set, f.name), "inner");
	assert_ok(runtime_name_frame(l->set, l->p, l->words + PY_FRAME_WORDS, &f));
	assert_true(f.stale);
	assert_int_not_equal(runtime_read_threads(l->set, l->p, &l->visitor), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names__published, setup, teardown),
		cmocka_unit_test_setup_teardown(names__refused_by_source, setup, teardown),
		cmocka_unit_test_setup_teardown(names__believed, setup, teardown),
		cmocka_unit_test_setup_teardown(names__wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(names__stale, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

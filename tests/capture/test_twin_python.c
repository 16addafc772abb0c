/* SPDX-License-Identifier: Apache-2.0 */
/* One walker of Python frames, two builds: what the sampling program read of the interpreter at a sample
 * against what the same code reads on the host from the process that was stopped at that very sample.
 * Word by word equal, for every CPython of this machine. */
#include "tests/capture/twin_harness.h"

#include <glob.h>
#include <poll.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "process/memory.h"
#include "runtime/runtime.h"

static int read_target(const struct twin_target *t, void *dst, size_t len, uint64_t addr)
{
	return process_memory_read(t->pid, addr, dst, len);
}

#define WALK_ENV const struct twin_target *
#define WALK_READ(env, dst, len, addr) read_target((env), (dst), (len), (addr))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "bpf/walk/python.h"
#pragma GCC diagnostic pop

#define FREQUENCY 500
#define SAMPLES 100 // of each interpreter
#define SECONDS_MAX 40
#define PYTHONS_MAX 32

struct twin {
	struct module_table modules;
	struct process_table processes;
	struct capture_source *source; // the real one
	struct capture_source tap; // sees what the runtimes tell it
	struct capture_source_ops tap_ops;
	struct runtime_set *set;
	struct twin_target target;
	struct py_process words; // as published
	struct py_layout layouts[PY_LAYOUTS];
	bool published;
	uint64_t changed; // when they were
	uint64_t tp;
	uint64_t samples, moved, equal, frames, absent;
	unsigned deepest;
};

static struct twin *twin_of(struct capture_source *tap)
{
	return (struct twin *)((char *)tap - offsetof(struct twin, tap));
}

static int tap_runtime(struct capture_source *s, uint8_t kind, uint32_t pid, const void *process)
{
	struct twin *t = twin_of(s);

	if (pid == t->target.pid && kind == REC_FRAME_PYTHON) {
		t->published = process != NULL;
		if (process)
			memcpy(&t->words, process, sizeof(t->words));
		t->changed = clock_mono_ns();
	}
	return t->source->ops->set_runtime(t->source, kind, pid, process);
}

static int tap_layout(struct capture_source *s, uint8_t kind, uint32_t index, const void *layout)
{
	struct twin *t = twin_of(s);

	assert_true(index < PY_LAYOUTS);
	memcpy(&t->layouts[index], layout, sizeof(t->layouts[index]));
	return t->source->ops->set_runtime_layout(t->source, kind, index, layout);
}

/* The thread pointer of the stopped target, which only its registers tell. */
static uint64_t thread_pointer(const struct twin_target *t)
{
	struct user_regs_struct regs = {0};
	pid_t pid = (pid_t)t->pid;
	int status;

	assert_ok((int)ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	assert_ok((int)ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_ok((int)ptrace(PTRACE_GETREGS, pid, NULL, &regs));
	assert_ok((int)ptrace(PTRACE_DETACH, pid, NULL, NULL));
	return regs.fs_base;
}

/* A page that is absent in the interrupt is there for the host: what the kernel could not read of a code
 * object has no checksum, and a chain may end early, which it says. */
static bool same(struct twin *t, uint64_t kernel, uint64_t host)
{
	if (kernel == host)
		return true;
	if (PY_FRAME_COOKIE(kernel) || kernel >> 32 != host >> 32)
		return false;
	t->absent++;
	return true;
}

static bool walk_again(struct twin *t, const struct capture_sample *c)
{
	struct py_walk p = {.proc = t->words, .layout = t->layouts[t->words.layout], .tp = t->tp};
	unsigned at = 0, steps = 0, n = c->rec->runtime_words;
	bool lost = c->rec->flags & REC_F_RUNTIME_LOST;

	py_start(&p);
	while (py_more(&p) && steps++ < 2 * REC_RUNTIME_WORDS_MAX) {
		py_step(&t->target, &p);
		for (unsigned i = 0; i < p.nout; i++, at++) {
			if (at >= n && lost)
				return true;
			if (at < n && same(t, c->runtime[at], p.out[i]))
				continue;
			printf("# sample %llu, word %u of %u: kernel %#llx, host %#llx\n",
				(unsigned long long)t->samples, at, n,
				at < n ? (unsigned long long)c->runtime[at] : 0ull,
				(unsigned long long)p.out[i]);
			return false;
		}
		t->frames += p.nout != 0;
	}
	t->deepest = MAX(t->deepest, n / PY_FRAME_WORDS);
	if (at != n)
		printf("# sample %llu: kernel %u words, host %u\n", (unsigned long long)t->samples,
			n, at);
	return at == n;
}

/* Shows the runtimes the files of the target, once it has its interpreter. */
static void meet(struct twin *t, struct process *p)
{
	for (size_t i = 0; i < p->maps.len && !t->published; i++) {
		struct mapping m = p->maps.data[i];

		if (m.kind == MAPPING_FILE && !process_open_module(&t->processes, p, &m))
			runtime_meet(t->set, p, &m);
	}
}

static int see(void *arg, const struct capture_event *e)
{
	struct twin *t = arg;
	const struct capture_sample *c = &e->sample;
	struct process *p;

	if (e->type != CAPTURE_SAMPLE) {
		process_table_apply(&t->processes, e);
		return 0;
	}
	if (c->rec->pid != t->target.pid || !twin_await_stop(&t->target))
		return 0;
	p = process_table_ensure(&t->processes, t->target.pid, c->rec->comm);
	if (!t->published) {
		meet(t, p);
		return 0;
	}
	if (!c->handoff || e->time < t->changed || !c->rec->runtime_words)
		return 0;
	if (!twin_still_there(&t->target, c)) {
		t->moved++;
		return 0;
	}
	if (!t->tp)
		t->tp = thread_pointer(&t->target);
	t->samples++;
	t->equal += walk_again(t, c);
	return 0;
}

static void open_twin(struct twin *t)
{
	struct capture_config config = {.frequency = FREQUENCY,
		.mode = BPF_UNWIND_SMART,
		.pids = &t->target.pid,
		.npids = 1,
		.python = true,
		.stop_at_sample = true};
	struct runtime_config runtimes = {
		.source = &t->tap, .processes = &t->processes, .python = true};
	char why[CAPTURE_WHY] = "";
	int r;

	module_table_init(&t->modules, 4096, 64);
	assert_ok(process_table_init(&t->processes, &t->modules, "/proc"));
	r = capture_source_bpf_new(&config, &t->source, why);
	if (r)
		printf("# %s\n", why);
	assert_ok(r);
	t->tap_ops = (struct capture_source_ops){
		.name = "tap", .set_runtime = tap_runtime, .set_runtime_layout = tap_layout};
	t->tap.ops = &t->tap_ops;
	assert_ok(runtime_set_new(&runtimes, &t->set));
	assert_ok(process_table_scan_pid(&t->processes, t->target.pid));
	assert_ok(t->source->ops->start(t->source));
}

static void close_twin(struct twin *t)
{
	t->source->ops->stop(t->source);
	if (!t->target.gone) {
		kill((pid_t)t->target.pid, SIGKILL);
		waitpid((pid_t)t->target.pid, NULL, 0);
	}
	runtime_set_free(t->set);
	t->source->ops->free(t->source);
	process_table_deinit(&t->processes);
	module_table_deinit(&t->modules);
}

static void compare(void **state)
{
	static const char program[] =
		"def leaf(n):\n"
		" return sum(i * i for i in range(900)) + len(sorted(range(60), key=lambda x: -x))\n"
		"def f(n):\n"
		" return f(n - 1) if n else leaf(n)\n"
		"while True: f(30)";
	const char *argv[] = {*state, "-S", "-c", program, NULL};
	uint64_t end = clock_mono_ns() + SECONDS_MAX * NSEC_PER_SEC;
	struct twin *t = calloc(1, sizeof(*t));
	int release;

	assert_non_null(t);
	if (!may_watch_machine()) {
		free(t);
		test_skip("the whole machine may not be watched here");
	}
	t->target.pid = (uint32_t)twin_spawn_held(argv, &release);
	open_twin(t);
	assert_int_equal(write(release, "g", 1), 1);
	close(release);
	while (t->samples < SAMPLES && !t->target.gone && clock_mono_ns() < end) {
		struct pollfd fd = {.fd = t->source->poll_fd, .events = POLLIN};

		poll(&fd, 1, 20);
		assert_ok(t->source->ops->drain(t->source, 0, see, t));
		twin_go_on(&t->target);
	}
	close_twin(t);
	printf("# %s: %llu samples (%llu more ran on), %llu equal, %llu frames (deepest %u), %llu "
	       "without checksum\n",
		argv[0], (unsigned long long)t->samples, (unsigned long long)t->moved,
		(unsigned long long)t->equal, (unsigned long long)t->frames, t->deepest,
		(unsigned long long)t->absent);
	assert_true(t->samples >= SAMPLES);
	assert_int_equal(t->equal, t->samples);
	assert_true(t->deepest >= 30);
	assert_true(t->absent * 20 < t->frames);
	free(t);
}

int main(void)
{
	struct CMUnitTest tests[PYTHONS_MAX];
	glob_t found = {0};
	size_t n = 0;

	glob("/usr/bin/python3", 0, NULL, &found);
	glob("~/.pyenv/versions/*/bin/python", GLOB_TILDE | GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc && n < PYTHONS_MAX; i++) {
		char *name = NULL;

		if (access(found.gl_pathv[i], X_OK))
			continue;
		if (asprintf(&name, "twin_python__%s", found.gl_pathv[i]) < 0)
			return 1;
		tests[n++] = (struct CMUnitTest){
			.name = name, .test_func = compare, .initial_state = found.gl_pathv[i]};
	}
	return _cmocka_run_group_tests("twin_python", tests, n, NULL, NULL);
}

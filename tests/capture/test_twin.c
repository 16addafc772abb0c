/* SPDX-License-Identifier: Apache-2.0 */
/* One walker, two builds: the kernel's walk of a sample against the host's walk of the same process,
 * which the sampling program has stopped at that very sample. Frame by frame equal, and equal in how
 * it ended.
 *
 * Arguments: programs to profile (a workload each, argv[1] of it is its life in seconds). */
#include "tests/harness.h"

#include <poll.h>

#include "base/clock.h"
#include "process/memory.h"
#include "tests/capture/twin_harness.h"
#include "unwind/native.h"
#include "unwind/unwind.h"

#define FREQUENCY 500
#define SAMPLES 150 // of each program
#define SECONDS_MAX 30
#define PROGRAMS_MAX 32
#define STEPS_MAX (REC_USER_WORDS_MAX + 1)

struct twin {
	struct module_table modules;
	struct process_table processes;
	struct capture_source *source;
	struct unwind *unwind;
	struct unwind_result *result;
	struct twin_target target;
	enum bpf_unwind_mode mode;
	uint64_t changed; // when the tables were last written
	uint64_t samples, moved, equal, frames, complete, handoffs, finished, marks[8];
	uint64_t outcomes[REC_OUT_MAX];
	unsigned deepest;
};

struct program {
	const char *name;
	const char *argv[6];
	enum bpf_unwind_mode mode;
};

static int publish(void *arg, struct process *p)
{
	struct twin *t = arg;

	unwind_update_process(t->unwind, p);
	t->changed = clock_mono_ns();
	return 0;
}

static int read_target(void *arg, void *dst, uint32_t len, uint64_t addr)
{
	struct twin *t = arg;

	return process_memory_read(t->target.pid, addr, dst, len);
}

static void say_difference(const struct twin *t, const struct capture_sample *c, unsigned at,
	const struct native_frame *f, const char *what)
{
	printf("# pid %u, sample %llu: %s at frame %u of %u: kernel %#llx, host %#llx (mark %u); "
	       "outcome %u reason %u flags %u, pc %#llx\n",
		t->target.pid, (unsigned long long)t->samples, what, at, c->rec->user_words,
		at < c->rec->user_words ? (unsigned long long)c->user[at] : 0ull,
		(unsigned long long)f->regs.r[REC_REG_X86_IP], f->mark, c->rec->outcome,
		c->rec->reason, c->rec->flags,
		(unsigned long long)c->handoff->regs[REC_REG_X86_IP]);
}

/* Walks from the same registers, over the memory of the stopped target and the same tables. */
static bool walk_again(struct twin *t, const struct process *p, const struct capture_sample *c)
{
	struct native_host host = {.tables = &t->source->tables,
		.first = p->unwind_slot ? p->unwind_slot - 1 : 0,
		.count = p->unwind_count,
		.mode = t->mode,
		.read = read_target,
		.arg = t};
	struct native_frame f = {.exact = true, .mark = REC_MARK_LEAF};
	enum native_host_result r = NATIVE_HOST_MORE;
	enum rec_reason why = REC_WHY_NONE;
	unsigned n = 0;

	memcpy(f.regs.r, c->handoff->regs, sizeof(f.regs.r));
	f.regs.valid = (uint32_t)c->handoff->valid;
	while (r == NATIVE_HOST_MORE && n < STEPS_MAX) {
		uint64_t word =
			REC_FRAME(REC_FRAME_NATIVE, f.mark, f.exact, f.regs.r[REC_REG_X86_IP]);
		struct native_frame before = f;

		r = native_host_step(&host, &f, &why);
		// The host may page in what the kernel must leave absent.
		if (n == c->rec->user_words && c->rec->reason == REC_WHY_STACK_READ)
			return true;
		// The frame that is handed over is user space's to emit.
		if (r == NATIVE_HOST_ASK)
			break;
		if (n >= c->rec->user_words || c->user[n] != word) {
			say_difference(t, c, n, &before, "frames differ");
			return false;
		}
		t->marks[before.mark & 7]++;
		n++;
	}
	t->frames += n;
	t->deepest = MAX(t->deepest, n);
	if (n != c->rec->user_words) {
		say_difference(t, c, n, &f, "lengths differ");
		return false;
	}
	// An exec was learnt of with the sample itself: the kernel had the old mappings, we have none.
	if (r == NATIVE_HOST_ASK && c->rec->outcome == REC_OUT_HANDOFF && !p->unwind_slot)
		return true;
	if ((r == NATIVE_HOST_END) != (c->rec->outcome == REC_OUT_COMPLETE) ||
		(r == NATIVE_HOST_ASK) != (c->rec->outcome == REC_OUT_HANDOFF) ||
		(r != NATIVE_HOST_END && why != c->rec->reason)) {
		say_difference(t, c, n, &f, "ends differ");
		return false;
	}
	return true;
}

/* What a session does with a hand-over: the tables it lacked are there for the next sample. */
static void finish(struct twin *t, struct process *p, const struct capture_sample *c)
{
	struct rec_sample rec = *c->rec;
	struct capture_sample whole = *c;

	rec.user_words = 0;
	rec.handoff_exact = 1;
	rec.handoff_mark = REC_MARK_LEAF;
	whole.rec = &rec;
	assert_ok(unwind_finish(t->unwind, p, &whole, clock_mono_ns(), t->result));
	t->changed = clock_mono_ns();
	t->handoffs++;
	t->finished += t->result->outcome == REC_OUT_COMPLETE;
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
	if (e->pid != t->target.pid && c->rec->pid != t->target.pid)
		return 0;
	if (!twin_await_stop(&t->target))
		return 0;
	p = process_table_ensure(&t->processes, t->target.pid, c->rec->comm);
	// As a child of ours, before it runs the program: not what is tested.
	if (c->handoff && c->rec->outcome != REC_OUT_KERNEL_ONLY) {
		// Two threads may be sampled before the stop: the second saw the tables of the first.
		if (e->time > t->changed && twin_still_there(&t->target, c)) {
			t->samples++;
			t->outcomes[c->rec->outcome]++;
			t->equal += walk_again(t, p, c);
		} else {
			t->moved++;
		}
		process_table_take_dirty(&t->processes, publish, t);
		if (c->rec->outcome == REC_OUT_HANDOFF)
			finish(t, p, c);
	}
	return 0;
}

static void open_twin(struct twin *t, const uint32_t *pid)
{
	struct capture_config config = {.frequency = FREQUENCY,
		.mode = t->mode,
		.pids = pid,
		.npids = 1,
		.stop_at_sample = true};
	char why[CAPTURE_WHY] = "";
	int r;

	t->target.pid = *pid;
	module_table_init(&t->modules, 4096, 64);
	assert_ok(process_table_init(&t->processes, &t->modules, "/proc"));
	t->result = malloc(sizeof(*t->result));
	assert_non_null(t->result);
	r = capture_source_bpf_new(&config, &t->source, why);
	if (r)
		printf("# %s\n", why);
	assert_ok(r);
	assert_ok(unwind_new(t->source, &t->processes, t->mode, &t->unwind));
	assert_ok(process_table_scan_pid(&t->processes, t->target.pid));
	process_table_take_dirty(&t->processes, publish, t);
	assert_ok(t->source->ops->start(t->source));
}

static void close_twin(struct twin *t)
{
	t->source->ops->stop(t->source);
	if (!t->target.gone) {
		kill((pid_t)t->target.pid, SIGKILL);
		waitpid((pid_t)t->target.pid, NULL, 0);
	}
	unwind_free(t->unwind);
	t->source->ops->free(t->source);
	process_table_deinit(&t->processes);
	module_table_deinit(&t->modules);
	free(t->result);
}

static void run_twin(struct twin *t, int release)
{
	uint64_t end = clock_mono_ns() + SECONDS_MAX * NSEC_PER_SEC;

	assert_int_equal(write(release, "g", 1), 1);
	close(release);
	while (t->samples < SAMPLES && !t->target.gone && clock_mono_ns() < end) {
		struct pollfd fd = {.fd = t->source->poll_fd, .events = POLLIN};

		poll(&fd, 1, 20);
		assert_ok(t->source->ops->drain(t->source, 0, see, t));
		process_table_take_dirty(&t->processes, publish, t);
		twin_go_on(&t->target);
	}
}

static void compare(void **state)
{
	const struct program *program = *state;
	struct twin t = {.mode = program->mode};
	uint32_t pid;
	int release;

	if (!may_watch_machine())
		test_skip("the whole machine may not be watched here");
	if (access(program->argv[0], X_OK))
		test_skip("%s is not there", program->argv[0]);
	pid = (uint32_t)twin_spawn_held(program->argv, &release);
	open_twin(&t, &pid);
	run_twin(&t, release);
	close_twin(&t);
	printf("# %s: %llu samples (%llu more ran on), %llu equal, %llu frames (deepest %u; %llu by table, %llu by "
	       "frame pointer, %llu guessed), %llu complete in the kernel, %llu handed over, %llu "
	       "of them completed\n",
		program->name, (unsigned long long)t.samples, (unsigned long long)t.moved,
		(unsigned long long)t.equal, (unsigned long long)t.frames, t.deepest,
		(unsigned long long)t.marks[REC_MARK_TABLE],
		(unsigned long long)t.marks[REC_MARK_FP],
		(unsigned long long)t.marks[REC_MARK_GUESS],
		(unsigned long long)t.outcomes[REC_OUT_COMPLETE], (unsigned long long)t.handoffs,
		(unsigned long long)t.finished);
	assert_true(t.samples >= SAMPLES);
	assert_int_equal(t.equal, t.samples);
	if (program->mode == BPF_UNWIND_FP)
		assert_true(t.marks[REC_MARK_FP] > t.samples);
	else
		assert_true(t.outcomes[REC_OUT_COMPLETE] * 2 >= t.samples);
}

int main(int argc, char **argv)
{
	static const char python[] = "def f(n):\n"
				     " return f(n - 1) if n else sum(i * i for i in range(9000))\n"
				     "while True: f(60)";
	struct program programs[PROGRAMS_MAX] = {
		{"python3", {"/usr/bin/python3", "-c", python}, BPF_UNWIND_SMART},
	};
	struct CMUnitTest tests[PROGRAMS_MAX];
	size_t n = 1;

	for (int i = 1; i < argc && n + 1 < PROGRAMS_MAX; i++) {
		const char *base = strrchr(argv[i], '/');

		base = base ? base + 1 : argv[i];
		programs[n++] = (struct program){base, {argv[i], "60"}, BPF_UNWIND_SMART};
		// Built with frame pointers: by those alone, too.
		if (strstr(base, "_fp"))
			programs[n++] = (struct program){
				"by_frame_pointer", {argv[i], "60"}, BPF_UNWIND_FP};
	}
	for (size_t i = 0; i < n; i++) {
		char *name = NULL;

		if (asprintf(&name, "twin__%s", programs[i].name) < 0)
			return 1;
		tests[i] = (struct CMUnitTest){
			.name = name, .test_func = compare, .initial_state = &programs[i]};
	}
	return _cmocka_run_group_tests("twin", tests, n, NULL, NULL);
}

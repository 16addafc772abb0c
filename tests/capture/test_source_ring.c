/* SPDX-License-Identifier: Apache-2.0 */
/* The ring source on a program whose stack is known. */
#include "tests/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "capture/order.h"
#include "capture/record_file.h"
#include "capture/sample_decode.h"
#include "capture/source_ring.h"
#include "tests/capture/capture_harness.h"

#define DEPTH 12

struct seen {
	uint32_t pid; // of interest
	uint64_t samples, mine, others, outcomes[REC_OUT_MAX];
	uint64_t backwards, last;
	uint64_t in_leaf; // with the instruction pointer in burn_here
	uint64_t deep; // frame-pointer chains that hold the recursion
	uint64_t stack_ok; // stack copies that start at the stack pointer and hold bytes
	uint64_t kernel; // with kernel words
	uint64_t named; // with the thread's name
	uint64_t weight;
	uint64_t events[CAPTURE_EVENTS_MAX];
	uint64_t forks, execs, lost;
};

/* Sections of their own, so that the linker tells where the functions end. */
extern const char __start_leaf_text[], __stop_leaf_text[];
extern const char __start_recurse_text[], __stop_recurse_text[];

/* The leaf of the known stack: burns for some time. */
__attribute__((noinline, section("leaf_text"))) static void burn_here(uint64_t rounds)
{
	for (volatile uint64_t i = 0; i < rounds; i++)
		;
}

__attribute__((noinline, section("recurse_text"))) static int recurse(int depth)
{
	int r;

	if (!depth) {
		burn_here(2000000);
		return 0;
	}
	r = recurse(depth - 1);
	// Keeps the call from becoming a jump.
	__asm__ volatile("" : "+r"(r));
	return r + 1;
}

static bool within(uint64_t pc, const char *start, const char *stop)
{
	return pc >= (uintptr_t)start && pc <= (uintptr_t)stop;
}

static bool in_leaf(uint64_t pc)
{
	return within(pc, __start_leaf_text, __stop_leaf_text);
}

static unsigned frames_in_recurse(const struct capture_sample *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->rec->user_words; i++) {
		uint64_t pc = s->user[i] & REC_FRAME_DATA_MASK;

		assert_int_equal(REC_FRAME_MARK(s->user[i]), i ? REC_MARK_FP : REC_MARK_LEAF);
		n += within(pc, __start_recurse_text, __stop_recurse_text);
	}
	return n;
}

static void see_mine(struct seen *s, const struct capture_sample *c)
{
	s->mine++;
	s->weight += c->rec->weight;
	s->events[c->rec->event]++;
	s->kernel += c->rec->kernel_words > 0;
	s->named += !strcmp(c->rec->comm, "known-stack");
	if (c->handoff) {
		s->in_leaf += in_leaf(c->handoff->regs[REC_REG_X86_IP]);
		s->stack_ok += c->handoff->stack_len >= 512 &&
			       c->handoff->stack_base == c->handoff->regs[REC_REG_X86_SP];
		assert_int_equal(c->handoff->valid & 0x1ffff, 0x1ffff);
	} else if (c->rec->user_words) {
		s->in_leaf += in_leaf(c->user[0] & REC_FRAME_DATA_MASK);
		s->deep += frames_in_recurse(c) >= DEPTH;
	}
}

static int see(void *arg, const struct capture_event *e)
{
	struct seen *s = arg;

	s->backwards += e->time < s->last;
	s->last = e->time;
	s->forks += e->type == CAPTURE_FORK;
	s->execs += e->type == CAPTURE_COMM && e->comm.exec;
	s->lost += e->type == CAPTURE_LOST && e->lost.samples ? e->lost.count : 0;
	if (e->type != CAPTURE_SAMPLE)
		return 0;
	s->samples++;
	s->outcomes[e->sample.rec->outcome]++;
	if (e->pid == s->pid)
		see_mine(s, &e->sample);
	else
		s->others++;
	return 0;
}

/* A child of ours that recurses and burns until it is told to end. */
static pid_t start_known_stack(void)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, "known-stack");
	for (;;)
		recurse(DEPTH);
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* For ns, or longer where the machine leaves the known stack little of its time. */
static int run(struct capture_source *s, struct seen *seen, uint64_t ns, bool draining)
{
	uint64_t end = clock_mono_ns() + ns, last = end + 10 * NSEC_PER_SEC;
	int r = s->ops->start(s);

	while (!r && (clock_mono_ns() < end ||
			     (draining && seen->mine < 40 && clock_mono_ns() < last))) {
		struct pollfd p = {.fd = s->poll_fd, .events = POLLIN};

		if (poll(&p, 1, 50) < 0)
			return -errno;
		if (draining)
			r = s->ops->drain(s, clock_mono_ns(), see, seen);
	}
	s->ops->stop(s);
	return r ? r : s->ops->drain(s, 0, see, seen);
}

/* The ledger is exact. Return whether it is. */
static bool exact(struct capture_source *s, const struct seen *seen, struct capture_stats *ret)
{
	uint64_t sum = 0;

	s->ops->stats(s, ret);
	for (int i = 0; i < REC_OUT_MAX; i++)
		sum += ret->kernel.outcomes[i];
	if (ret->kernel.entries != sum || ret->samples != seen->samples)
		return false;
	for (int i = 0; i < REC_OUT_MAX; i++)
		if (i != REC_OUT_LOST_RING && i != REC_OUT_FILTERED &&
			ret->kernel.outcomes[i] != seen->outcomes[i])
			return false;
	return ret->kernel.reasons[REC_WHY_NO_PROCESS] == seen->outcomes[REC_OUT_HANDOFF];
}

static void source_ring__machine_with_registers_and_stack(void **state)
{
	struct capture_config config = {
		.frequency = 199, .mode = BPF_UNWIND_SMART, .kernel_stacks = true};
	struct seen seen = {0};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];
	int fds = count_fds(), rings = count_rings();

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	uint64_t cpu = thread_cpu_ns();
	assert_ok(run(s, &seen, 1500000000, true));
	cpu = thread_cpu_ns() - cpu;
	end_child((pid_t)seen.pid);
	assert_true(exact(s, &seen, &stats));
	printf("# %s at %u Hz on %u CPUs: %lu samples, %lu mine, %lu in the leaf, %lu KiB of "
	       "rings, %.1f us CPU a sample; %s\n",
		s->events[0].name, s->frequency, s->ncpus, seen.samples, seen.mine, seen.in_leaf,
		stats.bpf_memory / 1024, (double)cpu / 1e3 / (double)seen.samples, why);
	assert_true(seen.mine > 20);
	assert_int_equal(seen.backwards, 0);
	// Nearly all its time is in the leaf; an interrupt may have hit the recursion or the kernel.
	assert_true(seen.in_leaf * 10 > seen.mine * 8);
	assert_int_equal(seen.stack_ok, seen.mine);
	assert_int_equal(seen.named, seen.mine);
	assert_true(seen.weight > 0);
	assert_int_equal(stats.kernel.outcomes[REC_OUT_IDLE], 0);
	assert_int_equal(seen.outcomes[REC_OUT_HANDOFF], stats.kernel.outcomes[REC_OUT_HANDOFF]);
	assert_non_null(s->tables.pool);
	s->tables.maps[UW_MAPS - 1].start = 1;
	s->tables.pool[UW_POOL_BYTES - 1] = 1;
	s->ops->free(s);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_rings(), rings);
}

static void source_ring__callchain_by_frame_pointers(void **state)
{
	struct capture_config config = {
		.frequency = 199, .mode = BPF_UNWIND_FP, .kernel_stacks = true};
	struct seen seen = {0};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(run(s, &seen, 1000000000, true));
	end_child((pid_t)seen.pid);
	assert_true(exact(s, &seen, &stats));
	assert_true(seen.mine > 10);
	assert_true(seen.deep * 10 > seen.mine * 8);
	assert_int_equal(seen.outcomes[REC_OUT_HANDOFF], 0);
	assert_true(seen.outcomes[REC_OUT_COMPLETE] > 0);
	s->ops->free(s);
}

static void source_ring__no_user_stacks_and_two_events(void **state)
{
	struct capture_config config = {.frequency = 99,
		.mode = BPF_UNWIND_OFF,
		.kernel_stacks = true,
		.include_idle = true,
		.nevents = 2,
		.events = {{"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
			{"task-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK}}};
	struct seen seen = {0};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(run(s, &seen, 800000000, true));
	end_child((pid_t)seen.pid);
	assert_true(exact(s, &seen, &stats));
	assert_int_equal(s->nevents, 2);
	assert_true(seen.events[0] > 5);
	assert_true(seen.events[1] > 5);
	assert_int_equal(
		seen.outcomes[REC_OUT_NO_USER] + seen.outcomes[REC_OUT_IDLE], seen.samples);
	assert_int_equal(stats.kernel.user_frames, 0);
	s->ops->free(s);
}

/* Chosen processes: nothing else comes, though the whole machine could be seen. */
static void source_ring__chosen_process_only(void **state)
{
	struct seen seen = {0};
	struct capture_config config = {.frequency = 199,
		.mode = BPF_UNWIND_SMART,
		.kernel_stacks = true,
		.pids = &seen.pid,
		.npids = 1};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];
	pid_t other;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	other = start_known_stack();
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(run(s, &seen, 800000000, true));
	end_child((pid_t)seen.pid);
	end_child(other);
	assert_true(exact(s, &seen, &stats));
	assert_true(seen.mine > 10);
	assert_int_equal(seen.others, 0);
	s->ops->free(s);
}

/* An event whose thread ended hangs up: that must not wake the caller for ever. */
static void source_ring__ended_process_does_not_keep_waking(void **state)
{
	struct seen seen = {0};
	struct capture_config config = {
		.frequency = 99, .mode = BPF_UNWIND_SMART, .pids = &seen.pid, .npids = 1};
	struct capture_source *s;
	char why[CAPTURE_WHY];
	int r = 1;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(s->ops->start(s));
	clock_sleep_ns(100 * NSEC_PER_MSEC);
	end_child((pid_t)seen.pid);
	// The side band of a busy machine may have something to say, but not each time.
	for (int i = 0; i < 20 && r; i++) {
		struct pollfd p = {.fd = s->poll_fd, .events = POLLIN};

		assert_ok(s->ops->drain(s, 0, see, &seen));
		r = poll(&p, 1, 20);
	}
	assert_int_equal(r, 0);
	assert_true(seen.mine > 0);
	s->ops->free(s);
	// And one that had ended before is said to have.
	assert_int_equal(capture_source_ring_new(&config, &s, why), -ESRCH);
	assert_non_null(strstr(why, "alive"));
}

/* Nobody drains: what did not fit is counted, to the last sample. */
static void source_ring__full_rings_are_counted(void **state)
{
	struct capture_config config = {.frequency = 999,
		.mode = BPF_UNWIND_SMART,
		.kernel_stacks = true,
		.stack_bytes = 65528};
	struct seen seen = {0};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	seen.pid = (uint32_t)start_known_stack();
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(run(s, &seen, 3000000000, false));
	end_child((pid_t)seen.pid);
	assert_true(exact(s, &seen, &stats));
	printf("# %lu samples, %lu lost, %lu of them by notice\n", seen.samples, stats.lost_samples,
		seen.lost);
	assert_true(seen.samples > 0);
	assert_true(stats.lost_samples > 0);
	assert_true(stats.lost_samples >= seen.lost);
	assert_int_equal(stats.kernel.outcomes[REC_OUT_LOST_RING], stats.lost_samples);
	assert_int_equal(stats.kernel.entries, stats.lost_samples + seen.samples);
	s->ops->free(s);
}

static int own_process(void *arg)
{
	enum bpf_unwind_mode mode = *(enum bpf_unwind_mode *)arg;
	pid_t other = start_known_stack();
	struct seen seen = {.pid = (uint32_t)start_known_stack()};
	struct capture_config config = {.frequency = 199,
		.mode = mode,
		.kernel_stacks = true,
		.own_only = true,
		.stack_bytes = 16384,
		.pids = &seen.pid,
		.npids = 1};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];
	int r = capture_source_ring_new(&config, &s, why);

	printf("# %d %s\n", r, why);
	CHECK(!r);
	CHECK(!run(s, &seen, 1000000000, true));
	end_child((pid_t)seen.pid);
	end_child(other);
	CHECK(exact(s, &seen, &stats));
	printf("# %lu samples, %lu in the leaf, %lu KiB of rings\n", seen.mine, seen.in_leaf,
		stats.bpf_memory / 1024);
	CHECK(seen.mine > 10);
	CHECK(seen.others == 0);
	CHECK(seen.kernel == 0);
	CHECK(seen.in_leaf * 10 > seen.mine * 8);
	CHECK(seen.named == seen.mine);
	CHECK(mode == BPF_UNWIND_FP ? seen.deep * 10 > seen.mine * 8 : seen.stack_ok == seen.mine);
	s->ops->free(s);
	config.npids = 0;
	CHECK(capture_source_ring_new(&config, &s, why) == -EPERM && strstr(why, "--pids"));
	config.own_only = false;
	CHECK(capture_source_ring_new(&config, &s, why) == -EACCES && strstr(why, "paranoid"));
	return 0;
}

static void source_ring__own_process_as_nobody(void **state)
{
	enum bpf_unwind_mode modes[] = {BPF_UNWIND_SMART, BPF_UNWIND_FP};

	(void)state;
	if (perf_open_paranoid() > 2)
		test_skip("perf_event_paranoid above 2");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		assert_int_equal(run_as_nobody(own_process, &modes[i]), 0);
}

/* What is handed out, as one number for each record. */
struct digest {
	uint64_t *sums;
	size_t n, skip;
};

static int add_digest(void *arg, const struct capture_event *e)
{
	struct digest *d = arg;
	uint64_t words[4] = {
		(uint64_t)e->type << 32 | e->cpu, (uint64_t)e->pid << 32 | e->tid, e->time};

	if (d->skip) {
		d->skip--;
		return 0;
	}
	if (e->type == CAPTURE_SAMPLE) {
		size_t len = order_sample_size(&e->sample);
		void *copy = malloc(len);

		order_write_sample(&e->sample, copy);
		words[3] = hash_bytes(copy, len);
		free(copy);
	} else if (e->type == CAPTURE_MMAP) {
		words[3] = hash_bytes(e->mmap.path, strlen(e->mmap.path)) + e->mmap.start +
			   e->mmap.ino + hash_bytes(e->mmap.build_id, sizeof(e->mmap.build_id));
	} else if (e->type == CAPTURE_COMM) {
		words[3] = hash_bytes(e->comm.text, strlen(e->comm.text)) + e->comm.exec;
	}
	assert_true(d->n < 65536);
	d->sums[d->n++] = hash_bytes(words, sizeof(words));
	return 0;
}

static int count_events(void *arg, const struct capture_event *e)
{
	(void)e;
	(*(size_t *)arg)++;
	return 0;
}

static void source_ring__recorded_and_replayed_is_the_same(void **state)
{
	struct capture_config config = {
		.frequency = 99, .mode = BPF_UNWIND_SMART, .kernel_stacks = true};
	struct digest live = {.sums = calloc(65536, 8)}, replayed = {.sums = calloc(65536, 8)};
	struct capture_stats a, b;
	struct capture_source *s;
	char path[] = "/tmp/test-source-ring-XXXXXX", why[CAPTURE_WHY];
	size_t all = 0;
	pid_t pid;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	close(mkstemp(path));
	assert_ok(capture_source_ring_new(&config, &s, why));
	assert_ok(capture_source_record_new(s, path, &s, why));
	assert_ok(s->ops->start(s));
	pid = start_known_stack();
	for (int i = 0; i < 5; i++) {
		clock_sleep_ns(100 * NSEC_PER_MSEC);
		assert_ok(s->ops->drain(s, clock_mono_ns(), add_digest, &live));
	}
	end_child(pid);
	s->ops->stop(s);
	assert_ok(s->ops->drain(s, 0, add_digest, &live));
	s->ops->stats(s, &a);
	s->ops->free(s);
	assert_ok(capture_source_replay_new(path, &s, why));
	assert_ok(s->ops->drain(s, 0, count_events, &all));
	s->ops->free(s);
	// Before what was handed out live stands what ran already.
	assert_true(all > live.n);
	replayed.skip = all - live.n;
	assert_ok(capture_source_replay_new(path, &s, why));
	assert_ok(s->ops->drain(s, 0, add_digest, &replayed));
	s->ops->stats(s, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	s->ops->free(s);
	assert_true(live.n > 10);
	assert_int_equal(replayed.n, live.n);
	assert_memory_equal(replayed.sums, live.sums, 8 * live.n);
	printf("# %zu records, %zu of them of what ran before\n", all, all - live.n);
	unlink(path);
	free(live.sums);
	free(replayed.sums);
}

/* Rings of at most so many bytes; remembers what was opened last. */
struct capped {
	struct perf_sys sys;
	size_t map_max;
	uint32_t stack_bytes, watermark;
};

static int capped_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu)
{
	struct capped *c = (struct capped *)sys;

	if (attr->sample_type & PERF_SAMPLE_STACK_USER) {
		c->stack_bytes = attr->sample_stack_user;
		c->watermark = attr->wakeup_watermark;
	}
	return perf_sys_kernel.open(&perf_sys_kernel, attr, pid, cpu);
}

static int capped_map(const struct perf_sys *sys, int fd, size_t len, void **ret)
{
	if (len > ((struct capped *)sys)->map_max)
		return -EPERM;
	return perf_sys_kernel.map(&perf_sys_kernel, fd, len, ret);
}

static void source_ring__little_memory_cuts_the_stack_copy(void **state)
{
	struct capped capped = {{capped_open, capped_map}, 33 * 4096, 0, 0};
	struct seen seen = {.pid = (uint32_t)start_known_stack()};
	struct capture_config config = {.frequency = 99,
		.mode = BPF_UNWIND_SMART,
		.own_only = true,
		.stack_bytes = SAMPLE_STACK_MAX,
		.pids = &seen.pid,
		.npids = 1};
	struct capture_source *s;
	struct capture_stats stats;
	char why[CAPTURE_WHY];
	unsigned long warnings = log_count(LOG_LEVEL_WARNING);

	(void)state;
	if (geteuid() != 0 && perf_open_paranoid() > 2)
		test_skip("perf_event_paranoid above 2");
	assert_ok(source_ring_new(&config, &capped.sys, &s, why));
	// 32 pages hold at least four samples.
	assert_true(capped.stack_bytes >= 16000 && capped.stack_bytes < 32768);
	assert_int_equal(capped.watermark, 8 * 4096);
	assert_int_equal(log_count(LOG_LEVEL_WARNING), warnings + 1);
	assert_ok(run(s, &seen, 300 * NSEC_PER_MSEC, true));
	end_child((pid_t)seen.pid);
	assert_true(exact(s, &seen, &stats));
	assert_true(seen.mine > 5);
	s->ops->free(s);
}

static void source_ring__nth_call_fails(void **state)
{
	static const int errors[] = {-EMFILE, -ENOMEM, -EPERM, -EINVAL, -ENODEV, -EIO};
	uint32_t self = (uint32_t)getpid();
	int fds = count_fds(), rings = count_rings();

	(void)state;
	for (int own = 0; own < 2; own++) {
		if (!own && !may_watch_machine())
			continue;
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++)
			for (int n = 0; n < 14; n++) {
				struct failing fail = {{failing_open, failing_map}, n, errors[e]};
				struct capture_config config = {.frequency = 99,
					.mode = BPF_UNWIND_SMART,
					.own_only = own,
					.pids = own ? &self : NULL,
					.npids = (size_t)own};
				struct capture_source *s = NULL;
				char why[CAPTURE_WHY];
				int r = source_ring_new(&config, &fail.sys, &s, why);

				assert_true(r <= 0);
				if (r)
					assert_true(why[0] != 0);
				else
					s->ops->free(s);
				assert_int_equal(count_fds(), fds);
				assert_int_equal(count_rings(), rings);
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_ring__machine_with_registers_and_stack),
		cmocka_unit_test(source_ring__callchain_by_frame_pointers),
		cmocka_unit_test(source_ring__no_user_stacks_and_two_events),
		cmocka_unit_test(source_ring__chosen_process_only),
		cmocka_unit_test(source_ring__ended_process_does_not_keep_waking),
		cmocka_unit_test(source_ring__full_rings_are_counted),
		cmocka_unit_test(source_ring__own_process_as_nobody),
		cmocka_unit_test(source_ring__recorded_and_replayed_is_the_same),
		cmocka_unit_test(source_ring__little_memory_cuts_the_stack_copy),
		cmocka_unit_test(source_ring__nth_call_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

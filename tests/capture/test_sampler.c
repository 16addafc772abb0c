/* SPDX-License-Identifier: Apache-2.0 */
/* The sampling program itself: both shapes load, within the verifier's means; what it emits and
 * what it counts, on a child whose stack is known. */
#include "tests/harness.h"

#include <linux/perf_event.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "capture/bpf_object.h"
#include "capture/cpu_list.h"
#include "capture/event_find.h"
#include "capture/order.h"
#include "tests/capture/capture_harness.h"

#define DEPTH 600 // frames: past 512, and past one piece of the bounded shape
#define FREQUENCY 500
#define SECONDS_MAX 20
#define CPUS_MAX 64

/* The known stack: DEPTH frames of recurse(), which call one another by a frame-pointer prologue. */
__attribute__((noinline)) static void burn_here(uint64_t rounds)
{
	for (volatile uint64_t i = 0; i < rounds; i++)
		;
}

__attribute__((noinline)) static int recurse(int depth)
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

/* A function that is hardly more than its prologue and epilogue, and who calls it all the time. */
void sampler_tiny(void);
__asm__(".text\n"
	".type sampler_tiny, @function\n"
	"sampler_tiny:\n"
	"	push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	nop\n"
	"	pop %rbp\n"
	"	ret\n"
	".size sampler_tiny, . - sampler_tiny\n");
#define TINY_BYTES 7

__attribute__((noinline)) static void call_tiny(void)
{
	for (int i = 0; i < 100000; i++)
		sampler_tiny();
}

static bool within(uint64_t pc, const void *fn, size_t len)
{
	return pc >= (uint64_t)(uintptr_t)fn && pc < (uint64_t)(uintptr_t)fn + len;
}

static pid_t spawn(bool tiny)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, "known-stack");
		alarm(60);
		while (tiny)
			call_tiny();
		for (;;)
			recurse(DEPTH);
	}
	return pid;
}

static pid_t spawn_known(void)
{
	return spawn(false);
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

struct bench {
	struct bpf_sampler *sampler;
	int fds[CPUS_MAX];
	unsigned nfds;
	uint32_t pid; // of the known child
	uint64_t records, mine, others, outcomes[REC_OUT_MAX];
	uint64_t deep; // of mine: DEPTH or more frames in recurse()
	uint64_t in_leaf; // hand-offs that stand in burn_here()
	uint64_t sliced; // hand-offs whose slice holds return addresses into recurse()
	uint64_t large; // hand-offs with more of the stack than fits beside the words
	uint64_t cgroup; // of the child
	uint64_t tiny, tiny_called, guesses; // leaves in sampler_tiny(), with their caller above
	uint64_t complex_leaf; // handed over from the leaf because of a rule further up
	uint64_t events[CAPTURE_EVENTS_MAX], last, named, malformed;
};

static struct bpf_object_config base_config(enum bpf_unwind_mode mode)
{
	return (struct bpf_object_config){.bpf = {.mode = mode,
						  .kernel_stacks = 1,
						  .max_frames = REC_USER_WORDS_MAX,
						  .stack_bytes = REC_STACK_MAX,
						  .runtimes = 1u << REC_FRAME_PYTHON},
		.ring_bytes = 32u << 20}; // a reader that comes late finds no short slices
}

static void attach_all(struct bench *b, uint64_t frequency)
{
	struct cpu_vec cpus;
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(attr),
		.freq = 1,
		.sample_freq = frequency,
		.disabled = 1};

	cpu_vec_init(&cpus, CPU_LIST_MAX);
	assert_ok(cpu_list_read(CPU_LIST_ONLINE, &cpus));
	for (size_t i = 0; i < cpus.len && b->nfds < CPUS_MAX; i++) {
		int fd = perf_sys_kernel.open(&perf_sys_kernel, &attr, -1, (int)cpus.data[i]);

		assert_true(fd >= 0);
		assert_ok(bpf_sampler_attach(b->sampler, fd, 0));
		b->fds[b->nfds++] = fd;
	}
	cpu_vec_deinit(&cpus);
}

static void open_bench(struct bench *b, const struct bpf_object_config *config)
{
	char why[CAPTURE_WHY] = "";
	int r;

	if (!may_watch_machine())
		test_skip("the whole machine may not be watched here");
	r = bpf_sampler_open(config, &b->sampler, why);
	if (r == -EPERM)
		test_skip("%s", why);
	if (r)
		printf("# %s\n", why);
	assert_ok(r);
}

static void tick(struct bench *b, unsigned long request)
{
	for (unsigned i = 0; i < b->nfds; i++)
		assert_ok(ioctl(b->fds[i], request, 0));
}

static void close_bench(struct bench *b)
{
	for (unsigned i = 0; i < b->nfds; i++)
		close(b->fds[i]);
	bpf_sampler_close(b->sampler);
}

static void see_handoff(struct bench *b, const struct capture_sample *c)
{
	const struct rec_handoff *h = c->handoff;
	uint64_t returns = 0;

	assert_int_equal(h->stack_base, h->regs[REC_REG_X86_SP]);
	assert_true(h->stack_len <= REC_STACK_MAX && h->stack_len > 2 * REC_STACK_PAGE);
	b->large += h->stack_len > REC_STACK_SMALL;
	b->in_leaf += within(h->regs[REC_REG_X86_IP], burn_here, 128);
	b->complex_leaf += c->rec->reason == REC_WHY_COMPLEX && !c->rec->user_words &&
			   c->rec->handoff_exact && within(h->regs[REC_REG_X86_IP], burn_here, 128);
	if (h->absent & 1)
		return;
	for (size_t at = 0; at + 8 <= 2048; at += 8) {
		uint64_t word;

		memcpy(&word, c->stack + at, 8);
		returns += within(word, recurse, 256);
	}
	b->sliced += returns > 20;
}

static void see_tiny(struct bench *b, const struct capture_sample *c)
{
	if (c->rec->user_words < 2 ||
		!within(c->user[0] & REC_FRAME_DATA_MASK, sampler_tiny, TINY_BYTES))
		return;
	b->tiny++;
	b->tiny_called += within(c->user[1] & REC_FRAME_DATA_MASK, call_tiny, 64);
	b->guesses += REC_FRAME_MARK(c->user[1]) == REC_MARK_GUESS;
}

static int see_record(void *arg, void *data, size_t len)
{
	struct bench *b = arg;
	struct capture_sample c;
	uint64_t frames = 0;

	b->records++;
	// A record that was reserved whole may be used in part.
	if (len >= sizeof(*c.rec) && ((const struct rec_sample *)data)->len < len)
		len = ((const struct rec_sample *)data)->len;
	if (order_parse_sample(data, len, &c)) {
		b->malformed++;
		return 0;
	}
	assert_true(c.rec->outcome < REC_OUT_MAX);
	b->outcomes[c.rec->outcome]++;
	b->others += c.rec->pid != b->pid;
	if (c.rec->pid != b->pid)
		return 0;
	b->mine++;
	b->cgroup = c.rec->cgroup;
	b->named += !strcmp(c.rec->comm, "known-stack");
	if (c.handoff)
		see_handoff(b, &c);
	see_tiny(b, &c);
	for (unsigned i = 0; i < c.rec->user_words; i++)
		frames += within(c.user[i] & REC_FRAME_DATA_MASK, recurse, 256);
	b->deep += frames >= DEPTH;
	return 0;
}

/* Until the child was seen n times. */
static void run_until(struct bench *b, uint64_t n)
{
	uint64_t end = clock_mono_ns() + SECONDS_MAX * NSEC_PER_SEC;

	tick(b, PERF_EVENT_IOC_ENABLE);
	while (b->mine < n && clock_mono_ns() < end) {
		clock_sleep_ns(50 * NSEC_PER_MSEC);
		assert_ok(bpf_sampler_drain(b->sampler, see_record, b));
	}
	tick(b, PERF_EVENT_IOC_DISABLE);
	assert_ok(bpf_sampler_drain(b->sampler, see_record, b));
	assert_true(b->mine >= n);
	assert_int_equal(b->malformed, 0);
}

static uint64_t sum(const struct rec_counters *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < REC_OUT_MAX; i++)
		n += c->outcomes[i];
	return n;
}

/* Every entry has one outcome, and every outcome that is emitted is a record. */
static void check_ledger(const struct bench *b)
{
	struct rec_counters c;

	assert_ok(bpf_sampler_counters(b->sampler, 0, &c));
	assert_int_equal(sum(&c), c.entries);
	assert_int_equal(c.tail_call_failed, 0);
	assert_int_equal(b->records, c.entries - c.outcomes[REC_OUT_IDLE] -
					     c.outcomes[REC_OUT_FILTERED] -
					     c.outcomes[REC_OUT_LOST_RING]);
	for (unsigned i = REC_OUT_KERNEL_ONLY; i < REC_OUT_LOST_RING; i++)
		assert_int_equal(b->outcomes[i], c.outcomes[i]);
}

static void load_shape(enum bpf_walk_shape shape, const char *name, uint32_t insns_max)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_SMART);
	struct bpf_object_info info;
	struct bench b = {0};
	uint64_t start = clock_mono_ns();

	config.shape = shape;
	config.ring_bytes = 1u << 20;
	open_bench(&b, &config);
	bpf_sampler_info(b.sampler, &info);
	printf("# %s: %u instructions verified, loaded in %.1f ms, maps and ring %.2f MB\n", name,
		info.verified_insns, (double)(clock_mono_ns() - start) / NSEC_PER_MSEC,
		(double)info.memory / 1e6);
	assert_true(info.verified_insns > 0);
	assert_true(info.verified_insns < insns_max);
	assert_true(info.memory > UW_POOL_BYTES);
	assert_true(info.memory < 16u << 20);
	close_bench(&b);
}

static void sampler__loop_is_cheap_to_verify(void **state)
{
	(void)state;
	load_shape(BPF_WALK_LOOP, "bpf_loop", 10000);
}

static void sampler__bounded_is_cheap_to_verify(void **state)
{
	(void)state;
	load_shape(BPF_WALK_TAIL, "bounded", 300000);
}

static void walk_deep(enum bpf_walk_shape shape)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_FP);
	struct bench b = {0};
	pid_t pid = spawn_known();

	config.shape = shape;
	config.bpf.filter_pids = 1;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	assert_ok(bpf_sampler_choose(b.sampler, b.pid));
	attach_all(&b, FREQUENCY);
	run_until(&b, 200);
	end_child(pid);
	printf("# %llu samples, %llu of %d frames and more\n", (unsigned long long)b.mine,
		(unsigned long long)b.deep, DEPTH);
	// On the way down and up the stack is short: a tick there is one in thousands.
	assert_true(b.deep * 100 >= b.mine * 95);
	assert_int_equal(b.named, b.mine);
	check_ledger(&b);
	close_bench(&b);
}

static void sampler__loop_walks_600_frame_pointers(void **state)
{
	(void)state;
	walk_deep(BPF_WALK_LOOP);
}

static void sampler__bounded_walks_600_frame_pointers(void **state)
{
	(void)state;
	walk_deep(BPF_WALK_TAIL);
}

static void sampler__truncates_at_max_frames(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_FP);
	struct bench b = {0};
	pid_t pid = spawn_known();

	(void)state;
	config.bpf.filter_pids = 1;
	config.bpf.max_frames = 100;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	assert_ok(bpf_sampler_choose(b.sampler, b.pid));
	attach_all(&b, FREQUENCY);
	run_until(&b, 50);
	end_child(pid);
	assert_true(b.outcomes[REC_OUT_TRUNCATED] * 100 >= b.mine * 95);
	check_ledger(&b);
	close_bench(&b);
}

static void sampler__filters_pids(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_FP);
	struct bench b = {0};
	struct rec_counters c;
	pid_t pid = spawn_known(), other = spawn_known();

	(void)state;
	config.bpf.filter_pids = 1;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	assert_ok(bpf_sampler_choose(b.sampler, b.pid));
	attach_all(&b, FREQUENCY);
	run_until(&b, 50);
	end_child(pid);
	end_child(other);
	assert_int_equal(b.others, 0);
	assert_ok(bpf_sampler_counters(b.sampler, 0, &c));
	assert_true(c.outcomes[REC_OUT_FILTERED] > 10);
	check_ledger(&b);
	close_bench(&b);
}

/* By frame pointer, on every instruction of a function that has its frame for two of five. */
static void sampler__finds_callers_of_leaves_without_a_frame(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_FP);
	struct bench b = {0};
	pid_t pid = spawn(true);

	(void)state;
	config.bpf.filter_pids = 1;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	assert_ok(bpf_sampler_choose(b.sampler, b.pid));
	attach_all(&b, FREQUENCY);
	run_until(&b, 400);
	end_child(pid);
	printf("# %llu samples, %llu in the leaf, %llu with its caller, %llu of them guessed\n",
		(unsigned long long)b.mine, (unsigned long long)b.tiny,
		(unsigned long long)b.tiny_called, (unsigned long long)b.guesses);
	assert_true(b.tiny > 20);
	assert_true(b.guesses > 0);
	assert_int_equal(b.tiny_called, b.tiny);
	close_bench(&b);
}

/* Our own text as one page of table: burn_here() by frame pointer, recurse() by a rule that only
 * user space can follow. */
static void publish_own_text(struct bpf_sampler *s, uint32_t pid)
{
	uint64_t at = (uint64_t)(uintptr_t)burn_here & ~(uint64_t)(UW_PAGE_BYTES - 1);
	uint64_t burn = (uint64_t)(uintptr_t)burn_here - at,
		 rec = (uint64_t)(uintptr_t)recurse - at;
	struct uw_process process = {.first = 1, .count = 1};
	struct capture_tables t;
	struct uw_page *page;
	uint8_t *rows;

	assert_true(burn < rec && rec < UW_PAGE_BYTES);
	bpf_sampler_tables(s, &t);
	t.rules[1] = (struct uw_rule){.cfa = UW_CFA_FP};
	t.rules[2] = (struct uw_rule){.cfa = UW_CFA_COMPLEX};
	page = (struct uw_page *)(t.pool + UW_POOL_ALIGN);
	page->rows = sizeof(*page);
	page->dict = sizeof(*page) + 4;
	for (unsigned block = 0; block <= UW_BLOCKS; block++)
		page->index[block] = (uint16_t)((block > 0) + (block > rec >> 8));
	rows = (uint8_t *)page + page->rows;
	rows[2] = (uint8_t)rec;
	rows[3] = 1;
	((uint16_t *)((uint8_t *)page + page->dict))[0] = 1;
	((uint16_t *)((uint8_t *)page + page->dict))[1] = 2;
	t.dir[5] = 1;
	t.maps[1] = (struct uw_mapping){
		.start = at, .end = at + UW_PAGE_BYTES, .dir = 5, .flags = UW_MAP_FILE};
	assert_ok(bpf_sampler_set_process(s, pid, &process));
}

/* A rule that wants what only the leaf's frame still has: user space is given the leaf. */
static void sampler__hands_over_the_leaf_for_a_complex_rule(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_SMART);
	struct bench b = {0};
	pid_t pid = spawn_known();

	(void)state;
	config.bpf.filter_pids = 1;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	publish_own_text(b.sampler, b.pid);
	assert_ok(bpf_sampler_choose(b.sampler, b.pid));
	attach_all(&b, FREQUENCY);
	run_until(&b, 50);
	end_child(pid);
	assert_true(b.complex_leaf * 100 >= b.mine * 90);
	check_ledger(&b);
	close_bench(&b);
}

/* A process without tables is handed over whole: the first sample counts like any other. */
static void sampler__hands_over_what_it_does_not_know(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_SMART);
	struct bench b = {0};
	pid_t pid = spawn_known();

	(void)state;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	attach_all(&b, FREQUENCY);
	run_until(&b, 100);
	end_child(pid);
	printf("# %llu of mine, %llu in the leaf, %llu with the stack\n",
		(unsigned long long)b.mine, (unsigned long long)b.in_leaf,
		(unsigned long long)b.sliced);
	assert_true(b.outcomes[REC_OUT_HANDOFF] >= b.mine);
	assert_true(b.in_leaf * 100 >= b.mine * 90);
	assert_true(b.sliced * 100 >= b.mine * 90);
	// The child's frames take more than a small slice; while the ring is read it has room for all.
	printf("# %llu large slices\n", (unsigned long long)b.large);
	assert_true(b.large > 10);
	check_ledger(&b);
	close_bench(&b);
}

static void count_filtered(const struct bench *b, uint64_t *ret)
{
	struct rec_counters c;

	assert_ok(bpf_sampler_counters(b->sampler, 0, &c));
	*ret = c.outcomes[REC_OUT_FILTERED];
}

/* Runs while the child's group is not chosen: it is not seen. */
static void run_filtered(struct bench *b)
{
	uint64_t end = clock_mono_ns() + SECONDS_MAX * NSEC_PER_SEC, before, now;

	count_filtered(b, &before);
	b->mine = 0;
	tick(b, PERF_EVENT_IOC_ENABLE);
	do {
		clock_sleep_ns(50 * NSEC_PER_MSEC);
		count_filtered(b, &now);
		assert_ok(bpf_sampler_drain(b->sampler, see_record, b));
	} while (now < before + 50 && clock_mono_ns() < end);
	tick(b, PERF_EVENT_IOC_DISABLE);
	assert_true(now >= before + 50);
	assert_int_equal(b->mine, 0);
}

/* By the id of a group, by a process of a group without one; and each choice replaces the one before. */
static void sampler__filters_cgroups(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_FP);
	struct capture_groups groups = {0};
	struct bench b = {0};
	pid_t pid = spawn_known();
	uint64_t id = UINT64_MAX;
	uint32_t member = (uint32_t)pid;

	(void)state;
	config.groups = true;
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	attach_all(&b, FREQUENCY);
	run_until(&b, 20);
	groups = (struct capture_groups){.ids = &id, .nids = 1};
	assert_ok(bpf_sampler_set_groups(b.sampler, &groups));
	run_filtered(&b);
	id = b.cgroup;
	assert_ok(bpf_sampler_set_groups(b.sampler, &groups));
	run_until(&b, 20);
	groups = (struct capture_groups){.pids = &member, .npids = 1};
	assert_ok(bpf_sampler_set_groups(b.sampler, &groups));
	b.mine = b.others = 0;
	run_until(&b, 20);
	assert_int_equal(b.others, 0);
	member = 1;
	assert_ok(bpf_sampler_set_groups(b.sampler, &groups));
	run_filtered(&b);
	assert_ok(bpf_sampler_add_group(b.sampler, 0, b.pid));
	run_until(&b, 20);
	assert_ok(bpf_sampler_set_groups(b.sampler, NULL));
	b.mine = 0;
	run_until(&b, 20);
	end_child(pid);
	check_ledger(&b);
	close_bench(&b);
}

/* Nobody reads a ring of a page or two: what is lost is counted, to the last one. */
static void sampler__counts_what_a_full_ring_loses(void **state)
{
	struct bpf_object_config config = base_config(BPF_UNWIND_OFF);
	struct bench b = {0};
	struct rec_counters c;
	pid_t pid = spawn_known();

	(void)state;
	config.ring_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
	b.pid = (uint32_t)pid;
	open_bench(&b, &config);
	attach_all(&b, 1000);
	tick(&b, PERF_EVENT_IOC_ENABLE);
	clock_sleep_ns(NSEC_PER_SEC);
	tick(&b, PERF_EVENT_IOC_DISABLE);
	end_child(pid);
	assert_ok(bpf_sampler_drain(b.sampler, see_record, &b));
	assert_ok(bpf_sampler_counters(b.sampler, 0, &c));
	printf("# %llu entries, %llu records, %llu lost\n", (unsigned long long)c.entries,
		(unsigned long long)b.records, (unsigned long long)c.outcomes[REC_OUT_LOST_RING]);
	assert_true(b.records > 0);
	assert_true(c.outcomes[REC_OUT_LOST_RING] > 50);
	check_ledger(&b);
	close_bench(&b);
}

static int see_event(void *arg, const struct capture_event *e)
{
	struct bench *b = arg;

	if (e->type != CAPTURE_SAMPLE)
		return 0;
	b->records++;
	b->others += e->time < b->last;
	b->last = e->time;
	b->mine += e->sample.rec->pid == b->pid;
	b->events[e->sample.rec->event]++;
	return 0;
}

/* The whole source: two events at once, each sample with its own; times in order; idle ticks
 * accounted for, so that the entries are what the clock says. */
static void sampler__source_of_two_events(void **state)
{
	struct capture_config config = {
		.frequency = 200, .nevents = 2, .mode = BPF_UNWIND_FP, .kernel_stacks = true};
	struct capture_source *s = NULL;
	char why[CAPTURE_WHY] = "";
	struct capture_stats stats = {0};
	struct bench b = {0};
	pid_t pid = spawn_known();
	uint64_t start, ns;
	int r;

	(void)state;
	b.pid = (uint32_t)pid;
	assert_ok(event_find_named("cpu-clock", &config.events[0]));
	assert_ok(event_find_named("task-clock", &config.events[1]));
	r = capture_source_bpf_new(&config, &s, why);
	if (r == -EPERM)
		test_skip("%s", why);
	assert_ok(r);
	// Opened, not started: nothing ticks.
	clock_sleep_ns(100 * NSEC_PER_MSEC);
	s->ops->stats(s, &stats);
	assert_int_equal(stats.kernel.entries, 0);
	start = clock_mono_ns();
	assert_ok(s->ops->start(s));
	for (int i = 0; i < 20 || ((b.mine <= 100 || b.events[1] <= 50) && i < 300); i++) {
		clock_sleep_ns(100 * NSEC_PER_MSEC);
		assert_ok(s->ops->drain(s, clock_mono_ns(), see_event, &b));
	}
	s->ops->stop(s);
	ns = clock_mono_ns() - start;
	end_child(pid);
	assert_ok(s->ops->drain(s, 0, see_event, &b));
	s->ops->stats(s, &stats);
	printf("# %llu entries in %.1f s on %u CPUs, %llu idle, %llu + %llu samples\n",
		(unsigned long long)stats.kernel.entries, (double)ns / 1e9, s->ncpus,
		(unsigned long long)stats.kernel.outcomes[REC_OUT_IDLE],
		(unsigned long long)b.events[0], (unsigned long long)b.events[1]);
	assert_int_equal(sum(&stats.kernel), stats.kernel.entries);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(sum(&stats.events[i]), stats.events[i].entries);
		assert_int_equal(b.events[i], stats.events[i].entries -
						      stats.events[i].outcomes[REC_OUT_IDLE] -
						      stats.events[i].outcomes[REC_OUT_LOST_RING]);
	}
	assert_int_equal(stats.events[0].entries + stats.events[1].entries, stats.kernel.entries);
	assert_int_equal(b.others, 0);
	assert_true(b.events[0] > 50 && b.events[1] > 50);
	assert_true(b.mine > 100);
	assert_int_equal(b.records, stats.samples);
	assert_true(stats.bpf_memory <= 16u << 20);
	s->ops->synchronize(s);
	s->ops->free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sampler__loop_is_cheap_to_verify),
		cmocka_unit_test(sampler__bounded_is_cheap_to_verify),
		cmocka_unit_test(sampler__loop_walks_600_frame_pointers),
		cmocka_unit_test(sampler__bounded_walks_600_frame_pointers),
		cmocka_unit_test(sampler__truncates_at_max_frames),
		cmocka_unit_test(sampler__filters_pids),
		cmocka_unit_test(sampler__filters_cgroups),
		cmocka_unit_test(sampler__finds_callers_of_leaves_without_a_frame),
		cmocka_unit_test(sampler__hands_over_the_leaf_for_a_complex_rule),
		cmocka_unit_test(sampler__hands_over_what_it_does_not_know),
		cmocka_unit_test(sampler__counts_what_a_full_ring_loses),
		cmocka_unit_test(sampler__source_of_two_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

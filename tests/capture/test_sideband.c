/* SPDX-License-Identifier: Apache-2.0 */
/* The side band against real processes whose life is known. */
#include "tests/harness.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/map.h"
#include "capture/sideband.h"
#include "capture/source.h"
#include "tests/capture/capture_harness.h"

extern char **environ;

#define STORM 2000
#define SEEN_PIDS 65536

/* What was seen of one process, as the number of the record (0: not yet). */
struct life {
	uint32_t fork, exec, mmap, exit;
};

struct seen {
	struct life *lives; // by pid
	uint32_t n;
	uint64_t last;
	uint64_t backwards;
	uint64_t lost, lost_cpus; // bits
	uint64_t came; // notices of count 0
	uint64_t build_ids, inodes;
	uint64_t self_threads;
	char path[256]; // of the last executable mapping of `watch`
	uint32_t watch;
};

static int see(void *arg, const struct capture_event *e)
{
	struct seen *s = arg;
	struct life *l = &s->lives[e->pid % SEEN_PIDS];

	s->n++;
	s->backwards += e->time < s->last;
	s->last = e->time;
	switch (e->type) {
	case CAPTURE_FORK:
		if (e->pid == e->tid)
			*l = (struct life){.fork = s->n};
		else
			s->self_threads += e->pid == (uint32_t)getpid();
		break;
	case CAPTURE_COMM:
		if (e->comm.exec)
			l->exec = s->n;
		break;
	case CAPTURE_MMAP:
		if (!l->mmap && l->exec)
			l->mmap = s->n;
		s->build_ids += e->mmap.build_id_len != 0;
		s->inodes += e->mmap.ino != 0;
		if (e->pid == s->watch)
			snprintf(s->path, sizeof(s->path), "%s", e->mmap.path);
		break;
	case CAPTURE_EXIT:
		if (e->pid == e->tid)
			l->exit = s->n;
		break;
	case CAPTURE_LOST:
		s->lost += e->lost.count;
		s->came += !e->lost.count;
		s->lost_cpus |= 1ull << e->cpu;
		break;
	default:
		break;
	}
	return 0;
}

struct fixture {
	struct seen seen;
	struct order order;
	struct sideband *sb;
	char why[CAPTURE_WHY];
};

static int fixture_open(struct fixture *f, const struct sideband_config *config)
{
	int r;

	memset(f, 0, sizeof(*f));
	f->seen.lives = calloc(SEEN_PIDS, sizeof(*f->seen.lives));
	r = order_init(&f->order, ORDER_ARENA_DEFAULT);
	if (!r)
		r = sideband_new(config, &f->sb, f->why);
	if (!r)
		r = sideband_start(f->sb);
	return r;
}

static void fixture_close(struct fixture *f)
{
	sideband_free(f->sb);
	order_deinit(&f->order);
	free(f->seen.lives);
}

static int drain(struct fixture *f, bool all)
{
	uint64_t now = clock_mono_ns();
	int r;

	order_begin(&f->order, see, &f->seen);
	r = sideband_drain(f->sb, &f->order);
	return r ? r : order_finish(&f->order, order_horizon(now, all ? 0 : now));
}

static pid_t spawn_true(void)
{
	char *argv[] = {(char *)"true", NULL};
	pid_t pid;

	return posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) ? -1 : pid;
}

static void sideband__life_of_a_child_in_order(void **state)
{
	struct sideband_config config = {0};
	struct fixture f;
	struct life *l;
	int fds = count_fds(), rings = count_rings();
	pid_t pid;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	assert_ok(fixture_open(&f, &config));
	pid = spawn_true();
	assert_true(pid > 0);
	f.seen.watch = (uint32_t)pid;
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	sideband_stop(f.sb);
	assert_ok(drain(&f, true));
	l = &f.seen.lives[pid];
	assert_true(l->fork > 0);
	assert_true(l->fork < l->exec);
	assert_true(l->exec < l->mmap);
	assert_true(l->mmap < l->exit);
	assert_int_equal(f.seen.backwards, 0);
	assert_int_equal(f.order.stats.late, 0);
	assert_true(f.seen.path[0] == '/' || f.seen.path[0] == '[');
	assert_true(f.seen.build_ids > 0);
	fixture_close(&f);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_rings(), rings);
}

static void sideband__storm_is_seen_whole(void **state)
{
	struct sideband_config config = {0};
	struct sideband_stats stats;
	struct fixture f;
	pid_t *pids = calloc(STORM, sizeof(*pids));
	uint64_t cpu = 0;
	unsigned whole = 0;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	assert_ok(fixture_open(&f, &config));
	for (int i = 0; i < STORM; i++) {
		struct pollfd p = {.fd = sideband_fd(f.sb), .events = POLLIN};

		pids[i] = spawn_true();
		assert_true(pids[i] > 0);
		// Two at a time.
		if (i)
			assert_int_equal(waitpid(pids[i - 1], NULL, 0), pids[i - 1]);
		if (poll(&p, 1, 0) > 0) {
			uint64_t start = thread_cpu_ns();

			assert_ok(drain(&f, false));
			cpu += thread_cpu_ns() - start;
		}
	}
	waitpid(pids[STORM - 1], NULL, 0);
	sideband_stop(f.sb);
	assert_ok(drain(&f, true));
	for (int i = 0; i < STORM; i++) {
		struct life *l = &f.seen.lives[pids[i]];

		whole += l->fork && l->fork < l->exec && l->exec < l->mmap && l->mmap < l->exit;
	}
	sideband_get_stats(f.sb, &stats);
	printf("# %lu records, %.2f ms CPU per 10000 records drained, %lu late, %lu KiB of rings "
	       "on %u CPUs\n",
		stats.records, (double)cpu / 1e6 * 1e4 / (double)stats.records, f.order.stats.late,
		stats.memory / 1024, stats.ncpus);
	assert_int_equal(whole, STORM);
	assert_int_equal(stats.lost, 0);
	assert_int_equal(stats.malformed, 0);
	assert_int_equal(f.seen.n, stats.records);
	assert_int_equal(f.seen.backwards, f.order.stats.late);
	fixture_close(&f);
	free(pids);
}

static void sideband__small_ring_says_what_cpu_lost(void **state)
{
	struct sideband_config config = {.pages = 1};
	struct sideband_stats stats;
	struct fixture f;
	cpu_set_t old, one;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	sched_getaffinity(0, sizeof(old), &old);
	if (!CPU_ISSET(1, &old))
		test_skip("needs CPU 1");
	CPU_ZERO(&one);
	CPU_SET(1, &one);
	assert_ok(fixture_open(&f, &config));
	assert_ok(sched_setaffinity(0, sizeof(one), &one));
	for (int i = 0; i < 100; i++)
		waitpid(spawn_true(), NULL, 0);
	assert_ok(drain(&f, true));
	// The notice is written when there is room again.
	waitpid(spawn_true(), NULL, 0);
	sideband_stop(f.sb);
	assert_ok(drain(&f, true));
	sched_setaffinity(0, sizeof(old), &old);
	sideband_get_stats(f.sb, &stats);
	assert_int_equal(stats.pages, 1);
	assert_true(stats.lost > 0);
	assert_int_equal(f.seen.lost, stats.lost);
	assert_true(f.seen.lost_cpus & 2);
	fixture_close(&f);
}

static void write_cpus(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
}

static void sideband__cpus_come_and_go(void **state)
{
	char path[] = "/tmp/test-sideband-XXXXXX";
	struct sideband_config config = {.cpu_path = path};
	struct sideband_stats stats;
	struct fixture f;
	uint64_t now = clock_mono_ns();
	int fds;

	(void)state;
	if (!may_watch_machine())
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0");
	if (sysconf(_SC_NPROCESSORS_ONLN) != 2)
		test_skip("the list of CPUs that the case writes is for two");
	close(mkstemp(path));
	fds = count_fds();
	// The kernel refuses CPU 2, which cannot exist here: the others go on.
	write_cpus(path, "0,2\n");
	assert_ok(fixture_open(&f, &config));
	assert_non_null(strstr(f.why, "no event on 1 of 2 CPUs"));
	order_begin(&f.order, see, &f.seen);
	assert_ok(sideband_recheck(f.sb, &f.order, now));
	write_cpus(path, "0-1\n");
	assert_ok(sideband_recheck(f.sb, &f.order, now + RING_SET_RECHECK_NS / 2));
	sideband_get_stats(f.sb, &stats);
	assert_int_equal(stats.ncpus, 1);
	assert_ok(sideband_recheck(f.sb, &f.order, now + RING_SET_RECHECK_NS));
	sideband_get_stats(f.sb, &stats);
	assert_int_equal(stats.ncpus, 2);
	assert_ok(order_finish(&f.order, UINT64_MAX));
	assert_int_equal(f.seen.came, 1);
	assert_int_equal(f.seen.lost_cpus, 2);
	// The one that came runs: a child pinned to it is seen.
	cpu_set_t old, one;

	sched_getaffinity(0, sizeof(old), &old);
	CPU_ZERO(&one);
	CPU_SET(1, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pid_t pid = spawn_true();

	waitpid(pid, NULL, 0);
	sched_setaffinity(0, sizeof(old), &old);
	// What a CPU that goes has in its ring is not lost.
	write_cpus(path, "0\n");
	order_begin(&f.order, see, &f.seen);
	assert_ok(sideband_recheck(f.sb, &f.order, now + 2 * RING_SET_RECHECK_NS));
	assert_ok(order_finish(&f.order, UINT64_MAX));
	assert_true(f.seen.lives[pid].exec > 0);
	assert_true(f.seen.lives[pid].exit > 0);
	sideband_get_stats(f.sb, &stats);
	assert_int_equal(stats.ncpus, 1);
	fixture_close(&f);
	unlink(path);
	assert_int_equal(count_fds(), fds);
}

static void *sleep_thread(void *arg)
{
	pthread_barrier_t *b = arg;

	pthread_barrier_wait(b);
	pthread_barrier_wait(b);
	return NULL;
}

/* As an ordinary user: own mappings and threads, from a thread that existed before and a new one. */
static int own_process(void *arg)
{
	uint32_t self = (uint32_t)getpid();
	struct sideband_config config = {
		.own_only = true, .pids = &self, .npids = 1, .pages = *(unsigned *)arg};
	struct sideband_stats stats;
	struct fixture f;
	pthread_barrier_t b;
	pthread_t before, after;
	void *p;

	pthread_barrier_init(&b, NULL, 2);
	pthread_create(&before, NULL, sleep_thread, &b);
	pthread_barrier_wait(&b);
	CHECK(fixture_open(&f, &config) == 0);
	printf("# why: %s\n", f.why);
	f.seen.watch = self;
	p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	pthread_barrier_wait(&b);
	pthread_join(before, NULL);
	pthread_create(&after, NULL, sleep_thread, &b);
	pthread_barrier_wait(&b);
	pthread_barrier_wait(&b);
	pthread_join(after, NULL);
	sideband_stop(f.sb);
	CHECK(drain(&f, true) == 0);
	sideband_get_stats(f.sb, &stats);
	printf("# %u events, %u CPUs, %u pages\n", stats.nevents, stats.ncpus, stats.pages);
	CHECK(stats.nevents == 2 * stats.ncpus);
	CHECK(stats.threads_failed == 0);
	CHECK(f.seen.self_threads == 1);
	CHECK(strcmp(f.seen.path, "//anon") == 0);
	CHECK(!config.pages || stats.pages < config.pages);
	fixture_close(&f);
	return 0;
}

static void sideband__own_process_as_nobody(void **state)
{
	unsigned pages = 0;

	(void)state;
	if (perf_open_paranoid() > 2)
		test_skip("perf_event_paranoid above 2");
	assert_int_equal(run_as_nobody(own_process, &pages), 0);
}

/* Rings far beyond perf_event_mlock_kb and RLIMIT_MEMLOCK: smaller ones are taken. */
static void sideband__shrinks_under_memory_limits(void **state)
{
	unsigned pages = 32768;

	(void)state;
	if (perf_open_paranoid() > 2)
		test_skip("perf_event_paranoid above 2");
	assert_int_equal(run_as_nobody(own_process, &pages), 0);
}

static int machine_as_nobody(void *arg)
{
	struct sideband_config config = {0};
	struct fixture f;
	int r;

	(void)arg;
	r = fixture_open(&f, &config);
	printf("# %d: %s\n", r, f.why);
	CHECK(r == -EACCES || r == -EPERM);
	CHECK(strstr(f.why, "perf_event_paranoid is") && strstr(f.why, "CAP_PERFMON"));
	fixture_close(&f);
	return 0;
}

static void sideband__refusal_names_the_remedy(void **state)
{
	(void)state;
	if (perf_open_paranoid() < 0)
		test_skip("perf_event_paranoid below 0 allows everything");
	assert_int_equal(run_as_nobody(machine_as_nobody, NULL), 0);
}

#define MANY_THREADS 40

static int few_descriptors(void *arg)
{
	uint32_t self = (uint32_t)getpid();
	struct sideband_config config = {.own_only = true, .pids = &self, .npids = 1};
	struct rlimit lim = {.rlim_cur = 48, .rlim_max = 170};
	struct sideband_stats stats;
	pthread_t threads[MANY_THREADS];
	pthread_barrier_t b;
	struct fixture f;

	(void)arg;
	pthread_barrier_init(&b, NULL, MANY_THREADS + 1);
	for (int i = 0; i < MANY_THREADS; i++)
		pthread_create(&threads[i], NULL, sleep_thread, &b);
	pthread_barrier_wait(&b);
	CHECK(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	CHECK(fixture_open(&f, &config) == 0);
	printf("# why: %s\n", f.why);
	sideband_get_stats(f.sb, &stats);
	printf("# %u events, %u threads left out\n", stats.nevents, stats.threads_failed);
	CHECK(stats.threads_failed > 0);
	CHECK(stats.nevents + stats.threads_failed * stats.ncpus ==
		(MANY_THREADS + 1) * stats.ncpus);
	CHECK(strstr(f.why, "threads are not seen") && strstr(f.why, "ulimit -n"));
	// What is kept back for the rest of the program is there.
	for (int i = 0; i < RING_SET_FDS_KEPT - 8; i++)
		CHECK(dup(0) >= 0);
	fixture_close(&f);
	pthread_barrier_wait(&b);
	for (int i = 0; i < MANY_THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static void sideband__few_descriptors_leave_out_whole_threads(void **state)
{
	(void)state;
	if (perf_open_paranoid() > 2)
		test_skip("perf_event_paranoid above 2");
	assert_int_equal(run_as_nobody(few_descriptors, NULL), 0);
}

/* A CPU that went offline after the list was read. */
static void sideband__cpu_gone_at_open_is_no_loss(void **state)
{
	struct failing fail = {{failing_open, failing_map}, 2, -ENODEV};
	struct sideband_config config = {.sys = &fail.sys};
	struct sideband_stats stats;
	struct fixture f;

	(void)state;
	if (!may_watch_machine() || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		test_skip("needs CAP_PERFMON or perf_event_paranoid below 0, and two CPUs");
	assert_ok(fixture_open(&f, &config));
	assert_string_equal(f.why, "");
	sideband_get_stats(f.sb, &stats);
	assert_int_equal(stats.cpus_failed, 0);
	assert_int_equal(stats.ncpus, sysconf(_SC_NPROCESSORS_ONLN) - 1);
	fixture_close(&f);
}

static void sideband__nth_call_fails(void **state)
{
	static const int errors[] = {-EMFILE, -ENOMEM, -EPERM, -EINVAL, -ENODEV, -EIO};
	uint32_t self = (uint32_t)getpid();
	int fds = count_fds(), rings = count_rings();

	(void)state;
	for (int own = 0; own < 2; own++) {
		if (!own && !may_watch_machine())
			continue;
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++)
			for (int n = 0; n < 8; n++) {
				struct failing fail = {{failing_open, failing_map}, n, errors[e]};
				struct sideband_config config = {.own_only = own,
					.pids = &self,
					.npids = 1,
					.sys = &fail.sys};
				struct fixture f;
				int r = fixture_open(&f, &config);

				// Whatever could not be had is said.
				assert_true(r <= 0);
				if (r)
					assert_true(f.why[0] != 0);
				fixture_close(&f);
				assert_int_equal(count_fds(), fds);
				assert_int_equal(count_rings(), rings);
			}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sideband__life_of_a_child_in_order),
		cmocka_unit_test(sideband__storm_is_seen_whole),
		cmocka_unit_test(sideband__small_ring_says_what_cpu_lost),
		cmocka_unit_test(sideband__cpus_come_and_go),
		cmocka_unit_test(sideband__own_process_as_nobody),
		cmocka_unit_test(sideband__shrinks_under_memory_limits),
		cmocka_unit_test(sideband__refusal_names_the_remedy),
		cmocka_unit_test(sideband__few_descriptors_leave_out_whole_threads),
		cmocka_unit_test(sideband__cpu_gone_at_open_is_no_loss),
		cmocka_unit_test(sideband__nth_call_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The governor's decisions, from readings as they might come second by second. */
#include "tests/scratch.h"

#include "agent/governor.h"
#include "base/clock.h"
#include "base/log.h"

#define MB (1ull << 20)

struct run {
	struct governor g;
	struct governor_reading r;
};

static void begin(struct run *run, uint64_t max_memory, double max_cpu)
{
	const struct log_config quiet = {.console_stderr = true};

	log_open(&quiet);
	*run = (struct run){
		.g = {.max_memory = max_memory, .max_cpu = max_cpu, .may_shed = true},
		.r = {.now = 1000 * NSEC_PER_SEC},
	};
}

/* Seconds of this much memory and CPU; the level at their end. */
static enum governor_level pass(struct run *run, unsigned seconds, uint64_t memory, double cpu)
{
	enum governor_level level = run->g.level;

	while (seconds--) {
		run->r.now += NSEC_PER_SEC;
		run->r.cpu_ns += (uint64_t)(cpu / 100 * NSEC_PER_SEC);
		run->r.anon = memory;
		level = governor_decide(&run->g, &run->r);
	}
	return level;
}

static void governor__within_budget_nothing_happens(void **state)
{
	struct run run;

	(void)state;
	begin(&run, 100 * MB, 5);
	assert_int_equal(pass(&run, 3600, 99 * MB, 4.9), GOVERNOR_FULL);
	assert_int_equal(run.g.marks.shed + run.g.marks.slowed + run.g.marks.paused, 0);
	// BPF maps and rings are memory as well.
	run.r.bpf = 2 * MB;
	assert_int_equal(pass(&run, 1, 99 * MB, 4.9), GOVERNOR_SHED);
}

static void governor__memory_goes_step_by_step_and_back(void **state)
{
	struct run run;
	struct governor_marks marks;

	(void)state;
	begin(&run, 100 * MB, 5);
	assert_int_equal(pass(&run, 1, 101 * MB, 1), GOVERNOR_SHED);
	assert_int_equal(pass(&run, 4, 101 * MB, 1), GOVERNOR_SHED);
	assert_int_equal(pass(&run, 1, 101 * MB, 1), GOVERNOR_HALF);
	assert_int_equal(pass(&run, 5, 101 * MB, 1), GOVERNOR_QUARTER);
	assert_int_equal(pass(&run, 5, 101 * MB, 1), GOVERNOR_EIGHTH);
	assert_int_equal(pass(&run, 5, 101 * MB, 1), GOVERNOR_PAUSED);
	assert_int_equal(pass(&run, 500, 101 * MB, 1), GOVERNOR_PAUSED);
	// Just below the limit is not room enough.
	assert_int_equal(pass(&run, 500, 90 * MB, 1), GOVERNOR_PAUSED);
	assert_int_equal(pass(&run, 10, 50 * MB, 1), GOVERNOR_EIGHTH);
	assert_int_equal(pass(&run, 40, 50 * MB, 1), GOVERNOR_FULL);
	marks = governor_window(&run.g);
	assert_int_equal(marks.worst, GOVERNOR_PAUSED);
	assert_int_equal(marks.shed, 1);
	assert_int_equal(marks.slowed, 3);
	assert_int_equal(marks.paused, 1);
	assert_int_equal(marks.eased, 5);
	assert_int_equal(marks.end.anon, 50 * MB);
	assert_int_equal(governor_window(&run.g).worst, GOVERNOR_FULL);
}

static void governor__cpu_is_a_mean_and_its_start_is_free(void **state)
{
	struct run run;

	(void)state;
	begin(&run, 0, 5);
	assert_int_equal(pass(&run, 8, 0, 90), GOVERNOR_FULL);
	assert_int_equal(pass(&run, 60, 0, 2), GOVERNOR_FULL);
	// One busy second (a window that is named) is not a reason.
	assert_int_equal(pass(&run, 1, 0, 40), GOVERNOR_FULL);
	assert_int_equal(pass(&run, 59, 0, 2), GOVERNOR_FULL);
	// Caches save no CPU: the rate goes at once.
	assert_true(pass(&run, 15, 0, 10) >= GOVERNOR_HALF);
	assert_int_equal(run.g.steps[GOVERNOR_SHED], 0);
	assert_int_equal(pass(&run, 300, 0, 0.5), GOVERNOR_FULL);
}

static void governor__pressure_of_the_machine_drops_caches_only(void **state)
{
	struct run run;

	(void)state;
	begin(&run, 100 * MB, 5);
	run.r.pressure = 30;
	assert_int_equal(pass(&run, 100, 10 * MB, 1), GOVERNOR_SHED);
	run.r.pressure = 0;
	assert_int_equal(pass(&run, 20, 10 * MB, 1), GOVERNOR_FULL);
}

/* The agent's cgroup is at its limit again and again, whoever fills it. */
static void governor__a_full_cgroup_drops_caches_only(void **state)
{
	struct run run;

	(void)state;
	begin(&run, 100 * MB, 5);
	// What was before we came is not news.
	run.r.squeezed = 70;
	assert_int_equal(pass(&run, 100, 10 * MB, 1), GOVERNOR_FULL);
	for (unsigned i = 0; i < 100; i++) {
		run.r.squeezed++;
		assert_int_equal(pass(&run, 1, 10 * MB, 1), GOVERNOR_SHED);
	}
	assert_int_equal(pass(&run, 20, 10 * MB, 1), GOVERNOR_FULL);
	run.g.may_shed = false;
	run.r.squeezed++;
	assert_int_equal(pass(&run, 1, 10 * MB, 1), GOVERNOR_FULL);
}

static void governor__reads_how_full_its_cgroup_is(void **state)
{
	struct governor g = {0};
	struct governor_reading r;
	char dir[SCRATCH_DIR], pressure[SCRATCH_PATH];

	(void)state;
	scratch_begin(dir, "governor");
	governor_read(&g, &r, 0);
	assert_int_equal(r.squeezed, 0);
	scratch_put(dir, "/memory.events", "low 5\nhigh 30\nmax 12\noom 1\noom_kill 1\n");
	snprintf(g.events, sizeof(g.events), "%s/memory.events", dir);
	governor_read(&g, &r, 0);
	assert_int_equal(r.squeezed, 42);
	scratch_put(dir, "/pressure",
		"some avg10=55.00 avg60=0 total=9\nfull avg10=12.50 avg60=1.0 total=1\n");
	snprintf(pressure, sizeof(pressure), "%s/pressure", dir);
	g.pressure = pressure;
	governor_read(&g, &r, 0);
	assert_true(r.pressure == 12.5);
	scratch_put(dir, "/memory.failcnt", "17\n");
	snprintf(g.events, sizeof(g.events), "%s/memory.failcnt", dir);
	governor_read(&g, &r, 0);
	assert_int_equal(r.squeezed, 17);
	scratch_end(dir);
}

/* The group itself, a pod or slice above it, and a container that sees its own group as the root. */
static void governor__limits_of_its_cgroups(void **state)
{
	char dir[SCRATCH_DIR], own[SCRATCH_PATH], want[SCRATCH_PATH], events[GOVERNOR_PATH] = "";

	(void)state;
	scratch_begin(dir, "limits");
	snprintf(own, sizeof(own), "%s/own", dir);
	assert_int_equal(governor_cgroup_limit(own, dir, events), 0);
	scratch_put(dir, "/own", "0::/pod.slice/agent\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 0);
	assert_string_equal(events, "");
	scratch_put(dir, "/pod.slice/agent/memory.max", "max\n");
	scratch_put(dir, "/pod.slice/agent/memory.events", "max 0\n");
	scratch_put(dir, "/pod.slice/memory.max", "83886080\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 80 * MB);
	snprintf(want, sizeof(want), "%s/pod.slice/agent/memory.events", dir);
	assert_string_equal(events, want);
	scratch_put(dir, "/pod.slice/agent/memory.max", "67108864\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 64 * MB);
	scratch_put(dir, "/pod.slice/agent/memory.high", "33554432\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 32 * MB);
	// v1: no limit is a large number there; the host's path is not in the container's view.
	scratch_put(dir, "/own", "7:cpu,cpuacct:/kubepods/x\n4:memory:/kubepods/x\n0::/\n");
	scratch_put(dir, "/memory/memory.limit_in_bytes", "9223372036854771712\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 0);
	scratch_put(dir, "/memory/memory.limit_in_bytes", "50331648\n");
	assert_int_equal(governor_cgroup_limit(own, dir, events), 48 * MB);
	scratch_end(dir);
}

/* A group at its limit all day: one line for each level and direction, every step counted. */
static void governor__each_step_is_logged_once(void **state)
{
	struct run run;
	unsigned long warned, told;

	(void)state;
	begin(&run, 100 * MB, 5);
	warned = log_count(LOG_LEVEL_WARNING);
	told = log_count(LOG_LEVEL_INFO) - warned;
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(pass(&run, 30, 101 * MB, 1), GOVERNOR_PAUSED);
		assert_int_equal(pass(&run, 60, 50 * MB, 1), GOVERNOR_FULL);
	}
	assert_int_equal(log_count(LOG_LEVEL_WARNING) - warned, 5);
	assert_int_equal(log_count(LOG_LEVEL_INFO) - log_count(LOG_LEVEL_WARNING) - told, 5);
	assert_int_equal(run.g.steps[GOVERNOR_PAUSED], 10);
	assert_int_equal(run.g.steps[GOVERNOR_SHED], 20);
	assert_int_equal(governor_window(&run.g).slowed, 30);
}

/* A single run is short; what may be told to go on for months is held to its share of the CPU. */
static void governor__who_is_held_to_a_share_of_the_cpu(void **state)
{
	struct governor g = {.own_limit = 50 * MB};
	struct options o = {.max_cpu = 7, .max_memory = 100 * MB};

	(void)state;
	governor_set_limits(&g, &o);
	assert_true(g.max_cpu == 0);
	assert_int_equal(g.max_memory, 50 * MB);
	o.continuous = true;
	o.max_memory = 20 * MB;
	governor_set_limits(&g, &o);
	assert_true(g.max_cpu == 7);
	assert_int_equal(g.max_memory, 20 * MB);
	o.continuous = false;
	o.heartbeat_server = true;
	o.max_memory = 0;
	governor_set_limits(&g, &o);
	assert_true(g.max_cpu == 7);
	assert_int_equal(g.max_memory, 50 * MB);
}

static void governor__caches_may_be_kept(void **state)
{
	struct run run;

	(void)state;
	begin(&run, 100 * MB, 0);
	run.g.may_shed = false;
	assert_int_equal(pass(&run, 1, 101 * MB, 1), GOVERNOR_HALF);
}

static void governor__divisors(void **state)
{
	(void)state;
	assert_int_equal(governor_divisor(GOVERNOR_FULL), 1);
	assert_int_equal(governor_divisor(GOVERNOR_SHED), 1);
	assert_int_equal(governor_divisor(GOVERNOR_EIGHTH), 8);
	assert_int_equal(governor_divisor(GOVERNOR_PAUSED), 0);
}

static void governor__reads_itself(void **state)
{
	struct governor g = {0};
	struct governor_reading r;

	(void)state;
	governor_read(&g, &r, 7);
	assert_true(r.anon > 0 && r.anon <= r.resident);
	assert_true(r.cpu_ns > 0);
	assert_int_equal(r.bpf, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(governor__within_budget_nothing_happens),
		cmocka_unit_test(governor__memory_goes_step_by_step_and_back),
		cmocka_unit_test(governor__cpu_is_a_mean_and_its_start_is_free),
		cmocka_unit_test(governor__pressure_of_the_machine_drops_caches_only),
		cmocka_unit_test(governor__a_full_cgroup_drops_caches_only),
		cmocka_unit_test(governor__reads_how_full_its_cgroup_is),
		cmocka_unit_test(governor__limits_of_its_cgroups),
		cmocka_unit_test(governor__each_step_is_logged_once),
		cmocka_unit_test(governor__who_is_held_to_a_share_of_the_cpu),
		cmocka_unit_test(governor__caches_may_be_kept),
		cmocka_unit_test(governor__divisors),
		cmocka_unit_test(governor__reads_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How a run ended, as the next one finds it: in a child that really ends that way. */
#include "tests/harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/run_record.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

struct place {
	char dir[64], file[96];
};

static void make_place(struct place *p)
{
	const struct log_config quiet = {.console_stderr = true};

	log_open(&quiet);
	snprintf(p->dir, sizeof(p->dir), "/tmp/gprofiler-test-record-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->file, sizeof(p->file), "%s/last_run", p->dir);
}

static void remove_place(struct place *p)
{
	unlink(p->file);
	rmdir(p->dir);
}

/* A run of its own process: ends by a signal, or by closing the record. */
static void live(const struct place *p, int sig, enum run_end end)
{
	const struct rlimit none = {0, 0};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct run_record r;

		setrlimit(RLIMIT_CORE, &none);
		// A sanitizer's handlers would say a word of their own.
		signal(SIGSEGV, SIG_DFL);
		run_record_open(&r, p->dir);
		if (sig)
			kill(getpid(), sig);
		run_record_close(&r, end);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(sig ? WIFSIGNALED(status) && WTERMSIG(status) == sig : WIFEXITED(status));
}

static void run_record__every_end_is_told(void **state)
{
	struct run_record r;
	struct place p;

	(void)state;
	make_place(&p);
	live(&p, 0, RUN_END_CLEAN);
	live(&p, 0, RUN_END_FAILED);
	live(&p, SIGKILL, RUN_END_CLEAN);
	live(&p, SIGSEGV, RUN_END_CLEAN);
	live(&p, SIGABRT, RUN_END_CLEAN);
	run_record_open(&r, p.dir);
	assert_true(r.fd >= 0);
	assert_int_equal(r.facts.ended[RUN_END_CLEAN], 1);
	assert_int_equal(r.facts.ended[RUN_END_FAILED], 1);
	assert_int_equal(r.facts.ended[RUN_END_KILLED] + r.facts.ended[RUN_END_OOM], 1);
	assert_int_equal(r.facts.ended[RUN_END_CRASH], 2);
	assert_string_equal(r.facts.state, "running");
	run_record_close(&r, RUN_END_CLEAN);
	remove_place(&p);
}

static void run_record__killed_reboot_and_memory(void **state)
{
	const struct run_facts last = {
		.known = true, .state = "running", .boot = "a", .oom_kills = 5};

	(void)state;
	assert_int_equal(run_record_judge(&last, "a", 5), RUN_END_KILLED);
	assert_int_equal(run_record_judge(&last, "a", 6), RUN_END_OOM);
	assert_int_equal(run_record_judge(&last, "b", 6), RUN_END_REBOOT);
}

static void run_record__a_second_agent_keeps_none(void **state)
{
	struct run_record first, second;
	struct place p;

	(void)state;
	make_place(&p);
	run_record_open(&first, p.dir);
	run_record_open(&second, p.dir);
	assert_true(first.fd >= 0 && second.fd < 0);
	run_record_seen(&second, clock_mono_ns());
	run_record_close(&second, RUN_END_FAILED);
	run_record_close(&first, RUN_END_CLEAN);
	run_record_open(&second, p.dir);
	assert_int_equal(second.facts.ended[RUN_END_CLEAN], 1);
	assert_int_equal(second.facts.ended[RUN_END_FAILED], 0);
	run_record_close(&second, RUN_END_CLEAN);
	remove_place(&p);
}

static void run_record__what_is_no_directory_costs_nothing(void **state)
{
	struct run_record r;

	(void)state;
	run_record_open(&r, "/proc/nothing/here");
	assert_int_equal(r.fd, -1);
	run_record_seen(&r, 0);
	run_record_close(&r, RUN_END_CLEAN);
}

static void run_record__a_torn_or_foreign_file_is_no_record(void **state)
{
	static const char whole[] = "gprofiler run 1\nstate running  00\nboot x\nclean 3\noom 2\n";
	struct run_facts f;

	(void)state;
	run_record_parse(whole, sizeof(whole) - 1, &f);
	assert_true(f.known && f.ended[RUN_END_CLEAN] == 3 && f.ended[RUN_END_OOM] == 2);
	for (size_t n = 0; n < sizeof("gprofiler run 1\nstate") - 1; n++) {
		run_record_parse(whole, n, &f);
		assert_false(f.known);
	}
	run_record_parse("gprofiler run 2\nstate running", 29, &f);
	assert_false(f.known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_record__every_end_is_told),
		cmocka_unit_test(run_record__killed_reboot_and_memory),
		cmocka_unit_test(run_record__a_second_agent_keeps_none),
		cmocka_unit_test(run_record__what_is_no_directory_costs_nothing),
		cmocka_unit_test(run_record__a_torn_or_foreign_file_is_no_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

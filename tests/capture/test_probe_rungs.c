/* SPDX-License-Identifier: Apache-2.0 */
/* The rungs on this machine, by taking away what each needs: capabilities, then system calls. */
#include "tests/harness.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "capture/probe.h"

#define NOBODY 65534

struct setting {
	bool nobody;
	const int *caps; // kept by nobody
	unsigned ncaps;
	const long *denied; // system calls that fail with EPERM
	unsigned ndenied;
};

static int set_caps(const struct setting *s)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	for (unsigned i = 0; i < s->ncaps; i++) {
		data[s->caps[i] / 32].permitted |= 1u << s->caps[i] % 32;
		data[s->caps[i] / 32].effective |= 1u << s->caps[i] % 32;
	}
	return (int)syscall(SYS_capset, &head, data);
}

/* Other calls are let through; the architecture is our own. */
static int deny(const struct setting *s)
{
	struct sock_filter code[32];
	struct sock_fprog prog = {.filter = code};
	unsigned n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < s->ndenied; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, (unsigned)s->denied[i], 0, 1);
		code[n++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static int enter(const struct setting *s)
{
	if (s->nobody) {
		if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setgroups(0, NULL) ||
			setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY) ||
			set_caps(s))
			return -1;
		// As after an exec: our own /proc entry is ours again.
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	}
	return s->ndenied ? deny(s) : 0;
}

/* The report that a process in that setting gets. */
static void report_in(const struct setting *s, struct probe_report *ret)
{
	struct probe_report r;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_ok(pipe(fds));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (enter(s))
			_exit(1);
		probe_run("", &r);
		_exit(fs_write_full(fds[1], &r, sizeof(r)) ? 1 : 0);
	}
	close(fds[1]);
	for (size_t at = 0; at < sizeof(r); at += (size_t)n) {
		n = read(fds[0], (char *)&r + at, sizeof(r) - at);
		assert_true(n > 0);
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	*ret = r;
}

static void assert_rung(const struct setting *s, enum probe_rung rung)
{
	struct probe_report r;

	report_in(s, &r);
	if (r.rung != rung)
		fail_msg("%s, not %s; obstacle: %s: %s", probe_rung_name(r.rung),
			probe_rung_name(rung), r.obstacle < 0 ? "none" : r.facts[r.obstacle].name,
			r.obstacle < 0 ? "" : r.facts[r.obstacle].value);
}

static void need_bpf_rung(void)
{
	struct probe_report r;

	probe_run("", &r);
	if (r.rung != PROBE_RUNG_BPF)
		test_skip("this process is only on rung %s: %s: %s", probe_rung_name(r.rung),
			r.facts[r.obstacle].name, r.facts[r.obstacle].value);
	if (geteuid())
		test_skip("not root: cannot become others");
}

static long paranoid(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT(64);

	assert_ok(fs_read_file("/proc/sys/kernel/perf_event_paranoid", &text));
	return strtol(buf_str(&text), NULL, 10);
}

static void rungs__by_capabilities(void **state)
{
	static const int both[] = {CAP_BPF, CAP_PERFMON}, perfmon[] = {CAP_PERFMON};
	static const int bpf[] = {CAP_BPF};
	const struct setting none = {.nobody = true};
	const struct setting with_both = {.nobody = true, .caps = both, .ncaps = 2};
	const struct setting with_perfmon = {.nobody = true, .caps = perfmon, .ncaps = 1};
	const struct setting with_bpf = {.nobody = true, .caps = bpf, .ncaps = 1};
	struct probe_report r;

	(void)state;
	need_bpf_rung();
	assert_rung(&(struct setting){0}, PROBE_RUNG_BPF);
	assert_rung(&with_both, PROBE_RUNG_BPF);
	assert_rung(&with_perfmon, PROBE_RUNG_RING);
	report_in(&with_both, &r);
	assert_int_equal(r.facts[PROBE_CAP_BPF].verdict, PROBE_OK);
	assert_int_equal(r.facts[PROBE_CAP_SYS_PTRACE].verdict, PROBE_NOTE);
	assert_true(r.facts[PROBE_MAP_FILES].verdict != PROBE_OK);
	if (paranoid() < 1 || paranoid() > 2)
		test_skip("perf_event_paranoid is %ld, not 1 or 2", paranoid());
	assert_rung(&none, PROBE_RUNG_RING_OWN);
	assert_rung(&with_bpf, PROBE_RUNG_RING_OWN);
	report_in(&none, &r);
	assert_int_equal(r.obstacle, PROBE_PERF_SYSTEM);
	assert_non_null(strstr(r.facts[r.obstacle].remedy, "CAP_PERFMON"));
}

static void rungs__by_system_calls(void **state)
{
	static const long calls[] = {SYS_bpf, SYS_perf_event_open, SYS_process_vm_readv};
	static const enum probe_rung rungs[] = {
		PROBE_RUNG_BPF, PROBE_RUNG_RING, PROBE_RUNG_READER, PROBE_RUNG_NONE};
	struct probe_report r;

	(void)state;
	need_bpf_rung();
	for (unsigned n = 0; n <= ARRAY_SIZE(calls); n++) {
		const struct setting s = {.denied = calls, .ndenied = n};

		assert_rung(&s, rungs[n]);
		report_in(&s, &r);
		if (n)
			assert_non_null(strstr(r.facts[PROBE_SECCOMP].value, "a filter is on"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rungs__by_capabilities),
		cmocka_unit_test(rungs__by_system_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

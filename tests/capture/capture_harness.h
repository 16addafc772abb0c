/* SPDX-License-Identifier: Apache-2.0 */
/* What the scenario tests of capture share: who may do what here, counting what must be released,
 * running a piece as an ordinary user. */
#ifndef GP_TESTS_CAPTURE_HARNESS_H
#define GP_TESTS_CAPTURE_HARNESS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>

#include "base/cleanup.h"
#include "capture/perf_open.h"

#define NOBODY 65534

/* Whether this process may watch the whole machine. */
static inline bool may_watch_machine(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_DUMMY,
		.size = sizeof(attr),
		.disabled = 1};
	_cleanup_close_ int fd = perf_sys_kernel.open(&perf_sys_kernel, &attr, -1, 0);

	return fd >= 0;
}

static inline int count_fds(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	return n;
}

static inline int count_rings(void)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, "perf_event") != NULL;
	return n;
}

static inline uint64_t thread_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Burns CPU time of this thread. */
static inline void burn_ns(uint64_t ns)
{
	uint64_t end = thread_cpu_ns() + ns;

	while (thread_cpu_ns() < end)
		for (volatile int i = 0; i < 20000; i++)
			;
}

/* What a caller with a few capabilities and no root has left after the change of user. */
static inline void drop_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (syscall(SYS_capset, &head, none))
		_exit(98);
}

/* Runs fn in a child as uid 65534 (as ourselves if we are no root) without capabilities. Return its
 * exit status, -1 if it died. fn reports on stdout, as TAP comments. */
static inline int run_as_nobody(int (*fn)(void *arg), void *arg)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		int r;

		if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
					      setresuid(NOBODY, NOBODY, NOBODY)))
			_exit(99);
		drop_capabilities();
		// A process that changed its user is not dumpable, so not its own to watch.
		prctl(PR_SET_DUMPABLE, 1);
		r = fn(arg);
		fflush(stdout);
		_exit(r);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* In such a child: the line that failed is its exit status. */
#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			printf("# line %d: %s\n", __LINE__, #cond);                                \
			return __LINE__ % 250 + 1;                                                 \
		}                                                                                  \
	} while (0)

/* The n-th call fails: a perf_sys with failing_open and failing_map. */
struct failing {
	struct perf_sys sys;
	int countdown, error;
};

static inline int failing_open(
	const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu)
{
	struct failing *f = (struct failing *)sys;

	if (f->countdown-- == 0)
		return f->error;
	return perf_sys_kernel.open(&perf_sys_kernel, attr, pid, cpu);
}

static inline int failing_map(const struct perf_sys *sys, int fd, size_t len, void **ret)
{
	struct failing *f = (struct failing *)sys;

	if (f->countdown-- == 0)
		return f->error;
	return perf_sys_kernel.map(&perf_sys_kernel, fd, len, ret);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "process/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "process/table.h"

#define CPUCLOCK_SCHED 2 // include/linux/posix-timers_types.h: run time as the scheduler counts it
#define STAT_MAX 1024

static uint64_t to_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NSEC_PER_SEC + (uint64_t)t->tv_nsec;
}

int process_cpu_ns(uint32_t pid, uint64_t *ret)
{
	// clock_getcpuclockid(3) makes the same of it, with one more system call to see whether pid lives.
	clockid_t clock = (clockid_t)((~pid << 3) | CPUCLOCK_SCHED);
	struct timespec t;

	if (clock_gettime(clock, &t) < 0)
		return errno == EINVAL ? -ESRCH : -errno;
	*ret = to_ns(&t);
	return 0;
}

int process_thread_read(uint32_t pid, uint32_t tid, struct process_thread *ret)
{
	_cleanup_close_ int fd = -1;
	struct process_stat st;
	char text[STAT_MAX];
	ssize_t n;

	snprintf(text, sizeof(text), "/proc/%u/task/%u/stat", pid, tid);
	fd = open(text, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	if (!process_stat_parse(text, (size_t)n, &st))
		return -EINVAL;
	*ret = (struct process_thread){
		.state = st.state, .nthreads = st.nthreads, .cpu_ns = st.cpu_ns};
	memcpy(ret->comm, st.comm, sizeof(ret->comm));
	return 0;
}

uint64_t process_boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return to_ns(&t);
}

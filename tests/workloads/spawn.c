/* SPDX-License-Identifier: Apache-2.0 */
/* spawn N MS: starts N processes one after the other (two at a time), each an exec of itself that burns
 * MS milliseconds of CPU in child_work(), what starting it took not counted, and exits. Prints the pids, one a line. `spawn child MS` is the child. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/workloads/workload.h"

NOINLINE void child_work(uint64_t ms)
{
	uint64_t end = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000;

	do
		burn_here(20);
	while (clock_ns(CLOCK_PROCESS_CPUTIME_ID) < end);
}

static pid_t start(const char *self, const char *ms)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl(self, self, "child", ms, (char *)NULL);
		_exit(127);
	}
	return pid;
}

int main(int argc, char **argv)
{
	long n;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "child")) {
		child_work(strtoul(argv[2], NULL, 10));
		return 0;
	}
	n = strtol(argv[1], NULL, 10);
	for (long i = 0; i < n && i < 100000; i++) {
		printf("%d\n", (int)start("/proc/self/exe", argv[2]));
		if (i)
			wait(NULL);
	}
	while (wait(NULL) > 0)
		;
	return 0;
}

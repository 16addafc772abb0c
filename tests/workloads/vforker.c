/* SPDX-License-Identifier: Apache-2.0 */
/* A child that shares its parent's memory works for a while before it ends: vfork. */
#include <sys/wait.h>

#include "tests/workloads/workload.h"

NOINLINE void vfork_child_work(void)
{
	uint64_t end = now_ns() + 20000000;

	while (now_ns() < end)
		burn_here(50);
}

NOINLINE void vfork_parent_work(void)
{
	uint64_t end = now_ns() + 20000000;

	while (now_ns() < end)
		burn_here(50);
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);

	while (now_ns() < end) {
		pid_t pid = vfork();

		if (pid < 0)
			return 1;
		if (pid == 0) {
			vfork_child_work();
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		vfork_parent_work();
	}
	return 0;
}

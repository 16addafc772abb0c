/* SPDX-License-Identifier: Apache-2.0 */
/* execer SECONDS PROGRAM [ARGS]: burns for SECONDS under its own name, then becomes PROGRAM. */
#include "tests/workloads/workload.h"

NOINLINE void before_exec(void)
{
	burn_here(500);
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);

	while (now_ns() < end) {
		before_exec();
		barrier();
	}
	if (argc > 2)
		execv(argv[2], argv + 2);
	return 1;
}

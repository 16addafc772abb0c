/* SPDX-License-Identifier: Apache-2.0 */
/* execer SECONDS PROGRAM [ARGS]: burns for SECONDS under its own name, then becomes PROGRAM. */
#include "tests/workloads/workload.h"

NOINLINE void before_exec(void)
{
	burn_here(500);
}

int main(int argc, char **argv)
{
	const struct life life = life_begin(argc, argv);

	while (life_now(&life) < life.end) {
		before_exec();
		barrier();
	}
	if (argc > 2)
		execv(argv[2], argv + 2);
	return 1;
}

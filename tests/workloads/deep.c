/* SPDX-License-Identifier: Apache-2.0 */
/* Recursion argv[2] deep (default 400) that burns at the bottom. */
#include "tests/workloads/workload.h"

NOINLINE unsigned bottom(unsigned units)
{
	burn_here(units);
	return units;
}

NOINLINE unsigned descend(unsigned depth)
{
	unsigned r = depth ? descend(depth - 1) + 1 : bottom(2000);

	barrier();
	return r;
}

int main(int argc, char **argv)
{
	const struct life life = life_begin(argc, argv);
	unsigned depth = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 400, sum = 0;

	while (life_now(&life) < life.end)
		sum += descend(depth);
	return sum == 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A known truth: 70, 20 and 10 % of the time in three call paths, switched every few hundred
 * microseconds, so that any window of a second holds many rounds. */
#include "tests/workloads/workload.h"

NOINLINE void burn(unsigned units)
{
	burn_here(units);
}

NOINLINE void path_seventy(void)
{
	burn(70);
	barrier();
}

NOINLINE void twenty_inner(void)
{
	burn(20);
	barrier();
}

NOINLINE void path_twenty(void)
{
	twenty_inner();
	barrier();
}

NOINLINE void ten_leaf(void)
{
	burn(10);
	barrier();
}

NOINLINE void ten_inner(void)
{
	ten_leaf();
	barrier();
}

NOINLINE void path_ten(void)
{
	ten_inner();
	barrier();
}

int main(int argc, char **argv)
{
	const struct life life = life_begin(argc, argv);

	while (life_now(&life) < life.end) {
		path_seventy();
		path_twenty();
		path_ten();
	}
	return argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
}

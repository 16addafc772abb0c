/* SPDX-License-Identifier: Apache-2.0 */
/* paths SECONDS FIRST: another call path each millisecond or sooner: a frame a bit of a number that counts up from
 * FIRST, left() or right(), so 131,072 distinct stacks. */
#include "tests/workloads/workload.h"

#define DEPTH 17

NOINLINE void left(unsigned path, unsigned depth);
NOINLINE void right(unsigned path, unsigned depth);

static inline __attribute__((always_inline)) void next(unsigned path, unsigned depth)
{
	if (!depth)
		burn_here(500);
	else if (path & 1)
		right(path >> 1, depth - 1);
	else
		left(path >> 1, depth - 1);
	barrier();
}

NOINLINE void left(unsigned path, unsigned depth)
{
	next(path, depth);
}

NOINLINE void right(unsigned path, unsigned depth)
{
	next(path, depth);
	barrier();
	barrier();
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);
	unsigned path = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;

	while (now_ns() < end)
		left(path++, DEPTH);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/workloads/workload.h -- shared by the programs that tests profile. Every workload ends by itself:
 * argv[1] is its life in seconds (default 10, never more than 120). */
#ifndef GP_TESTS_WORKLOAD_H
#define GP_TESTS_WORKLOAD_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A function of its own in the picture: neither inlined nor cloned under another name. */
#ifdef __clang__
#define NOINLINE __attribute__((__noinline__))
#else
#define NOINLINE __attribute__((__noinline__, __noclone__))
#endif

/* Keeps the caller's frame: a call before it is no tail call. */
#define barrier() __asm__ volatile("" ::: "memory")

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static inline uint64_t life_end(int argc, char **argv)
{
	long secs = argc > 1 ? strtol(argv[1], NULL, 10) : 10;

	if (secs < 1 || secs > 120)
		secs = 10;
	alarm((unsigned)secs + 5);
	return now_ns() + (uint64_t)secs * 1000000000ull;
}

/* Spends CPU in the caller's frame; the amount is in units of roughly a microsecond. */
static inline __attribute__((always_inline)) void burn_here(unsigned units)
{
	for (volatile unsigned i = 0; i < units * 400; i++)
		barrier();
}

#endif

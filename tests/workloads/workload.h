/* SPDX-License-Identifier: Apache-2.0 */
/* tests/workloads/workload.h -- shared by the programs that tests profile. Every workload ends by itself:
 * argv[1] is its life in seconds (default 10, never more than 600), by the clock, or with WORKLOAD_LIFE=cpu in
 * the environment by what it spent of the CPU: then it gets as much on a busy machine as on a quiet one. */
#ifndef GP_TESTS_WORKLOAD_H
#define GP_TESTS_WORKLOAD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

#define LIFE_MAX 7200 /* s: an hour's measurement and what is around it */
#define LIFE_OF_CPU_MAX 600 /* s, for a life told in time of the CPU */

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t life_end(int argc, char **argv)
{
	long secs = argc > 1 ? strtol(argv[1], NULL, 10) : 10;

	if (secs < 1)
		secs = 10;
	if (secs > LIFE_MAX)
		secs = LIFE_MAX;
	alarm((unsigned)secs + 5);
	return now_ns() + (uint64_t)secs * 1000000000ull;
}

/* A life that can be told in time of the CPU, since the program began. */
struct life {
	clockid_t clock;
	uint64_t start, end;
};

static inline uint64_t life_now(const struct life *life)
{
	return clock_ns(life->clock);
}

static inline struct life life_begin(int argc, char **argv)
{
	const char *by = getenv("WORKLOAD_LIFE");
	struct life life = {
		.clock = by && !strcmp(by, "cpu") ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC};
	uint64_t end = life_end(argc, argv), now = now_ns();

	life.start = life_now(&life);
	life.end = life.start + (end - now);
	if (life.clock == CLOCK_PROCESS_CPUTIME_ID)
		alarm(LIFE_OF_CPU_MAX);
	return life;
}

/* Spends CPU in the caller's frame; the amount is in units of roughly a microsecond. */
static inline __attribute__((always_inline)) void burn_here(unsigned units)
{
	for (volatile unsigned i = 0; i < units * 400; i++)
		barrier();
}

#endif

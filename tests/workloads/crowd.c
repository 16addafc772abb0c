/* SPDX-License-Identifier: Apache-2.0 */
/* crowd SECONDS N: N threads of equal share, each working a little and sleeping a little. */
#include <pthread.h>
#include <stdint.h>

#include "tests/workloads/workload.h"

static uint64_t end;

NOINLINE void crowd_work(void)
{
	burn_here(500);
	barrier();
}

static void *run(void *arg)
{
	while (now_ns() < end) {
		crowd_work();
		usleep(5000);
	}
	return arg;
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? strtol(argv[2], NULL, 10) : 200;

	end = life_end(argc, argv);
	for (long i = 0; i < n; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, run, NULL))
			return 1;
	}
	while (now_ns() < end)
		usleep(10000);
	_exit(0);
}

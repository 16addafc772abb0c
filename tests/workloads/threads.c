/* SPDX-License-Identifier: Apache-2.0 */
/* Two named threads, each burning in a function of its own, while main sleeps. */
#include <pthread.h>
#include <stdint.h>

#include "tests/workloads/workload.h"

static uint64_t end;

NOINLINE void work_of_alpha(void)
{
	burn_here(500);
}

NOINLINE void work_of_beta(void)
{
	burn_here(500);
}

static void *alpha(void *arg)
{
	pthread_setname_np(pthread_self(), "alpha");
	while (now_ns() < end) {
		work_of_alpha();
		barrier();
	}
	return arg;
}

static void *beta(void *arg)
{
	pthread_setname_np(pthread_self(), "beta");
	while (now_ns() < end) {
		work_of_beta();
		barrier();
	}
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t a, b;

	end = life_end(argc, argv);
	if (pthread_create(&a, NULL, alpha, NULL) || pthread_create(&b, NULL, beta, NULL))
		return 1;
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Burns inside a signal handler that interrupts a burning function, on an alternate stack too. */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>

#include "tests/workloads/workload.h"

NOINLINE void handler_work(void)
{
	burn_here(1000);
}

static void on_timer(int sig)
{
	(void)sig;
	handler_work();
	barrier();
}

NOINLINE void interrupted(void)
{
	burn_here(3000);
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);
	struct sigaction action = {.sa_handler = on_timer};
	struct itimerval every = {{0, 2000}, {0, 2000}};

	if (argc > 2) {
		stack_t alt = {.ss_size = 1 << 16, .ss_sp = malloc(1 << 16)};

		sigaltstack(&alt, NULL);
		action.sa_flags = SA_ONSTACK;
	}
	sigaction(SIGPROF, &action, NULL);
	setitimer(ITIMER_PROF, &every, NULL);
	while (now_ns() < end) {
		interrupted();
		barrier();
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* storm N BURST: forks N processes, BURST at a time, which do next to nothing and exit. */
#include <sys/wait.h>

#include "tests/workloads/workload.h"

int main(int argc, char **argv)
{
	long n = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
	long burst = argc > 2 ? strtol(argv[2], NULL, 10) : 50;

	for (long done = 0; done < n && done < 1000000;) {
		for (long i = 0; i < burst && done < n; i++, done++) {
			if (fork() == 0) {
				burn_here(2);
				_exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	}
	return 0;
}

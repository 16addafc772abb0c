/* SPDX-License-Identifier: Apache-2.0 */
/* Time in system calls (reads of /dev/zero) and in the vDSO (clock_gettime), a good share of each whatever
 * the machine is quick at. */
#include <fcntl.h>

#include "tests/workloads/workload.h"

static char block[1 << 18];

NOINLINE long read_zero(int fd)
{
	long n = read(fd, block, sizeof(block));

	barrier();
	return n;
}

NOINLINE uint64_t ask_time(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < 2000; i++)
		sum += now_ns();
	return sum;
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);
	int fd = open("/dev/zero", O_RDONLY);

	while (now_ns() < end) {
		for (int i = 0; i < 6; i++)
			read_zero(fd);
		ask_time();
		barrier();
	}
	return 0;
}

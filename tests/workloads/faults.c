/* SPDX-License-Identifier: Apache-2.0 */
/* Touches new pages all the time: page faults at a steady rate. */
#include <string.h>
#include <sys/mman.h>

#include "tests/workloads/workload.h"

#define BYTES (256u << 10)

NOINLINE void touch_pages(void)
{
	char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	for (size_t at = 0; at < BYTES; at += 4096)
		p[at] = 1;
	munmap(p, BYTES);
}

int main(int argc, char **argv)
{
	uint64_t end = life_end(argc, argv);

	while (now_ns() < end) {
		touch_pages();
		burn_here(20);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* process/memory.h -- reads a target's memory through process_vm_readv. Never stops, writes to or
 * pages in on behalf of the target beyond the bytes asked for. Any thread. */
#ifndef GP_PROCESS_MEMORY_H
#define GP_PROCESS_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* All len bytes or nothing. Return 0, -EFAULT, -ESRCH, -EPERM, -errno. */
int process_memory_read(uint32_t pid, uint64_t addr, void *dst, size_t len);
/* As many as are readable from addr on. Return the count (maybe 0) or -errno. */
ssize_t process_memory_read_some(uint32_t pid, uint64_t addr, void *dst, size_t len);

struct process_memory_piece {
	uint64_t addr;
	void *dst;
	size_t len;
	int result; // 0 or -errno, filled
};
/* Many pieces in as few system calls as there are; a piece that fails does not fail the others. */
int process_memory_read_many(uint32_t pid, struct process_memory_piece *pieces, size_t n);

#endif

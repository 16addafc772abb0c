/* SPDX-License-Identifier: Apache-2.0 */
#include "process/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/cleanup.h"

#define BATCH 64 // iovecs a call; UIO_MAXIOV is 1024

/* A group leader that exited before its threads has no memory any more; they have. Return a thread
 * of pid that is not the leader, or 0. */
static uint32_t other_thread(uint32_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[64];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		unsigned long tid = strtoul(d->d_name, NULL, 10);

		if (tid && tid != pid)
			return (uint32_t)tid;
	}
	return 0;
}

static ssize_t readv_once(
	uint32_t pid, const struct iovec *local, const struct iovec *remote, size_t n)
{
	ssize_t got = process_vm_readv((pid_t)pid, local, n, remote, n, 0);
	uint32_t tid;

	if (got < 0 && errno == ESRCH) {
		tid = other_thread(pid);
		if (!tid)
			return -ESRCH;
		got = process_vm_readv((pid_t)tid, local, n, remote, n, 0);
	}
	return got < 0 ? -errno : got;
}

ssize_t process_memory_read_some(uint32_t pid, uint64_t addr, void *dst, size_t len)
{
	struct iovec local = {.iov_base = dst, .iov_len = len};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)addr, .iov_len = len};
	ssize_t got;

	if (len == 0)
		return 0;
	if (addr + len < addr)
		return 0;
	got = readv_once(pid, &local, &remote, 1);
	return got == -EFAULT ? 0 : got;
}

int process_memory_read(uint32_t pid, uint64_t addr, void *dst, size_t len)
{
	ssize_t got = process_memory_read_some(pid, addr, dst, len);

	if (got < 0)
		return (int)got;
	return (size_t)got == len ? 0 : -EFAULT;
}

/* Reads pieces[0..n) in one call. Return how many of them have their result. The kernel stops at the
 * first byte that it cannot read: whole pieces before it are done, the next one failed. */
static size_t read_batch(uint32_t pid, struct process_memory_piece *pieces, size_t n)
{
	struct iovec local[BATCH] = {0}, remote[BATCH] = {0};
	ssize_t got;
	size_t i;

	n = MIN(n, (size_t)BATCH);
	for (i = 0; i < n; i++) {
		local[i] = (struct iovec){.iov_base = pieces[i].dst, .iov_len = pieces[i].len};
		remote[i] = (struct iovec){
			.iov_base = (void *)(uintptr_t)pieces[i].addr, .iov_len = pieces[i].len};
	}
	got = readv_once(pid, local, remote, n);
	if (got < 0 && got != -EFAULT) {
		for (i = 0; i < n; i++)
			pieces[i].result = (int)got;
		return n;
	}
	for (i = 0; i < n && got >= (ssize_t)pieces[i].len; i++) {
		got -= (ssize_t)pieces[i].len;
		pieces[i].result = 0;
	}
	if (i < n)
		pieces[i++].result = -EFAULT;
	return i;
}

int process_memory_read_many(uint32_t pid, struct process_memory_piece *pieces, size_t n)
{
	size_t done = 0;

	while (done < n)
		done += read_batch(pid, pieces + done, n - done);
	return 0;
}

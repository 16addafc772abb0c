/* SPDX-License-Identifier: Apache-2.0 */
/* tests/torture_io.h -- the n-th allocation, open, read or write fails.
 *
 * As torture.h, for programs linked with torture_io_link_args besides: the program's own calls of open
 * and its kin fail with EMFILE, reads and writes with EIO, and all of them count in one row with the
 * allocations. Names end in 64 because meson builds with 64-bit file offsets. */
#ifndef GP_TESTS_TORTURE_IO_H
#define GP_TESTS_TORTURE_IO_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/torture.h"

#define TORTURE_IO(type, name, params, args, failed, error)                                        \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		if (!torture_fails())                                                              \
			return __real_##name args;                                                 \
		errno = error;                                                                     \
		return failed;                                                                     \
	}

TORTURE_IO(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n), -1, EIO)
TORTURE_IO(ssize_t, pread64, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), -1, EIO)
TORTURE_IO(ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n), -1, ENOSPC)
TORTURE_IO(int, fsync, (int fd), (fd), -1, EIO)
TORTURE_IO(int, rename, (const char *from, const char *to), (from, to), -1, EIO)
TORTURE_IO(FILE *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
TORTURE_IO(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL, ENOMEM)
TORTURE_IO(DIR *, opendir, (const char *path), (path), NULL, EMFILE)
TORTURE_IO(DIR *, fdopendir, (int fd), (fd), NULL, EMFILE)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (!torture_fails())
		return __real_open64(path, flags, mode);
	errno = EMFILE;
	return -1;
}

int __real_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...);
int __wrap_openat64(int dir, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if (!torture_fails())
		return __real_openat64(dir, path, flags, mode);
	errno = EMFILE;
	return -1;
}

/* openat2() and perf_event_open() have no wrapper in the C library. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	unsigned n = number == SYS_perf_event_open ? 5 : 4; // no more than there are
	long a[5] = {0};
	va_list ap;

	va_start(ap, number);
	for (unsigned i = 0; i < n; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!torture_fails())
		return __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
	errno = EMFILE;
	return -1;
}

#endif

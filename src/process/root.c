/* SPDX-License-Identifier: Apache-2.0 */
#include "process/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"

#define PROC_NAME_MAX 128

uint32_t process_root_host(const char *proc)
{
	char name[PROC_NAME_MAX];
	int fd;

	snprintf(name, sizeof(name), "%s/1/root", proc);
	fd = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return (uint32_t)getpid();
	close(fd);
	return 1;
}

int process_root_reopen(int path_fd)
{
	_cleanup_close_ int fd = path_fd;
	char self[64];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	r = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* A path descriptor of path below the root of pid. */
static int open_path(const char *proc, uint32_t pid, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_close_ int root = -1;
	char name[PROC_NAME_MAX];
	long fd;

	snprintf(name, sizeof(name), "%s/%u/root", proc, pid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	// Before Linux 5.6: without the guard against absolute links.
	if (fd < 0 && errno == ENOSYS)
		fd = openat(root, path + strspn(path, "/"), O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}

int process_root_open(const char *proc, uint32_t pid, const char *path)
{
	int fd = open_path(proc, pid, path);

	return fd < 0 ? fd : process_root_reopen(fd);
}

int process_root_read(const char *proc, uint32_t pid, const char *path, struct buf *ret)
{
	_cleanup_close_ int fd = process_root_open(proc, pid, path);
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	while (ret->len < ret->cap) {
		r = buf_reserve(ret, MIN(ret->cap - ret->len, (size_t)65536));
		if (r)
			return r;
		n = read(fd, ret->data + ret->len, MIN(ret->cap - ret->len, (size_t)65536));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		ret->data[ret->len + (size_t)n] = 0;
		ret->len += (size_t)n;
		if (n == 0)
			return 0;
	}
	return -ENOSPC;
}

int process_root_directory(const char *proc, uint32_t pid, const char *path)
{
	_cleanup_close_ int fd = open_path(proc, pid, path);
	int r;

	if (fd < 0)
		return fd;
	r = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* Takes "." and ".." out of the text. */
static void normalise(const char *path, char *ret)
{
	size_t len = 0;

	while (*path) {
		size_t n;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (len && ret[--len] != '/')
				;
		} else if (n && !(n == 1 && path[0] == '.') && len + 1 + n < PATH_MAX) {
			ret[len++] = '/';
			memcpy(ret + len, path, n);
			len += n;
		}
		path += n;
	}
	if (!len)
		ret[len++] = '/';
	ret[len] = 0;
}

/* The name of an open file, as seen from the root of pid. */
static bool name_of(const char *proc, uint32_t pid, int fd, char *ret)
{
	char self[64], link[PROC_NAME_MAX], root[PATH_MAX];
	ssize_t n, len;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	n = readlink(self, ret, PATH_MAX - 1);
	if (n <= 0 || n == PATH_MAX - 1 || ret[0] != '/')
		return false;
	ret[n] = 0;
	snprintf(link, sizeof(link), "%s/%u/root", proc, pid);
	len = readlink(link, root, sizeof(root) - 1);
	// Another mount namespace shows names from its own root already; a chroot is a part of ours.
	if (len > 1 && len < n && memcmp(ret, root, (size_t)len) == 0 && ret[len] == '/')
		memmove(ret, ret + len, (size_t)(n - len) + 1);
	return true;
}

void process_root_resolve(const char *proc, uint32_t pid, const char *path, char *ret)
{
	_cleanup_close_ int fd = open_path(proc, pid, path);

	if (fd < 0 || !name_of(proc, pid, fd, ret))
		normalise(path, ret);
}

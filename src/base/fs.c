/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define READ_CHUNK 4096

int fs_read_file_at(int dirfd, const char *path, struct buf *buf)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (;;) {
		size_t room = MIN(MAX(READ_CHUNK, buf->len / 2), buf->cap - buf->len);
		ssize_t n;
		int r;

		if (room == 0) {
			char c;

			return read(fd, &c, 1) == 1 ? -ENOSPC : 0;
		}
		r = buf_reserve(buf, room);
		if (r)
			return r;
		n = read(fd, buf->data + buf->len, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf->data[buf->len + (size_t)n] = 0;
		if (n == 0)
			return 0;
		buf->len += (size_t)n;
	}
}

int fs_read_file(const char *path, struct buf *buf)
{
	return fs_read_file_at(AT_FDCWD, path, buf);
}

ssize_t fs_pread_full(int fd, void *dst, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)dst + done, len - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int fs_write_full(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return 0;
}

int fs_mkdir_p(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part))
		return n ? -ENAMETOOLONG : -ENOENT;
	memcpy(part, path, n + 1);
	for (char *p = part + 1;; p++) {
		char c = *p;
		struct stat st;

		if (c != '/' && c != 0)
			continue;
		*p = 0;
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		if (c == 0)
			return stat(part, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
		*p = c;
	}
}

int fs_mkdir_parents(const char *path, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;

	if (!slash || slash == path)
		return 0;
	dir = strndup(path, (size_t)(slash - path));
	return dir ? fs_mkdir_p(dir, mode) : -ENOMEM;
}

const char *fs_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Without a name while it is written, so that a kill leaves nothing behind. Return a descriptor or
 * -errno: not every file system can (EOPNOTSUPP; EISDIR from old kernels). */
static int open_nameless(const char *path, mode_t mode)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	int fd;

	if (!dir)
		return -ENOMEM;
	fd = open(slash ? dir : ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

/* Gives the nameless file a name. */
static int name_it(int fd, const char *tmp)
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	return linkat(AT_FDCWD, link, AT_FDCWD, tmp, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

int fs_atomic_open(struct fs_atomic *a, const char *path, mode_t mode)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -1;

	*a = (struct fs_atomic){0};
	if (asprintf(&tmp, "%s.tmp.%d", path, (int)getpid()) < 0)
		return -ENOMEM;
	// Without /proc a nameless file could not be named at the end.
	if (access("/proc/self/fd", X_OK) == 0)
		fd = open_nameless(path, mode);
	a->nameless = fd >= 0;
	if (fd < 0)
		fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	a->path = strdup(path);
	a->f = a->path ? fdopen(fd, "w") : NULL;
	if (!a->f) {
		if (!a->nameless)
			unlink(tmp);
		fs_atomic_abort(a);
		return -ENOMEM;
	}
	steal_fd(&fd);
	a->tmp = steal_ptr(tmp);
	return 0;
}

int fs_atomic_commit(struct fs_atomic *a)
{
	int r = 0;

	errno = 0;
	if (fflush(a->f) || ferror(a->f))
		r = errno ? -errno : -EIO;
	if (!r && fsync(fileno(a->f)) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	if (!r && a->nameless)
		r = name_it(fileno(a->f), a->tmp);
	if (!r)
		a->nameless = false;
	if (fclose(a->f) && !r)
		r = -errno;
	a->f = NULL;
	if (!r && rename(a->tmp, a->path) < 0)
		r = -errno;
	if (!r) {
		free(a->tmp);
		a->tmp = NULL;
	}
	fs_atomic_abort(a);
	return r;
}

void fs_atomic_abort(struct fs_atomic *a)
{
	if (a->f)
		fclose(a->f);
	if (a->tmp && !a->nameless)
		unlink(a->tmp);
	free(a->tmp);
	free(a->path);
	*a = (struct fs_atomic){0};
}

int fs_symlink_replace(const char *target, const char *link)
{
	_cleanup_free_ char *tmp = NULL;

	if (asprintf(&tmp, "%s.tmp", link) < 0)
		return -ENOMEM;
	unlink(tmp);
	if (symlink(target, tmp) < 0)
		return -errno;
	if (rename(tmp, link) < 0) {
		int r = -errno;

		unlink(tmp);
		return r;
	}
	return 0;
}

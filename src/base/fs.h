/* SPDX-License-Identifier: Apache-2.0 */
/* base/fs.h -- files: small reads, whole writes.
 *
 * An output file appears whole or not at all: it is written beside its final name, synced and
 * renamed. Any thread. */
#ifndef GP_BASE_FS_H
#define GP_BASE_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"

/* Appends the whole of a file (also of /proc, whose sizes lie) to buf, up to its cap.
 * Return 0, -errno, -ENOSPC when the cap cut it. */
int fs_read_file(const char *path, struct buf *buf);
/* The same from a directory descriptor. */
int fs_read_file_at(int dirfd, const char *path, struct buf *buf);
/* pread until len bytes or end of file. Return bytes read or -errno. */
ssize_t fs_pread_full(int fd, void *dst, size_t len, off_t offset);
/* write until done. Return 0 or -errno. */
int fs_write_full(int fd, const void *data, size_t len);
/* mkdir -p. Return 0 or -errno. */
int fs_mkdir_p(const char *path, mode_t mode);
/* mkdir -p of all but the last component. */
int fs_mkdir_parents(const char *path, mode_t mode);
/* The last component of a path. */
const char *fs_basename(const char *path);

/* A file on its way to `path`: f is a stream to write to. */
struct fs_atomic {
	FILE *f;
	char *path;
	char *tmp;
	bool nameless; // tmp does not exist yet
};

/* Creates the temporary file in the same directory. Return 0 or -errno. */
int fs_atomic_open(struct fs_atomic *a, const char *path, mode_t mode);
/* Flushes, syncs, renames. Return 0 or -errno; on failure the old file is intact and the temporary
 * one is gone. Either way the struct is empty after it. */
int fs_atomic_commit(struct fs_atomic *a);
/* Drops the temporary file; harmless after a commit. */
void fs_atomic_abort(struct fs_atomic *a);

/* Points link at target (relative text), replacing it in one step. */
int fs_symlink_replace(const char *target, const char *link);

#endif

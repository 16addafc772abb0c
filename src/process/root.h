/* SPDX-License-Identifier: Apache-2.0 */
/* process/root.h -- files as a process sees them: names are looked up below its root, and no link
 * leads out of it.
 *
 * Nothing but a regular file is ever opened for reading: a name is first opened with O_PATH, which
 * does not reach a driver, and only what fstat() proves is opened, through /proc/self/fd so that it is
 * the same object. proc is "/proc", or a fixture. Any thread. */
#ifndef GP_PROCESS_ROOT_H
#define GP_PROCESS_ROOT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A process whose root is the host's: pid 1, or ourselves where its root is closed to us. */
uint32_t process_root_host(const char *proc);
/* Turns a path descriptor (consumed) into one for reading. Return it, -EMEDIUMTYPE, -errno. */
int process_root_reopen(int path_fd);
/* Opens path as process pid would, for reading. Return the descriptor, -EMEDIUMTYPE, -errno. */
int process_root_open(const char *proc, uint32_t pid, const char *path);
/* The whole of such a file, up to ret's cap. Return 0, -ENOSPC the cap cut it, -EMEDIUMTYPE, -errno. */
int process_root_read(const char *proc, uint32_t pid, const char *path, struct buf *ret);
/* A directory, to be listed. Return a descriptor or -errno. */
int process_root_directory(const char *proc, uint32_t pid, const char *path);
/* The name of what an absolute path leads to, links followed inside the root; where there is nothing,
 * the path itself with "." and ".." taken out. ret holds PATH_MAX bytes. */
void process_root_resolve(const char *proc, uint32_t pid, const char *path, char *ret);

#endif

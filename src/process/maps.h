/* SPDX-License-Identifier: Apache-2.0 */
/* process/maps.h -- /proc/PID/maps as text, and what kind of thing a mapping is.
 *
 * Format: proc_pid_maps(5); fs/proc/task_mmu.c show_map_vma(). The text is hostile: names are
 * chosen by the target. Only a newline is escaped in it (as \012). Any thread. */
#ifndef GP_PROCESS_MAPS_H
#define GP_PROCESS_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/vec.h"
#include "process/process.h"

#define MAPS_PATH_MAX 4096 // longer names are cut

struct maps_line {
	uint64_t start, end, pgoff, ino; // bytes
	uint32_t maj, min;
	bool read, write, exec, shared;
	const char *path; // unescaped, NUL-terminated, lives until the callback returns
};

/* Nonzero ends the parse and is forwarded. */
typedef int (*maps_fn)(void *arg, const struct maps_line *line);

/* Calls fn for each whole, well-formed line; others are skipped. Return the bytes of whole lines, or
 * what fn returned if that is negative. */
ssize_t maps_parse(const char *text, size_t len, maps_fn fn, void *arg);
/* The same for an open maps file, read in pieces. Return 0, -errno of the read, or what fn returned. */
int maps_read_fd(int fd, maps_fn fn, void *arg);

/* By name alone; the last word has fstat() when the file is opened. */
enum mapping_kind maps_kind(const char *path);
/* Length of the name without " (deleted)". */
size_t maps_path_len(const char *path, bool *ret_deleted);

/* Puts m into sorted mappings, cutting and splitting what it overlaps and joining what continues it.
 * Return 0 unchanged, 1 changed, -ENOSPC, -ENOMEM (then the range is left cut out). */
int mapping_vec_put(struct mapping_vec *v, const struct mapping *m);
/* Removes a range. Return 0 unchanged, 1 changed, -ENOSPC or -ENOMEM if a split lost its upper half. */
int mapping_vec_cut(struct mapping_vec *v, uint64_t start, uint64_t end);
/* Index of the mapping that holds addr, or -1. */
ssize_t mapping_vec_find(const struct mapping_vec *v, uint64_t addr);
bool mapping_equal(const struct mapping *a, const struct mapping *b);

#endif

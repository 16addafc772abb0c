/* SPDX-License-Identifier: Apache-2.0 */
/* tests/scratch.h -- a directory of a test's own under /tmp, with files in it: what stands for a host's
 * /proc, /sys or root. */
#ifndef GP_TESTS_SCRATCH_H
#define GP_TESTS_SCRATCH_H

#include "tests/harness.h"

#include <ftw.h>
#include <unistd.h>

#include "base/fs.h"

#define SCRATCH_DIR 64
#define SCRATCH_PATH 512

/* Makes it: /tmp/gprofiler-test-<name>-XXXXXX. */
static inline void scratch_begin(char dir[static SCRATCH_DIR], const char *name)
{
	snprintf(dir, SCRATCH_DIR, "/tmp/gprofiler-test-%.24s-XXXXXX", name);
	assert_non_null(mkdtemp(dir));
}

static inline int scratch_remove_one(
	const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	remove(path);
	return 0;
}

/* Removes it and all that is in it; links are not followed. */
static inline void scratch_end(const char *dir)
{
	nftw(dir, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file of that text at a path below it, and the folders on the way. */
static inline void scratch_put_bytes(
	const char *dir, const char *path, const void *bytes, size_t len)
{
	char whole[SCRATCH_PATH];
	FILE *out;

	assert_true(snprintf(whole, sizeof(whole), "%s/%s", dir, path) < (int)sizeof(whole));
	assert_ok(fs_mkdir_parents(whole, 0755));
	out = fopen(whole, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_ok(fclose(out));
}

static inline void scratch_put(const char *dir, const char *path, const char *text)
{
	scratch_put_bytes(dir, path, text, strlen(text));
}

/* In a folder that stands for /proc: a process whose root is the folder fs beside it. */
static inline void scratch_rooted(const char *proc, unsigned pid)
{
	char fs[SCRATCH_PATH], path[SCRATCH_PATH];

	snprintf(fs, sizeof(fs), "%s/fs", proc);
	assert_ok(fs_mkdir_p(fs, 0755));
	snprintf(path, sizeof(path), "%s/%u", proc, pid);
	assert_ok(fs_mkdir_p(path, 0755));
	snprintf(path, sizeof(path), "%s/%u/root", proc, pid);
	assert_ok(symlink(fs, path));
}

/* A case's fixture for cmocka, where it is all that the case needs: such a folder, with process 1. */
struct scratch_host {
	char proc[SCRATCH_DIR];
};

static inline int scratch_host_setup(void **state)
{
	struct scratch_host *h = calloc(1, sizeof(*h));

	assert_non_null(h);
	scratch_begin(h->proc, "host");
	scratch_rooted(h->proc, 1);
	*state = h;
	return 0;
}

static inline int scratch_host_teardown(void **state)
{
	struct scratch_host *h = *state;

	scratch_end(h->proc);
	free(h);
	return 0;
}

/* A case that has it. */
#define SCRATCH_HOST_CASE(name)                                                                    \
	cmocka_unit_test_setup_teardown(name, scratch_host_setup, scratch_host_teardown)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "process/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/maps.h"

void arguments_init(struct arguments *a)
{
	a->text = BUF_INIT(ARGUMENTS_BYTES_MAX);
	a->argc = 0;
	a->exe[0] = a->cwd[0] = 0;
}

void arguments_deinit(struct arguments *a)
{
	buf_deinit(&a->text);
	a->argc = 0;
}

void arguments_split(struct arguments *a)
{
	const char *s = a->text.data, *end = s ? s + a->text.len : s;

	a->argc = 0;
	while (s < end && a->argc < ARGUMENTS_MAX) {
		a->argv[a->argc++] = s;
		s += strlen(s) + 1; // a buf ends with a NUL of its own
	}
}

static void read_link(const char *proc, uint32_t pid, const char *name, char *ret)
{
	char path[128];
	bool deleted;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%u/%s", proc, pid, name);
	n = readlink(path, ret, PATH_MAX - 1);
	ret[n < 0 ? 0 : n] = 0;
	ret[maps_path_len(ret, &deleted)] = 0;
}

int arguments_read(struct arguments *a, const char *proc, uint32_t pid)
{
	char path[128];
	int r;

	buf_clear(&a->text);
	snprintf(path, sizeof(path), "%s/%u/cmdline", proc, pid);
	r = fs_read_file(path, &a->text);
	if (r && r != -ENOSPC) {
		a->argc = 0;
		return r == -ENOENT ? -ESRCH : r;
	}
	arguments_split(a);
	read_link(proc, pid, "exe", a->exe);
	read_link(proc, pid, "cwd", a->cwd);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/retention.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/vec.h"

#define LOGGER "gprofiler"
#define PREFIX "profile_"
#define RESULTS_MAX 100000
#define TIME_CHARS (sizeof("profile_2026-01-02T03:04:05") - 1)

struct result {
	uint64_t mtime_ns, bytes;
	char name[80]; // longer names are not ours
};
VEC_DEFINE(results, struct result)

static bool is_result(const char *name, struct stat *st, int dir)
{
	size_t n = sizeof(PREFIX) - 1;

	return !strncmp(name, PREFIX, n) && isdigit((unsigned char)name[n]) &&
	       strlen(name) < sizeof(((struct result *)NULL)->name) &&
	       fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st->st_mode);
}

static int by_age(const void *a, const void *b)
{
	const struct result *x = a, *y = b;

	if (x->mtime_ns != y->mtime_ns)
		return x->mtime_ns < y->mtime_ns ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* Oldest first. */
static int list(DIR *dir, struct results *ret, uint64_t *ret_bytes)
{
	struct dirent *d;

	rewinddir(dir);
	while ((d = readdir(dir))) {
		struct result r = {0};
		struct stat st;

		if (!is_result(d->d_name, &st, dirfd(dir)))
			continue;
		r.bytes = (uint64_t)st.st_size;
		r.mtime_ns =
			(uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
		memcpy(r.name, d->d_name, strlen(d->d_name));
		*ret_bytes += r.bytes;
		if (results_push(ret, r))
			return ret->len ? 0 : -ENOMEM;
	}
	if (ret->len)
		qsort(ret->data, ret->len, sizeof(*ret->data), by_age);
	return 0;
}

/* A link on a file that is gone helps nobody. */
static void remove_links(DIR *dir, const char *name)
{
	char target[NAME_MAX + 1];
	struct dirent *d;

	rewinddir(dir);
	while ((d = readdir(dir))) {
		ssize_t n;

		if (strncmp(d->d_name, "last_", 5) != 0)
			continue;
		n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		target[MAX(n, 0)] = 0;
		if (n > 0 && !strcmp(target, name))
			unlinkat(dirfd(dir), d->d_name, 0);
	}
}

/* Every event and every form of one window have its time in their names. */
static bool being_written(const struct result *r, const char *stem)
{
	return !strncmp(r->name, stem, TIME_CHARS);
}

static int remove_result(DIR *dir, const struct result *r)
{
	if (unlinkat(dirfd(dir), r->name, 0) < 0 && errno != ENOENT)
		return -errno;
	remove_links(dir, r->name);
	log_debug(LOGGER, "Removed %s, the oldest result", r->name);
	return 0;
}

int retention_make_room(const char *dir, const char *stem, uint64_t limit, uint64_t coming)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct results found;
	uint64_t bytes = 0;
	int first = 0, r;

	if (!d)
		return -errno;
	results_init(&found, RESULTS_MAX);
	r = list(d, &found, &bytes);
	for (size_t i = 0; !r && i < found.len && bytes + coming > limit; i++) {
		int failed;

		if (being_written(&found.data[i], stem))
			continue;
		failed = remove_result(d, &found.data[i]);
		if (!failed)
			bytes -= found.data[i].bytes;
		first = first ? first : failed;
	}
	results_deinit(&found);
	return r ? r : first;
}

bool retention_drop_oldest(const char *dir, const char *stem)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct results found;
	uint64_t bytes = 0;
	bool gone = false;

	if (!d)
		return false;
	results_init(&found, RESULTS_MAX);
	list(d, &found, &bytes);
	for (size_t i = 0; !gone && i < found.len; i++)
		gone = !being_written(&found.data[i], stem) && !remove_result(d, &found.data[i]);
	results_deinit(&found);
	return gone;
}

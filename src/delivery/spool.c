/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/vec.h"

#define ITEMS_MAX 65536
#define SUFFIX ".upload"
#define TEMPORARY "writing" SUFFIX ".tmp"
#define ID_DIGITS 16
#define NAME_SIZE (ID_DIGITS + sizeof(SUFFIX))

/* id: nanoseconds since 1970 when it was put, made distinct. */
struct item {
	uint64_t id, size;
	bool aside, was_aside;
};
VEC_DEFINE(item_vec, struct item)

struct spool {
	uint64_t max_bytes, max_age_ns;
	size_t item_max;
	struct item_vec items; // sorted by id
	uint64_t bytes;
	struct spool_stats stats;
	int dir;
};

static void item_name(uint64_t id, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%0*" PRIx64 SUFFIX, ID_DIGITS, id);
}

/* The id of a file of ours, 0 if it is none. */
static uint64_t item_id(const char *name)
{
	char back[NAME_SIZE];
	uint64_t id = strtoull(name, NULL, 16);

	item_name(id, back);
	return strcmp(back, name) == 0 ? id : 0;
}

/* The first item whose id is not below. */
static size_t find(const struct spool *s, uint64_t id)
{
	size_t low = 0, high = s->items.len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->items.data[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void forget(struct spool *s, size_t at)
{
	s->bytes -= s->items.data[at].size;
	item_vec_remove(&s->items, at, 1);
}

static void drop(struct spool *s, size_t at)
{
	char name[NAME_SIZE];

	item_name(s->items.data[at].id, name);
	unlinkat(s->dir, name, 0);
	forget(s, at);
}

static int remember(struct spool *s, uint64_t id, uint64_t size)
{
	int r = item_vec_insert(&s->items, find(s, id), (struct item){.id = id, .size = size});

	if (!r)
		s->bytes += size;
	return r;
}

static void make_room(struct spool *s, uint64_t need)
{
	while (s->items.len && (s->bytes + need > s->max_bytes || s->items.len >= ITEMS_MAX)) {
		drop(s, 0);
		s->stats.lost_size++;
	}
}

/* A directory that others may write could be filled with their profiles, or ours be read. */
static int open_dir(const char *path)
{
	struct stat st;
	int fd, r = fs_mkdir_parents(path, 0755);

	if (!r && mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_uid != geteuid() || st.st_mode & 022)
		r = -EPERM;
	else if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (r) {
		close(fd);
		return r;
	}
	return fd;
}

static int take_stock(struct spool *s)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	int r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (!r && (e = readdir(d))) {
		uint64_t id = item_id(e->d_name);
		struct stat st;

		if (strcmp(e->d_name, TEMPORARY) == 0)
			unlinkat(s->dir, TEMPORARY, 0);
		if (!id || fstatat(s->dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			!S_ISREG(st.st_mode))
			continue;
		if (s->items.len >= ITEMS_MAX) {
			// More than any run of ours leaves: the oldest have to go.
			make_room(s, 0);
		}
		r = remember(s, id, (uint64_t)st.st_size);
	}
	return r;
}

int spool_open(const struct spool_config *config, struct spool **ret)
{
	struct spool *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->max_bytes = config->max_bytes;
	s->max_age_ns = MIN(config->max_age_s, UINT64_MAX / NSEC_PER_SEC) * NSEC_PER_SEC;
	s->item_max = config->item_max;
	item_vec_init(&s->items, ITEMS_MAX);
	s->dir = r = open_dir(config->dir);
	if (r >= 0)
		r = take_stock(s);
	if (r) {
		spool_close(s);
		return r;
	}
	make_room(s, 0);
	spool_expire(s, clock_real_ns());
	*ret = s;
	return 0;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	if (s->dir >= 0)
		close(s->dir);
	item_vec_deinit(&s->items);
	free(s);
}

static int write_file(struct spool *s, const char *name, const void *data, size_t len)
{
	int fd = openat(
		s->dir, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fs_write_full(fd, data, len);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && renameat(s->dir, TEMPORARY, s->dir, name) < 0)
		r = -errno;
	if (r) {
		unlinkat(s->dir, TEMPORARY, 0);
		return r;
	}
	// The item is there; that its name outlives a power cut is asked for, and a file system
	// that cannot promise it is no reason to lose the item.
	fsync(s->dir);
	return 0;
}

int spool_put(struct spool *s, const void *data, size_t len, uint64_t now_ns)
{
	uint64_t id = now_ns ? now_ns : 1;
	char name[NAME_SIZE];
	size_t at;
	int r;

	if (len > s->item_max || len > s->max_bytes) {
		s->stats.failed++;
		return -EFBIG;
	}
	make_room(s, len);
	for (at = find(s, id); at < s->items.len && s->items.data[at].id == id; at++)
		id++;
	r = item_vec_reserve(&s->items, 1);
	if (!r) {
		item_name(id, name);
		r = write_file(s, name, data, len);
	}
	// Of a full disk the newest is worth more than the oldest.
	while ((r == -ENOSPC || r == -EDQUOT) && s->items.len) {
		drop(s, 0);
		s->stats.lost_size++;
		r = write_file(s, name, data, len);
	}
	if (r) {
		s->stats.failed++;
		return r;
	}
	s->stats.put++;
	return remember(s, id, len);
}

void spool_expire(struct spool *s, uint64_t now_ns)
{
	while (s->items.len && now_ns > s->max_age_ns &&
		s->items.data[0].id < now_ns - s->max_age_ns) {
		drop(s, 0);
		s->stats.lost_age++;
	}
}

int spool_oldest(const struct spool *s, uint64_t *ret_id)
{
	for (size_t i = 0; i < s->items.len; i++) {
		if (!s->items.data[i].aside) {
			*ret_id = s->items.data[i].id;
			return 0;
		}
	}
	return -ENOENT;
}

static struct item *get(const struct spool *s, uint64_t id)
{
	size_t at = find(s, id);

	return at < s->items.len && s->items.data[at].id == id ? &s->items.data[at] : NULL;
}

void spool_set_aside(struct spool *s, uint64_t id)
{
	struct item *item = get(s, id);

	if (item)
		item->aside = item->was_aside = true;
}

bool spool_was_aside(const struct spool *s, uint64_t id)
{
	const struct item *item = get(s, id);

	return item && item->was_aside;
}

void spool_recall(struct spool *s)
{
	for (size_t i = 0; i < s->items.len; i++)
		s->items.data[i].aside = false;
}

int spool_read(struct spool *s, uint64_t id, struct buf *out)
{
	char name[NAME_SIZE];
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;
	int r;

	item_name(id, name);
	fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ELOOP ? -EINVAL : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > s->item_max)
		return -EINVAL;
	r = buf_reserve(out, (size_t)st.st_size);
	if (r)
		return r;
	n = fs_pread_full(fd, out->data + out->len, (size_t)st.st_size, 0);
	if (n < 0)
		return (int)n;
	if (n != st.st_size)
		return -EINVAL;
	out->len += (size_t)n;
	out->data[out->len] = 0;
	return 0;
}

void spool_remove(struct spool *s, uint64_t id, bool damaged)
{
	size_t at = find(s, id);

	if (at >= s->items.len || s->items.data[at].id != id)
		return;
	drop(s, at);
	if (damaged)
		s->stats.lost_damaged++;
	else
		s->stats.taken++;
}

size_t spool_items(const struct spool *s)
{
	return s->items.len;
}

uint64_t spool_bytes(const struct spool *s)
{
	return s->bytes;
}

const struct spool_stats *spool_stats(const struct spool *s)
{
	return &s->stats;
}

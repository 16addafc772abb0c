/* SPDX-License-Identifier: Apache-2.0 */
#include "process/maps.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"

/* Bytes of a line at most: six fields, and a name of which every byte may be a four-byte escape. */
#define READ_BYTES 32768
#define DELETED " (deleted)"

/* A number in base 10 or 16, followed by `end` (consumed). */
static bool take_number(struct cursor *c, unsigned base, char end, uint64_t *ret)
{
	uint64_t n = 0;
	bool any = false;

	for (;;) {
		unsigned char ch = cursor_u8(c);
		unsigned digit;

		if (c->bad)
			return false;
		if (any && ch == (unsigned char)end)
			break;
		if (ch >= '0' && ch <= '9')
			digit = ch - '0';
		else if (base == 16 && ch >= 'a' && ch <= 'f')
			digit = ch - 'a' + 10u;
		else
			return false;
		if (n > (UINT64_MAX - digit) / base)
			return false;
		n = n * base + digit;
		any = true;
	}
	*ret = n;
	return true;
}

static bool take_flags(struct cursor *c, struct maps_line *line)
{
	const char *f = cursor_bytes(c, 5);

	if (!f || f[4] != ' ')
		return false;
	line->read = f[0] == 'r';
	line->write = f[1] == 'w';
	line->exec = f[2] == 'x';
	line->shared = f[3] == 's';
	return (f[0] == 'r' || f[0] == '-') && (f[1] == 'w' || f[1] == '-') &&
	       (f[2] == 'x' || f[2] == '-') && (f[3] == 's' || f[3] == 'p');
}

/* The rest of the line: spaces, then the name with \012 for a newline. */
static void take_path(struct cursor *c, char *path)
{
	size_t n = 0;

	while (cursor_left(c) && *c->pos == ' ')
		c->pos++;
	while (cursor_left(c) && n < MAPS_PATH_MAX - 1) {
		if (cursor_left(c) >= 4 && memcmp(c->pos, "\\012", 4) == 0) {
			path[n++] = '\n';
			c->pos += 4;
			continue;
		}
		if (!*c->pos)
			break;
		path[n++] = (char)*c->pos++;
	}
	path[n] = 0;
}

static bool parse_line(const char *text, size_t len, char *path, struct maps_line *line)
{
	struct cursor c = cursor_make(text, len);
	uint64_t maj, min;
	uint8_t last;

	if (!take_number(&c, 16, '-', &line->start) || !take_number(&c, 16, ' ', &line->end) ||
		!take_flags(&c, line) || !take_number(&c, 16, ' ', &line->pgoff) ||
		!take_number(&c, 16, ':', &maj) || !take_number(&c, 16, ' ', &min))
		return false;
	// The inode is the last field of an anonymous mapping, with or without a space after it.
	line->ino = 0;
	while (cursor_left(&c) && (last = *c.pos) >= '0' && last <= '9') {
		line->ino = line->ino * 10 + (last - (uint64_t)'0');
		c.pos++;
	}
	if (cursor_left(&c) && *c.pos != ' ')
		return false;
	take_path(&c, path);
	line->maj = (uint32_t)maj;
	line->min = (uint32_t)min;
	line->path = path;
	return line->start < line->end && maj <= UINT32_MAX && min <= UINT32_MAX;
}

ssize_t maps_parse(const char *text, size_t len, maps_fn fn, void *arg)
{
	char path[MAPS_PATH_MAX];
	size_t done = 0;

	while (done < len) {
		const char *nl = memchr(text + done, '\n', len - done);
		struct maps_line line;
		int r;

		if (!nl)
			break;
		if (parse_line(text + done, (size_t)(nl - text) - done, path, &line)) {
			r = fn(arg, &line);
			if (r)
				return r;
		}
		done = (size_t)(nl - text) + 1;
	}
	return (ssize_t)done;
}

int maps_read_fd(int fd, maps_fn fn, void *arg)
{
	char text[READ_BYTES];
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, text + len, sizeof(text) - len);
		ssize_t done;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		len += (size_t)n;
		done = maps_parse(text, len, fn, arg);
		if (done < 0)
			return (int)done;
		if (done == 0 && len == sizeof(text))
			done = (ssize_t)len; // a line longer than any the kernel writes
		memmove(text, text + done, len - (size_t)done);
		len -= (size_t)done;
	}
}

size_t maps_path_len(const char *path, bool *ret_deleted)
{
	size_t len = strlen(path), tail = strlen(DELETED);

	*ret_deleted = len > tail && memcmp(path + len - tail, DELETED, tail) == 0;
	return *ret_deleted ? len - tail : len;
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Names that look like paths and are no regular files. What cannot be known by name (a device node
 * outside /dev) is caught by fstat() when the module is opened. */
static bool known_nofile(const char *path)
{
	static const char *const prefixes[] = {
		"/dev/", // nvidia, dri, mem, zero (shared anonymous memory) ...
		"/proc/", // a target's view of a device through sysfs or procfs
		"/sys/", // PCI resources
		"/memfd:", // memfd_create(2)
		"/dmabuf:", // dma-buf heaps
		"/SYSV", // System V shared memory
		"/drm mm object", // GEM objects of the i915 and other drivers
		"/i915", //
		"/[", // /[aio], /[io_uring]
	};

	if (starts_with(path, "/dev/shm/"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (starts_with(path, prefixes[i]))
			return true;
	return false;
}

enum mapping_kind maps_kind(const char *path)
{
	if (!*path || starts_with(path, "//anon") || starts_with(path, "/anon_hugepage"))
		return MAPPING_ANON;
	if (strcmp(path, "[vdso]") == 0)
		return MAPPING_VDSO;
	if (strcmp(path, "[vsyscall]") == 0)
		return MAPPING_NOFILE;
	if (*path == '[')
		return MAPPING_ANON; // [heap], [stack], [anon:NAME]
	if (*path != '/' || known_nofile(path))
		return MAPPING_NOFILE; // anon_inode:..., socket:[...], devices
	return MAPPING_FILE;
}

bool mapping_equal(const struct mapping *a, const struct mapping *b)
{
	return a->start == b->start && a->end == b->end && a->pgoff == b->pgoff &&
	       a->module == b->module && a->path == b->path && a->kind == b->kind;
}

/* Index of the first mapping that ends above addr. */
static size_t first_above(const struct mapping_vec *v, uint64_t addr)
{
	size_t lo = 0, hi = v->len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v->data[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

ssize_t mapping_vec_find(const struct mapping_vec *v, uint64_t addr)
{
	size_t i = first_above(v, addr);

	return i < v->len && v->data[i].start <= addr ? (ssize_t)i : -1;
}

static void cut_front(struct mapping *m, uint64_t start)
{
	if (m->kind == MAPPING_FILE || m->kind == MAPPING_VDSO)
		m->pgoff += start - m->start;
	m->start = start;
}

int mapping_vec_cut(struct mapping_vec *v, uint64_t start, uint64_t end)
{
	size_t i = first_above(v, start), n = 0;
	bool changed = false;

	if (i < v->len && v->data[i].start < start) {
		struct mapping upper = v->data[i];

		v->data[i].end = start;
		changed = true;
		i++;
		if (upper.end > end) {
			int r;

			cut_front(&upper, end);
			r = mapping_vec_insert(v, i, upper);
			return r ? r : 1;
		}
	}
	while (i + n < v->len && v->data[i + n].end <= end)
		n++;
	if (n)
		mapping_vec_remove(v, i, n);
	if (i < v->len && v->data[i].start < end) {
		cut_front(&v->data[i], end);
		changed = true;
	}
	return changed || n;
}

/* b goes on where a ends, in memory and in the file. */
static bool continues(const struct mapping *a, const struct mapping *b)
{
	bool file = a->kind == MAPPING_FILE || a->kind == MAPPING_VDSO;

	return a->end == b->start && a->kind == b->kind && a->module == b->module &&
	       a->path == b->path && (!file || a->pgoff + (a->end - a->start) == b->pgoff);
}

int mapping_vec_put(struct mapping_vec *v, const struct mapping *m)
{
	ssize_t at = mapping_vec_find(v, m->start);
	struct mapping whole = *m;
	size_t i;
	int r;

	if (at >= 0 && m->end <= v->data[at].end) {
		struct mapping part = v->data[at];

		// A JIT that toggles protection reports pieces of what is known already.
		cut_front(&part, m->start);
		part.end = m->end;
		if (mapping_equal(&part, m))
			return 0;
	}
	r = mapping_vec_cut(v, m->start, m->end);
	if (r < 0)
		return r;
	i = first_above(v, m->start);
	if (i > 0 && continues(&v->data[i - 1], &whole)) {
		whole.start = v->data[i - 1].start;
		whole.pgoff = v->data[i - 1].pgoff;
		mapping_vec_remove(v, --i, 1);
	}
	if (i < v->len && continues(&whole, &v->data[i])) {
		whole.end = v->data[i].end;
		mapping_vec_remove(v, i, 1);
	}
	r = mapping_vec_insert(v, i, whole);
	return r ? r : 1;
}

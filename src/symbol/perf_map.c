/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/perf_map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/fs.h"

#define CHUNK 65536

void perf_map_init(struct perf_map *m, int fd)
{
	*m = (struct perf_map){.fd = fd};
	jit_index_init(&m->index);
}

void perf_map_deinit(struct perf_map *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	jit_index_deinit(&m->index);
}

/* Hexadecimal, "0x" allowed, followed by one space. */
static bool take_hex(struct cursor *c, uint64_t *ret)
{
	unsigned digits = 0;

	*ret = 0;
	if (cursor_left(c) > 2 && c->pos[0] == '0' && (c->pos[1] | 0x20) == 'x')
		c->pos += 2;
	for (;;) {
		unsigned char ch = cursor_u8(c);
		unsigned digit;

		if (c->bad)
			return false;
		if (ch == ' ' && digits)
			return true;
		if (ch >= '0' && ch <= '9')
			digit = ch - '0';
		else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'f')
			digit = (ch | 0x20u) - 'a' + 10;
		else
			return false;
		if (++digits > 16)
			return false;
		*ret = *ret << 4 | digit;
	}
}

/* Return 0, 1 malformed, -ENOSPC, -ENOMEM. */
static int parse_line(struct perf_map *m, const char *line, size_t len, uint64_t at)
{
	struct cursor c = cursor_make(line, len);
	uint64_t start, size;
	int r;

	if (!take_hex(&c, &start) || !take_hex(&c, &size) || !cursor_left(&c))
		return 1;
	r = jit_index_add(&m->index, start, size, at + cursor_offset(&c));
	return r == -EINVAL ? 1 : r;
}

ssize_t perf_map_parse(struct perf_map *m, const char *text, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		const char *nl = memchr(text + done, '\n', len - done);
		int r;

		if (!nl)
			break;
		r = parse_line(m, text + done, (size_t)(nl - text) - done, at + done);
		if (r < 0)
			return r;
		m->malformed += r == 1;
		done = (size_t)(nl - text) + 1;
	}
	return (ssize_t)done;
}

static int read_on(struct perf_map *m, char *text)
{
	for (;;) {
		ssize_t n = fs_pread_full(m->fd, text, CHUNK, (off_t)m->done), done;

		if (n <= 0)
			return (int)n;
		done = perf_map_parse(m, text, (size_t)n, m->done);
		if (done < 0)
			return (int)done;
		if (done == 0 && n < CHUNK)
			return 0; // the line is still being written
		// A line longer than the buffer is no function's: its pieces will not parse.
		m->done += done ? (uint64_t)done : (uint64_t)n;
		if (m->done > PERF_MAP_BYTES_MAX)
			return -ENOSPC;
	}
}

int perf_map_update(struct perf_map *m)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	int r;

	if (m->fd < 0)
		return -ENOENT;
	if (fstat(m->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < m->done) {
		jit_index_deinit(&m->index);
		jit_index_init(&m->index);
		m->done = 0;
	}
	if ((uint64_t)st.st_size == m->done || m->done > PERF_MAP_BYTES_MAX)
		return 0;
	text = malloc(CHUNK);
	if (!text)
		return -ENOMEM;
	r = read_on(m, text);
	jit_index_sort(&m->index);
	return r;
}

int perf_map_name(const struct perf_map *m, uint64_t addr, struct buf *ret, uint64_t *ret_start)
{
	const struct jit_entry *e = jit_index_find(&m->index, addr);
	char text[PERF_MAP_NAME_MAX];
	const char *nl;
	ssize_t n;

	if (!e)
		return -ENOENT;
	n = fs_pread_full(m->fd, text, sizeof(text), e->at);
	if (n <= 0)
		return n ? (int)n : -ENOENT;
	nl = memchr(text, '\n', (size_t)n);
	n = nl ? nl - text : n;
	// A carriage return, or zero bytes of a file that was truncated and written on.
	while (n > 0 && (text[n - 1] == '\r' || text[n - 1] == ' '))
		n--;
	if (n == 0 || memchr(text, 0, (size_t)n))
		return -ENOENT;
	buf_clear(ret);
	*ret_start = e->start;
	return buf_append(ret, text, (size_t)n);
}

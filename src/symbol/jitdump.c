/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/jitdump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/fs.h"

#define MAGIC 0x4a695444u // "JiTD" read by a machine of the same byte order
#define HEADER_BYTES 40
#define RECORD_BYTES 16
#define LOAD_BYTES 40 // of a load record, up to its name
#define DEBUG_MAX (1u << 20) // bytes of a debug record that are looked at
#define SAME_FILE "\xff"

enum { JIT_CODE_LOAD = 0, JIT_CODE_MOVE = 1, JIT_CODE_DEBUG_INFO = 2 };

/* V8 (src/diagnostics/perf-jit.cc) adds the size of the ELF header that perf inject will write to
 * the addresses of debug entries. */
#define V8_ELF_HEADER 0x40

void jitdump_init(struct jitdump *d, int fd)
{
	*d = (struct jitdump){.fd = fd};
	jit_index_init(&d->index);
	jit_index_init(&d->lines);
}

void jitdump_deinit(struct jitdump *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	jit_index_deinit(&d->index);
	jit_index_deinit(&d->lines);
}

static int check_header(struct jitdump *d)
{
	uint8_t bytes[HEADER_BYTES];
	ssize_t n = fs_pread_full(d->fd, bytes, sizeof(bytes), 0);
	struct cursor c = cursor_make(bytes, sizeof(bytes));
	uint32_t size;

	if (n < 0)
		return (int)n;
	if (n < HEADER_BYTES)
		return -EAGAIN;
	if (cursor_u32(&c) != MAGIC || cursor_u32(&c) != 1)
		return -EINVAL;
	size = cursor_u32(&c);
	if (size < HEADER_BYTES || size > 65536)
		return -EINVAL;
	d->checked = true;
	d->done = size;
	return 0;
}

/* The place of the name of the code that was at an address, for a move. */
static int add_move(struct jitdump *d, struct cursor *c)
{
	uint64_t from, to, size;
	const struct jit_entry *e;

	cursor_skip(c, 16); // pid, tid, vma
	from = cursor_u64(c);
	to = cursor_u64(c);
	size = cursor_u64(c);
	if (c->bad)
		return -EINVAL;
	jit_index_sort(&d->index);
	e = jit_index_find(&d->index, from);
	return e && e->start == from ? jit_index_add(&d->index, to, size, e->at) : 0;
}

static int parse_record(struct jitdump *d, uint32_t id, struct cursor *c)
{
	uint64_t addr, size;
	int r = 0;

	switch (id) {
	case JIT_CODE_LOAD:
		cursor_skip(c, 16); // pid, tid, vma
		addr = cursor_u64(c);
		size = cursor_u64(c);
		cursor_skip(c, 8); // index
		if (c->bad)
			return -EINVAL;
		r = jit_index_add(&d->index, addr, size, d->done + RECORD_BYTES + LOAD_BYTES);
		break;
	case JIT_CODE_MOVE:
		r = add_move(d, c);
		break;
	case JIT_CODE_DEBUG_INFO:
		addr = cursor_u64(c);
		if (c->bad)
			return -EINVAL;
		r = jit_index_add(&d->lines, addr, 1, d->done);
		break;
	default:
		break; // close, unwinding information, or of a later version
	}
	return r == -EINVAL ? 0 : r;
}

static int read_on(struct jitdump *d, uint64_t size)
{
	uint8_t bytes[RECORD_BYTES + LOAD_BYTES + 16];

	while (d->done + RECORD_BYTES <= size) {
		ssize_t n = fs_pread_full(d->fd, bytes, sizeof(bytes), (off_t)d->done);
		struct cursor c = cursor_make(bytes, n > 0 ? (size_t)n : 0);
		uint32_t id = cursor_u32(&c), len = cursor_u32(&c);
		int r;

		cursor_skip(&c, 8); // time
		if (n < 0)
			return (int)n;
		if (c.bad || (len == 0 && id == 0))
			return 0; // still being written
		if (len < RECORD_BYTES || d->records++ >= JITDUMP_RECORDS_MAX)
			return len < RECORD_BYTES ? -EINVAL : -ENOSPC;
		if (len > size - d->done)
			return 0;
		c.end = MIN(c.end, c.start + len);
		r = parse_record(d, id, &c);
		if (r)
			return r;
		d->done += len;
	}
	return 0;
}

int jitdump_update(struct jitdump *d)
{
	off_t size = d->fd < 0 ? -1 : lseek(d->fd, 0, SEEK_END);
	int r = 0;

	if (size < 0)
		return -ENOENT;
	if (!d->checked)
		r = check_header(d);
	if (!r)
		r = read_on(d, (uint64_t)size);
	jit_index_sort(&d->index);
	jit_index_sort(&d->lines);
	return r == -EAGAIN ? 0 : r;
}

int jitdump_name(const struct jitdump *d, uint64_t addr, struct buf *ret, uint64_t *ret_start)
{
	const struct jit_entry *e = jit_index_find(&d->index, addr);
	char text[JITDUMP_NAME_MAX];
	ssize_t n;

	if (!e)
		return -ENOENT;
	n = fs_pread_full(d->fd, text, sizeof(text), e->at);
	if (n <= 0)
		return n ? (int)n : -ENOENT;
	n = (ssize_t)strnlen(text, (size_t)n);
	if (n == 0)
		return -ENOENT;
	buf_clear(ret);
	*ret_start = e->start;
	return buf_append(ret, text, (size_t)n);
}

/* Node 20 writes the bytes of a freed string for the name of a file: V8's files are only believed if
 * the name of the code says them too ("JS:*f /a/b.js:1:13"). */
static bool is_believed(const struct jitdump *d, uint64_t addr, const char *file)
{
	_cleanup_buf_ struct buf name = BUF_INIT(JITDUMP_NAME_MAX + 1);
	uint64_t start;

	return strchr(file, '/') && jitdump_name(d, addr, &name, &start) == 0 &&
	       strstr(buf_str(&name), file);
}

/* Walks the entries of a debug record: the last one at or before addr.
 * Return 0, 1 found in a record of V8's, -ENOENT. */
static int find_line(struct cursor *c, uint64_t start, uint64_t addr, struct jitdump_line *ret)
{
	uint64_t n = cursor_u64(c), bias = 0, best = 0;
	const char *file = NULL;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t at = cursor_u64(c);
		uint32_t line = cursor_u32(c);
		const char *name;

		cursor_skip(c, 4); // discriminator
		name = cursor_cstr(c);
		if (c->bad || !name)
			break;
		if (strcmp(name, SAME_FILE) != 0)
			file = name;
		if (i == 0 && at >= start + V8_ELF_HEADER)
			bias = V8_ELF_HEADER;
		at -= bias;
		if (at > addr || at < best || !file)
			continue;
		best = at;
		ret->line = line;
		snprintf(ret->file, sizeof(ret->file), "%s", file);
	}
	if (!ret->line)
		return -ENOENT;
	return bias ? 1 : 0;
}

int jitdump_line(const struct jitdump *d, uint64_t addr, struct jitdump_line *ret)
{
	const struct jit_entry *e = jit_index_find(&d->index, addr);
	const struct jit_entry *l = e ? jit_index_find(&d->lines, e->start) : NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t head[RECORD_BYTES];
	struct cursor c;
	uint32_t len;
	ssize_t n;

	// Debug information stands before the load of the code it is for.
	if (!l || l->at > e->at)
		return -ENOENT;
	if (fs_pread_full(d->fd, head, sizeof(head), l->at) != sizeof(head))
		return -ENOENT;
	c = cursor_make(head, sizeof(head));
	cursor_skip(&c, 4);
	len = cursor_u32(&c);
	len = MIN(len, DEBUG_MAX);
	bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	n = fs_pread_full(d->fd, bytes, len, l->at);
	if (n < 0)
		return (int)n;
	c = cursor_make(bytes, (size_t)n);
	cursor_skip(&c, RECORD_BYTES + 8);
	*ret = (struct jitdump_line){0};
	n = find_line(&c, e->start, addr, ret);
	if (n > 0)
		n = is_believed(d, addr, ret->file) ? 0 : -ENOENT;
	return (int)n;
}

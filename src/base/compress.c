/* SPDX-License-Identifier: Apache-2.0 */
#include "base/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/cursor.h"

#define CHUNK 16384
#define GZIP_WINDOW_BITS (15 + 16)
#define GZIP_HEADER 10
#define GZIP_TRAILER 8 // crc32, length
#define ANY_WINDOW_BITS (15 + 32) // gzip or zlib, told apart by zlib

struct gzip_writer {
	z_stream z;
	gzip_sink_fn sink;
	void *arg;
	unsigned char out[CHUNK];
};

int gzip_writer_new(int level, gzip_sink_fn sink, void *arg, struct gzip_writer **ret)
{
	_cleanup_free_ struct gzip_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->sink = sink;
	w->arg = arg;
	if (deflateInit2(&w->z, level, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	*ret = steal_ptr(w);
	return 0;
}

static int gzip_run(struct gzip_writer *w, int flush)
{
	int z;

	do {
		w->z.next_out = w->out;
		w->z.avail_out = CHUNK;
		z = deflate(&w->z, flush);
		if (z == Z_STREAM_ERROR)
			return -EIO;
		if (w->z.avail_out < CHUNK) {
			int r = w->sink(w->arg, w->out, CHUNK - w->z.avail_out);

			if (r)
				return r;
		}
	} while (flush == Z_FINISH ? z != Z_STREAM_END : w->z.avail_out == 0);
	return 0;
}

int gzip_write(struct gzip_writer *w, const void *data, size_t len)
{
	while (len) {
		unsigned n = (unsigned)MIN(len, 1u << 30);
		int r;

		w->z.next_in = (void *)(uintptr_t)data;
		w->z.avail_in = n;
		r = gzip_run(w, Z_NO_FLUSH);
		if (r)
			return r;
		data = (const char *)data + n;
		len -= n;
	}
	return 0;
}

int gzip_runs_only(struct gzip_writer *w)
{
	int z;

	w->z.next_in = NULL;
	w->z.avail_in = 0;
	do { // what was written before is compressed the old way first, for as long as there is room
		int r;

		w->z.next_out = w->out;
		w->z.avail_out = CHUNK;
		z = deflateParams(&w->z, Z_BEST_SPEED, Z_RLE);
		if (z == Z_STREAM_ERROR)
			return -EIO;
		r = w->z.avail_out < CHUNK ? w->sink(w->arg, w->out, CHUNK - w->z.avail_out) : 0;
		if (r)
			return r;
	} while (z == Z_BUF_ERROR);
	return 0;
}

int gzip_finish(struct gzip_writer *w)
{
	w->z.next_in = NULL;
	w->z.avail_in = 0;
	return gzip_run(w, Z_FINISH);
}

void gzip_writer_free(struct gzip_writer *w)
{
	if (!w)
		return;
	deflateEnd(&w->z);
	free(w);
}

static int inflate_all(z_stream *z, struct buf *out)
{
	for (;;) {
		size_t room = MIN((size_t)CHUNK, out->cap - out->len);
		int r, s;

		if (room == 0)
			return -ENOSPC;
		r = buf_reserve(out, room);
		if (r)
			return r;
		z->next_out = (unsigned char *)out->data + out->len;
		z->avail_out = (unsigned)room;
		s = inflate(z, Z_NO_FLUSH);
		out->len += room - z->avail_out;
		out->data[out->len] = 0;
		if (s == Z_STREAM_END) {
			if (z->avail_in == 0)
				return 0;
			if (inflateReset(z) != Z_OK)
				return -EINVAL;
			continue;
		}
		if (s != Z_OK)
			return s == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
	}
}

int gzip_inflate(const void *data, size_t len, struct buf *out)
{
	z_stream z = {.next_in = (void *)(uintptr_t)data, .avail_in = (unsigned)len};
	int r;

	if (len > UINT32_MAX)
		return -EINVAL;
	if (inflateInit2(&z, ANY_WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	r = inflate_all(&z, out);
	inflateEnd(&z);
	return r;
}

static int inflate_pieces(z_stream *z, size_t cap, gzip_sink_fn sink, void *arg)
{
	unsigned char out[CHUNK];

	for (;;) {
		int r, s;
		size_t n;

		z->next_out = out;
		z->avail_out = CHUNK;
		s = inflate(z, Z_NO_FLUSH);
		n = CHUNK - z->avail_out;
		if (n > cap)
			return -ENOSPC;
		cap -= n;
		r = n ? sink(arg, out, n) : 0;
		if (r)
			return r;
		if (s == Z_STREAM_END && z->avail_in == 0)
			return 0;
		if (s == Z_STREAM_END ? inflateReset(z) != Z_OK : s != Z_OK)
			return s == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
	}
}

int gzip_inflate_to(const void *data, size_t len, size_t cap, gzip_sink_fn sink, void *arg)
{
	z_stream z = {.next_in = (void *)(uintptr_t)data, .avail_in = (unsigned)len};
	int r;

	if (len > UINT32_MAX)
		return -EINVAL;
	if (inflateInit2(&z, ANY_WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	r = inflate_pieces(&z, cap, sink, arg);
	inflateEnd(&z);
	return r;
}

static void append_le32(struct buf *out, uint32_t v)
{
	const unsigned char bytes[4] = {(unsigned char)v, (unsigned char)(v >> 8),
		(unsigned char)(v >> 16), (unsigned char)(v >> 24)};

	buf_append(out, bytes, sizeof(bytes));
}

int gzip_prepend(struct buf *out, const char *text, size_t text_len, const void *member, size_t len)
{
	static const unsigned char plain[4] = {0x1f, 0x8b, 8, 0}; // magic, deflate, no flags
	const unsigned char block[5] = {0, (unsigned char)text_len, (unsigned char)(text_len >> 8),
		(unsigned char)~text_len, (unsigned char)(~text_len >> 8)};
	struct cursor c = cursor_make(member, len);
	const unsigned char *header = cursor_bytes(&c, GZIP_HEADER), *blocks;
	size_t nblocks = cursor_left(&c) < GZIP_TRAILER ? 0 : cursor_left(&c) - GZIP_TRAILER;
	uint32_t crc, size;

	blocks = cursor_bytes(&c, nblocks);
	crc = cursor_u32(&c);
	size = cursor_u32(&c);
	if (c.bad || text_len > UINT16_MAX || memcmp(header, plain, sizeof(plain)) != 0)
		return -EINVAL;
	crc = (uint32_t)crc32_combine(
		crc32(0, (const Bytef *)text, (uInt)text_len), crc, (z_off_t)size);
	buf_clear(out);
	buf_append(out, header, GZIP_HEADER);
	buf_append(out, block, sizeof(block));
	buf_append(out, text, text_len);
	buf_append(out, blocks, nblocks);
	append_le32(out, crc);
	append_le32(out, size + (uint32_t)text_len);
	return !out->bad ? 0 : out->len + text_len + len > out->cap ? -ENOSPC : -ENOMEM;
}

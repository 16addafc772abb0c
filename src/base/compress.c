/* SPDX-License-Identifier: Apache-2.0 */
#include "base/compress.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/buf.h"

#define CHUNK 16384
#define GZIP_WINDOW_BITS (15 + 16)
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "elf/section_data.h"

#include <elf.h>
#include <errno.h>
#include <lzma.h>
#include <zstd.h>

#include "base/compress.h"
#include "base/cursor.h"

#define CHUNK (64u << 10)
#define XZ_MEMORY_MAX (72ull << 20) // a dictionary of 64 MiB (xz -9) and some state
#define CHDR_SIZE 24u
#define CH_ZLIB 1u
#define CH_ZSTD 2u // ELFCOMPRESS_ZSTD; newer than some elf.h

static int read_plain(const struct module *m, uint64_t off, uint64_t len, struct buf *ret)
{
	int r;

	if (off > m->size || len > m->size - off)
		return -EINVAL;
	if (len > ret->cap)
		return -ENOSPC;
	r = buf_reserve(ret, (size_t)len);
	if (r)
		return r;
	while (len) {
		char chunk[4096];
		ssize_t n = module_read(m, off, chunk, (size_t)MIN(len, sizeof(chunk)));

		if (n <= 0)
			return n < 0 ? (int)n : -EINVAL;
		r = buf_append(ret, chunk, (size_t)n);
		if (r)
			return r;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int unpack_zstd(const struct buf *packed, struct buf *ret)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	_cleanup_free_ char *chunk = malloc(CHUNK);
	ZSTD_inBuffer in = {packed->data, packed->len, 0};
	int r = ctx && chunk ? 0 : -ENOMEM;

	while (!r && in.pos < in.size) {
		ZSTD_outBuffer out = {chunk, CHUNK, 0};
		size_t before = in.pos, z = ZSTD_decompressStream(ctx, &out, &in);

		if (ZSTD_isError(z) || (in.pos == before && !out.pos))
			r = -EINVAL;
		else
			r = buf_append(ret, chunk, out.pos);
		// The input may be used up while the decoder still holds output.
		while (!r && z && in.pos == in.size && out.pos == out.size) {
			out.pos = 0;
			z = ZSTD_decompressStream(ctx, &out, &in);
			r = ZSTD_isError(z) ? -EINVAL : buf_append(ret, chunk, out.pos);
		}
	}
	ZSTD_freeDCtx(ctx);
	return r;
}

int module_section_read(const struct module *m, const struct module_section *s, struct buf *ret)
{
	_cleanup_buf_ struct buf packed = BUF_INIT(ret->cap);
	uint8_t raw[CHDR_SIZE];
	struct cursor c = cursor_make(raw, sizeof(raw));
	uint32_t method;
	uint64_t size;
	int r;

	if (s->type == SHT_NOBITS)
		return -ENODATA;
	if (!(s->flags & SHF_COMPRESSED))
		return read_plain(m, s->offset, s->size, ret);
	if (s->size < CHDR_SIZE || module_read(m, s->offset, raw, CHDR_SIZE) != CHDR_SIZE)
		return -EINVAL;
	method = cursor_u32(&c);
	cursor_skip(&c, 4);
	size = cursor_u64(&c);
	if (size > ret->cap - ret->len)
		return -ENOSPC;
	r = read_plain(m, s->offset + CHDR_SIZE, s->size - CHDR_SIZE, &packed);
	if (r)
		return r;
	if (method == CH_ZLIB)
		return gzip_inflate(packed.data, packed.len, ret);
	return method == CH_ZSTD ? unpack_zstd(&packed, ret) : -EINVAL;
}

/* Runs the decoder over what it was given. Return 0 go on, 1 end of the stream, -errno. */
static int xz_step(lzma_stream *x, uint8_t *chunk, bool last, struct buf *ret)
{
	do {
		lzma_ret z;
		int r;

		x->next_out = chunk;
		x->avail_out = CHUNK;
		z = lzma_code(x, last ? LZMA_FINISH : LZMA_RUN);
		r = buf_append(ret, chunk, CHUNK - x->avail_out);
		if (r)
			return r;
		if (z == LZMA_STREAM_END)
			return 1;
		if (z == LZMA_MEM_ERROR)
			return -ENOMEM;
		if (z != LZMA_OK && z != LZMA_BUF_ERROR)
			return z == LZMA_MEMLIMIT_ERROR ? -ENOSPC : -EINVAL;
		if (z == LZMA_BUF_ERROR && x->avail_out == CHUNK)
			return last ? -EINVAL : 0;
	} while (x->avail_in || x->avail_out == 0);
	return 0;
}

int module_section_read_xz(const struct module *m, const struct module_section *s, struct buf *ret)
{
	_cleanup_free_ uint8_t *in = malloc(CHUNK), *out = malloc(CHUNK);
	lzma_stream x = LZMA_STREAM_INIT;
	uint64_t off = s->offset, left = s->size;
	int r = 0;

	if (s->type == SHT_NOBITS)
		return -ENODATA;
	if (!in || !out || lzma_stream_decoder(&x, XZ_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	while (!r) {
		ssize_t n = left ? module_read(m, off, in, (size_t)MIN(left, CHUNK)) : 0;

		if (n < 0) {
			r = (int)n;
			break;
		}
		off += (uint64_t)n;
		left = n ? left - (uint64_t)n : 0;
		x.next_in = in;
		x.avail_in = (size_t)n;
		r = xz_step(&x, out, left == 0, ret);
		if (!r && !left)
			r = -EINVAL; // cut short
	}
	lzma_end(&x);
	return r == 1 ? 0 : r;
}

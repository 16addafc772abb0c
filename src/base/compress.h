/* SPDX-License-Identifier: Apache-2.0 */
/* base/compress.h -- zlib behind one wall: gzip streams in bounded memory. One thread a stream. */
#ifndef GP_BASE_COMPRESS_H
#define GP_BASE_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gzip_writer;

/* Where compressed bytes go. Return 0 or -errno, which gzip_write() forwards. */
typedef int (*gzip_sink_fn)(void *arg, const void *data, size_t len);

/* level 1..9. Return 0, -ENOMEM. */
int gzip_writer_new(int level, gzip_sink_fn sink, void *arg, struct gzip_writer **ret);
int gzip_write(struct gzip_writer *w, const void *data, size_t len);
/* From here on only runs of one byte are looked for: for numbers that otherwise hardly repeat, a
 * fifth of the time and no larger. Return 0, -EIO, or what the sink returned. */
int gzip_runs_only(struct gzip_writer *w);
/* Ends the stream; the writer may only be freed after it. */
int gzip_finish(struct gzip_writer *w);
void gzip_writer_free(struct gzip_writer *w);

struct buf;
/* Inflates gzip (all members) or zlib data and appends it to out, up to out's cap.
 * Return 0, -EINVAL malformed, -ENOSPC the cap was reached, -ENOMEM. */
int gzip_inflate(const void *data, size_t len, struct buf *out);
/* The same in bounded memory: pieces go to sink, at most cap bytes in all. What sink returns is
 * forwarded. */
int gzip_inflate_to(const void *data, size_t len, size_t cap, gzip_sink_fn sink, void *arg);

/* Replaces out by one gzip member whose text is `text` followed by that of `member`, which was made
 * by a gzip_writer; nothing is inflated or compressed (RFC 1951 3.2.4: a stored block before the
 * others). text_len is below 64 KiB. Return 0, -EINVAL for another kind of member, -ENOSPC, -ENOMEM. */
int gzip_prepend(
	struct buf *out, const char *text, size_t text_len, const void *member, size_t len);

#endif

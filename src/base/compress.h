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
/* Ends the stream; the writer may only be freed after it. */
int gzip_finish(struct gzip_writer *w);
void gzip_writer_free(struct gzip_writer *w);

struct buf;
/* Inflates gzip (all members) or zlib data and appends it to out, up to out's cap.
 * Return 0, -EINVAL malformed, -ENOSPC the cap was reached, -ENOMEM. */
int gzip_inflate(const void *data, size_t len, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* base/buf.h -- growable bytes with a cap given at birth.
 *
 * Always NUL-terminated past `len`, so a buf is usable as a string. An append that would pass the
 * cap or that finds no memory changes nothing, returns -ENOSPC or -ENOMEM and marks the buf `bad`;
 * a caller that appends many pieces may test `bad` once. Owned by one thread. */
#ifndef GP_BASE_BUF_H
#define GP_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct buf {
	char *data;
	size_t len;
	size_t size; // allocated, including the NUL
	size_t cap; // most bytes it may ever hold
	bool bad;
};

#define BUF_INIT(max_bytes) ((struct buf){.cap = (max_bytes)})

void buf_deinit(struct buf *b);
static inline void cleanup_buf(struct buf *b)
{
	buf_deinit(b);
}
#define _cleanup_buf_ _cleanup_(cleanup_buf)

/* Empties without freeing, and clears `bad`. */
void buf_clear(struct buf *b);
/* Room for n more bytes. */
int buf_reserve(struct buf *b, size_t n);
int buf_append(struct buf *b, const void *data, size_t n);
int buf_append_str(struct buf *b, const char *s);
int buf_append_char(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* The text, never NULL. */
const char *buf_str(const struct buf *b);
/* Hands over the malloc'ed text and empties the buf; NULL without memory. */
char *buf_steal(struct buf *b);

#endif

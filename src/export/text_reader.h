/* SPDX-License-Identifier: Apache-2.0 */
/* export/text_reader.h -- lines of a stream, in place and without a copy each; and what was wrong
 * with them.
 *
 * Reads a descriptor (borrowed) in large pieces. One thread. */
#ifndef GP_EXPORT_TEXT_READER_H
#define GP_EXPORT_TEXT_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct text_reader {
	int fd;
	char *data;
	size_t size, max_line; // allocated; most it may become
	size_t pos, end; // unread bytes are [pos, end)
	bool eof;
	uint64_t line; // number of the line returned last, from 1
	uint64_t bytes; // read so far
};

enum text_reader_result {
	TEXT_READER_END = 0,
	TEXT_READER_LINE = 1,
	TEXT_READER_TOO_LONG = 2, // a line longer than max_line was passed over
};

/* Return 0, -ENOMEM. */
int text_reader_init(struct text_reader *r, int fd, size_t max_line);
void text_reader_deinit(struct text_reader *r);
/* The next line without its "\n" or "\r\n"; dies at the next call.
 * Return enum text_reader_result, -errno. */
int text_reader_next(struct text_reader *r, const char **ret, size_t *ret_len);
/* Up to `want` bytes that stay unread; fewer at the end of the stream. Return 0 or -errno. */
int text_reader_peek(struct text_reader *r, size_t want, const char **ret, size_t *ret_len);
/* Everything that is left, appended to out. Return 0, -errno, -ENOSPC at out's cap. */
int text_reader_rest(struct text_reader *r, struct buf *out);

/* Complaints about input, `NAME:LINE: reason` on stderr: the first TEXT_COMPLAINTS_SHOWN in full,
 * the rest as one sum. Counted all the same. */
#define TEXT_COMPLAINTS_SHOWN 10

struct text_complaints {
	const char *name; // of the input
	uint64_t count;
	bool quiet; // count only
};

void text_complain(struct text_complaints *c, uint64_t line, const char *fmt, ...) _printf_(3, 4);
/* Says how many were not shown. */
void text_complaints_end(const struct text_complaints *c);

#endif

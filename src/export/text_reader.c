/* SPDX-License-Identifier: Apache-2.0 */
#include "export/text_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FIRST_SIZE ((size_t)128 << 10)

int text_reader_init(struct text_reader *r, int fd, size_t max_line)
{
	*r = (struct text_reader){
		.fd = fd,
		.size = FIRST_SIZE,
		.max_line = MAX(max_line, FIRST_SIZE),
	};
	r->data = malloc(r->size);
	return r->data ? 0 : -ENOMEM;
}

void text_reader_deinit(struct text_reader *r)
{
	free(r->data);
	r->data = NULL;
}

/* Moves what is unread to the front, grows when that is all there is, and reads more.
 * Return 0, -ENOSPC when max_line bytes are unread, -errno. */
static int fill(struct text_reader *r)
{
	ssize_t n;

	if (r->pos) {
		memmove(r->data, r->data + r->pos, r->end - r->pos);
		r->end -= r->pos;
		r->pos = 0;
	}
	if (r->end == r->size) {
		size_t size = MIN(r->size * 2, r->max_line);
		char *bigger;

		if (size == r->size)
			return -ENOSPC;
		bigger = realloc(r->data, size);
		if (!bigger)
			return -ENOMEM;
		r->data = bigger;
		r->size = size;
	}
	do
		n = read(r->fd, r->data + r->end, r->size - r->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	r->eof = n == 0;
	r->end += (size_t)n;
	r->bytes += (uint64_t)n;
	return 0;
}

/* Passes over the rest of a line that does not fit. */
static int skip_line(struct text_reader *r)
{
	for (;;) {
		char *nl = memchr(r->data + r->pos, '\n', r->end - r->pos);
		int err;

		if (nl) {
			r->pos = (size_t)(nl - r->data) + 1;
			return TEXT_READER_TOO_LONG;
		}
		r->pos = r->end;
		if (r->eof)
			return TEXT_READER_TOO_LONG;
		err = fill(r);
		if (err)
			return err;
	}
}

int text_reader_next(struct text_reader *r, const char **ret, size_t *ret_len)
{
	size_t seen = 0, len;
	char *nl;

	for (;;) {
		int err;

		nl = memchr(r->data + r->pos + seen, '\n', r->end - r->pos - seen);
		if (nl || r->eof)
			break;
		seen = r->end - r->pos;
		err = fill(r);
		if (err == -ENOSPC) {
			r->line++;
			return skip_line(r);
		}
		if (err)
			return err;
	}
	len = nl ? (size_t)(nl - r->data) - r->pos : r->end - r->pos;
	if (!nl && len == 0)
		return TEXT_READER_END;
	*ret = r->data + r->pos;
	r->pos += len + (nl != NULL);
	r->line++;
	if (len && (*ret)[len - 1] == '\r')
		len--;
	*ret_len = len;
	return TEXT_READER_LINE;
}

int text_reader_peek(struct text_reader *r, size_t want, const char **ret, size_t *ret_len)
{
	while (r->end - r->pos < want && !r->eof) {
		int err = fill(r);

		if (err == -ENOSPC)
			break;
		if (err)
			return err;
	}
	*ret = r->data + r->pos;
	*ret_len = MIN(want, r->end - r->pos);
	return 0;
}

int text_reader_rest(struct text_reader *r, struct buf *out)
{
	for (;;) {
		int err = buf_append(out, r->data + r->pos, r->end - r->pos);

		if (err)
			return err;
		r->pos = r->end;
		if (r->eof)
			return 0;
		err = fill(r);
		if (err)
			return err;
	}
}

void text_complain(struct text_complaints *c, uint64_t line, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (c->quiet || c->count++ >= TEXT_COMPLAINTS_SHOWN) {
		c->count += c->quiet;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	// What is quoted comes from the input: a terminal must not obey it.
	for (char *s = text; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	fprintf(stderr, "%s:%llu: %s\n", c->name, (unsigned long long)line, text);
}

void text_complaints_end(const struct text_complaints *c)
{
	if (!c->quiet && c->count > TEXT_COMPLAINTS_SHOWN)
		fprintf(stderr, "%s: %llu more complaints like these\n", c->name,
			(unsigned long long)(c->count - TEXT_COMPLAINTS_SHOWN));
}

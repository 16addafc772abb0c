/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of requests: URLs, and the curl commands of --curlify-requests. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/compress.h"
#include "delivery/http_client.h"

#define BODY_MAX ((size_t)64 << 10) // far more than a log line holds

int http_url_escape(struct buf *out, const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		// RFC 3986 2.3: what is never escaped.
		if (*s < 0x80 && (isalnum(*s) || strchr("-._~", *s)))
			buf_append_char(out, (char)*s);
		else
			buf_printf(out, "%%%02X", *s);
	}
	return out->bad ? -ENOSPC : 0;
}

/* Text as a word of a shell, on one line. */
static void append_quoted(struct buf *out, const char *text, size_t len)
{
	buf_append_str(out, "$'");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			buf_append_str(out, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else {
			if (c == '\'' || c == '\\')
				buf_append_char(out, '\\');
			buf_append_char(out, (char)c);
		}
	}
	buf_append_char(out, '\'');
}

/* Replaces secret, and its form in a URL, wherever it stands. */
static int mask(struct buf *out, const char *text, size_t len, const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;
	const char *end = text + len, *hit;

	while (n && (hit = memmem(text, (size_t)(end - text), secret, n)) != NULL) {
		buf_append(out, text, (size_t)(hit - text));
		buf_append_str(out, "***");
		text = hit + n;
	}
	buf_append(out, text, (size_t)(end - text));
	return out->bad ? -ENOSPC : 0;
}

/* Stops when the cap is reached: what fits is shown. */
static int take_body(void *arg, const void *data, size_t len)
{
	struct buf *body = arg;

	return buf_append(body, data, MIN(len, body->cap - body->len)) || body->len == body->cap;
}

static bool is_gzip(const struct http_request *q)
{
	for (size_t i = 0; q->headers && q->headers[i]; i++)
		if (!strcmp(q->headers[i], "Content-Encoding: gzip"))
			return true;
	return false;
}

/* A URL's user and password are as secret as a token. */
static void append_url(struct buf *out, const char *url)
{
	const char *host = strstr(url, "://"), *at = NULL;

	if (host)
		at = memrchr(host, '@', strcspn(host + 3, "/?#") + 3);
	if (!at) {
		append_quoted(out, url, strlen(url));
		return;
	}
	append_quoted(out, url, (size_t)(host + 3 - url));
	buf_append_str(out, "***");
	append_quoted(out, at, strlen(at));
}

int http_curl_line(struct buf *out, const struct http_request *q, const char *secret)
{
	_cleanup_buf_ struct buf line = BUF_INIT(out->cap);
	_cleanup_buf_ struct buf body = BUF_INIT(BODY_MAX);
	_cleanup_buf_ struct buf escaped = BUF_INIT(1 << 16);
	_cleanup_buf_ struct buf once = BUF_INIT(out->cap);

	buf_printf(&line, "curl -X %s ", q->method);
	append_url(&line, q->url);
	for (size_t i = 0; q->headers && q->headers[i]; i++) {
		if (!strcmp(q->headers[i], "Content-Encoding: gzip"))
			continue;
		buf_append_str(&line, " -H ");
		append_quoted(&line, q->headers[i], strlen(q->headers[i]));
	}
	if (q->body) {
		buf_append_str(&line, " -d ");
		if (is_gzip(q) &&
			gzip_inflate_to(q->body, q->body_len, SIZE_MAX, take_body, &body) >= 0)
			append_quoted(&line, buf_str(&body), body.len);
		else if (is_gzip(q))
			buf_printf(&line, "'(%zu bytes)'", q->body_len);
		else
			append_quoted(&line, q->body, MIN(q->body_len, BODY_MAX));
	}
	if (line.bad || (secret && http_url_escape(&escaped, secret)))
		return -ENOSPC;
	if (mask(&once, buf_str(&line), line.len, secret))
		return -ENOSPC;
	return mask(out, buf_str(&once), once.len, secret ? buf_str(&escaped) : NULL);
}

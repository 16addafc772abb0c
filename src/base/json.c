/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 64

/* Length of the valid UTF-8 sequence at s (1..4) and its code point, or 0 if it is invalid. */
static unsigned utf8_decode(const unsigned char *s, size_t left, uint32_t *ret_cp)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned n = s[0] < 0x80       ? 1
		     : s[0] >> 5 == 6  ? 2
		     : s[0] >> 4 == 14 ? 3
		     : s[0] >> 3 == 30 ? 4
				       : 0;
	uint32_t cp;

	if (n == 0 || n > left)
		return 0;
	cp = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		cp = cp << 6 | (s[i] & 0x3f);
	}
	if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		return 0;
	*ret_cp = cp;
	return n;
}

static int append_escaped(struct buf *out, uint32_t cp)
{
	switch (cp) {
	case '"':
		return buf_append_str(out, "\\\"");
	case '\\':
		return buf_append_str(out, "\\\\");
	case '\n':
		return buf_append_str(out, "\\n");
	case '\r':
		return buf_append_str(out, "\\r");
	case '\t':
		return buf_append_str(out, "\\t");
	case '\b':
		return buf_append_str(out, "\\b");
	case '\f':
		return buf_append_str(out, "\\f");
	}
	if (cp >= 0x20 && cp < 0x7f)
		return buf_append_char(out, (char)cp);
	if (cp < 0x10000)
		return buf_printf(out, "\\u%04x", cp);
	cp -= 0x10000;
	return buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
}

/* Bytes at the beginning that stand for themselves: most of every text, and appended at once. */
static size_t plain_run(const unsigned char *p, size_t len)
{
	size_t n = 0;

	while (n < len && p[n] >= ' ' && p[n] < 0x7f && p[n] != '"' && p[n] != '\\')
		n++;
	return n;
}

int json_append_string(struct buf *out, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	buf_append_char(out, '"');
	while (len && !out->bad) {
		size_t plain = plain_run(p, len);
		uint32_t cp = 0xfffd;
		unsigned n;

		buf_append(out, p, plain);
		p += plain;
		len -= plain;
		if (!len)
			break;
		n = utf8_decode(p, len, &cp);
		append_escaped(out, cp);
		p += n ? n : 1;
		len -= n ? n : 1;
	}
	buf_append_char(out, '"');
	return out->bad ? -ENOSPC : 0;
}

json_t *json_text(const char *s)
{
	size_t left = s ? strlen(s) : 0;
	_cleanup_buf_ struct buf clean = BUF_INIT(3 * left + 1);

	if (!s)
		return json_null();
	while (left) {
		uint32_t cp;
		unsigned n = utf8_decode((const unsigned char *)s, left, &cp);

		buf_append(&clean, n ? s : "\xef\xbf\xbd", n ? n : 3);
		s += n ? n : 1;
		left -= n ? n : 1;
	}
	return clean.bad ? NULL : json_string(buf_str(&clean));
}

/* As repr() of a Python float: the fewest digits that read back the same, an exponent below 1e-4 and
 * from 1e16 on. (jansson prints 17 digits: 0.1 would be 0.10000000000000001.) */
static int append_real(struct buf *out, double v)
{
	char text[40];
	int digits = 0, exponent;
	const char *e;

	do
		snprintf(text, sizeof(text), "%.*e", digits, v);
	while (strtod(text, NULL) != v && ++digits < 17);
	e = strchr(text, 'e');
	if (!e)
		return -EINVAL; // not a finite number; jansson holds none
	exponent = (int)strtol(e + 1, NULL, 10);
	if (exponent < -4 || exponent >= 16)
		return buf_append_str(out, text);
	return buf_printf(out, "%.*f", MAX(digits - exponent, 1), v);
}

static int append_value(struct buf *out, const json_t *j, unsigned depth);

static int append_members(struct buf *out, const json_t *j, unsigned depth)
{
	const char *key, *separator = "";
	json_t *value, *object = (json_t *)(uintptr_t)j;
	int r = buf_append_char(out, '{');

	json_object_foreach (object, key, value) {
		buf_append_str(out, separator);
		json_append_string(out, key, strlen(key));
		buf_append_str(out, ": ");
		r = append_value(out, value, depth + 1);
		if (r)
			return r;
		separator = ", ";
	}
	return r ? r : buf_append_char(out, '}');
}

static int append_elements(struct buf *out, const json_t *j, unsigned depth)
{
	size_t n = json_array_size(j);
	int r = buf_append_char(out, '[');

	for (size_t i = 0; !r && i < n; i++) {
		if (i)
			buf_append_str(out, ", ");
		r = append_value(out, json_array_get(j, i), depth + 1);
	}
	return r ? r : buf_append_char(out, ']');
}

static int append_value(struct buf *out, const json_t *j, unsigned depth)
{
	if (!j || depth > DEPTH_MAX)
		return -EINVAL;
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return append_members(out, j, depth);
	case JSON_ARRAY:
		return append_elements(out, j, depth);
	case JSON_STRING:
		return json_append_string(out, json_string_value(j), json_string_length(j));
	case JSON_INTEGER:
		return buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
	case JSON_REAL:
		return append_real(out, json_real_value(j));
	case JSON_TRUE:
		return buf_append_str(out, "true");
	case JSON_FALSE:
		return buf_append_str(out, "false");
	case JSON_NULL:
		return buf_append_str(out, "null");
	}
	return -EINVAL;
}

int json_append(struct buf *out, const json_t *j)
{
	int r = append_value(out, j, 0);

	return out->bad ? -ENOSPC : r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

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
	}
	if (cp >= 0x20 && cp < 0x7f)
		return buf_append_char(out, (char)cp);
	if (cp < 0x10000)
		return buf_printf(out, "\\u%04x", cp);
	cp -= 0x10000;
	return buf_printf(out, "\\u%04x\\u%04x", 0xd800 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
}

int json_append_string(struct buf *out, const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	buf_append_char(out, '"');
	while (len && !out->bad) {
		uint32_t cp = 0xfffd;
		unsigned n = utf8_decode(p, len, &cp);

		append_escaped(out, cp);
		p += n ? n : 1;
		len -= n ? n : 1;
	}
	buf_append_char(out, '"');
	return out->bad ? -ENOSPC : 0;
}

json_t *json_text(const char *s)
{
	_cleanup_buf_ struct buf clean = BUF_INIT(1 << 20);
	size_t left = s ? strlen(s) : 0;

	if (!s)
		return json_null();
	while (left) {
		uint32_t cp;
		unsigned n = utf8_decode((const unsigned char *)s, left, &cp);

		buf_append(&clean, n ? s : "\xef\xbf\xbd", n ? n : 3);
		s += n ? n : 1;
		left -= n ? n : 1;
	}
	return json_string(buf_str(&clean));
}

static int dump_piece(const char *data, size_t len, void *arg)
{
	return buf_append(arg, data, len) ? -1 : 0;
}

int json_append(struct buf *out, const json_t *j)
{
	// Without JSON_COMPACT jansson separates by ", " and ": ", which is what json.dumps does.
	if (json_dump_callback(j, dump_piece, out, JSON_ENSURE_ASCII | JSON_ENCODE_ANY) < 0)
		return out->bad ? -ENOSPC : -EINVAL;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"

#include <string.h>

const void *cursor_bytes(struct cursor *c, size_t n)
{
	const uint8_t *p = c->pos;

	if (c->bad || n > (size_t)(c->end - c->pos)) {
		c->bad = true;
		return NULL;
	}
	c->pos += n;
	return p;
}

bool cursor_copy(struct cursor *c, void *dst, size_t n)
{
	const void *p = cursor_bytes(c, n);

	if (p && n)
		memcpy(dst, p, n);
	else if (n)
		memset(dst, 0, n);
	return p != NULL;
}

bool cursor_skip(struct cursor *c, size_t n)
{
	return cursor_bytes(c, n) != NULL;
}

bool cursor_seek(struct cursor *c, size_t offset)
{
	if (c->bad || offset > (size_t)(c->end - c->start)) {
		c->bad = true;
		return false;
	}
	c->pos = c->start + offset;
	return true;
}

struct cursor cursor_sub(struct cursor *c, size_t n)
{
	const void *p = cursor_bytes(c, n);

	if (!p)
		return (struct cursor){.bad = true};
	return cursor_make(p, n);
}

#define CURSOR_INT(name, type)                                                                     \
	type name(struct cursor *c)                                                                \
	{                                                                                          \
		type v = 0;                                                                        \
		cursor_copy(c, &v, sizeof(v));                                                     \
		return v;                                                                          \
	}

CURSOR_INT(cursor_u8, uint8_t)
CURSOR_INT(cursor_u16, uint16_t)
CURSOR_INT(cursor_u32, uint32_t)
CURSOR_INT(cursor_u64, uint64_t)

uint64_t cursor_uleb(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b = cursor_u8(c);

		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return c->bad ? 0 : v;
	}
	c->bad = true;
	return 0;
}

int64_t cursor_sleb(struct cursor *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t b = cursor_u8(c);

		if (shift < 64)
			v |= (uint64_t)(b & 0x7f) << shift;
		if (b & 0x80)
			continue;
		if ((b & 0x40) && shift + 7 < 64)
			v |= ~0ull << (shift + 7);
		return c->bad ? 0 : (int64_t)v;
	}
	c->bad = true;
	return 0;
}

const char *cursor_cstr(struct cursor *c)
{
	const uint8_t *p = c->pos;
	size_t left = cursor_left(c);
	const uint8_t *nul = left ? memchr(p, 0, left) : NULL;

	if (!nul) {
		c->bad = true;
		return NULL;
	}
	c->pos = nul + 1;
	return (const char *)p;
}

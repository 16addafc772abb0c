/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/lines.h"

#include "base/cursor.h"

#define CODE_UNIT 2 // bytes
#define NO_LINE (-128) // 3.10
#define KIND_LONG 14
#define KIND_NONE 15
#define KIND_NO_COLUMNS 13
#define KIND_ONE_LINE 10
#define VARINT_MORE 0x40
#define VARINT_BITS 6

static uint32_t clamp(int64_t line)
{
	return line < 0 || line > INT32_MAX ? 0 : (uint32_t)line;
}

/* Pairs (bytes, lines): the line changes at the address the pair leads to. */
static uint32_t lnotab(struct cursor c, bool is_signed, uint32_t first, int32_t lasti)
{
	int64_t addr = 0, line = first;

	while (cursor_left(&c) >= 2) {
		uint8_t delta;

		addr += cursor_u8(&c);
		if (addr > lasti)
			break;
		delta = cursor_u8(&c);
		line += is_signed ? (int8_t)delta : delta;
	}
	return clamp(line);
}

/* Pairs (bytes, lines): the line changes, and then holds for so many bytes. */
static uint32_t pep626(struct cursor c, uint32_t first, int32_t lasti)
{
	int64_t addr = 0, line = first;

	while (cursor_left(&c) >= 2) {
		uint8_t bytes = cursor_u8(&c);
		int8_t delta = (int8_t)cursor_u8(&c);

		if (delta != NO_LINE)
			line += delta;
		addr += bytes;
		if (addr > lasti)
			return delta == NO_LINE ? 0 : clamp(line);
	}
	return first;
}

static uint64_t varint(struct cursor *c)
{
	uint64_t v = 0;
	uint8_t b = VARINT_MORE;

	for (unsigned shift = 0; (b & VARINT_MORE) && !c->bad; shift += VARINT_BITS) {
		b = cursor_u8(c);
		if (shift < 60)
			v |= (uint64_t)(b & (VARINT_MORE - 1)) << shift;
	}
	return v;
}

static int64_t signed_varint(struct cursor *c)
{
	uint64_t v = varint(c);

	return v & 1 ? -(int64_t)(v >> 1) : (int64_t)(v >> 1);
}

/* Reads what follows an entry's first byte. Return the change of the line. */
static int64_t location_delta(struct cursor *c, unsigned kind)
{
	int64_t delta = 0;

	switch (kind) {
	case KIND_NONE:
		break;
	case KIND_LONG:
		delta = signed_varint(c);
		varint(c);
		varint(c);
		varint(c);
		break;
	case KIND_NO_COLUMNS:
		delta = signed_varint(c);
		break;
	case KIND_ONE_LINE:
	case KIND_ONE_LINE + 1:
	case KIND_ONE_LINE + 2:
		delta = (int64_t)kind - KIND_ONE_LINE;
		cursor_skip(c, 2);
		break;
	default:
		cursor_skip(c, 1);
	}
	return delta;
}

static uint32_t locations(struct cursor c, uint32_t first, int32_t lasti)
{
	int64_t addr = 0, line = first;

	while (cursor_left(&c)) {
		uint8_t head = cursor_u8(&c);
		unsigned kind = head >> 3 & 15;

		if (!(head & 0x80))
			break;
		line = (int64_t)((uint64_t)line + (uint64_t)location_delta(&c, kind));
		addr += ((head & 7) + 1) * CODE_UNIT;
		if (c.bad)
			break;
		if (addr > lasti)
			return kind == KIND_NONE ? 0 : clamp(line);
	}
	return first;
}

uint32_t py_line_of(
	enum py_line_format format, const uint8_t *table, size_t len, uint32_t first, int32_t lasti)
{
	struct cursor c = cursor_make(table, len);

	if (lasti < 0)
		return first;
	switch (format) {
	case PY_LINES_LNOTAB_UNSIGNED:
	case PY_LINES_LNOTAB:
		return lnotab(c, format == PY_LINES_LNOTAB, first, lasti);
	case PY_LINES_PEP626:
		return pep626(c, first, lasti);
	case PY_LINES_LOCATIONS:
		return locations(c, first, lasti);
	}
	return first;
}

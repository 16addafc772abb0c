/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"
#include "process/memory.h"

#define HEAD_BYTES 128u // of a string, enough for the longest header
#define LENGTH_AT 16 // of every object with a length
#define STATE_AT 32 // of PyASCIIObject
#define STATE_KIND_SHIFT 2 // interned: 2 bits, kind: 3, compact, ascii (all GIL builds to 3.14)
#define STATE_COMPACT (1u << 5)
#define STATE_ASCII (1u << 6)

static uint32_t u32_at(const uint8_t *p, size_t off)
{
	struct cursor c = cursor_make(p + off, 4);

	return cursor_u32(&c);
}

static uint64_t u64_at(const uint8_t *p, size_t off)
{
	struct cursor c = cursor_make(p + off, 8);

	return cursor_u64(&c);
}

void py_code_parse(const struct py_offsets *o, const uint8_t *bytes, struct py_code *ret)
{
	const struct py_layout *l = &o->layout;

	ret->filename = u64_at(bytes, o->code_filename);
	ret->name = u64_at(bytes, o->code_name);
	ret->qualname = o->code_qualname ? u64_at(bytes, o->code_qualname) : 0;
	ret->lines = u64_at(bytes, o->code_lines);
	ret->argcount = u32_at(bytes, l->code_argcount);
	ret->kwonlyargcount = l->code_kwonlyargcount ? u32_at(bytes, l->code_kwonlyargcount) : 0;
	ret->flags = u32_at(bytes, l->code_flags);
	ret->firstlineno = u32_at(bytes, l->code_firstlineno);
	ret->cookie =
		PY_CODE_COOKIE(ret->argcount, ret->kwonlyargcount, ret->flags, ret->firstlineno);
}

int py_code_read(uint32_t pid, const struct py_offsets *o, uint64_t addr, struct py_code *ret)
{
	uint8_t bytes[PY_CODE_BYTES_MAX + 8];
	int r = process_memory_read(pid, addr, bytes, o->code_size);

	if (r)
		return r;
	py_code_parse(o, bytes, ret);
	ret->addr = addr;
	return 0;
}

int py_string_parse(
	const struct py_offsets *o, const uint8_t *head, size_t len, struct py_string_head *ret)
{
	uint32_t state;

	if (len < STATE_AT + 4)
		return -EINVAL;
	state = u32_at(head, STATE_AT);
	ret->length = u64_at(head, LENGTH_AT);
	ret->kind = state >> STATE_KIND_SHIFT & 7;
	if (ret->length > PY_STRING_MAX || (ret->kind != 1 && ret->kind != 2 && ret->kind != 4))
		return -EINVAL;
	if (!(state & STATE_COMPACT))
		ret->data = 0;
	else
		ret->data = state & STATE_ASCII ? o->ascii_size : o->compact_size;
	if ((state & STATE_ASCII) && ret->kind != 1)
		return -EINVAL;
	return 0;
}

static int append_char(struct buf *b, uint32_t ch)
{
	char utf8[4];

	if (ch < 0x80)
		return buf_append_char(b, (char)ch);
	if (ch > 0x10ffff || (ch >= 0xd800 && ch < 0xe000))
		ch = 0xfffd;
	if (ch < 0x800) {
		utf8[0] = (char)(0xc0 | ch >> 6);
		utf8[1] = (char)(0x80 | (ch & 0x3f));
		return buf_append(b, utf8, 2);
	}
	if (ch < 0x10000) {
		utf8[0] = (char)(0xe0 | ch >> 12);
		utf8[1] = (char)(0x80 | (ch >> 6 & 0x3f));
		utf8[2] = (char)(0x80 | (ch & 0x3f));
		return buf_append(b, utf8, 3);
	}
	utf8[0] = (char)(0xf0 | ch >> 18);
	utf8[1] = (char)(0x80 | (ch >> 12 & 0x3f));
	utf8[2] = (char)(0x80 | (ch >> 6 & 0x3f));
	utf8[3] = (char)(0x80 | (ch & 0x3f));
	return buf_append(b, utf8, 4);
}

int py_string_append(struct buf *ret, const uint8_t *chars, size_t n, unsigned kind)
{
	for (size_t i = 0; i < n; i++) {
		struct cursor c = cursor_make(chars + i * kind, kind);
		uint32_t ch = kind == 1	  ? cursor_u8(&c)
			      : kind == 2 ? cursor_u16(&c)
					  : cursor_u32(&c);
		// Control characters would break lines of outputs.
		int r = append_char(ret, ch < 0x20 || ch == 0x7f ? '?' : ch);

		if (r)
			return r;
	}
	return 0;
}

int py_bytes_read(
	uint32_t pid, const struct py_offsets *o, uint64_t addr, size_t max, struct buf *ret)
{
	uint8_t head[HEAD_BYTES];
	uint64_t len;
	int r = process_memory_read(pid, addr, head, LENGTH_AT + 8);

	if (r)
		return r;
	len = u64_at(head, LENGTH_AT);
	if (len > max)
		return -EINVAL;
	r = buf_reserve(ret, len);
	if (r)
		return r;
	r = process_memory_read(pid, addr + o->bytes_data, ret->data + ret->len, len);
	if (r)
		return r;
	ret->len += len;
	ret->data[ret->len] = 0;
	return 0;
}

/* 2.7: bytes in the file system's encoding, taken for UTF-8; what is none of it is replaced. */
static int byte_string_read(
	uint32_t pid, const struct py_offsets *o, uint64_t addr, struct buf *ret)
{
	size_t from = ret->len;
	int r = py_bytes_read(pid, o, addr, PY_STRING_MAX, ret);

	for (size_t i = from; !r && i < ret->len; i++)
		if ((uint8_t)ret->data[i] < 0x20 || ret->data[i] == 0x7f)
			ret->data[i] = '?';
	return r;
}

int py_string_read(uint32_t pid, const struct py_offsets *o, uint64_t addr, struct buf *ret)
{
	// Most names and paths fit one read.
	uint8_t small[HEAD_BYTES + 256];
	_cleanup_free_ uint8_t *large = NULL;
	const uint8_t *chars;
	struct py_string_head h;
	uint64_t data, len;
	ssize_t got;
	int r;

	if (o->bytes_names)
		return byte_string_read(pid, o, addr, ret);
	got = process_memory_read_some(pid, addr, small, sizeof(small));
	if (got < 0)
		return (int)got;
	r = py_string_parse(o, small, (size_t)got, &h);
	if (r)
		return r;
	len = h.length * h.kind;
	if (h.data && h.data + len <= (uint64_t)got) {
		chars = small + h.data;
	} else {
		if (!h.data && got < o->compact_size + 8)
			return -EINVAL;
		data = h.data ? addr + h.data : u64_at(small, o->compact_size);
		large = malloc(len + 1);
		if (!large)
			return -ENOMEM;
		r = process_memory_read(pid, data, large, len);
		if (r)
			return r;
		chars = large;
	}
	return py_string_append(ret, chars, h.length, h.kind);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* base/cursor.h -- reads foreign bytes.
 *
 * Every byte of a file, a target or the network is parsed through this: no read passes the end, a
 * failed read makes the cursor `bad` and yields zeroes from then on, so a parser may read a whole
 * record and test once. Little-endian (the hosts we run on). Borrows its bytes; any thread. */
#ifndef GP_BASE_CURSOR_H
#define GP_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *start;
	const uint8_t *pos;
	const uint8_t *end;
	bool bad;
};

static inline struct cursor cursor_make(const void *data, size_t len)
{
	const uint8_t *p = data;

	// NULL + 0 is undefined in C (6.5.6); no bytes are no bytes all the same.
	return (struct cursor){.start = p, .pos = p, .end = len ? p + len : p};
}

static inline size_t cursor_left(const struct cursor *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->pos);
}

static inline size_t cursor_offset(const struct cursor *c)
{
	return (size_t)(c->pos - c->start);
}

/* The next n bytes, consumed, or NULL and bad. */
const void *cursor_bytes(struct cursor *c, size_t n);
/* Copies n bytes; dst is zeroed on failure. */
bool cursor_copy(struct cursor *c, void *dst, size_t n);
bool cursor_skip(struct cursor *c, size_t n);
/* Moves to an absolute offset from the start. */
bool cursor_seek(struct cursor *c, size_t offset);
/* A cursor over the next n bytes, consumed here; the result is bad if they are not there. */
struct cursor cursor_sub(struct cursor *c, size_t n);

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* LEB128 (DWARF 5 section 7.6); more than 10 bytes is bad, bits past 64 are dropped. */
uint64_t cursor_uleb(struct cursor *c);
int64_t cursor_sleb(struct cursor *c);
/* NUL-terminated string inside the bytes, consumed with its NUL; NULL and bad if unterminated. */
const char *cursor_cstr(struct cursor *c);

#endif

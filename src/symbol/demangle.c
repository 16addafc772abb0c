/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/demangle.h"

#include <setjmp.h>
#include <string.h>

#include <libiberty/demangle.h>

/* D back references are each resolved by parsing again, so they may double the work; real names
 * have few. */
#define D_BACKREFS_MAX 12
#define D_INPUT_MAX 1024

/* Output past DEMANGLE_MAX is dropped up to here; beyond it the name is an attack. */
#define EXPANSION_MAX (1u << 20)

struct output {
	struct buf *buf;
	size_t total;
	jmp_buf full;
};

/* The callback demanglers hold nothing on the heap but, for a moment, a Rust identifier in Punycode
 * (cp-demangle.c, rust-demangle.c of binutils 2.40), so they may be left from here. */
static void append(const char *text, size_t len, void *arg)
{
	struct output *out = arg;
	size_t room = DEMANGLE_MAX - out->buf->len;

	buf_append(out->buf, text, MIN(len, room));
	out->total += len;
	if (out->total > EXPANSION_MAX)
		longjmp(out->full, 1);
}

typedef int (*demangle_fn)(const char *name, int options, demangle_callbackref cb, void *arg);

static bool run(demangle_fn fn, const char *name, int options, struct buf *ret)
{
	struct output out = {.buf = ret};

	buf_clear(ret);
	if (setjmp(out.full))
		return ret->len > 0;
	if (!fn(name, options, append, &out) && !ret->bad)
		return false;
	return ret->bad || ret->len; // without memory the caller sees a bad buf
}

static bool run_d(const char *name, size_t len, struct buf *ret)
{
	_cleanup_free_ char *text = NULL;
	unsigned backrefs = 0;

	if (len > D_INPUT_MAX)
		return false;
	for (const char *p = name; *p; p++)
		backrefs += *p == 'Q';
	if (backrefs > D_BACKREFS_MAX)
		return false;
	text = dlang_demangle(name, DMGL_NO_OPTS);
	if (!text || !*text)
		return false;
	buf_clear(ret);
	return buf_append(ret, text, strnlen(text, DEMANGLE_MAX)) == 0;
}

static void copy(const char *name, struct buf *ret)
{
	buf_clear(ret);
	buf_append(ret, name, strnlen(name, DEMANGLE_MAX));
}

static enum symbol_kind demangle(const char *name, struct buf *ret)
{
	size_t len = strnlen(name, DEMANGLE_INPUT_MAX + 1);
	// libiberty refuses C++ names over half its recursion limit (1024 bytes) unless told not to
	// count; the length bounds its recursion then.
	int options = len > 1000 ? DMGL_NO_RECURSE_LIMIT : DMGL_NO_OPTS;

	if (name[0] != '_' || len > DEMANGLE_INPUT_MAX) {
		copy(name, ret);
		return SYMBOL_KIND_NATIVE;
	}
	// Legacy Rust names are C++ names with a hash at the end, so Rust comes first.
	if ((name[1] == 'Z' || name[1] == 'R') &&
		run(rust_demangle_callback, name, DMGL_NO_OPTS, ret))
		return SYMBOL_KIND_RUST;
	if ((name[1] == 'Z' || strncmp(name, "_GLOBAL_", 8) == 0) &&
		run(cplus_demangle_v3_callback, name, options, ret))
		return SYMBOL_KIND_CPP;
	if (name[1] == 'D' && run_d(name, len, ret))
		return SYMBOL_KIND_NATIVE;
	copy(name, ret);
	return SYMBOL_KIND_NATIVE;
}

enum symbol_kind symbol_demangle(const char *name, struct buf *ret)
{
	enum symbol_kind kind = demangle(name, ret);

	for (size_t i = 0; i < ret->len; i++)
		if ((unsigned char)ret->data[i] < 0x20 || ret->data[i] == 0x7f)
			ret->data[i] = '?';
	return kind;
}

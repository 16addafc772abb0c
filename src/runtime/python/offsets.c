/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/offsets.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define LEVEL_FINAL 0xf
#define UNICODE_LENGTH 16 // of PyASCIIObject, all versions
#define DEBUG_WORDS_MAX (PY_DEBUG_BYTES / 8)

/* 2.7. All values here and below: DWARF of release builds for x86-64 (2.7.18, 3.6.15, 3.7.16, 3.8.18,
 * 3.9.18, 3.10.13, 3.11.7, 3.12.1; tests/runtime/test_files.py compares again). */
static void set_2_7(struct py_offsets *o)
{
	o->layout = (struct py_layout){
		.chain = PY_CHAIN_FRAME,
		.lasti_scale = 1,
		.tstate_frame = 16,
		.tstate_thread_id = 144,
		.tstate_interp = 8,
		.frame_back = 24,
		.frame_code = 32,
		.frame_lasti = 120,
		.code_argcount = 16,
		.code_flags = 28,
		.code_firstlineno = 96,
	};
	o->interp_tstate_head = 8;
	o->code_filename = 80;
	o->code_name = 88;
	o->code_lines = 104;
	o->bytes_data = 36;
	o->bytes_names = true;
	o->line_format = PY_LINES_LNOTAB_UNSIGNED;
}

/* 3.6: what the versions after it start from. */
static void set_3_6(struct py_offsets *o)
{
	o->layout = (struct py_layout){
		.chain = PY_CHAIN_FRAME,
		.lasti_scale = 1,
		.tstate_frame = 24,
		.tstate_thread_id = 152,
		.tstate_interp = 16,
		.frame_back = 24,
		.frame_code = 32,
		.frame_lasti = 120,
		.code_argcount = 16,
		.code_kwonlyargcount = 20,
		.code_flags = 32,
		.code_firstlineno = 36,
	};
	o->interp_tstate_head = 8;
	o->tstate_next = 8;
	o->code_filename = 96;
	o->code_name = 104;
	o->code_lines = 112;
	o->ascii_size = 48;
	o->compact_size = 72;
	o->bytes_data = 32;
	o->line_format = PY_LINES_LNOTAB;
}

/* 3.7: _PyRuntime; states of exceptions that are handled in the thread state, not in frames. */
static void change_3_7(struct py_offsets *o)
{
	o->layout.tstate_thread_id = 176;
	o->layout.frame_lasti = 104;
	o->runtime_interp_head = 24;
	o->runtime_tstate_current = 1392;
	o->runtime_key = 1420;
	o->interp_id = 16;
}

/* 3.7.4 made the runtime's warning state larger (bpo-36710 and others, by py-spy's tables). */
static void change_3_7_4(struct py_offsets *o)
{
	o->runtime_tstate_current = 1480;
	o->runtime_key = 1508;
}

/* 3.8: positional-only arguments. */
static void change_3_8(struct py_offsets *o)
{
	o->layout.code_kwonlyargcount = 24;
	o->layout.code_flags = 36;
	o->layout.code_firstlineno = 40;
	o->runtime_interp_head = 32;
	o->runtime_tstate_current = 1368;
	o->runtime_key = 1396;
	o->code_filename = 104;
	o->code_name = 112;
	o->code_lines = 120;
}

/* 3.9: the garbage collector's state moved from the runtime to interpreters. */
static void change_3_9(struct py_offsets *o)
{
	o->runtime_tstate_current = 568;
	o->runtime_key = 588;
	o->interp_id = 24;
}

/* 3.10: instructions are counted in units of two bytes; PEP 626. */
static void change_3_10(struct py_offsets *o)
{
	o->layout.lasti_scale = 2;
	o->layout.frame_lasti = 96;
	o->line_format = PY_LINES_PEP626;
}

/* 3.11: frames are no objects any more; calls of Python by Python share an eval. */
static void change_3_11(struct py_offsets *o)
{
	o->layout = (struct py_layout){
		.chain = PY_CHAIN_CFRAME,
		.entry_kind = 1,
		.lasti_scale = 1,
		.tstate_frame = 56,
		.tstate_native_tid = 160,
		.tstate_thread_id = 152,
		.tstate_interp = 16,
		.cframe_current = 8,
		.frame_back = 48,
		.frame_code = 32,
		.frame_lasti = 56,
		.frame_entry = 68,
		.code_argcount = 56,
		.code_kwonlyargcount = 64,
		.code_flags = 48,
		.code_firstlineno = 72,
		.code_adaptive = 184,
	};
	o->runtime_interp_head = 40;
	o->runtime_tstate_current = 576;
	o->runtime_key = 596;
	o->interp_id = 48;
	o->interp_tstate_head = 16;
	o->code_filename = 112;
	o->code_name = 120;
	o->code_qualname = 128;
	o->code_lines = 136;
	o->line_format = PY_LINES_LOCATIONS;
}

/* 3.12: shim frames, a lock an interpreter, the current state in thread-local storage, strings without
 * wchar_t. */
static void change_3_12(struct py_offsets *o)
{
	o->layout.entry_kind = 2;
	o->layout.tstate_native_tid = 144;
	o->layout.tstate_thread_id = 136;
	o->layout.cframe_current = 0;
	o->layout.frame_back = 8;
	o->layout.frame_code = 0;
	o->layout.frame_entry = 70;
	o->layout.code_argcount = 52;
	o->layout.code_kwonlyargcount = 60;
	o->layout.code_firstlineno = 68;
	o->layout.code_adaptive = 192;
	o->runtime_tstate_current = 0;
	o->runtime_key = 1548;
	o->interp_id = 8;
	o->interp_tstate_head = 72;
	o->interp_lock = 384;
	o->lock_holder = 8;
	o->lock_locked = 16;
	o->ascii_size = 40;
	o->compact_size = 56;
}

/* In the order of versions: each states what is other than before. */
static const struct {
	uint32_t since;
	void (*change)(struct py_offsets *o);
} changes[] = {
	{PY_HEX(3, 6, 0), set_3_6},
	{PY_HEX(3, 7, 0), change_3_7},
	{PY_HEX(3, 7, 4), change_3_7_4},
	{PY_HEX(3, 8, 0), change_3_8},
	{PY_HEX(3, 9, 0), change_3_9},
	{PY_HEX(3, 10, 0), change_3_10},
	{PY_HEX(3, 11, 0), change_3_11},
	{PY_HEX(3, 12, 0), change_3_12},
};

/* AArch64 differs where pthread types are embedded: to 3.11 two mutexes of 48 bytes, not 40, lie in the
 * runtime in front of the current state and the key (3.9 and 3.11: DWARF of Debian's builds). */
static void change_aarch64(struct py_offsets *o)
{
	if (!o->runtime_tstate_current)
		return;
	o->runtime_tstate_current += 16;
	o->runtime_key += 16;
}

static uint16_t max16(uint16_t a, uint16_t b)
{
	return a > b ? a : b;
}

/* How many bytes of each structure a reader must have at hand. */
static void set_sizes(struct py_offsets *o)
{
	const struct py_layout *l = &o->layout;
	uint16_t n = max16(l->frame_back, max16(l->frame_code, l->frame_lasti));

	o->frame_size = max16((uint16_t)(n + 8), (uint16_t)(l->frame_entry + 1));
	n = max16(l->tstate_frame, max16(l->tstate_thread_id, l->tstate_native_tid));
	o->tstate_size =
		(uint16_t)(max16(n, max16(l->tstate_interp, (uint16_t)o->tstate_next)) + 8);
}

static int check_level(uint32_t hex)
{
	return (hex >> 4 & 0xf) == LEVEL_FINAL ? 0 : PY_OFFSETS_PRERELEASE;
}

int py_offsets_table(uint32_t hex, uint16_t machine, struct py_offsets *ret)
{
	struct py_offsets o = {.hex = hex};
	const struct py_layout *l = &o.layout;

	if (PY_HEX_MINOR(hex) == 0x0207)
		set_2_7(&o);
	else if (PY_HEX_MINOR(hex) < 0x0306 || PY_HEX_MINOR(hex) > 0x030c)
		return PY_OFFSETS_UNKNOWN;
	if (check_level(hex))
		return PY_OFFSETS_PRERELEASE;
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++)
		if (hex >> 8 >= changes[i].since >> 8)
			changes[i].change(&o);
	if (machine == EM_AARCH64)
		change_aarch64(&o);
	o.layout.version = PY_HEX_MINOR(hex);
	o.code_size = (uint16_t)(max16(o.code_lines, l->code_firstlineno) + 8);
	set_sizes(&o);
	*ret = o;
	return 0;
}

/* Index of a field among the words of _Py_DebugOffsets (Include/internal/pycore_runtime.h of 3.13,
 * pycore_debug_offsets.h of 3.14): cookie, version, free_threaded, then the groups. */
struct debug_map {
	uint16_t minor;
	uint8_t lock; // interpreter_state.ceval_gil, then the lock of its own and two fields of that
	uint8_t runtime, interp, thread, frame, code, bytes, unicode, end; // first words of groups
};

static const struct debug_map debug_maps[] = {
	{.minor = 0x030d,
		.lock = 8,
		.runtime = 3,
		.interp = 6,
		.thread = 19,
		.frame = 28,
		.code = 34,
		.bytes = 64,
		.unicode = 67,
		.end = 71},
	{.minor = 0x030e,
		.lock = 9,
		.runtime = 3,
		.interp = 6,
		.thread = 22,
		.frame = 31,
		.code = 39,
		.bytes = 74,
		.unicode = 77,
		.end = 81},
};

struct debug_words {
	uint64_t w[DEBUG_WORDS_MAX];
	unsigned n;
	bool bad;
};

/* The offset in word `group + field`, of a field `width` bytes wide in a struct whose size is the
 * group's first word; 0 and bad if it cannot be. */
static uint32_t field(struct debug_words *d, unsigned group, unsigned index, unsigned width)
{
	uint64_t size = d->w[group], off = d->w[group + index];

	if (off % width || off > size || size - off < width || size > (64u << 20)) {
		d->bad = true;
		return 0;
	}
	return (uint32_t)off;
}

/* The same for structures of which a reader holds the first `max` bytes. */
static uint16_t field16(struct debug_words *d, unsigned place, unsigned width, unsigned max)
{
	uint32_t off = field(d, place >> 8, place & 0xff, width);

	if (off + width > max) {
		d->bad = true;
		return 0;
	}
	return (uint16_t)off;
}
#define AT(group, index) ((unsigned)(group) << 8 | (index))

/* The table tells where the fields lie in the lock that is part of the interpreter; the one it uses may
 * be another's. */
static void lock_from_debug(struct debug_words *d, const struct debug_map *m, struct py_offsets *o)
{
	uint32_t own = field(d, m->interp, m->lock + 1u, 8);
	uint32_t locked = field(d, m->interp, m->lock + 3u, 4);
	uint32_t holder = field(d, m->interp, m->lock + 4u, 8);

	o->interp_lock = field(d, m->interp, m->lock, 8);
	if (locked < own || holder < own || locked - own > 4096 || holder - own > 4096) {
		d->bad = true;
		return;
	}
	o->lock_locked = (uint16_t)(locked - own);
	o->lock_holder = (uint16_t)(holder - own);
}

static void from_debug(struct debug_words *d, const struct debug_map *m, struct py_offsets *o)
{
	struct py_layout *l = &o->layout;
	unsigned code = PY_CODE_BYTES_MAX, ts = PY_TSTATE_BYTES_MAX, fr = PY_FRAME_BYTES_MAX;

	l->chain = PY_CHAIN_INTERP;
	l->entry_kind = 2;
	l->lasti_scale = 1;
	l->code_tag_mask = m->minor >= 0x030e ? 3 : 0;
	o->runtime_interp_head = field(d, m->runtime, 2, 8);
	o->interp_id = field(d, m->interp, 1, 8);
	o->interp_next = field(d, m->interp, 2, 8);
	o->interp_tstate_head = field(d, m->interp, 3, 8);
	lock_from_debug(d, m, o);
	o->tstate_next = field16(d, AT(m->thread, 2), 8, ts);
	l->tstate_interp = field16(d, AT(m->thread, 3), 8, ts);
	l->tstate_frame = field16(d, AT(m->thread, 4), 8, ts);
	l->tstate_thread_id = field16(d, AT(m->thread, 5), 8, ts);
	l->tstate_native_tid = field16(d, AT(m->thread, 6), 8, ts);
	l->frame_back = field16(d, AT(m->frame, 1), 8, fr);
	l->frame_code = field16(d, AT(m->frame, 2), 8, fr);
	l->frame_lasti = field16(d, AT(m->frame, 3), 8, fr);
	l->frame_entry = field16(d, AT(m->frame, 5), 1, fr);
	o->code_filename = field16(d, AT(m->code, 1), 8, code);
	o->code_name = field16(d, AT(m->code, 2), 8, code);
	o->code_qualname = field16(d, AT(m->code, 3), 8, code);
	o->code_lines = field16(d, AT(m->code, 4), 8, code);
	l->code_firstlineno = field16(d, AT(m->code, 5), 4, code);
	l->code_argcount = field16(d, AT(m->code, 6), 4, code);
	l->code_adaptive = field16(d, AT(m->code, 9), 1, code);
	o->bytes_data = field16(d, AT(m->bytes, 2), 1, 256);
	o->ascii_size = (uint16_t)d->w[m->unicode + 3];
	o->compact_size = (uint16_t)(o->ascii_size + 16); // utf8_length, utf8
	// Not in the table; declared beside co_argcount since 3.11 (Include/cpython/code.h).
	l->code_flags = (uint16_t)(l->code_argcount - 4);
	l->code_kwonlyargcount = (uint16_t)(l->code_argcount + 8);
	o->code_size = max16((uint16_t)(l->code_argcount + 4), (uint16_t)(l->code_firstlineno - 4));
	o->code_size = max16(o->code_size, max16(o->code_filename, o->code_name));
	o->code_size = max16(o->code_size, max16(o->code_qualname, o->code_lines));
	o->code_size = (uint16_t)(o->code_size + 8);
	o->line_format = PY_LINES_LOCATIONS;
	if (d->w[m->unicode + 3] < UNICODE_LENGTH + 8 || d->w[m->unicode + 3] > 256 ||
		l->code_argcount < 4 || l->code_firstlineno < 4 ||
		o->code_size > PY_CODE_BYTES_MAX || d->w[m->unicode + 2] != UNICODE_LENGTH ||
		!o->interp_id)
		d->bad = true;
}

int py_offsets_debug(const void *bytes, size_t len, struct py_offsets *ret)
{
	struct cursor c = cursor_make(bytes, MIN(len, (size_t)PY_DEBUG_BYTES));
	const struct debug_map *m = NULL;
	struct py_offsets o = {0};
	struct debug_words d = {.bad = false};
	int r;

	if (len < 24 || memcmp(bytes, PY_DEBUG_COOKIE, 8) != 0)
		return -EINVAL;
	for (d.n = 0; d.n < DEBUG_WORDS_MAX && cursor_left(&c) >= 8; d.n++)
		d.w[d.n] = cursor_u64(&c);
	o.hex = (uint32_t)d.w[1];
	*ret = o;
	for (unsigned i = 0; i < ARRAY_SIZE(debug_maps); i++)
		if (debug_maps[i].minor == PY_HEX_MINOR(o.hex))
			m = &debug_maps[i];
	if (d.w[2])
		return PY_OFFSETS_FREE_THREADED;
	if (!m || d.w[1] >> 32)
		return PY_OFFSETS_UNKNOWN;
	r = check_level(o.hex);
	if (r)
		return r;
	if (d.n < m->end)
		return PY_OFFSETS_IMPLAUSIBLE;
	from_debug(&d, m, &o);
	if (d.bad)
		return PY_OFFSETS_IMPLAUSIBLE;
	o.layout.version = PY_HEX_MINOR(o.hex);
	set_sizes(&o);
	*ret = o;
	return 0;
}

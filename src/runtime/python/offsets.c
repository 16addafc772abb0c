/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/offsets.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define LEVEL_FINAL 0xf
#define UNICODE_LENGTH 16 // of PyASCIIObject, all versions
#define DEBUG_WORDS_MAX (PY_DEBUG_BYTES / 8)

/* One set of offsets for versions of [first, last]. The layout's byte sizes are in frame, code and
 * thread state order as CPython declares them. Source: DWARF of 2.7.18, 3.6.15, 3.7.16, 3.8.18,
 * 3.9.18, 3.10.13, 3.11.7, 3.12.1 (tests/runtime/test_offsets.py compares again). */
struct row {
	uint32_t first, last;
	struct py_offsets o;
};

/* clang-format off */
#define LAYOUT_FRAME(...)                                                                          \
	.chain = PY_CHAIN_FRAME, .frame_back = 24, .frame_code = 32,                              \
	__VA_ARGS__
#define STRINGS_OLD .ascii_size = 48, .compact_size = 72, .bytes_data = 32

static const struct row rows[] = {
	{PY_HEX(2, 7, 0), PY_HEX(2, 7, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 120, .tstate_frame = 16,
				.tstate_thread_id = 144,
				.tstate_interp = 8),
			.code_argcount = 16, .code_flags = 28, .code_firstlineno = 96,
		},
		.interp_tstate_head = 8, .tstate_next = 0,
		.code_filename = 80, .code_name = 88, .code_lines = 104, .code_size = 112,
		.bytes_data = 36, .line_format = PY_LINES_LNOTAB_UNSIGNED, .bytes_names = true,
	}},
	{PY_HEX(3, 6, 0), PY_HEX(3, 6, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 120, .tstate_frame = 24,
				.tstate_thread_id = 152,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 20, .code_flags = 32,
			.code_firstlineno = 36,
		},
		.interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 96, .code_name = 104, .code_lines = 112, .code_size = 120,
		STRINGS_OLD, .line_format = PY_LINES_LNOTAB,
	}},
	/* 3.7.4 made the runtime's warning state larger (bpo-36710 and others, by py-spy's tables). */
	{PY_HEX(3, 7, 0), PY_HEX(3, 7, 3), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 104, .tstate_frame = 24,
				.tstate_thread_id = 176,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 20, .code_flags = 32,
			.code_firstlineno = 36,
		},
		.runtime_interp_head = 24, .runtime_tstate_current = 1392, .runtime_key = 1420,
		.interp_id = 16, .interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 96, .code_name = 104, .code_lines = 112, .code_size = 120,
		STRINGS_OLD, .line_format = PY_LINES_LNOTAB,
	}},
	{PY_HEX(3, 7, 4), PY_HEX(3, 7, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 104, .tstate_frame = 24,
				.tstate_thread_id = 176,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 20, .code_flags = 32,
			.code_firstlineno = 36,
		},
		.runtime_interp_head = 24, .runtime_tstate_current = 1480, .runtime_key = 1508,
		.interp_id = 16, .interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 96, .code_name = 104, .code_lines = 112, .code_size = 120,
		STRINGS_OLD, .line_format = PY_LINES_LNOTAB,
	}},
	{PY_HEX(3, 8, 0), PY_HEX(3, 8, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 104, .tstate_frame = 24,
				.tstate_thread_id = 176,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 24, .code_flags = 36,
			.code_firstlineno = 40,
		},
		.runtime_interp_head = 32, .runtime_tstate_current = 1368, .runtime_key = 1396,
		.interp_id = 16, .interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 104, .code_name = 112, .code_lines = 120, .code_size = 128,
		STRINGS_OLD, .line_format = PY_LINES_LNOTAB,
	}},
	{PY_HEX(3, 9, 0), PY_HEX(3, 9, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 1, .frame_lasti = 104, .tstate_frame = 24,
				.tstate_thread_id = 176,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 24, .code_flags = 36,
			.code_firstlineno = 40,
		},
		.runtime_interp_head = 32, .runtime_tstate_current = 568, .runtime_key = 588,
		.interp_id = 24, .interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 104, .code_name = 112, .code_lines = 120, .code_size = 128,
		STRINGS_OLD, .line_format = PY_LINES_LNOTAB,
	}},
	{PY_HEX(3, 10, 0), PY_HEX(3, 10, 99), {
		.layout = {
			LAYOUT_FRAME(.lasti_scale = 2, .frame_lasti = 96, .tstate_frame = 24,
				.tstate_thread_id = 176,
				.tstate_interp = 16),
			.code_argcount = 16, .code_kwonlyargcount = 24, .code_flags = 36,
			.code_firstlineno = 40,
		},
		.runtime_interp_head = 32, .runtime_tstate_current = 568, .runtime_key = 588,
		.interp_id = 24, .interp_tstate_head = 8, .tstate_next = 8,
		.code_filename = 104, .code_name = 112, .code_lines = 120, .code_size = 128,
		STRINGS_OLD, .line_format = PY_LINES_PEP626,
	}},
	{PY_HEX(3, 11, 0), PY_HEX(3, 11, 99), {
		.layout = {
			.chain = PY_CHAIN_CFRAME, .entry_kind = 1, .tstate_frame = 56,
			.cframe_current = 8, .tstate_native_tid = 160, .tstate_thread_id = 152,
			.tstate_interp = 16, .frame_back = 48, .frame_code = 32, .frame_lasti = 56,
			.frame_entry = 68, .code_argcount = 56, .code_kwonlyargcount = 64,
			.code_flags = 48, .code_firstlineno = 72, .code_adaptive = 184, .lasti_scale = 1,
		},
		.runtime_interp_head = 40, .runtime_tstate_current = 576, .runtime_key = 596,
		.interp_id = 48, .interp_tstate_head = 16, .tstate_next = 8,
		.code_filename = 112, .code_name = 120, .code_qualname = 128, .code_lines = 136,
		.code_size = 144, STRINGS_OLD, .line_format = PY_LINES_LOCATIONS,
	}},
	{PY_HEX(3, 12, 0), PY_HEX(3, 12, 99), {
		.layout = {
			.chain = PY_CHAIN_CFRAME, .entry_kind = 2, .tstate_frame = 56,
			.cframe_current = 0, .tstate_native_tid = 144, .tstate_thread_id = 136,
			.tstate_interp = 16, .frame_back = 8, .frame_code = 0, .frame_lasti = 56,
			.frame_entry = 70, .code_argcount = 52, .code_kwonlyargcount = 60,
			.code_flags = 48, .code_firstlineno = 68, .code_adaptive = 192, .lasti_scale = 1,
		},
		.runtime_interp_head = 40, .runtime_key = 1548,
		.interp_lock = 384, .lock_holder = 8, .lock_locked = 16,
		.interp_id = 8, .interp_tstate_head = 72, .tstate_next = 8,
		.code_filename = 112, .code_name = 120, .code_qualname = 128, .code_lines = 136,
		.code_size = 144, .ascii_size = 40, .compact_size = 56, .bytes_data = 32,
		.line_format = PY_LINES_LOCATIONS,
	}},
};
/* clang-format on */

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

int py_offsets_table(uint32_t hex, struct py_offsets *ret)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (hex >> 8 < rows[i].first >> 8 || hex >> 8 > rows[i].last >> 8)
			continue;
		if (check_level(hex))
			return PY_OFFSETS_PRERELEASE;
		*ret = rows[i].o;
		ret->hex = hex;
		ret->layout.version = PY_HEX_MINOR(hex);
		set_sizes(ret);
		return 0;
	}
	return PY_OFFSETS_UNKNOWN;
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

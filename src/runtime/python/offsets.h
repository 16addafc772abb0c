/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/offsets.h -- where the fields of CPython's structures lie, by version.
 *
 * Up to 3.12 from what was measured from the DWARF of release builds (GIL); from 3.13 from
 * the _Py_DebugOffsets at the start of _PyRuntime, which is parsed by minor version and believed
 * only where it is plausible. Pure; any thread. */
#ifndef GP_RUNTIME_PYTHON_OFFSETS_H
#define GP_RUNTIME_PYTHON_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/python.h"

/* PY_VERSION_HEX, Include/patchlevel.h: major, minor, micro, level << 4 | serial. */
#define PY_HEX(major, minor, micro)                                                                \
	((uint32_t)(major) << 24 | (uint32_t)(minor) << 16 | (uint32_t)(micro) << 8 | 0xf0)
#define PY_HEX_MINOR(hex) ((uint16_t)((hex) >> 16)) // major << 8 | minor
#define PY_HEX_MICRO(hex) ((hex) >> 8 & 0xff)
#define PY_MICRO_UNKNOWN 99 // taken for the last one of its series
#define PY_DEBUG_COOKIE "xdebugpy"
#define PY_DEBUG_BYTES 1024 // enough for every known _Py_DebugOffsets
#define PY_CODE_BYTES_MAX 512 // a code object up to its instructions
#define PY_TSTATE_BYTES_MAX 4096
#define PY_FRAME_BYTES_MAX 512

/* Formats of a code object's line table. */
enum py_line_format {
	PY_LINES_LNOTAB_UNSIGNED = 0, // to 3.5: (u8 bytes, u8 lines)
	PY_LINES_LNOTAB, // 3.6 to 3.9: (u8 bytes, s8 lines)
	PY_LINES_PEP626, // 3.10: (u8 bytes, s8 lines, -128 none)
	PY_LINES_LOCATIONS, // 3.11 and later
};

struct py_offsets {
	uint32_t hex; // version of the interpreter
	struct py_layout layout;
	/* _PyRuntime; zero where it has none */
	uint32_t runtime_interp_head;
	uint32_t runtime_tstate_current; // to 3.11
	uint32_t runtime_key; // of the pthread key, an int
	uint32_t interp_next, interp_id, interp_tstate_head; // id 0: none (before 3.7)
	uint32_t tstate_next;
	/* The lock from 3.12 on: where an interpreter points to it, and the fields of it; 0 unknown */
	uint32_t interp_lock;
	uint16_t lock_locked, lock_holder;
	uint16_t code_filename, code_name, code_qualname; // qualname 0: none
	uint16_t code_lines;
	uint16_t code_size; // bytes that hold all of the above
	uint16_t frame_size; // bytes that hold the walked fields of a frame
	uint16_t tstate_size; // and of a thread state
	uint16_t ascii_size, compact_size; // of the headers of compact strings
	uint16_t bytes_data; // of a bytes object (str in 2.7)
	uint8_t line_format; // enum py_line_format
	bool bytes_names; // names are bytes objects: 2.7
};

enum py_offsets_err {
	PY_OFFSETS_UNKNOWN = 1, // a version that is not known
	PY_OFFSETS_FREE_THREADED, // 3.13t, 3.14t
	PY_OFFSETS_PRERELEASE, // alphas, betas and candidates reorder fields
	PY_OFFSETS_IMPLAUSIBLE, // the debug offsets contradict themselves
};

/* 2.7, 3.6 to 3.12; machine: e_machine of the ELF file (x86-64, AArch64). Return 0, PY_OFFSETS_UNKNOWN,
 * PY_OFFSETS_PRERELEASE. */
int py_offsets_table(uint32_t hex, uint16_t machine, struct py_offsets *ret);
/* From the first bytes of _PyRuntime, 3.13 and 3.14. Return 0, enum py_offsets_err, -EINVAL no
 * cookie. ret->hex is set whenever there is a cookie. */
int py_offsets_debug(const void *bytes, size_t len, struct py_offsets *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/locate.h -- is this file a CPython, which one, and where are its variables.
 *
 * Decided by content: the section .PyRuntime, the symbols of the runtime's state, the cookie of
 * _Py_DebugOffsets; the version from Py_Version, from the debug offsets, from the version text in
 * read-only data, and only last from the file's name. Addresses are virtual addresses of the file:
 * what depends on a process is made by tstate.h. Owned by the module's thread. */
#ifndef GP_RUNTIME_PYTHON_LOCATE_H
#define GP_RUNTIME_PYTHON_LOCATE_H

#include "elf/module.h"
#include "runtime/python/offsets.h"

struct py_range {
	uint64_t start, end;
};

/* Where the thread-local current state lies (3.12 and later). */
enum py_tls_kind {
	PY_TLS_NONE = 0,
	PY_TLS_OFFSET, // thread pointer + off
	PY_TLS_GOT, // thread pointer + *addr + off
	PY_TLS_PAIR, // block of the {module, offset} pair at addr, + off
};

struct py_module {
	struct py_offsets offsets; // valid unless refused
	uint32_t hex; // version, 0 unknown
	int refused; // enum py_offsets_err
	uint64_t runtime; // _PyRuntime, 0 none
	uint64_t interp_head; // pointer to the first interpreter
	uint64_t current; // pointer to the current thread state, to 3.11; 0 unknown
	uint64_t key; // of the thread-specific slot, int; 0 unknown
	uint64_t none; // _Py_NoneStruct
	struct py_range eval[PY_EVAL_RANGES];
	unsigned nranges;
	uint8_t tls_kind; // enum py_tls_kind
	uint64_t tls_addr;
	int64_t tls_off;
};

/* Looks at an open module; path: its name, or "". Return 0 (also if refused), -ENOENT no CPython,
 * -ENOMEM, -errno. */
int py_locate(const struct module *m, const char *path, struct py_module *ret);

/* Parts of it, for tests and fuzzing. */

/* Version of a text "3.10.13" with a NUL after it, in read-only bytes, kept over calls.
 * hint: version in the file's name (PY_HEX_MINOR), 0 none. */
struct py_version_scan {
	uint32_t found; // PY_HEX, 0 none yet
	uint16_t hint;
	bool ambiguous;
};
void py_version_scan(struct py_version_scan *s, const uint8_t *bytes, size_t len);
/* major << 8 | minor of ".../libpython3.10.so.1.0" or ".../python2.7", 0 none. */
uint16_t py_version_of_name(const char *path);

/* Ranges of a stripped eval function's outlined part: jumps out of the function whose targets lie
 * in one entry of .eh_frame_hdr. Adds to ranges. Return their number. x86-64. */
unsigned py_locate_outlined(const struct module *m, struct py_range *ranges, unsigned n);

#endif

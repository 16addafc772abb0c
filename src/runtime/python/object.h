/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/object.h -- code objects and strings of a living interpreter, through
 * process_vm_readv. All lengths are the target's: bounded. Any thread. */
#ifndef GP_RUNTIME_PYTHON_OBJECT_H
#define GP_RUNTIME_PYTHON_OBJECT_H

#include "base/buf.h"
#include "runtime/python/offsets.h"

#define PY_STRING_MAX 4096u // characters of a name or path
#define PY_LINES_MAX 65536u // bytes of a line table

struct py_code {
	uint64_t addr;
	uint64_t filename, name, qualname, lines; // objects; qualname 0: none
	uint32_t argcount, kwonlyargcount, flags, firstlineno;
	uint32_t cookie; // PY_CODE_COOKIE of them
};

/* Return 0, -EFAULT, -ESRCH, -errno. */
int py_code_read(uint32_t pid, const struct py_offsets *o, uint64_t addr, struct py_code *ret);
/* Parses the first o->code_size bytes of one. */
void py_code_parse(const struct py_offsets *o, const uint8_t *bytes, struct py_code *ret);

/* Appends a str (or, in 2.7, a byte string) as UTF-8. Return 0, -EINVAL not a string that can be
 * (too long, odd header), -ENOSPC, -ENOMEM, -errno. */
int py_string_read(uint32_t pid, const struct py_offsets *o, uint64_t addr, struct buf *ret);
/* Appends characters of 1, 2 or 4 bytes as UTF-8; what is no character becomes U+FFFD. */
int py_string_append(struct buf *ret, const uint8_t *chars, size_t n, unsigned kind);
/* What the header of a str says. Return 0 or -EINVAL. */
struct py_string_head {
	uint64_t length; // characters
	uint8_t kind; // bytes a character
	uint16_t data; // offset of the characters; 0: the pointer at compact_size leads to them
};
int py_string_parse(
	const struct py_offsets *o, const uint8_t *head, size_t len, struct py_string_head *ret);
/* Contents of a bytes object, appended. Return as py_string_read. */
int py_bytes_read(
	uint32_t pid, const struct py_offsets *o, uint64_t addr, size_t max, struct buf *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/lines.h -- line of an instruction from a code object's line table. Pure.
 *
 * Formats: Objects/lnotab_notes.txt (to 3.9), PEP 626 (3.10), Objects/locations.md (3.11+) of
 * CPython's sources. */
#ifndef GP_RUNTIME_PYTHON_LINES_H
#define GP_RUNTIME_PYTHON_LINES_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/python/offsets.h"

/* lasti: offset of the instruction in bytes, -1 before the first. Return its line, first if the
 * table does not say (also of hostile bytes); 0 if the table says that it has none. */
uint32_t py_line_of(enum py_line_format format, const uint8_t *table, size_t len, uint32_t first,
	int32_t lasti);

#endif

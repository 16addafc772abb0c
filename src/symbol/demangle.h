/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/demangle.h -- C++, Rust and D symbol names as people write them; libiberty behind one wall.
 *
 * Without parameter lists and clone suffixes, as perf shows names (its demangle_flags are
 * DMGL_NO_OPTS), so that profiles of both can be compared (D names keep their parameters, there as
 * here); Rust hashes are dropped. Mangled names are hostile: back references can make a short one
 * expand exponentially, so output is cut at DEMANGLE_MAX bytes and the demangler is left when it
 * goes on without end. Any thread. */
#ifndef GP_SYMBOL_DEMANGLE_H
#define GP_SYMBOL_DEMANGLE_H

#include "base/buf.h"
#include "symbol/resolver.h"

#define DEMANGLE_MAX 4096u // bytes of a demangled name
#define DEMANGLE_INPUT_MAX 4096u // longer names are shown as they are, cut at DEMANGLE_MAX

/* Replaces ret's text with the readable name; what is not mangled is copied (cut at DEMANGLE_MAX).
 * Control bytes become '?'. Without memory ret is `bad`. Return what language the name is from. */
enum symbol_kind symbol_demangle(const char *name, struct buf *ret);

#endif

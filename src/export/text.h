/* SPDX-License-Identifier: Apache-2.0 */
/* export/text.h -- names on their way into collapsed text, and what a module's name tells. */
#ifndef GP_EXPORT_TEXT_H
#define GP_EXPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends a name so that it can neither end a line nor start a frame: ';' becomes ':' (as in
 * FlameGraph's scripts), control bytes become blanks, blanks at both ends go. */
int export_text_clean(struct buf *out, const char *s, size_t len);

/* "(path)", the name of a frame without a symbol: one pair of parentheses around everything. */
bool export_text_is_path(const char *s, size_t len);

/* A module as perf names it ("[kernel.kallsyms]", "[nf_conntrack]", "/x/vmlinux-6.1",
 * "/lib/modules/.../a.ko.xz", "bpf_prog_ab12_f") whose code is the kernel's. A user's path that
 * contains "kernel" is not. */
bool export_module_is_kernel(const char *s, size_t len);
/* "/tmp/perf-123.map" anywhere in it, or jitdump's "jitted-123-4.so". */
bool export_module_is_jit(const char *s, size_t len);

#endif

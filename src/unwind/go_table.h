/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/go_table.h -- unwind rules of Go text, from .gopclntab.
 *
 * Go files carry no .eh_frame for Go functions, but the runtime's own table tells, for every
 * instruction, how far the stack pointer has moved since entry (pcsp): CFA = sp + delta + 8.
 * Formats: Go's internal/abi and runtime/symtab.go; magics of 1.16, 1.18 and 1.20 (to 1.26).
 *
 * The caller's rbp: a function with a frame stores it at CFA - 16, in the instruction before or
 * after the first change of delta (cmd/internal/obj/x86/obj6.go: MOVQ BP, n(SP) after SUBQ up to
 * 1.20, PUSHQ BP before it from 1.21). The instruction's bytes decide from where on it is there;
 * a function without it (assembly) leaves rbp alone.
 *
 * By name, where the runtime moves to another stack and pcsp does not know:
 *   goexit, mstart, rt0_go ...        first frames: END
 *   mcall, gogo                       from where sp changes the goroutine is not running: END
 *   systemstack, asmcgocall,          from where sp changes rbp still is that of the caller: one
 *   morestack                         frame-pointer step. The direct caller (of morestack also the
 *                                     function it interrupted), whose return address lies on the
 *                                     other stack, is skipped.
 *   nanotime1, walltime               move to g0's stack for the vDSO, with a frame of their own:
 *                                     frame pointer between prologue and epilogue, which is exact
 *   sigreturn                         the kernel's signal frame
 * Pipeline thread; all bytes are hostile. */
#ifndef GP_UNWIND_GO_TABLE_H
#define GP_UNWIND_GO_TABLE_H

#include "bpf/abi/unwind_table.h"
#include "elf/module.h"
#include "unwind/file.h"

#define GO_FUNCS_MAX (1u << 22)
#define GO_ROWS_MAX 100000 // of one function
#define GO_SCAN_MAX (64u << 20) // bytes searched for the magic

struct go_scratch {
	struct unwind_file functab, func, pctab, names, text;
};

struct go_table {
	bool present;
	bool wide; // 1.16: 8-byte functab entries with absolute addresses
	uint8_t quantum;
	uint32_t nfunc;
	uint64_t off, len, vaddr; // of the table
	uint64_t text; // address that functab is relative to
	uint64_t functab, pctab, names; // file offsets
	uint64_t start, end; // addresses covered
};

void go_scratch_init(struct go_scratch *s);
void go_scratch_deinit(struct go_scratch *s);
void go_scratch_drop(struct go_scratch *s);
/* As unwind_file_take_error(), of all windows. */
int go_scratch_take_error(struct go_scratch *s);

/* Looks for the table of an open module; present is false if it has none or none that is sound. */
void go_table_open(const struct module *m, struct go_scratch *s, struct go_table *ret);

typedef int (*go_row_fn)(void *arg, uint64_t start, uint64_t end, const struct uw_rule *rule);
struct go_query {
	const struct module *m;
	const struct go_table *g;
	struct go_scratch *s;
	uint64_t start, end; // virtual addresses
};
/* Rules of [start, end), ascending, for functions that overlap it (rows may begin before start and
 * end after end). Return 0 or what fn returned. */
int go_table_range(const struct go_query *q, go_row_fn fn, void *arg);

#endif

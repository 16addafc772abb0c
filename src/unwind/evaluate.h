/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/evaluate.h -- steps a frame by its full call frame information, with all registers.
 *
 * For what the compact rules cannot say: other base registers, saves relative to them, DWARF
 * expressions. Expressions are evaluated here (the operations of DWARF 5 section 2.5 that make sense
 * in call frame information; no libdw: it wants the whole file mapped). Any thread. */
#ifndef GP_UNWIND_EVALUATE_H
#define GP_UNWIND_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "unwind/cfi.h"

#define EVALUATE_STACK 32 // values
#define EVALUATE_OPS 256 // operations, loops included

/* Registers in DWARF order; [CFI_REG_RA] is the program counter. */
struct evaluate_regs {
	uint64_t r[CFI_REGS];
	uint32_t valid; // bit n: r[n] is known
};

/* Reads 8 bytes of the target. */
typedef bool (*evaluate_read_fn)(void *arg, uint64_t addr, uint64_t *ret);

enum evaluate_result {
	EVALUATE_OK = 0,
	EVALUATE_END, // the return address is undefined
	EVALUATE_READ, // memory could not be read
	EVALUATE_UNKNOWN, // a register or operation that is not known
};

struct evaluate_memory {
	evaluate_read_fn read;
	void *arg;
};

/* Registers of the caller, from those of a frame and the row in force at its pc. */
enum evaluate_result evaluate_row(const struct cfi_row *row, const struct evaluate_regs *regs,
	const struct evaluate_memory *mem, struct evaluate_regs *ret);

#endif

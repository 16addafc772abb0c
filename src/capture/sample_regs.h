/* SPDX-License-Identifier: Apache-2.0 */
/* capture/sample_regs.h -- perf's register numbers, per architecture.
 *
 * x86-64: <asm/perf_regs.h> against the System V psABI's DWARF numbers (figure 3.36). */
#ifndef GP_CAPTURE_SAMPLE_REGS_H
#define GP_CAPTURE_SAMPLE_REGS_H

#include <stdint.h>

#include <asm/perf_regs.h>

struct sample_reg {
	uint8_t perf;
	uint8_t dwarf;
};

#ifdef __x86_64__
/* Ascending by perf's number: the order in a record. */
static const struct sample_reg sample_regs[] = {
	{PERF_REG_X86_AX, 0},
	{PERF_REG_X86_BX, 3},
	{PERF_REG_X86_CX, 2},
	{PERF_REG_X86_DX, 1},
	{PERF_REG_X86_SI, 4},
	{PERF_REG_X86_DI, 5},
	{PERF_REG_X86_BP, 6},
	{PERF_REG_X86_SP, 7},
	{PERF_REG_X86_IP, 16},
	{PERF_REG_X86_R8, 8},
	{PERF_REG_X86_R9, 9},
	{PERF_REG_X86_R10, 10},
	{PERF_REG_X86_R11, 11},
	{PERF_REG_X86_R12, 12},
	{PERF_REG_X86_R13, 13},
	{PERF_REG_X86_R14, 14},
	{PERF_REG_X86_R15, 15},
};
#define SAMPLE_REG_IP (1ull << PERF_REG_X86_IP)
#define SAMPLE_DWARF_SP REC_REG_X86_SP
#else
#error "registers of this architecture are not described yet"
#endif

#endif

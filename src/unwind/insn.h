/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/insn.h -- length of an x86-64 instruction, and what it does to the stack pointer.
 *
 * Intel SDM volume 2, chapter 2 (formats) and appendix A (opcode maps). Only 64-bit mode; only what
 * compilers and hand-written libraries emit is told apart, anything else that writes rsp is
 * INSN_SP_LOST. Any thread. */
#ifndef GP_UNWIND_INSN_H
#define GP_UNWIND_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_BYTES_MAX 15

enum insn_kind {
	INSN_PLAIN = 0, // leaves rsp alone
	INSN_NOP, // padding
	INSN_PUSH, // 8 bytes; reg
	INSN_POP,
	INSN_ADD_SP, // rsp += arg
	INSN_SP_LOST, // rsp becomes something else
	INSN_SP_FROM_FP, // rsp = rbp + arg
	INSN_FP_SET, // rbp = rsp
	INSN_LEAVE,
	INSN_RET,
	INSN_CALL, // arg: distance from the next instruction, if direct
	INSN_JUMP, // likewise
	INSN_BRANCH, // conditional, likewise
	INSN_STOP, // never goes on: hlt, ud2, int3, an indirect jump, ret n
	INSN_LEA_CODE, // lea arg(%rip): an address of something
};

#define INSN_REG_NONE 0xff

struct insn {
	uint8_t len;
	uint8_t kind; // enum insn_kind
	uint8_t reg; // hardware number of what is pushed or popped; INSN_REG_NONE
	bool direct; // arg of a CALL or JUMP is valid
	int32_t arg;
};

/* Decodes one. Return false: no instruction, or more than n bytes. */
bool insn_decode(const uint8_t *p, size_t n, struct insn *ret);

#endif

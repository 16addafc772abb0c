/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/flow.h -- unwind rules of code that has neither call frame information nor, for sure, a frame
 * pointer: musl, hand-written assembly.
 *
 * How far the stack pointer is from the CFA follows from the instructions: 8 bytes at the first of a
 * function and at each ret, and every push, pop and add in between says how it changes. That is known from
 * both ends, so no symbols are needed: a value spreads along fall-through and jumps, forwards and
 * backwards, from the rets, the targets of calls, and (where these leave code untold) addresses that
 * lea takes and aligned starts after padding. Code that nothing reaches has no rule.
 * Code that keeps frame pointers throughout is left to those, and so is code whose
 * ways contradict each other (V8's builtins: calls that pop their arguments).
 * Likewise where the caller's rbp was pushed, and whether rbp holds a frame pointer. Pipeline thread. */
#ifndef GP_UNWIND_FLOW_H
#define GP_UNWIND_FLOW_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/unwind_table.h"

#define FLOW_BYTES_MAX (UW_PAGE_BYTES + 2 * FLOW_MARGIN)
#define FLOW_MARGIN 4096u // code looked at to either side of what is asked for: to find both ends

struct flow_insn {
	uint32_t at; // offset in the code
	int32_t target; // index of the instruction jumped to, -1 none
	int32_t arg;
	int32_t cfa; // CFA - rsp before the instruction, 0 unknown
	int32_t fp; // the caller's rbp is at CFA - fp; FLOW_FP_SAME in rbp, 0 unknown
	uint8_t kind, reg;
	uint8_t framed; // enum flow_framed
	uint8_t flags;
};

#define FLOW_FP_SAME 1

enum flow_framed {
	FLOW_FRAMED_UNKNOWN = 0,
	FLOW_FRAMED_NO,
	FLOW_FRAMED_YES, // rbp = CFA - 16
};

struct flow {
	struct flow_insn *insns; // ascending
	size_t count, size;
	uint32_t *work; // stack of indices
	size_t work_count, work_size;
};

void flow_init(struct flow *f);
void flow_deinit(struct flow *f);
/* Analyses len bytes of code that lie at offset `phase` from a multiple of 16. Return 0 or -ENOMEM. */
int flow_run(struct flow *f, const uint8_t *code, size_t len, unsigned phase);
/* Index of the first instruction that ends after offset `at`. */
size_t flow_find(const struct flow *f, uint32_t at);
/* The rule at an instruction: cfa is UW_CFA_NONE if nothing is known. */
void flow_rule(const struct flow_insn *i, struct uw_rule *ret);

#endif

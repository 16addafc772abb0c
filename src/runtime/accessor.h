/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/accessor.h -- what a small function returns or passes on, from its machine code.
 *
 * Interpreters and C libraries keep a thread's state behind functions of a few instructions; where
 * it lies is read from their code. A tiny abstract machine (x86-64) runs the function over symbolic
 * values: the first argument, the thread pointer, constants, and words in memory that only the
 * living process knows. What it does not know makes a value unknown, never an error. Code is
 * hostile: steps and paths are bounded. Pure; any thread. */
#ifndef GP_RUNTIME_ACCESSOR_H
#define GP_RUNTIME_ACCESSOR_H

#include <stddef.h>
#include <stdint.h>

#define ACCESSOR_CODE_MAX 512 // bytes of a function looked at

/* A value: base + scale * argument + add. `addr` belongs to the base. */
enum accessor_base {
	ACCESSOR_UNKNOWN = 0,
	ACCESSOR_CONST, // 0
	ACCESSOR_TP, // thread pointer
	ACCESSOR_MEM, // *addr
	ACCESSOR_MEM_TP, // thread pointer + *addr
	ACCESSOR_BLOCK, // the TLS block variable of the {module, offset} pair at addr
	ACCESSOR_AT_MEM, // *(*addr + inner)
	ACCESSOR_AT_TP, // *(thread pointer + inner + inner_scale * argument)
	ACCESSOR_AT_TP_MEM, // *(thread pointer + *addr + inner)
	ACCESSOR_AT_BLOCK, // *(block variable at addr + inner)
	ACCESSOR_AT_AT_TP, // *(*(thread pointer + inner) + inner_scale * argument)
};

struct accessor_value {
	uint8_t base; // enum accessor_base
	uint64_t addr;
	int64_t inner, inner_scale;
	int64_t scale, add;
};

struct accessor_code {
	const uint8_t *bytes;
	size_t len;
	uint64_t vaddr; // of bytes[0]
};

struct accessor_result {
	struct accessor_value ret; // in the result register, if it returned
	struct accessor_value arg; // first argument of the first call or tail call
	struct accessor_value
		loads[4]; // words loaded through the argument (scale or inner_scale not 0)
	unsigned nloads;
	unsigned branches; // conditional jumps met on the way
	int returned; // 1 returned, 2 left by a call or jump
};

/* Runs one path: bit n of `taken` says whether the n-th conditional jump is taken. stop_at_call: ends
 * there; else a call is that of __tls_get_addr. Always fills ret. */
void accessor_run(const struct accessor_code *code, unsigned taken, int stop_at_call,
	struct accessor_result *ret);

#endif

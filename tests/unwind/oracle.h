/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unwind/oracle.h -- libdw's reading of call frame information, in the terms of struct uw_rule.
 * An independent implementation: our interpreter is held against it address by address. */
#ifndef GP_TESTS_UNWIND_ORACLE_H
#define GP_TESTS_UNWIND_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/unwind_table.h"

struct oracle;

/* NULL if libdw cannot read the file's CFI. */
struct oracle *oracle_open(const char *path);
void oracle_close(struct oracle *o);

struct oracle_answer {
	bool covered; // an FDE holds the address
	bool simple; // the three below are set
	bool end; // return address undefined
	unsigned reg; // CFA = reg + off
	int64_t off;
	enum uw_save fp; // SAME, CFA or UNDEF; REG stands for anything else
	int64_t fp_off;
	int64_t ra_off; // of the CFA
	bool ra_simple;
};
void oracle_ask(struct oracle *o, uint64_t vaddr, struct oracle_answer *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/rule.h -- from a row of call frame information to the compact rule of the walkers.
 *
 * Everything a rule cannot say becomes UW_CFA_COMPLEX, which user space finishes from the row
 * itself (unwind/evaluate.h). Any thread. */
#ifndef GP_UNWIND_RULE_H
#define GP_UNWIND_RULE_H

#include <stdbool.h>

#include "bpf/abi/unwind_table.h"
#include "unwind/cfi.h"

/* signal: the row's CIE has augmentation 'S'. */
void rule_from_row(const struct cfi_row *row, bool signal, struct uw_rule *ret);

#endif

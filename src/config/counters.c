/* SPDX-License-Identifier: Apache-2.0 */
#include "config/counters.h"

const struct counter_row counter_rows[COUNTER_COUNT] = {
#define LEDGER(field, kind, unit, help)                                                            \
	[COUNTER_LEDGER_##field] = {#field, COUNTER_GROUP_LEDGER, COUNTER_##kind, unit, help},
#define CAPTURE(field, kind, unit, help)                                                           \
	[COUNTER_CAPTURE_##field] = {#field, COUNTER_GROUP_CAPTURE, COUNTER_##kind, unit, help},
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
};

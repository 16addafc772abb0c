/* SPDX-License-Identifier: Apache-2.0 */
/* config/counters.h -- the rows of counters.def as data.
 *
 * This room does not know the structs that hold the counters; the room that does makes a table of
 * offsets from the same rows, once, which the compiler checks field by field:
 *
 *     static const size_t offsets[COUNTER_COUNT] = {
 *     #define LEDGER(field, ...) [COUNTER_LEDGER_##field] = offsetof(struct profile_ledger, field),
 *     #define CAPTURE(...)
 *     #include "config/counters.def"
 *     #undef LEDGER
 *     #undef CAPTURE
 *     };
 *
 * and then visits every counter with counter_each() and counter_get(). Constant data; any thread. */
#ifndef GP_CONFIG_COUNTERS_H
#define GP_CONFIG_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

enum counter_id {
#define LEDGER(field, ...) COUNTER_LEDGER_##field,
#define CAPTURE(field, ...) COUNTER_CAPTURE_##field,
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
	COUNTER_COUNT,
};

enum counter_group { COUNTER_GROUP_LEDGER, COUNTER_GROUP_CAPTURE };
enum counter_kind { COUNTER_ENTRY, COUNTER_SUM, COUNTER_LOSS };

struct counter_row {
	const char *name; // of the field: "not_delivered"
	enum counter_group group;
	enum counter_kind kind;
	const char *unit; // "samples"
	const char *help; // half a sentence
};

extern const struct counter_row counter_rows[COUNTER_COUNT];

/* The counter's value in the struct at base. All counters are uint64_t. */
static inline uint64_t counter_get(const void *base, const size_t *offsets, enum counter_id id)
{
	return *(const uint64_t *)((const char *)base + offsets[id]);
}

#define counter_each(id, wanted)                                                                   \
	for (unsigned id = 0; id < COUNTER_COUNT; id++)                                            \
		if (counter_rows[id].group == (wanted))

#endif

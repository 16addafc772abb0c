/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of counters.def names a field, and every number of the structs has a row. */
#include "tests/harness.h"

#include "base/cleanup.h"
#include "capture/source.h"
#include "config/counters.h"
#include "profile/profile.h"

static const size_t offsets[COUNTER_COUNT] = {
#define LEDGER(field, ...) [COUNTER_LEDGER_##field] = offsetof(struct profile_ledger, field),
#define CAPTURE(field, ...) [COUNTER_CAPTURE_##field] = offsetof(struct capture_stats, field),
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
};

static void counters__rows_are_complete(void **state)
{
	(void)state;
	for (unsigned i = 0; i < COUNTER_COUNT; i++) {
		assert_true(strlen(counter_rows[i].name) > 2);
		assert_true(strlen(counter_rows[i].unit) > 2);
		assert_true(strlen(counter_rows[i].help) > 5);
		assert_int_not_equal(counter_rows[i].help[strlen(counter_rows[i].help) - 1], '.');
	}
}

static void counters__rows_cover_the_ledger(void **state)
{
	bool covered[sizeof(struct profile_ledger) / 8] = {0};
	size_t reasons = offsetof(struct profile_ledger, broken_reasons) / 8;
	struct profile_ledger l;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(covered); i++)
		((uint64_t *)&l)[i] = i + 100;
	counter_each(id, COUNTER_GROUP_LEDGER)
	{
		assert_int_equal(counter_get(&l, offsets, id), offsets[id] / 8 + 100);
		assert_false(covered[offsets[id] / 8]);
		covered[offsets[id] / 8] = true;
	}
	// The reasons are an array of their own.
	for (size_t i = 0; i < ARRAY_SIZE(covered); i++)
		if (i < reasons || i >= reasons + ARRAY_SIZE(l.broken_reasons))
			assert_true(covered[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters__rows_are_complete),
		cmocka_unit_test(counters__rows_cover_the_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* When samples were taken: sums hold whatever is joined, caps hold, and what does not fit is dropped
 * as a whole and said. */
#include "profile/timeline.h"

#include "tests/harness.h"

#define MS 1000000ull

static uint64_t sum_of(const struct timeline *t, uint32_t sample)
{
	uint64_t sum = 0;

	vec_foreach (c, &t->counts)
		sum += sample && c->sample != sample ? 0 : c->count;
	return sum;
}

static void timeline__counts_fall_into_their_slots(void **state)
{
	struct timeline t;

	(void)state;
	timeline_init(&t, 100);
	assert_ok(timeline_add(&t, 1, 1000 * MS, 2));
	assert_ok(timeline_add(&t, 1, 1004 * MS, 1)); // the same slot
	assert_ok(timeline_add(&t, 2, 1004 * MS, 1));
	assert_ok(timeline_add(&t, 1, 1005 * MS, 1));
	assert_ok(timeline_add(&t, 1, 1012 * MS, 1));
	assert_ok(timeline_add(&t, 2, 999 * MS, 1)); // came late
	assert_int_equal(t.base, 1000 * MS);
	assert_int_equal(t.counts.len, 4);
	assert_int_equal(t.counts.data[0].count, 3);
	assert_int_equal(t.counts.data[1].count, 2);
	assert_int_equal(t.counts.data[3].slot, 2);
	assert_int_equal(timeline_slots(&t), 3);
	timeline_clear(&t);
	assert_int_equal(timeline_slots(&t), 0);
	assert_ok(timeline_add(&t, 1, 7 * MS, 1));
	assert_int_equal(t.base, 7 * MS);
	assert_int_equal(t.counts.len, 1);
	timeline_deinit(&t);
}

static void timeline__hours_take_as_many_slots_as_seconds(void **state)
{
	struct timeline t;
	uint64_t n = 0;

	(void)state;
	timeline_init(&t, 1000);
	for (uint64_t ms = 1; ms < 3 * 3600 * 1000ull; ms += 977, n++)
		assert_ok(timeline_add(&t, (uint32_t)(n % 3 + 1), ms * MS, 1));
	assert_true(timeline_slots(&t) <= TIMELINE_SLOTS);
	assert_true(timeline_slots(&t) > TIMELINE_SLOTS / 2);
	assert_int_equal(sum_of(&t, 0), n);
	assert_int_equal(sum_of(&t, 1), (n + 2) / 3);
	assert_int_equal(t.full, 0);
	assert_true(t.counts.len <= 1000);
	timeline_deinit(&t);
}

static void timeline__full_joins_slots_before_it_gives_up(void **state)
{
	struct timeline t;

	(void)state;
	timeline_init(&t, 64);
	for (uint64_t i = 0; i < 3200; i++) // 32 samples, 100 times
		assert_ok(timeline_add(&t, (uint32_t)(i % 32 + 1), (i / 32 + 1) * 5 * MS, 1));
	assert_true(t.counts.len <= 64);
	assert_int_equal(sum_of(&t, 0), 3200);
	for (uint32_t sample = 1; sample <= 32; sample++)
		assert_int_equal(sum_of(&t, sample), 100);
	// Not even one slot holds 65 samples in 64 counts.
	for (uint32_t sample = 33; sample <= 65; sample++)
		assert_ok(timeline_add(&t, sample, 600 * MS, 1));
	assert_int_equal(t.counts.len, 0);
	assert_true(t.full > 0);
	assert_ok(timeline_add(&t, 1, 601 * MS, 1));
	assert_int_equal(t.counts.len, 0);
	timeline_clear(&t);
	assert_ok(timeline_add(&t, 1, 602 * MS, 1));
	assert_int_equal(t.counts.len, 1);
	timeline_deinit(&t);
}

static void timeline__large_counts_are_split(void **state)
{
	struct timeline t;

	(void)state;
	timeline_init(&t, 100);
	assert_ok(timeline_add(&t, 1, 1 * MS, 200000));
	assert_ok(timeline_add(&t, 1, 6 * MS, 200000));
	assert_int_equal(sum_of(&t, 1), 400000);
	assert_ok(timeline_add(&t, 2, 20000 * MS, 1)); // joins
	assert_int_equal(sum_of(&t, 1), 400000);
	assert_int_equal(t.counts.data[0].slot, t.counts.data[t.counts.len - 2].slot);
	timeline_deinit(&t);
}

static void timeline__copies_keep_slots_and_rename_samples(void **state)
{
	struct timeline_move moves[] = {{0}, {.sample = 9}, {.sample = 9}, {.sample = 4}};
	struct timeline t, u;

	(void)state;
	timeline_init(&t, 100);
	timeline_init(&u, 100);
	for (uint64_t i = 0; i < 90; i++)
		assert_ok(timeline_add(&t, (uint32_t)(i % 3 + 1), (i + 500) * 100 * MS, 1));
	assert_ok(timeline_copy(&u, &t, moves));
	assert_int_equal(u.base, t.base);
	assert_int_equal(u.slot_ns, t.slot_ns);
	assert_int_equal(timeline_slots(&u), timeline_slots(&t));
	assert_int_equal(sum_of(&u, 9), 60);
	assert_int_equal(sum_of(&u, 4), 30);
	assert_int_equal(sum_of(&u, 1), 0);
	timeline_deinit(&u);
	timeline_deinit(&t);
}

/* What is left out, and what counts for another number than it was counted with. */
static void timeline__copies_are_scaled_and_joined(void **state)
{
	struct timeline_move moves[] = {{0}, {.sample = 0}, {.sample = 5, .from = 30, .to = 7},
		{.sample = 6, .from = 30, .to = 100}};
	struct timeline t, u;

	(void)state;
	timeline_init(&t, 100);
	timeline_init(&u, 100);
	for (uint64_t i = 0; i < 90; i++)
		assert_ok(timeline_add(&t, (uint32_t)(i % 3 + 1), (i + 500) * 100 * MS, 1));
	assert_ok(timeline_add(&u, 1, 500 * 100 * MS, 1));
	assert_ok(timeline_add(&u, 1, 589 * 100 * MS, 1));
	assert_ok(timeline_copy(&u, &t, moves));
	assert_int_equal(sum_of(&u, 1), 2);
	assert_int_equal(sum_of(&u, 5), 7);
	assert_int_equal(sum_of(&u, 6), 100);
	assert_int_equal(u.slot_ns, t.slot_ns);
	timeline_deinit(&u);
	timeline_deinit(&t);
}

static void timeline__copies_of_a_full_one_are_full(void **state)
{
	struct timeline_move moves[] = {{0}, {.sample = 5}, {.sample = 6}, {.sample = 7}};
	struct timeline t, u;

	(void)state;
	timeline_init(&t, 2);
	timeline_init(&u, 100);
	assert_ok(timeline_add(&u, 1, 1 * MS, 1));
	for (uint32_t sample = 1; sample <= 3; sample++)
		assert_ok(timeline_add(&t, sample, 1 * MS, 1));
	assert_true(t.full > 0);
	assert_ok(timeline_copy(&u, &t, moves));
	assert_true(u.full > 0);
	assert_int_equal(u.counts.len, 0);
	timeline_deinit(&u);
	timeline_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timeline__counts_fall_into_their_slots),
		cmocka_unit_test(timeline__hours_take_as_many_slots_as_seconds),
		cmocka_unit_test(timeline__full_joins_slots_before_it_gives_up),
		cmocka_unit_test(timeline__copies_of_a_full_one_are_full),
		cmocka_unit_test(timeline__large_counts_are_split),
		cmocka_unit_test(timeline__copies_keep_slots_and_rename_samples),
		cmocka_unit_test(timeline__copies_are_scaled_and_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

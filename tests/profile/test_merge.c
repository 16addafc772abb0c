/* SPDX-License-Identifier: Apache-2.0 */
/* Two windows become one profile: who was read is shown so, scaled to what was sampled, and sums hold. */
#include "tests/harness.h"

#include "profile/merge.h"

static void add(struct window *w, uint32_t uid, uint64_t addr, unsigned samples)
{
	struct window_context context = {.uid = uid, .tid = uid};
	struct window_frame frame = {.space = WINDOW_RUNTIME, .addr = addr};

	w->times = samples;
	assert_ok(window_add(w, &context, &frame, 1, samples * 1000ull));
}

static void merge__who_was_read_is_replaced(void **state)
{
	struct window sampled, read;
	struct merge m;

	(void)state;
	window_init(&sampled, 100);
	window_init(&read, 100);
	add(&sampled, 1, 1, 5);
	add(&sampled, 2, 1, 5);
	add(&read, 2, 7, 10);
	add(&read, 3, 7, 10);
	assert_ok(merge_init(&m, &sampled, &read));
	assert_false(merge_replaces(&m, 1));
	assert_true(merge_replaces(&m, 2));
	assert_true(merge_replaces(&m, 3));
	merge_deinit(&m);
	window_deinit(&sampled);
	window_deinit(&read);
}

/* Both sources saw the process: its stacks count for as many samples as the sampler took, by chance a
 * little more or less in one stack, and in all of them not at all far off. */
static void merge__counts_are_scaled(void **state)
{
	struct window sampled, read;
	uint64_t sum = 0, whole = 0;
	struct merge m;

	(void)state;
	window_init(&sampled, 5000);
	window_init(&read, 5000);
	add(&sampled, 1, 1, 700);
	for (unsigned i = 0; i < 1000; i++)
		add(&read, 1, i + 1, 3);
	assert_ok(merge_init(&m, &sampled, &read));
	vec_foreach (count, &read.counts) {
		struct window_count scaled = merge_scale(&m, 1, count);

		assert_int_equal(count->samples, 3);
		assert_true(scaled.samples <= 1); // 0.7
		assert_int_equal(scaled.weight, scaled.samples * 1000);
		sum += scaled.samples;
		whole++;
	}
	assert_int_equal(whole, 1000);
	// A thousand draws of 0.7: five times the standard deviation is 73.
	assert_true(sum > 700 - 73 && sum < 700 + 73);
	merge_deinit(&m);
	window_deinit(&sampled);
	window_deinit(&read);
}

static void merge__exact_ratios_stay_exact(void **state)
{
	const struct window_count six = {.samples = 6, .weight = 6000};
	struct window sampled, read;
	struct merge m;

	(void)state;
	window_init(&sampled, 100);
	window_init(&read, 100);
	add(&sampled, 1, 1, 20);
	add(&read, 1, 7, 10);
	add(&sampled, 2, 1, 10);
	add(&read, 2, 7, 10);
	assert_ok(merge_init(&m, &sampled, &read));
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(merge_scale(&m, 1, &six).samples, 12);
		assert_int_equal(merge_scale(&m, 2, &six).samples, 6);
	}
	merge_deinit(&m);
	window_deinit(&sampled);
	window_deinit(&read);
}

static void merge__nothing_sampled_leaves_counts(void **state)
{
	const struct window_count six = {.samples = 6, .weight = 6000};
	struct window sampled, read;
	struct merge m;

	(void)state;
	window_init(&sampled, 100);
	window_init(&read, 100);
	add(&read, 1, 7, 10);
	assert_ok(merge_init(&m, &sampled, &read));
	assert_int_equal(merge_scale(&m, 1, &six).samples, 6);
	assert_int_equal(merge_scale(&m, 1, &six).weight, 6000);
	merge_deinit(&m);
	// Sampled, but not this one: as it is, in the sampler's units.
	add(&sampled, 2, 1, 10);
	sampled.counts.data[0].weight = 10 * 250;
	assert_ok(merge_init(&m, &sampled, &read));
	assert_int_equal(merge_scale(&m, 1, &six).samples, 6);
	assert_int_equal(merge_scale(&m, 1, &six).weight, 6 * 250);
	merge_deinit(&m);
	window_deinit(&sampled);
	window_deinit(&read);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merge__who_was_read_is_replaced),
		cmocka_unit_test(merge__counts_are_scaled),
		cmocka_unit_test(merge__exact_ratios_stay_exact),
		cmocka_unit_test(merge__nothing_sampled_leaves_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

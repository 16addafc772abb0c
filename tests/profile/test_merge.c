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

/* Two windows as one second would leave them, and what is made of them. */
struct two {
	struct window sampled, read;
	struct merge merge;
};

static void two_begin(struct two *t, uint32_t samples)
{
	window_init(&t->sampled, samples);
	window_init(&t->read, samples);
}

static void two_merge(struct two *t)
{
	assert_ok(merge_init(&t->merge, &t->sampled, &t->read));
}

static void two_end(struct two *t)
{
	merge_deinit(&t->merge);
	window_deinit(&t->sampled);
	window_deinit(&t->read);
}

static void merge__who_was_read_is_replaced(void **state)
{
	struct two t;

	(void)state;
	two_begin(&t, 100);
	add(&t.sampled, 1, 1, 5);
	add(&t.sampled, 2, 1, 5);
	add(&t.read, 2, 7, 10);
	add(&t.read, 3, 7, 10);
	two_merge(&t);
	assert_false(merge_replaces(&t.merge, 1));
	assert_true(merge_replaces(&t.merge, 2));
	assert_true(merge_replaces(&t.merge, 3));
	two_end(&t);
}

/* Both sources saw the process: its stacks count for as many samples as the sampler took, by chance a
 * little more or less in one stack, and in all of them not at all far off. */
static void merge__counts_are_scaled(void **state)
{
	uint64_t sum = 0, whole = 0;
	struct two t;

	(void)state;
	two_begin(&t, 5000);
	add(&t.sampled, 1, 1, 700);
	for (unsigned i = 0; i < 1000; i++)
		add(&t.read, 1, i + 1, 3);
	two_merge(&t);
	vec_foreach (count, &t.read.counts) {
		struct window_count scaled = merge_scale(&t.merge, 1, count);

		assert_int_equal(count->samples, 3);
		assert_true(scaled.samples <= 1); // 0.7
		assert_int_equal(scaled.weight, scaled.samples * 1000);
		sum += scaled.samples;
		whole++;
	}
	assert_int_equal(whole, 1000);
	// A thousand draws of 0.7: five times the standard deviation is 73.
	assert_true(sum > 700 - 73 && sum < 700 + 73);
	two_end(&t);
}

static void merge__exact_ratios_stay_exact(void **state)
{
	const struct window_count six = {.samples = 6, .weight = 6000};
	struct two t;

	(void)state;
	two_begin(&t, 100);
	add(&t.sampled, 1, 1, 20);
	add(&t.read, 1, 7, 10);
	add(&t.sampled, 2, 1, 10);
	add(&t.read, 2, 7, 10);
	two_merge(&t);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(merge_scale(&t.merge, 1, &six).samples, 12);
		assert_int_equal(merge_scale(&t.merge, 2, &six).samples, 6);
	}
	two_end(&t);
}

static void merge__nothing_sampled_leaves_counts(void **state)
{
	const struct window_count six = {.samples = 6, .weight = 6000};
	struct two t;

	(void)state;
	two_begin(&t, 100);
	add(&t.read, 1, 7, 10);
	two_merge(&t);
	assert_int_equal(merge_scale(&t.merge, 1, &six).samples, 6);
	assert_int_equal(merge_scale(&t.merge, 1, &six).weight, 6000);
	merge_deinit(&t.merge);
	// Sampled, but not this one: as it is, in the sampler's units.
	add(&t.sampled, 2, 1, 10);
	t.sampled.counts.data[0].weight = 10 * 250;
	two_merge(&t);
	assert_int_equal(merge_scale(&t.merge, 1, &six).samples, 6);
	assert_int_equal(merge_scale(&t.merge, 1, &six).weight, 6 * 250);
	two_end(&t);
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

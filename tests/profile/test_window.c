/* SPDX-License-Identifier: Apache-2.0 */
/* The raw window: stacks share prefixes, counts are exact, caps are counted and hold. */
#include "tests/harness.h"

#include <errno.h>

#include "profile/window.h"
#include "symbol/resolver.h"

static struct window_frame kernel_frame(uint64_t addr)
{
	return (struct window_frame){.space = SYMBOL_KERNEL, .addr = addr};
}

static void window__counts_equal_stacks_once(void **state)
{
	struct window_context context = {.uid = 1, .tid = 2};
	struct window_frame a[] = {kernel_frame(1), kernel_frame(2), kernel_frame(3)};
	struct window w;

	(void)state;
	window_init(&w, 1000);
	assert_ok(window_add(&w, &context, a, 3, 10));
	assert_ok(window_add(&w, &context, a, 3, 5));
	assert_ok(window_add(&w, &context, a, 2, 1));
	assert_int_equal(w.samples, 3);
	assert_int_equal(w.sample_keys.len, 2);
	assert_int_equal(w.nodes.len, 3);
	assert_int_equal(w.frames.len, 3);
	assert_int_equal(w.counts.data[0].samples, 2);
	assert_int_equal(w.counts.data[0].weight, 15);
	assert_int_equal(w.counts.data[1].samples, 1);
	assert_int_equal(w.frame_hits, 8);
	window_deinit(&w);
}

static void window__contexts_are_kept_apart(void **state)
{
	struct window_context one = {.uid = 1, .tid = 2}, two = {.uid = 1, .tid = 3};
	struct window_frame a[] = {kernel_frame(1)};
	struct window w;

	(void)state;
	window_init(&w, 1000);
	assert_ok(window_add(&w, &one, a, 1, 1));
	assert_ok(window_add(&w, &two, a, 1, 1));
	assert_int_equal(w.sample_keys.len, 2);
	assert_int_equal(w.nodes.len, 1);
	window_deinit(&w);
}

static void window__full_is_counted_and_earlier_samples_stay(void **state)
{
	struct window_context context = {.uid = 1};
	struct window w;
	int full = 0;

	(void)state;
	window_init(&w, 64);
	for (uint64_t i = 0; i < 1000; i++) {
		struct window_frame frame = kernel_frame(i);
		int r = window_add(&w, &context, &frame, 1, 1);

		assert_true(r == 0 || r == -ENOSPC);
		full += r == -ENOSPC;
	}
	assert_int_equal(w.full, full);
	assert_int_equal(w.samples + w.full, 1000);
	assert_true(w.samples >= 64);
	// What is known still counts.
	for (int i = 0; i < 10; i++) {
		struct window_frame frame = kernel_frame(1);

		assert_ok(window_add(&w, &context, &frame, 1, 1));
	}
	window_clear(&w);
	assert_int_equal(w.samples, 0);
	assert_int_equal(w.sample_keys.len, 0);
	window_deinit(&w);
}

static void window__deep_stacks_cost_their_depth_once(void **state)
{
	struct window_context context = {.uid = 1};
	static struct window_frame frames[2000];
	struct window w;

	(void)state;
	window_init(&w, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++)
		frames[i] = kernel_frame(i % 7);
	for (int i = 0; i < 100; i++)
		assert_ok(window_add(&w, &context, frames, ARRAY_SIZE(frames), 1));
	assert_int_equal(w.frames.len, 7);
	assert_int_equal(w.nodes.len, 2000);
	window_deinit(&w);
}

static void window__times_are_kept_where_they_are_known(void **state)
{
	struct window_context context = {.uid = 1};
	struct window_frame frame = kernel_frame(1);
	struct window w;

	(void)state;
	window_init(&w, 64);
	assert_ok(window_add(&w, &context, &frame, 1, 1));
	assert_int_equal(w.timeline.counts.len, 0);
	window_clear(&w);
	w.now = 5000000000;
	w.times = 3;
	assert_ok(window_add(&w, &context, &frame, 1, 1));
	w.now += 1000000000;
	assert_ok(window_add(&w, &context, &frame, 1, 1));
	assert_int_equal(w.timeline.counts.len, 2);
	assert_int_equal(w.timeline.counts.data[0].count + w.timeline.counts.data[1].count,
		w.counts.data[0].samples);
	window_clear(&w);
	assert_int_equal(w.timeline.counts.len, 0);
	window_deinit(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window__counts_equal_stacks_once),
		cmocka_unit_test(window__contexts_are_kept_apart),
		cmocka_unit_test(window__full_is_counted_and_earlier_samples_stay),
		cmocka_unit_test(window__deep_stacks_cost_their_depth_once),
		cmocka_unit_test(window__times_are_kept_where_they_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

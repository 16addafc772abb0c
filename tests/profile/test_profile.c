/* SPDX-License-Identifier: Apache-2.0 */
/* Named profiles: ids are shared, sums are exact, caps hold, stacks come back as they went in. */
#include "tests/harness.h"

#include <errno.h>
#include <math.h>

#include "profile/profile.h"
#include "profile/slice.h"

static uint32_t frame(struct profile *p, const char *name)
{
	struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE};
	uint32_t id;

	assert_ok(profile_string(p, name, &f.name));
	assert_ok(profile_frame(p, &f, &id));
	return id;
}

static uint32_t stack(struct profile *p, const char *const *names, size_t n)
{
	uint32_t node = 0;

	for (size_t i = 0; i < n; i++)
		assert_ok(profile_node(p, node, frame(p, names[i]), &node));
	return node;
}

static void profile__equal_things_share_an_id(void **state)
{
	struct profile_context who = {.pid = 1, .tid = 2};
	struct profile p;
	uint32_t a, b;

	(void)state;
	profile_init(&p, 100, 4096);
	assert_ok(profile_string(&p, "main", &a));
	assert_ok(profile_string_n(&p, "mainly", 4, &b));
	assert_int_equal(a, b);
	assert_string_equal(profile_text(&p, a), "main");
	assert_ok(profile_string(&p, "", &a));
	assert_int_equal(a, 0);
	assert_ok(profile_string(&p, NULL, &a));
	assert_int_equal(a, 0);
	assert_int_equal(frame(&p, "f"), frame(&p, "f"));
	assert_int_not_equal(frame(&p, "f"), frame(&p, "g"));
	assert_ok(profile_context(&p, &who, &a));
	assert_ok(profile_context(&p, &who, &b));
	assert_int_equal(a, b);
	who.tid = 3;
	assert_ok(profile_context(&p, &who, &b));
	assert_int_not_equal(a, b);
	profile_deinit(&p);
}

static void profile__adds_values_and_saturates(void **state)
{
	static const char *const names[] = {"a", "b"};
	int64_t values[PROFILE_VALUES_MAX] = {2, 30, 7, 7};
	struct profile p;
	uint32_t node;

	(void)state;
	profile_init(&p, 100, 4096);
	p.ntypes = 2;
	node = stack(&p, names, 2);
	assert_ok(profile_add(&p, 0, node, values));
	assert_ok(profile_add(&p, 0, node, values));
	assert_ok(profile_add(&p, 0, 0, values));
	assert_int_equal(p.samples.len, 2);
	assert_int_equal(p.samples.data[0].values[0], 4);
	assert_int_equal(p.samples.data[0].values[1], 60);
	// Beyond ntypes nothing is read.
	assert_int_equal(p.samples.data[0].values[2], 0);
	values[0] = INT64_MAX;
	assert_ok(profile_add(&p, 0, node, values));
	assert_true(p.samples.data[0].values[0] == INT64_MAX);
	profile_deinit(&p);
}

static void profile__stack_keeps_the_leaf_most(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};
	uint32_t ids[4], node;
	struct profile p;

	(void)state;
	profile_init(&p, 100, 4096);
	node = stack(&p, names, 4);
	assert_int_equal(profile_stack(&p, node, ids, 4), 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(
			profile_text(&p, profile_frame_get(&p, ids[i])->name), names[i]);
	assert_int_equal(profile_stack(&p, node, ids, 2), 4);
	assert_string_equal(profile_text(&p, profile_frame_get(&p, ids[0])->name), "c");
	assert_string_equal(profile_text(&p, profile_frame_get(&p, ids[1])->name), "d");
	assert_int_equal(profile_stack(&p, 0, ids, 2), 0);
	profile_deinit(&p);
}

static void profile__refuses_what_is_not_there(void **state)
{
	const int64_t values[PROFILE_VALUES_MAX] = {1};
	struct profile p;
	uint32_t id = 77;

	(void)state;
	profile_init(&p, 100, 4096);
	p.ntypes = 1;
	assert_int_equal(profile_node(&p, 0, 1, &id), -EINVAL);
	assert_int_equal(profile_node(&p, 0, 0, &id), -EINVAL);
	frame(&p, "f");
	assert_int_equal(profile_node(&p, 9, 1, &id), -EINVAL);
	assert_int_equal(profile_add(&p, 1, 0, values), -EINVAL);
	assert_int_equal(profile_add(&p, 0, 1, values), -EINVAL);
	assert_int_equal(id, 77);
	assert_int_equal(p.samples.len, 0);
	assert_int_equal(profile_frame_get(&p, 99)->name, 0);
	assert_int_equal(profile_node_get(&p, 99)->parent, 0);
	assert_int_equal(profile_context_get(&p, 99)->pid, 0);
	profile_deinit(&p);
}

static void profile__caps_hold_and_keep_what_was_there(void **state)
{
	const int64_t values[PROFILE_VALUES_MAX] = {1};
	struct profile p;
	uint32_t node = 0, id;
	int r = 0;

	(void)state;
	profile_init(&p, 8, 256);
	p.ntypes = 1;
	for (unsigned i = 0; i < 20 && !r; i++) {
		struct profile_frame f = {.line = i + 1};

		r = profile_frame(&p, &f, &id);
		if (!r)
			r = profile_node(&p, node, id, &node);
		if (!r)
			r = profile_add(&p, 0, node, values);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(p.frames.len, 8);
	assert_int_equal(p.samples.len, 8);
	assert_int_equal(p.sample_keys.len, 8);
	// What is known may still be counted.
	assert_ok(profile_add(&p, 0, node, values));
	assert_int_equal(p.samples.data[7].values[0], 2);
	r = 0;
	for (unsigned i = 0; i < 100 && !r; i++) {
		char name[16];

		snprintf(name, sizeof(name), "name %u", i);
		r = profile_string(&p, name, &id);
	}
	assert_int_equal(r, -ENOSPC);
	assert_true(p.strings.bytes_len <= 256);
	profile_deinit(&p);
}

/* Slices of a window: what was counted in each adds up, and one without counters takes nothing away. */
static void profile__counters_of_slices_add_up(void **state)
{
	struct profile_merge how = {0};
	struct profile whole, slice;

	(void)state;
	profile_init(&whole, 100, 4096);
	for (unsigned i = 1; i <= 3; i++) {
		profile_init(&slice, 100, 4096);
		slice.ntypes = 1;
		slice.meta.duration_ns = 10;
		slice.meta.has_hw = i < 3;
		if (i < 3)
			slice.meta.hw.counts[PROFILE_HW_CYCLES] = 100 * i;
		assert_ok(profile_merge(&whole, &slice, &how));
		profile_deinit(&slice);
	}
	assert_true(whole.meta.has_hw);
	assert_int_equal(whole.meta.hw.counts[PROFILE_HW_CYCLES], 300);
	assert_int_equal(whole.meta.hw.counts[PROFILE_HW_INSTRUCTIONS], 0);
	assert_int_equal(whole.meta.duration_ns, 30);
	profile_deinit(&whole);
}

/* How busy the machine was is a mean over the slices' time, each job's over its own; what one slice does not
 * know counts for nothing. */
static void profile__usage_of_slices_is_their_mean(void **state)
{
	static const struct {
		uint64_t ns;
		bool known;
		double cpu, memory, want_cpu, want_memory; // want: so far
	} slices[] = {
		{1000, false, 0, 0, -1, -1},
		{1000, true, -1, 50, -1, 50},
		{2000, true, 10, 50, 10, 50},
		{4000, true, 40, 80, 25, 65},
		{1, true, -1, -1, 25, 65},
		{0, true, 25, 65, 25, 65},
		{1000, false, 99, 99, 25, 65},
	};
	struct profile_merge how = {0};
	struct profile whole;

	(void)state;
	profile_init(&whole, 100, 4096);
	for (unsigned i = 0; i < ARRAY_SIZE(slices); i++) {
		struct profile slice;

		profile_init(&slice, 100, 4096);
		slice.ntypes = 1;
		slice.meta.duration_ns = slices[i].ns;
		slice.meta.has_usage = slices[i].known;
		slice.meta.cpu_avg = slices[i].cpu;
		slice.meta.mem_avg = slices[i].memory;
		assert_ok(profile_merge(&whole, &slice, &how));
		profile_deinit(&slice);
		if (!whole.meta.has_usage) {
			assert_true(slices[i].want_cpu < 0);
			continue;
		}
		assert_true(fabs(whole.meta.cpu_avg - slices[i].want_cpu) < 0.01);
		assert_true(fabs(whole.meta.mem_avg - slices[i].want_memory) < 0.01);
	}
	profile_deinit(&whole);
}

/* Everything can still be read; nothing is found anew, nothing is added twice. */
static void profile__sealed_is_read_only(void **state)
{
	const int64_t values[PROFILE_VALUES_MAX] = {3};
	struct profile_frame f = {.line = 1};
	struct profile p;
	uint32_t frame_id, node = 0, leaf, stack[4];

	(void)state;
	profile_init(&p, 100, 1000);
	p.ntypes = 1;
	assert_ok(profile_frame(&p, &f, &frame_id));
	for (unsigned i = 0; i < 3; i++)
		assert_ok(profile_node(&p, node, frame_id, &node));
	assert_ok(profile_add(&p, 0, node, values));
	profile_seal(&p);
	assert_int_equal(profile_stack(&p, p.samples.data[0].node, stack, 4), 3);
	assert_int_equal(stack[2], frame_id);
	assert_int_equal(p.samples.data[0].values[0], 3);
	assert_int_equal(profile_node(&p, node, frame_id, &leaf), -ENOSPC);
	assert_int_equal(profile_add(&p, 0, node, values), -ENOSPC);
	assert_int_equal(p.samples.len, 1);
	assert_int_equal(profile_sample_id(&p, 0, node), 0);
	profile_deinit(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(profile__equal_things_share_an_id),
		cmocka_unit_test(profile__adds_values_and_saturates),
		cmocka_unit_test(profile__stack_keeps_the_leaf_most),
		cmocka_unit_test(profile__refuses_what_is_not_there),
		cmocka_unit_test(profile__caps_hold_and_keep_what_was_there),
		cmocka_unit_test(profile__counters_of_slices_add_up),
		cmocka_unit_test(profile__usage_of_slices_is_their_mean),
		cmocka_unit_test(profile__sealed_is_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

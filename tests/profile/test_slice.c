/* SPDX-License-Identifier: Apache-2.0 */
/* Slices add up: nothing is lost or counted twice, a lower rate keeps its share and all of the time, and
 * who is not wanted is left out by count. */
#include "tests/harness.h"

#include <errno.h>

#include "profile/slice.h"

#define PERIOD 10000000

/* A profile of counts and nanoseconds with a length and a ledger. */
static void begin(struct profile *p, uint64_t entries)
{
	profile_init(p, 1000, 65536);
	p->ntypes = 2;
	assert_ok(profile_string(p, "samples", &p->types[0].type));
	assert_ok(profile_string(p, "count", &p->types[0].unit));
	assert_ok(profile_string(p, "cpu", &p->types[1].type));
	assert_ok(profile_string(p, "nanoseconds", &p->types[1].unit));
	p->meta = (struct profile_meta){.start_real_ns = 1000 + entries,
		.duration_ns = entries * PERIOD,
		.period = PERIOD,
		.frequency = 100,
		.has_ledger = true,
		.ledger = {.expected = entries + 2, .entries = entries, .complete = entries}};
	assert_ok(profile_string(p, "cycles", &p->meta.event));
}

/* n samples of pid in root;leaf. */
static void add(struct profile *p, uint32_t pid, const char *root, const char *leaf, int64_t n)
{
	const char *const names[] = {root, leaf};
	struct profile_context who = {.pid = pid, .tid = pid};
	const int64_t values[PROFILE_VALUES_MAX] = {n, n * PERIOD};
	uint32_t node = 0, context;

	assert_ok(profile_string(p, root, &who.comm));
	assert_ok(profile_string(p, leaf, &who.container));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct profile_frame f = {.kind = PROFILE_FRAME_NATIVE};
		uint32_t id;

		assert_ok(profile_string(p, names[i], &f.name));
		assert_ok(profile_frame(p, &f, &id));
		assert_ok(profile_node(p, node, id, &node));
	}
	assert_ok(profile_context(p, &who, &context));
	assert_ok(profile_add(p, context, node, values));
}

/* What a pid has in a leaf of that name, any 0. */
static int64_t sum(const struct profile *p, unsigned value, uint32_t pid, const char *leaf)
{
	int64_t total = 0;

	vec_foreach (s, &p->samples) {
		const struct profile_context *c = profile_context_get(p, s->context);
		uint32_t ids[4];
		size_t depth = profile_stack(p, s->node, ids, 4);
		const char *name = profile_text(p, profile_frame_get(p, ids[depth - 1])->name);

		assert_int_equal(depth, 2);
		assert_string_equal(profile_text(p, c->container), name);
		assert_string_equal(profile_text(p, c->comm),
			profile_text(p, profile_frame_get(p, ids[0])->name));
		if ((!pid || c->pid == pid) && (!leaf || !strcmp(leaf, name)))
			total += s->values[value];
	}
	return total;
}

static bool only_pid(void *arg, const struct profile_context *context)
{
	return context->pid == *(const uint32_t *)arg;
}

static void slice__whole_slices_add_up(void **state)
{
	struct profile_merge all = {0};
	struct profile dst, a, b;

	(void)state;
	profile_init(&dst, 1000, 65536);
	begin(&a, 30);
	add(&a, 1, "main", "f", 10);
	add(&a, 2, "main", "g", 20);
	begin(&b, 12);
	add(&b, 1, "main", "f", 5);
	add(&b, 3, "start", "f", 7);
	b.meta.ledger.idle = 4;
	b.meta.ledger.broken_reasons[15] = 9;
	assert_ok(profile_merge(&dst, &a, &all));
	assert_ok(profile_merge(&dst, &b, &all));
	assert_int_equal(sum(&dst, 0, 0, NULL), 42);
	assert_int_equal(sum(&dst, 0, 1, "f"), 15);
	assert_int_equal(sum(&dst, 0, 2, "g"), 20);
	assert_int_equal(sum(&dst, 0, 3, "f"), 7);
	assert_int_equal(sum(&dst, 1, 0, NULL), 42ll * PERIOD);
	// What is equal is one: pid 1 in main;f once.
	assert_int_equal(dst.samples.len, 3);
	assert_int_equal(dst.ntypes, 2);
	assert_string_equal(profile_text(&dst, dst.types[1].unit), "nanoseconds");
	assert_string_equal(profile_text(&dst, dst.meta.event), "cycles");
	// The first one's begin, and the lengths and ledgers of both.
	assert_int_equal(dst.meta.start_real_ns, 1030);
	assert_int_equal(dst.meta.duration_ns, 42ll * PERIOD);
	assert_true(dst.meta.has_ledger);
	assert_int_equal(dst.meta.frequency, 100);
	assert_int_equal(dst.meta.ledger.expected, 46);
	assert_int_equal(dst.meta.ledger.entries, 42);
	assert_int_equal(dst.meta.ledger.idle, 4);
	assert_int_equal(dst.meta.ledger.broken_reasons[15], 9);
	assert_int_equal(dst.meta.ledger.left_out, 0);
	profile_deinit(&a);
	profile_deinit(&b);
	profile_deinit(&dst);
}

static void slice__who_is_not_wanted_is_left_out_by_count(void **state)
{
	uint32_t pid = 2;
	struct profile_merge two = {.wanted = only_pid, .arg = &pid};
	struct profile dst, a;

	(void)state;
	profile_init(&dst, 1000, 65536);
	begin(&a, 30);
	add(&a, 1, "main", "secret", 10);
	add(&a, 2, "main", "g", 20);
	assert_ok(profile_merge(&dst, &a, &two));
	assert_int_equal(sum(&dst, 0, 0, NULL), 20);
	assert_int_equal(dst.meta.ledger.left_out, 10);
	assert_int_equal(dst.meta.ledger.entries, 30);
	// Nothing of the others is in it, not even a name.
	for (uint32_t id = 1; id <= dst.strings.len; id++)
		assert_string_not_equal(profile_text(&dst, id), "secret");
	profile_deinit(&a);
	profile_deinit(&dst);
}

/* n samples of pid in main;(libx.so);eval, where eval has `inner` inlined. */
static void add_unnamed(struct profile *p, uint32_t pid, int64_t n)
{
	const unsigned flags[] = {0,
		PROFILE_FRAME_NO_SYMBOL | PROFILE_FRAME_UNNAMED | PROFILE_FRAME_UNNAMEABLE,
		PROFILE_FRAME_UNNAMED, PROFILE_FRAME_INLINED};
	const char *const names[] = {"main", "(libx.so)", "eval", "inner"};
	struct profile_context who = {.pid = pid, .tid = pid};
	const int64_t values[PROFILE_VALUES_MAX] = {n, n * PERIOD};
	uint32_t node = 0, context;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct profile_frame f = {
			.kind = PROFILE_FRAME_NATIVE, .flags = (uint16_t)flags[i]};
		uint32_t id;

		assert_ok(profile_string(p, names[i], &f.name));
		assert_ok(profile_frame(p, &f, &id));
		assert_ok(profile_node(p, node, id, &node));
	}
	assert_ok(profile_context(p, &who, &context));
	assert_ok(profile_add(p, context, node, values));
	p->meta.ledger.frames += 3 * (uint64_t)n;
	p->meta.ledger.frames_unnamed += 2 * (uint64_t)n;
	p->meta.ledger.frames_no_symbols += (uint64_t)n;
}

/* Frames and those without a name are counted of what a profile holds, not of what the sampler took. */
static void slice__frames_are_those_of_samples_that_stay(void **state)
{
	uint32_t pid = 2;
	struct profile_merge two = {.wanted = only_pid, .arg = &pid}, half = {.keep = 1, .of = 2};
	struct profile_merge all = {0};
	struct profile mine, thinned, whole, a;

	(void)state;
	begin(&a, 50);
	add_unnamed(&a, 1, 40);
	add_unnamed(&a, 2, 10);
	profile_init(&mine, 1000, 65536);
	profile_init(&thinned, 1000, 65536);
	profile_init(&whole, 1000, 65536);
	assert_ok(profile_merge(&mine, &a, &two));
	assert_int_equal(mine.meta.ledger.left_out, 40);
	assert_int_equal(mine.meta.ledger.frames, 30);
	assert_int_equal(mine.meta.ledger.frames_unnamed, 20);
	assert_int_equal(mine.meta.ledger.frames_no_symbols, 10);
	assert_ok(profile_merge(&thinned, &a, &half));
	assert_ok(profile_merge(&thinned, &a, &half));
	assert_int_equal(thinned.meta.ledger.left_out, 50);
	assert_int_equal(thinned.meta.ledger.frames, 150);
	assert_int_equal(thinned.meta.ledger.frames_unnamed, 100);
	assert_int_equal(thinned.meta.ledger.frames_no_symbols, 50);
	// Taken whole they are what the slice said.
	assert_ok(profile_merge(&whole, &a, &all));
	assert_int_equal(whole.meta.ledger.frames, a.meta.ledger.frames);
	assert_int_equal(whole.meta.ledger.frames_unnamed, a.meta.ledger.frames_unnamed);
	assert_int_equal(whole.meta.ledger.frames_no_symbols, a.meta.ledger.frames_no_symbols);
	profile_deinit(&a);
	profile_deinit(&mine);
	profile_deinit(&thinned);
	profile_deinit(&whole);
}

/* keep of `of` samples stay over many slices, exactly; none of the weight is lost but what the next one
 * still carries. */
static void rates(uint64_t keep, uint64_t of)
{
	struct profile_merge thinning = {.keep = keep, .of = of};
	int64_t samples = 0;
	struct profile dst;

	profile_init(&dst, 1000, 65536);
	for (unsigned n = 0; n < 97; n++) {
		struct profile a;

		begin(&a, 10);
		add(&a, 1, "main", "f", 1 + n % 3);
		add(&a, 2, "main", "g", 1);
		samples += 2 + n % 3;
		assert_ok(profile_merge(&dst, &a, &thinning));
		profile_deinit(&a);
		assert_int_equal(
			sum(&dst, 0, 0, NULL), (uint64_t)samples * (keep < of ? keep : of) / of);
		assert_int_equal(
			sum(&dst, 1, 0, NULL) + thinning.carried_value, samples * (int64_t)PERIOD);
		assert_int_equal(
			dst.meta.ledger.left_out + (uint64_t)sum(&dst, 0, 0, NULL), samples);
	}
	assert_int_equal(dst.meta.duration_ns, 970ll * PERIOD);
	profile_deinit(&dst);
}

static void slice__a_lower_rate_keeps_its_share_and_all_time(void **state)
{
	(void)state;
	rates(1, 1);
	rates(1, 2);
	rates(20, 200);
	rates(11, 99);
	rates(99, 100);
	rates(1, 1000);
	rates(7, 3); // no more than there are
}

/* Each process gets its share, whichever comes first. */
static void slice__thinning_is_spread_evenly(void **state)
{
	struct profile_merge thinning = {.keep = 1, .of = 10};
	struct profile dst;

	(void)state;
	profile_init(&dst, 1000, 65536);
	for (unsigned n = 0; n < 100; n++) {
		struct profile a;

		begin(&a, 15);
		add(&a, 1, "main", "f", 10);
		add(&a, 2, "main", "g", 5);
		assert_ok(profile_merge(&dst, &a, &thinning));
		profile_deinit(&a);
	}
	assert_int_equal(sum(&dst, 0, 0, NULL), 150);
	assert_true(sum(&dst, 0, 1, NULL) >= 99 && sum(&dst, 0, 1, NULL) <= 101);
	assert_true(sum(&dst, 0, 2, NULL) >= 49 && sum(&dst, 0, 2, NULL) <= 51);
	profile_deinit(&dst);
}

static void slice__no_room_is_counted(void **state)
{
	struct profile_merge all = {0};
	struct profile dst, a;

	(void)state;
	profile_init(&dst, 4, 65536);
	begin(&a, 60);
	for (uint32_t pid = 1; pid <= 6; pid++) {
		char name[] = "f0";

		name[1] = (char)('0' + pid);
		add(&a, pid, "main", name, 10);
	}
	assert_ok(profile_merge(&dst, &a, &all));
	assert_true(dst.meta.ledger.aggregation_full > 0);
	assert_int_equal((uint64_t)sum(&dst, 0, 0, NULL) + dst.meta.ledger.aggregation_full, 60);
	profile_deinit(&a);
	profile_deinit(&dst);
}

static void slice__an_empty_slice_has_a_length(void **state)
{
	struct profile_merge all = {0};
	struct profile dst, a;

	(void)state;
	profile_init(&dst, 1000, 65536);
	begin(&a, 5);
	assert_ok(profile_merge(&dst, &a, &all));
	assert_int_equal(dst.samples.len, 0);
	assert_int_equal(dst.meta.duration_ns, 5ll * PERIOD);
	assert_int_equal(dst.ntypes, 2);
	profile_deinit(&a);
	profile_deinit(&dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slice__whole_slices_add_up),
		cmocka_unit_test(slice__who_is_not_wanted_is_left_out_by_count),
		cmocka_unit_test(slice__frames_are_those_of_samples_that_stay),
		cmocka_unit_test(slice__a_lower_rate_keeps_its_share_and_all_time),
		cmocka_unit_test(slice__thinning_is_spread_evenly),
		cmocka_unit_test(slice__no_room_is_counted),
		cmocka_unit_test(slice__an_empty_slice_has_a_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

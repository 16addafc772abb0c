/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors, maps, interns and pairs against a plain model of each. */
#include "tests/harness.h"

#include <errno.h>

#include "base/map.h"
#include "base/pairs.h"
#include "base/vec.h"

VEC_DEFINE(int_vec, int)

static void vec__insert_remove_and_cap(void **state)
{
	struct int_vec v;

	(void)state;
	int_vec_init(&v, 3);
	assert_ok(int_vec_push(&v, 1));
	assert_ok(int_vec_push(&v, 3));
	assert_ok(int_vec_insert(&v, 1, 2));
	assert_int_equal(int_vec_push(&v, 4), -ENOSPC);
	assert_int_equal(v.data[1], 2);
	int_vec_remove(&v, 0, 2);
	assert_int_equal(v.len, 1);
	assert_int_equal(v.data[0], 3);
	int_vec_deinit(&v);
}

/* Random sets and removals; the model is a flat array indexed by key. */
static void map__matches_model_under_churn(void **state)
{
	static uint64_t model[512];
	static bool present[512];
	struct map m;
	size_t n = 0;

	(void)state;
	map_init(&m, 512);
	srand(7);
	for (int i = 0; i < 200000; i++) {
		uint64_t key = (uint64_t)rand() % 512;

		if (rand() % 2) {
			assert_ok(map_set(&m, key, (uint64_t)i));
			n += !present[key];
			present[key] = true;
			model[key] = (uint64_t)i;
		} else {
			assert_int_equal(map_remove(&m, key), present[key]);
			n -= present[key];
			present[key] = false;
		}
		assert_int_equal(m.len, n);
	}
	for (uint64_t key = 0; key < 512; key++) {
		uint64_t *value = map_get(&m, key);

		assert_int_equal(value != NULL, present[key]);
		if (value)
			assert_int_equal(*value, model[key]);
	}
	map_deinit(&m);
}

static void map__cap_is_counted_not_passed(void **state)
{
	struct map m;

	(void)state;
	map_init(&m, 2);
	assert_ok(map_set(&m, 1, 1));
	assert_ok(map_set(&m, 2, 2));
	assert_int_equal(map_set(&m, 3, 3), -ENOSPC);
	assert_ok(map_set(&m, 2, 5));
	assert_int_equal(*map_get(&m, 2), 5);
	map_deinit(&m);
}

static void intern__same_bytes_same_id(void **state)
{
	struct intern t;
	uint32_t a, b, id;
	char text[32];

	(void)state;
	intern_init(&t, 100000, 16 << 20);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 50000; i++) {
			int n = snprintf(text, sizeof(text), "name %d", i);

			assert_ok(intern_add(&t, text, (size_t)n, &id));
			assert_int_equal(id, i + 1);
		}
	}
	assert_string_equal(intern_str(&t, 123), "name 122");
	assert_ok(intern_add(&t, "", 0, &a));
	assert_ok(intern_add(&t, "\0", 1, &b));
	assert_int_not_equal(a, b);
	assert_int_equal(intern_find(&t, "absent", 6), 0);
	assert_string_equal(intern_str(&t, 0), "");
	intern_deinit(&t);
}

/* What comes and goes takes no more room than what stays: moved whenever it is stale, no table holds more than
 * twice what is in use, or a few. */
static void intern__stale_ones_are_moved(void **state)
{
	struct intern t, fresh;
	uint32_t kept[700], id, most = 0;
	char text[32];

	(void)state;
	intern_init(&t, 1 << 17, 16 << 20);
	assert_false(intern_is_stale(&t));
	for (unsigned i = 0; i < 700; i++) {
		int n = snprintf(text, sizeof(text), "stays %u", i);

		assert_ok(intern_add(&t, text, (size_t)n, &kept[i]));
	}
	for (unsigned i = 0; i < 100000; i++) {
		int n = snprintf(text, sizeof(text), "passes %u", i);

		assert_ok(intern_add(&t, text, (size_t)n, &id));
		most = MAX(most, t.len);
		if (!intern_is_stale(&t))
			continue;
		intern_init(&fresh, t.cap, t.bytes_cap);
		for (unsigned k = 0; k < ARRAY_SIZE(kept); k++)
			assert_ok(intern_move(&fresh, &t, kept[k], &kept[k]));
		assert_ok(intern_move(&fresh, &t, 0, &id));
		assert_int_equal(id, 0);
		intern_deinit(&t);
		t = fresh;
		assert_false(intern_is_stale(&t));
	}
	assert_true(most <= 1400);
	assert_string_equal(intern_str(&t, kept[699]), "stays 699");
	// Without room the id is none, and that is said.
	intern_init(&fresh, 1, 64);
	assert_ok(intern_move(&fresh, &t, kept[0], &id));
	assert_int_equal(intern_move(&fresh, &t, kept[1], &id), -ENOSPC);
	assert_int_equal(id, 0);
	intern_deinit(&fresh);
	intern_deinit(&t);
}

/* Both halves count, ids are dense and in the order of arrival, and the cap changes nothing. */
static void pairs__same_pair_same_id(void **state)
{
	const uint32_t zeros[2] = {0, 0};
	struct pairs t;
	uint32_t id;

	(void)state;
	pairs_init(&t, 50000);
	assert_int_equal(pairs_find(&t, zeros), 0);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 50000; i++) {
			const uint32_t pair[2] = {i / 100, i % 100};

			assert_ok(pairs_add(&t, pair, &id));
			assert_int_equal(id, i + 1);
			assert_int_equal(pairs_find(&t, pair), id);
			assert_memory_equal(pairs_get(&t, id), pair, sizeof(pair));
		}
		if (round == 1)
			pairs_clear(&t);
	}
	assert_int_equal(t.len, 50000);
	assert_int_equal(pairs_add(&t, (const uint32_t[2]){99, 100}, &id), -ENOSPC);
	assert_int_equal(pairs_find(&t, (const uint32_t[2]){99, 100}), 0);
	assert_ok(pairs_add(&t, (const uint32_t[2]){100, 99}, &id));
	assert_int_equal(id, 10100);
	assert_memory_equal(pairs_get(&t, 0), zeros, sizeof(zeros));
	assert_memory_equal(pairs_get(&t, 50001), zeros, sizeof(zeros));
	// Eight bytes of the item and its share of the slots.
	assert_true(pairs_bytes(&t) <= 50000 * 8 * 3 / 2 + 131072 * 4);
	pairs_seal(&t);
	assert_memory_equal(pairs_get(&t, 10100), ((const uint32_t[2]){100, 99}), sizeof(zeros));
	assert_int_equal(pairs_find(&t, (const uint32_t[2]){100, 99}), 0);
	assert_int_equal(pairs_add(&t, (const uint32_t[2]){100, 99}, &id), -ENOSPC);
	pairs_deinit(&t);
	assert_int_equal(pairs_find(&t, zeros), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vec__insert_remove_and_cap),
		cmocka_unit_test(map__matches_model_under_churn),
		cmocka_unit_test(map__cap_is_counted_not_passed),
		cmocka_unit_test(intern__same_bytes_same_id),
		cmocka_unit_test(intern__stale_ones_are_moved),
		cmocka_unit_test(pairs__same_pair_same_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

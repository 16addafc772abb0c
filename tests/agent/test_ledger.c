/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger over windows: each sums to its entries, and all of them to what the sampler counted. */
#include "tests/harness.h"

#include "agent/ledger.h"

static void tick(struct rec_counters *c, unsigned outcome, unsigned n)
{
	c->entries += n;
	c->outcomes[outcome] += n;
}

static void deliver(struct ledger *l, unsigned outcome, unsigned n)
{
	const struct rec_sample rec = {.outcome = (uint8_t)outcome};

	while (n--)
		ledger_delivered(l, &rec);
}

static uint64_t sum(const struct ledger_window *w)
{
	uint64_t n = 0;

	for (unsigned o = 0; o < REC_OUT_MAX; o++)
		n += w->outcomes[o];
	return n;
}

static void ledger__a_late_look_at_the_counters_loses_nothing(void **state)
{
	struct ledger_cut cut = {.ticks = 100, .frequency = 100, .ncpus = 1};
	struct ledger_base base = {0};
	struct ledger_window w[3];
	struct ledger l = {0};

	(void)state;
	cut.kernel = &cut.stats.kernel;
	// 60 samples of the window; 3 of the next one are in the counters already.
	tick(&cut.stats.kernel, REC_OUT_COMPLETE, 63);
	tick(&cut.stats.kernel, REC_OUT_IDLE, 40);
	deliver(&l, REC_OUT_COMPLETE, 60);
	ledger_cut(&base, &l, &cut, &w[0]);
	assert_int_equal(w[0].entries, 100);
	assert_int_equal(w[0].outcomes[REC_OUT_COMPLETE], 60);
	l = (struct ledger){0};
	tick(&cut.stats.kernel, REC_OUT_COMPLETE, 50);
	tick(&cut.stats.kernel, REC_OUT_LOST_RING, 7);
	tick(&cut.stats.kernel, REC_OUT_IDLE, 41);
	deliver(&l, REC_OUT_COMPLETE, 52);
	ledger_cut(&base, &l, &cut, &w[1]);
	assert_int_equal(w[1].outcomes[REC_OUT_LOST_RING], 7);
	// At the end whatever is left is said, were it never delivered.
	l = (struct ledger){0};
	tick(&cut.stats.kernel, REC_OUT_HANDOFF, 5);
	deliver(&l, REC_OUT_HANDOFF, 4);
	cut.last = true;
	cut.ticks = 10;
	ledger_cut(&base, &l, &cut, &w[2]);
	assert_int_equal(w[2].outcomes[REC_OUT_HANDOFF], 5);
	assert_int_equal(w[2].outcomes[REC_OUT_COMPLETE], 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sum(&w[i]), w[i].entries);
	assert_int_equal(w[0].entries + w[1].entries + w[2].entries, cut.stats.kernel.entries);
}

static void ledger__what_was_not_wanted_or_had_no_room_is_moved(void **state)
{
	const struct rec_sample rec = {.outcome = REC_OUT_COMPLETE};
	struct ledger_cut cut = {.ticks = 10, .frequency = 10, .ncpus = 1};
	struct ledger_base base = {0};
	struct ledger_window w;
	struct ledger l = {0};

	(void)state;
	cut.kernel = &cut.stats.kernel;
	tick(&cut.stats.kernel, REC_OUT_COMPLETE, 10);
	deliver(&l, REC_OUT_COMPLETE, 8);
	ledger_not_wanted(&l, &rec);
	ledger_not_wanted(&l, &rec);
	ledger_not_wanted(&l, &rec);
	ledger_overflow(&l, &rec);
	ledger_overflow(&l, &rec);
	ledger_cut(&base, &l, &cut, &w);
	assert_int_equal(w.entries, 10);
	assert_int_equal(sum(&w), 10);
	assert_int_equal(w.outcomes[REC_OUT_COMPLETE], 5);
	assert_int_equal(w.outcomes[REC_OUT_FILTERED], 3);
	assert_int_equal(w.outcomes[REC_OUT_LOST_RING], 2);
}

static void ledger__the_clock_is_looked_at_as_a_whole(void **state)
{
	struct ledger_cut cut = {.ticks = 100, .frequency = 100, .ncpus = 2};
	struct ledger_base base = {0};
	uint64_t missing = 0;

	(void)state;
	cut.kernel = &cut.stats.kernel;
	// Windows get 195 and 205 entries by turns: nothing is missing but the first five.
	for (unsigned i = 0; i < 100; i++) {
		struct ledger_window w;
		struct ledger l = {0};
		unsigned n = i % 2 ? 205 : 195;

		tick(&cut.stats.kernel, REC_OUT_COMPLETE, n);
		deliver(&l, REC_OUT_COMPLETE, n);
		ledger_cut(&base, &l, &cut, &w);
		assert_int_equal(w.expected, 200);
		missing += w.not_delivered;
	}
	assert_int_equal(missing, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger__a_late_look_at_the_counters_loses_nothing),
		cmocka_unit_test(ledger__what_was_not_wanted_or_had_no_room_is_moved),
		cmocka_unit_test(ledger__the_clock_is_looked_at_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

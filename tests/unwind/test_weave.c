/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of interpreter frames take the places of their eval frames. */
#include "tests/harness.h"

#include "base/cleanup.h"
#include "unwind/weave.h"

#define N(pc) REC_FRAME(REC_FRAME_NATIVE, REC_MARK_TABLE, 0, pc)
#define EVAL(pc, end) REC_FRAME(REC_FRAME_EVAL, REC_MARK_TABLE, 0, pc), end
#define P(code) REC_FRAME(REC_FRAME_PYTHON, 0, 0, code), 7
#define LAST(code) (REC_FRAME(REC_FRAME_PYTHON, 0, 0, code) | REC_FRAME_RUN_END), 7
#define ENTRY(at) REC_FRAME(REC_FRAME_ENTRY, 0, 0, at)

static void expect(const uint64_t *runtime, unsigned nruntime, const uint64_t *native,
	unsigned nnative, const char *want)
{
	static uint64_t words[WEAVE_WORDS_MAX];
	char got[512] = "";
	unsigned n = weave(runtime, nruntime, native, nnative, words);

	for (unsigned i = 0; i < n; i += weave_words(words[i])) {
		size_t at = strlen(got);

		snprintf(got + at, sizeof(got) - at, "%s%s%llx", at ? " " : "",
			REC_FRAME_KIND(words[i]) == REC_FRAME_NATIVE ? "" : "p",
			(unsigned long long)(words[i] & REC_FRAME_DATA_MASK));
	}
	assert_string_equal(got, want);
}
#define EXPECT(runtime, native, want)                                                              \
	expect(runtime, ARRAY_SIZE(runtime), native, ARRAY_SIZE(native), want)

static void weave__marks_on_the_stack_place_runs(void **state)
{
	const uint64_t runtime[] = {P(0xa), P(0xb), ENTRY(0x1080), P(0xc), ENTRY(0x2080)};
	const uint64_t native[] = {N(1), EVAL(2, 0x1100), N(3), N(4), EVAL(5, 0x2100), N(6)};

	(void)state;
	EXPECT(runtime, native, "1 pa pb 3 4 pc 6");
}

/* In its prologue an eval frame has no run yet: the next one's is not given to it. */
static void weave__an_eval_frame_being_entered_stays(void **state)
{
	const uint64_t runtime[] = {P(0xa), ENTRY(0x1080), P(0xb), ENTRY(0x2080)};
	const uint64_t native[] = {EVAL(9, 0x900), N(1), EVAL(2, 0x1100), N(3), EVAL(4, 0x2100)};

	(void)state;
	EXPECT(runtime, native, "9 1 pa 3 pb");
}

/* An eval frame that the native walk skipped: its run goes before that of the next. */
static void weave__a_skipped_eval_frame_loses_no_run(void **state)
{
	const uint64_t runtime[] = {
		P(0xa), ENTRY(0x1080), P(0xb), ENTRY(0x1f00), P(0xc), ENTRY(0x2080)};
	const uint64_t native[] = {EVAL(2, 0x1100), N(3), EVAL(4, 0x2100), N(5)};

	(void)state;
	EXPECT(runtime, native, "pa 3 pb pc 5");
}

/* To 3.10: one frame an eval frame. */
static void weave__runs_of_one_frame(void **state)
{
	const uint64_t runtime[] = {LAST(0xa), LAST(0xb), LAST(0xc)};
	const uint64_t native[] = {
		N(1), EVAL(2, 0x1100), N(3), EVAL(4, 0x2100), EVAL(5, 0x3100), N(6)};

	(void)state;
	EXPECT(runtime, native, "1 pa 3 pb pc 6");
}

static void weave__what_is_left_stands_at_the_root(void **state)
{
	const uint64_t runtime[] = {LAST(0xa), LAST(0xb), LAST(0xc)};
	const uint64_t marked[] = {P(0xa), ENTRY(0x1080), P(0xb), ENTRY(0x2080)};
	const uint64_t native[] = {N(1), EVAL(2, 0x1100), N(3)};

	(void)state;
	EXPECT(runtime, native, "1 pa 3 pb pc");
	EXPECT(marked, native, "1 pa 3 pb");
	expect(marked, ARRAY_SIZE(marked), NULL, 0, "pa pb");
	expect(NULL, 0, native, ARRAY_SIZE(native), "1 2 3");
}

/* A chain that could not be read to its end. */
static void weave__an_unfinished_run(void **state)
{
	const uint64_t runtime[] = {P(0xa), ENTRY(0x1080), P(0xb), P(0xc)};
	const uint64_t native[] = {EVAL(2, 0x1100), N(3), EVAL(4, 0x2100), EVAL(5, 0x3100)};

	(void)state;
	EXPECT(runtime, native, "pa 3 pb pc 5");
}

static void weave__words_that_make_no_sense(void **state)
{
	const uint64_t cut[] = {P(0xa), ENTRY(0x1080), REC_FRAME(REC_FRAME_PYTHON, 0, 0, 0xb)};
	const uint64_t native[] = {
		N(1), REC_FRAME(5, 0, 0, 4), 0, N(2), REC_FRAME(REC_FRAME_EVAL, 0, 0, 3)};
	static uint64_t runtime[REC_RUNTIME_WORDS_MAX], many[REC_USER_WORDS_MAX],
		ret[WEAVE_WORDS_MAX];

	(void)state;
	EXPECT(cut, native, "1 2 pa");
	for (unsigned i = 0; i < ARRAY_SIZE(runtime); i++)
		runtime[i] = ENTRY(0x1000);
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = N(1);
	assert_int_equal(
		weave(runtime, ARRAY_SIZE(runtime), many, ARRAY_SIZE(many), ret), ARRAY_SIZE(many));
	for (unsigned i = 0; i + 1 < ARRAY_SIZE(runtime); i += 2) {
		runtime[i] = REC_FRAME(REC_FRAME_PYTHON, 0, 0, 5);
		runtime[i + 1] = ~0ull;
	}
	assert_int_equal(weave(runtime, ARRAY_SIZE(runtime), many, ARRAY_SIZE(many), ret),
		ARRAY_SIZE(many) + ARRAY_SIZE(runtime));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weave__marks_on_the_stack_place_runs),
		cmocka_unit_test(weave__an_eval_frame_being_entered_stays),
		cmocka_unit_test(weave__a_skipped_eval_frame_loses_no_run),
		cmocka_unit_test(weave__runs_of_one_frame),
		cmocka_unit_test(weave__what_is_left_stands_at_the_root),
		cmocka_unit_test(weave__an_unfinished_run),
		cmocka_unit_test(weave__words_that_make_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

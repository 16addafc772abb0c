/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: stops, then ad-hoc profiles in their order, then the latest continuous one. */
#include "tests/agent/commands.h"

#include <errno.h>

#include "agent/command_queue.h"

/* What was turned out, in its order. */
struct outs {
	char ids[32][REMOTE_ID_MAX + 1];
	const char *why[32];
	unsigned n;
};

static void on_out(void *arg, const struct remote_command *c, const char *why)
{
	struct outs *o = arg;

	assert_true(o->n < ARRAY_SIZE(o->ids));
	snprintf(o->ids[o->n], sizeof(o->ids[0]), "%s", c->id);
	o->why[o->n++] = why;
}

static int put(struct command_queue *q, unsigned n, const char *text, struct outs *outs)
{
	struct remote_command c = command_of(n, text);

	return command_queue_put(q, &c, on_out, outs);
}

static void assert_out(const struct outs *o, unsigned at, unsigned n, const char *why)
{
	char id[REMOTE_ID_MAX + 1];

	assert_true(at < o->n);
	assert_string_equal(o->ids[at], command_id(n, id));
	assert_non_null(strstr(o->why[at], why));
}

/* The next of these kinds is the n-th command, which is taken out. */
static void assert_next(struct command_queue *q, unsigned kinds, unsigned n)
{
	const struct remote_command *next = command_queue_peek(q, kinds);
	struct remote_command c;
	char id[REMOTE_ID_MAX + 1];

	assert_non_null(next);
	assert_string_equal(next->id, command_id(n, id));
	assert_true(command_queue_take(q, id, &c));
	assert_string_equal(c.id, id);
	assert_non_null(c.body);
	remote_command_deinit(&c);
}

static void queue__stop_then_ad_hoc_then_continuous(void **state)
{
	struct outs outs = {0};
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	assert_null(command_queue_peek(&q, COMMAND_ALL));
	assert_ok(put(&q, 1, CONTINUOUS_TEXT, &outs));
	assert_ok(put(&q, 2, ONCE_TEXT, &outs));
	assert_ok(put(&q, 3,
		"{\"command_type\": \"stop\", \"combined_config\": {\"stop_level\": \"process\", "
		"\"pids\": [7]}}",
		&outs));
	assert_ok(put(&q, 4, ONCE_TEXT, &outs));
	assert_int_equal(command_queue_len(&q), 4);
	// A kind whose slot is taken is passed by, and waits.
	assert_next(&q, COMMAND_BIT(REMOTE_CONTINUOUS), 1);
	assert_ok(put(&q, 5, CONTINUOUS_TEXT, &outs));
	assert_next(&q, COMMAND_ALL, 3);
	assert_null(command_queue_peek(&q, COMMAND_BIT(REMOTE_STOP)));
	assert_next(&q, COMMAND_ALL, 2);
	assert_next(&q, COMMAND_ALL, 4);
	assert_next(&q, COMMAND_ALL, 5);
	assert_null(command_queue_peek(&q, COMMAND_ALL));
	assert_int_equal(outs.n, 0);
	command_queue_deinit(&q);
}

static void queue__ten_ad_hoc_profiles_wait_and_no_more(void **state)
{
	struct outs outs = {0};
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	for (unsigned n = 0; n < COMMAND_ONCE_MAX; n++)
		assert_ok(put(&q, n, ONCE_TEXT, &outs));
	assert_int_equal(put(&q, 100, ONCE_TEXT, &outs), -ENOSPC);
	assert_int_equal(outs.n, 1);
	assert_out(&outs, 0, 100, "Too many");
	// Others have places of their own.
	assert_ok(put(&q, 101, CONTINUOUS_TEXT, &outs));
	for (unsigned n = 0; n < COMMAND_ONCE_MAX; n++)
		assert_next(&q, COMMAND_ALL, n);
	assert_next(&q, COMMAND_ALL, 101);
	assert_int_equal(outs.n, 1);
	command_queue_deinit(&q);
}

static void queue__the_latest_continuous_one_waits(void **state)
{
	struct outs outs = {0};
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	for (unsigned n = 1; n <= 4; n++)
		assert_ok(put(&q, n, CONTINUOUS_TEXT, &outs));
	assert_int_equal(command_queue_len(&q), 1);
	assert_int_equal(outs.n, 3);
	for (unsigned n = 1; n <= 3; n++)
		assert_out(&outs, n - 1, n, "newer");
	assert_next(&q, COMMAND_ALL, 4);
	command_queue_deinit(&q);
}

static void queue__a_stop_ends_what_waits_but_not_what_comes(void **state)
{
	struct outs outs = {0};
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	assert_ok(put(&q, 1, ONCE_TEXT, &outs));
	assert_ok(put(&q, 2, ONCE_TEXT, &outs));
	assert_ok(put(&q, 3, CONTINUOUS_TEXT, &outs));
	assert_ok(put(&q, 4, STOP_TEXT, &outs));
	assert_int_equal(outs.n, 3);
	for (unsigned n = 1; n <= 3; n++)
		assert_out(&outs, n - 1, n, "before it began");
	assert_ok(put(&q, 5, ONCE_TEXT, &outs));
	assert_ok(put(&q, 6, CONTINUOUS_TEXT, &outs));
	assert_next(&q, COMMAND_ALL, 4);
	assert_next(&q, COMMAND_ALL, 5);
	assert_next(&q, COMMAND_ALL, 6);
	// Even an endless row of stops has its end.
	for (unsigned n = 10; n < 10 + COMMAND_STOPS_MAX; n++)
		assert_ok(put(&q, n, STOP_TEXT, &outs));
	assert_int_equal(put(&q, 50, STOP_TEXT, &outs), -ENOSPC);
	assert_out(&outs, 3, 50, "Too many");
	command_queue_deinit(&q);
}

static void queue__only_heads_are_taken(void **state)
{
	struct outs outs = {0};
	struct remote_command c;
	struct command_queue q;
	char id[REMOTE_ID_MAX + 1];

	(void)state;
	command_queue_init(&q);
	assert_ok(put(&q, 1, ONCE_TEXT, &outs));
	assert_ok(put(&q, 2, ONCE_TEXT, &outs));
	assert_false(command_queue_take(&q, command_id(2, id), &c));
	assert_false(command_queue_take(&q, command_id(9, id), &c));
	assert_int_equal(command_queue_len(&q), 2);
	assert_next(&q, COMMAND_ALL, 1);
	assert_next(&q, COMMAND_ALL, 2);
	command_queue_deinit(&q);
}

static void queue__stopped_processes_leave_what_waits(void **state)
{
	static const char *const texts[] = {
		"{\"combined_config\": {\"pids\": [7]}}",
		"{\"combined_config\": {\"pids\": [7, 8]}}",
		ONCE_TEXT,
		"{\"combined_config\": {\"pids\": [8, 7, 7]}}",
		"{\"combined_config\": {\"continuous\": true, \"pids\": [7]}}",
	};
	struct outs outs = {0};
	struct option_pids pids;
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	for (unsigned n = 0; n < ARRAY_SIZE(texts); n++)
		assert_ok(put(&q, n, texts[n], &outs));
	option_pids_init(&pids, 4);
	assert_ok(option_pids_push(&pids, 7));
	command_queue_leave_out(&q, &pids, on_out, &outs);
	assert_int_equal(outs.n, 2);
	assert_out(&outs, 0, 0, "before it began");
	assert_out(&outs, 1, 4, "before it began");
	assert_next(&q, COMMAND_ALL, 1);
	assert_next(&q, COMMAND_ALL, 2);
	assert_next(&q, COMMAND_ALL, 3);
	assert_null(command_queue_peek(&q, COMMAND_ALL));
	option_pids_deinit(&pids);
	command_queue_deinit(&q);
}

static void queue__nobody_need_be_told(void **state)
{
	struct remote_command c;
	struct command_queue q;

	(void)state;
	command_queue_init(&q);
	for (unsigned n = 0; n < 3; n++) {
		c = command_of(n, CONTINUOUS_TEXT);
		assert_ok(command_queue_put(&q, &c, NULL, NULL));
		assert_null(c.body); // taken over
	}
	c = command_of(9, STOP_TEXT);
	assert_ok(command_queue_put(&q, &c, NULL, NULL));
	assert_int_equal(command_queue_len(&q), 1);
	command_queue_deinit(&q);
	assert_int_equal(command_queue_len(&q), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queue__stop_then_ad_hoc_then_continuous),
		cmocka_unit_test(queue__ten_ad_hoc_profiles_wait_and_no_more),
		cmocka_unit_test(queue__the_latest_continuous_one_waits),
		cmocka_unit_test(queue__a_stop_ends_what_waits_but_not_what_comes),
		cmocka_unit_test(queue__only_heads_are_taken),
		cmocka_unit_test(queue__stopped_processes_leave_what_waits),
		cmocka_unit_test(queue__nobody_need_be_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

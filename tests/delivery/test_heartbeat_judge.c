/* SPDX-License-Identifier: Apache-2.0 */
/* What an answer to a heartbeat or a completion means, whoever gave it (gprofiler-studio.md 1.7, A.2). */
#include "tests/harness.h"

#include "delivery/heartbeat.h"

#define ID "0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11"
#define COMMAND(id, command)                                                                       \
	"{\"success\": true, \"message\": \"m\", \"command_id\": " id                              \
	", \"profiling_command\": " command "}"

#define START "{\"command_type\": \"start\"}"

static struct heartbeat_answer judge(long status, const char *body)
{
	struct heartbeat_answer a;

	heartbeat_judge(status, body, strlen(body), &a);
	assert_int_equal(a.said.status, status);
	assert_true((a.command != NULL) == (a.id[0] != 0));
	return a;
}

static void judge__a_command_with_its_id(void **state)
{
	struct heartbeat_answer a =
		judge(200, COMMAND("\"" ID "\"", "{\"command_type\": \"stop\"}"));

	(void)state;
	assert_int_equal(a.said.verdict, STUDIO_DONE);
	assert_true(a.success);
	assert_string_equal(a.said.message, "m");
	assert_string_equal(a.id, ID);
	assert_string_equal(json_string_value(json_object_get(a.command, "command_type")), "stop");
	heartbeat_answer_deinit(&a);
	assert_null(a.command);
}

static void judge__half_a_command_is_none(void **state)
{
	static const char *const bodies[] = {
		COMMAND("null", "null"),
		COMMAND("\"" ID "\"", "null"),
		COMMAND("\"" ID "\"", "{}"),
		COMMAND("\"" ID "\"", "[]"),
		COMMAND("\"" ID "\"", "\"start\""),
		COMMAND("null", START),
		COMMAND("7", START),
		COMMAND("\"\"", START),
		COMMAND("\"a b\"", START),
		COMMAND("\"a\\\"b\"", START),
		COMMAND("\"a\\\\b\"", START),
		COMMAND("\"a\\nb\"", START),
		COMMAND("\"\\u00e9\"", START),
		COMMAND("[]", START),
		COMMAND("\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"",
			START),
		"{\"success\": true, \"profiling_command\": " START "}",
		"{\"success\": true, \"message\": \"Heartbeat received, but failed to check\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct heartbeat_answer a = judge(200, bodies[i]);

		if (a.said.verdict != STUDIO_DONE || a.command || !a.success)
			fail_msg("%s", bodies[i]);
		assert_int_equal(a.nameless, strstr(bodies[i], START) != NULL);
	}
}

static void judge__no_success_is_no_command(void **state)
{
	static const char *const values[] = {"false", "null", "1", "\"true\""};
	char body[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct heartbeat_answer a;

		snprintf(body, sizeof(body),
			"{\"success\": %s, \"command_id\": \"" ID
			"\", \"profiling_command\": " START "}",
			values[i]);
		a = judge(200, body);
		assert_false(a.success);
		assert_null(a.command);
		assert_int_equal(a.said.verdict, STUDIO_DONE);
	}
}

static void judge__who_is_no_studio(void **state)
{
	static const char *const bodies[] = {"", "<html>login</html>", "[]", "null", "{}",
		"{\"message\": \"ok\"}", "{\"success\": true", "{\"success\": true} x",
		"{\"success\": true, \"n\": 99999999999999999999}", "\xff\xfe"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct heartbeat_answer a = judge(200, bodies[i]);

		if (a.said.verdict != STUDIO_BUSY || a.command || a.success)
			fail_msg("%s", bodies[i]);
	}
}

static void judge__every_status(void **state)
{
	static const struct {
		long status;
		enum studio_verdict verdict;
	} cases[] = {
		{200, STUDIO_DONE},
		{201, STUDIO_DONE},
		{0, STUDIO_BUSY},
		{301, STUDIO_DENIED},
		{400, STUDIO_REFUSED},
		{401, STUDIO_DENIED},
		{403, STUDIO_DENIED},
		{404, STUDIO_DENIED},
		{408, STUDIO_BUSY},
		{411, STUDIO_INVALID},
		{413, STUDIO_TOO_LARGE},
		{422, STUDIO_INVALID},
		{429, STUDIO_BUSY},
		{500, STUDIO_BUSY},
		{503, STUDIO_BUSY},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct heartbeat_answer a = judge(cases[i].status, COMMAND("\"" ID "\"", START));

		if (a.said.verdict != cases[i].verdict)
			fail_msg("%ld: %d", cases[i].status, a.said.verdict);
		// Only one who takes the heartbeat gives orders.
		assert_int_equal(a.command != NULL, cases[i].verdict == STUDIO_DONE);
		heartbeat_answer_deinit(&a);
	}
}

static void judge__what_is_shown_is_one_line(void **state)
{
	struct heartbeat_answer a =
		judge(200, "{\"success\": false, \"message\": \"a\\u001b[31m\\nb\\r\\u007fc\"}");

	(void)state;
	assert_string_equal(a.said.message, "a [31m b  c");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(judge__a_command_with_its_id),
		cmocka_unit_test(judge__half_a_command_is_none),
		cmocka_unit_test(judge__no_success_is_no_command),
		cmocka_unit_test(judge__who_is_no_studio),
		cmocka_unit_test(judge__every_status),
		cmocka_unit_test(judge__what_is_shown_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of commands: once each, at most 1000, over restarts, and from a file that was cut or
 * is somebody else's. */
#include "tests/agent/commands.h"

#include <errno.h>
#include <unistd.h>

#include "agent/command_history.h"
#include "base/fs.h"

static int receive(struct command_history *h, unsigned n, const char *text)
{
	struct remote_command c = command_of(n, text);
	int r = command_history_receive(h, &c);

	remote_command_deinit(&c);
	return r;
}

static int finish(struct command_history *h, unsigned n, const char *error)
{
	const struct command_outcome outcome = {
		.failed = error != NULL, .seconds = n, .error = error};
	char id[REMOTE_ID_MAX + 1];

	return command_history_finish(h, command_id(n, id), &outcome);
}

static bool has(const struct command_history *h, unsigned n)
{
	char id[REMOTE_ID_MAX + 1];

	return command_history_has(h, command_id(n, id));
}

static bool in_force(const struct command_history *h, unsigned n)
{
	char id[REMOTE_ID_MAX + 1];

	return h->force.body && !strcmp(h->force.id, command_id(n, id));
}

/* Through the file's text into a fresh one, as a restart does it. */
static void restart(struct command_history *h)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);

	assert_ok(command_history_encode(h, &text));
	command_history_deinit(h);
	command_history_init(h);
	assert_ok(command_history_decode(h, buf_str(&text), text.len));
	assert_ok(command_history_interrupted(h));
}

static void history__a_command_comes_once(void **state)
{
	struct command_history h;

	(void)state;
	command_history_init(&h);
	assert_false(has(&h, 1));
	assert_ok(receive(&h, 1, ONCE_TEXT));
	assert_int_equal(receive(&h, 1, ONCE_TEXT), 1);
	assert_int_equal(receive(&h, 1, STOP_TEXT), 1); // whatever it says then
	assert_false(h.stopped);
	restart(&h);
	assert_int_equal(receive(&h, 1, ONCE_TEXT), 1);
	command_history_deinit(&h);
}

static void history__the_last_word_is_in_force(void **state)
{
	struct command_history h;
	char id[REMOTE_ID_MAX + 1];

	(void)state;
	command_history_init(&h);
	assert_ok(receive(&h, 1, CONTINUOUS_TEXT));
	assert_ok(receive(&h, 2, ONCE_TEXT));
	assert_true(in_force(&h, 1));
	assert_ok(receive(&h, 3, CONTINUOUS_TEXT));
	assert_true(in_force(&h, 3));
	// A stop of some processes is not the end.
	assert_ok(receive(
		&h, 4, "{\"command_type\": \"stop\", \"combined_config\": {\"pids\": [7]}}"));
	assert_true(in_force(&h, 3) && !h.stopped);
	assert_ok(receive(&h, 5, STOP_TEXT));
	assert_true(!h.force.body && h.stopped);
	assert_string_equal(h.stop_id, command_id(5, id));
	restart(&h);
	assert_true(!h.force.body && h.stopped);
	assert_string_equal(h.stop_id, id);
	assert_ok(receive(&h, 6, CONTINUOUS_TEXT));
	restart(&h);
	assert_true(in_force(&h, 6) && !h.stopped);
	assert_int_equal(h.force.kind, REMOTE_CONTINUOUS);
	// Its completion is not its end.
	assert_ok(finish(&h, 6, NULL));
	assert_true(in_force(&h, 6));
	// One that failed is over.
	assert_ok(finish(&h, 6, "no"));
	assert_null(h.force.body);
	restart(&h);
	assert_null(h.force.body);
	command_history_deinit(&h);
}

static void history__one_completion_each(void **state)
{
	const struct command_entry *due;
	struct command_history h;
	char id[REMOTE_ID_MAX + 1];

	(void)state;
	command_history_init(&h);
	assert_int_equal(finish(&h, 1, NULL), -ENOENT);
	assert_ok(receive(&h, 1, ONCE_TEXT));
	assert_ok(receive(&h, 2, ONCE_TEXT));
	assert_null(command_history_due(&h));
	assert_ok(finish(&h, 2, "\xc3\xa9 \x01 \"quoted\""));
	assert_ok(finish(&h, 2, NULL)); // too late to be better
	assert_ok(finish(&h, 1, NULL));
	assert_int_equal(command_history_ndue(&h), 2);
	restart(&h);
	assert_int_equal(command_history_ndue(&h), 2);
	due = command_history_due(&h);
	assert_string_equal(due->id, command_id(1, id));
	assert_true(due->executed && !due->failed && due->seconds == 1 && !due->error);
	command_history_told(&h, id);
	due = command_history_due(&h);
	assert_string_equal(due->id, command_id(2, id));
	assert_true(due->failed && due->seconds == 2);
	assert_string_equal(due->error, "\xc3\xa9 \x01 \"quoted\"");
	command_history_told(&h, id);
	restart(&h);
	assert_null(command_history_due(&h));
	command_history_told(&h, "nobody");
	assert_ok(finish(&h, 2, "again"));
	assert_null(command_history_due(&h));
	command_history_deinit(&h);
}

static void history__a_restart_answers_what_was_open(void **state)
{
	static const struct {
		unsigned n;
		bool failed;
		const char *error;
	} expect[] = {
		{1, true, "newer"}, // continuous, replaced before its first window
		{2, true, "ended before"}, // ad-hoc
		{4, false, NULL}, // a stop: nothing runs
	};
	struct command_history h;
	char id[REMOTE_ID_MAX + 1];

	(void)state;
	command_history_init(&h);
	assert_ok(receive(&h, 1, CONTINUOUS_TEXT));
	assert_ok(receive(&h, 2, ONCE_TEXT));
	assert_ok(receive(&h, 3, CONTINUOUS_TEXT));
	assert_ok(receive(
		&h, 4, "{\"command_type\": \"stop\", \"combined_config\": {\"pids\": [7]}}"));
	restart(&h);
	assert_true(in_force(&h, 3)); // goes on, and owes its completion
	for (size_t i = 0; i < ARRAY_SIZE(expect); i++) {
		const struct command_entry *due = command_history_due(&h);

		assert_non_null(due);
		assert_string_equal(due->id, command_id(expect[i].n, id));
		assert_int_equal(due->failed, expect[i].failed);
		assert_true(expect[i].error ? strstr(due->error, expect[i].error) != NULL
					    : due->error == NULL);
		command_history_told(&h, id);
	}
	assert_null(command_history_due(&h));
	assert_ok(finish(&h, 3, NULL));
	assert_int_equal(command_history_ndue(&h), 1);
	command_history_deinit(&h);
}

static void history__a_thousand_and_the_oldest_go_first(void **state)
{
	struct command_history h;

	(void)state;
	command_history_init(&h);
	assert_ok(receive(&h, 0, CONTINUOUS_TEXT));
	for (unsigned n = 1; n < 2500; n++) {
		assert_ok(receive(&h, n, ONCE_TEXT));
		assert_true(h.entries.len <= COMMAND_HISTORY_MAX);
	}
	assert_int_equal(h.entries.len, COMMAND_HISTORY_MAX);
	// The one in force stays, however old it is.
	assert_true(has(&h, 0) && in_force(&h, 0));
	assert_false(has(&h, 1) || has(&h, 1500));
	for (unsigned n = 1501; n < 2500; n++)
		assert_true(has(&h, n));
	restart(&h);
	assert_int_equal(h.entries.len, COMMAND_HISTORY_MAX);
	assert_true(in_force(&h, 0) && has(&h, 1501) && has(&h, 2499));
	// What was forgotten has no completion any more, and costs nothing.
	assert_int_equal(finish(&h, 1, NULL), -ENOENT);
	assert_ok(receive(&h, 3000, STOP_TEXT));
	assert_ok(receive(&h, 3001, ONCE_TEXT));
	assert_false(has(&h, 0) || has(&h, 1501));
	assert_true(has(&h, 1502));
	command_history_deinit(&h);
}

/* A thousand completions that wait, each with the longest reason there can be, and the largest command. */
static void history__the_fullest_one_fits_the_file(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	_cleanup_json_ json_t *body = json_loads(CONTINUOUS_TEXT, 0, NULL);
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX), big = BUF_INIT(REMOTE_BODY_MAX);
	struct command_history h;
	struct remote_command c;
	char error[REMOTE_WHY_MAX + 100], id[REMOTE_ID_MAX + 1];

	(void)state;
	memset(error, 1, sizeof(error) - 1);
	error[sizeof(error) - 1] = 0;
	command_history_init(&h);
	for (unsigned n = 1; n < COMMAND_HISTORY_MAX; n++) {
		assert_ok(receive(&h, n, ONCE_TEXT));
		assert_ok(finish(&h, n, error));
	}
	while (big.len < REMOTE_BODY_MAX - 1000)
		buf_append_char(&big, 'x');
	json_object_set_new(body, "x", json_string(buf_str(&big)));
	assert_ok(remote_command_read(&c, command_id(0, id), body, &why));
	assert_ok(command_history_receive(&h, &c));
	remote_command_deinit(&c);
	assert_ok(command_history_encode(&h, &text));
	restart(&h);
	assert_int_equal(h.entries.len, COMMAND_HISTORY_MAX);
	assert_int_equal(strlen(command_history_due(&h)->error), REMOTE_WHY_MAX);
	command_history_deinit(&h);
}

static void history__processes_leave_what_is_in_force(void **state)
{
	struct command_history h;
	struct option_pids pids;

	(void)state;
	command_history_init(&h);
	option_pids_init(&pids, 4);
	assert_ok(option_pids_push(&pids, 7));
	command_history_leave_out(&h, &pids);
	assert_ok(receive(&h, 1, CONTINUOUS_TEXT));
	command_history_leave_out(&h, &pids); // of the whole machine
	assert_true(in_force(&h, 1));
	assert_ok(
		receive(&h, 2, "{\"combined_config\": {\"continuous\": true, \"pids\": [7, 8]}}"));
	command_history_leave_out(&h, &pids);
	restart(&h);
	assert_true(in_force(&h, 2));
	assert_int_equal(json_array_size(json_object_get(
				 json_object_get(h.force.body, "combined_config"), "pids")),
		1);
	pids.data[0] = 8;
	command_history_leave_out(&h, &pids);
	assert_null(h.force.body);
	option_pids_deinit(&pids);
	command_history_deinit(&h);
}

/* A newer one that failed does not end the one that runs. */
static void history__what_goes_on_is_in_force_again(void **state)
{
	struct remote_command c = command_of(1, CONTINUOUS_TEXT);
	struct command_history h;

	(void)state;
	command_history_init(&h);
	assert_int_equal(command_history_restore(&h, c.id, c.body), 1); // never heard of
	assert_ok(command_history_receive(&h, &c));
	assert_ok(receive(&h, 2, CONTINUOUS_TEXT));
	assert_int_equal(command_history_restore(&h, c.id, c.body), 1);
	assert_true(in_force(&h, 2));
	assert_ok(finish(&h, 2, "no"));
	assert_ok(command_history_restore(&h, c.id, c.body));
	restart(&h);
	assert_true(in_force(&h, 1) && h.force.kind == REMOTE_CONTINUOUS);
	// The last word was to stop.
	assert_ok(receive(&h, 3, STOP_TEXT));
	assert_int_equal(command_history_restore(&h, c.id, c.body), 1);
	assert_null(h.force.body);
	remote_command_deinit(&c);
	command_history_deinit(&h);
}

/* Every beginning of a file, and files of others: none is taken for half of it. */
static void history__a_damaged_file_is_none(void **state)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"null",
		"{\"version\": 1}",
		"{\"version\": 2, \"commands\": []}",
		"{\"version\": 1, \"commands\": {}}",
		"{\"version\": 1, \"in_force\": null, \"commands\": [{}]}",
		"{\"version\": 1, \"in_force\": null, \"commands\": [{\"id\": \"a b\", \"kind\": 1}]}",
		"{\"version\": 1, \"in_force\": null, \"commands\": [{\"id\": \"a\", \"kind\": 3}]}",
		"{\"version\": 1, \"in_force\": null, \"commands\": [{\"id\": \"a\", \"kind\": 1}, "
		"{\"id\": \"a\", \"kind\": 1}]}",
		"{\"version\": 1, \"in_force\": \"b\", \"command\": {}, \"commands\": "
		"[{\"id\": \"a\", \"kind\": 1}]}",
		"{\"version\": 1, \"in_force\": \"a\", \"command\": {\"command_type\": \"stop\"}, "
		"\"commands\": [{\"id\": \"a\", \"kind\": 2}]}",
		"{\"version\": 1, \"in_force\": 7, \"commands\": []}",
		"{\"version\": 1, \"commands\": [], \"commands\": []}",
	};
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	struct command_history h;

	(void)state;
	command_history_init(&h);
	assert_ok(receive(&h, 1, CONTINUOUS_TEXT));
	assert_ok(receive(&h, 2, ONCE_TEXT));
	assert_ok(finish(&h, 2, "no"));
	assert_ok(command_history_encode(&h, &text));
	for (size_t len = 0; len < text.len; len++) {
		command_history_deinit(&h);
		assert_int_equal(command_history_decode(&h, buf_str(&text), len), -EINVAL);
		assert_true(!h.entries.len && !h.force.body && !h.stopped);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(command_history_decode(&h, bad[i], strlen(bad[i])), -EINVAL);
		assert_true(!h.entries.len && !h.force.body && !h.stopped);
	}
	assert_ok(command_history_decode(&h, buf_str(&text), text.len));
	assert_true(has(&h, 1) && has(&h, 2) && in_force(&h, 1));
	command_history_deinit(&h);
}

static void history__files(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	char dir[] = "/tmp/gprofiler-test-history-XXXXXX", path[96];
	struct command_history h;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/commands.json", dir);
	command_history_init(&h);
	assert_int_equal(command_history_load(&h, path), 1);
	assert_ok(receive(&h, 1, CONTINUOUS_TEXT));
	assert_ok(command_history_encode(&h, &text));
	assert_ok(command_history_write(&text, path));
	assert_int_equal(receive(&h, 2, STOP_TEXT), 0);
	command_history_deinit(&h);
	assert_ok(command_history_load(&h, path));
	assert_true(in_force(&h, 1) && !has(&h, 2));
	command_history_deinit(&h);
	assert_int_equal(truncate(path, (off_t)text.len / 2), 0);
	assert_int_equal(command_history_load(&h, path), -EINVAL);
	// Larger than anything we write.
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fseek(f, (long)COMMAND_FILE_MAX + 1, SEEK_SET), 0);
	fputc('x', f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(command_history_load(&h, path), -EINVAL);
	assert_true(command_history_load(&h, dir) < 0);
	assert_true(command_history_write(&text, "/proc/nowhere/commands.json") < 0);
	command_history_deinit(&h);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(history__a_command_comes_once),
		cmocka_unit_test(history__the_last_word_is_in_force),
		cmocka_unit_test(history__one_completion_each),
		cmocka_unit_test(history__a_restart_answers_what_was_open),
		cmocka_unit_test(history__a_thousand_and_the_oldest_go_first),
		cmocka_unit_test(history__the_fullest_one_fits_the_file),
		cmocka_unit_test(history__processes_leave_what_is_in_force),
		cmocka_unit_test(history__what_goes_on_is_in_force_again),
		cmocka_unit_test(history__a_damaged_file_is_none),
		cmocka_unit_test(history__files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

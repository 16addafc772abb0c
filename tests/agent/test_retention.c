/* SPDX-License-Identifier: Apache-2.0 */
/* --keep-output on a real directory. */
#include "tests/harness.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/retention.h"
#include "base/cleanup.h"

#define KB 1024

static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/gprofiler-test-retention-XXXXXX");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"profile_2026-01-01T00:00:01.col",
		"profile_2026-01-01T00:00:01.html", "profile_2026-01-01T00:00:02.col",
		"profile_2026-01-01T00:00:02.html", "profile_2026-01-01T00:00:03.col",
		"profile_2026-01-01T00:00:03.html", "last_profile.col", "last_flamegraph.html",
		"profile_of_mine.txt", "notes.txt", "profile_9_link"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(names[i]);
	return chdir("/") || rmdir(dir);
}

static void make(const char *name, size_t kilobytes, unsigned second)
{
	const struct timespec when[2] = {{.tv_sec = 1000 + second}, {.tv_sec = 1000 + second}};
	int fd = open(name, O_WRONLY | O_CREAT, 0644);

	assert_true(fd >= 0);
	assert_ok(ftruncate(fd, (off_t)(kilobytes * KB)));
	assert_ok(futimens(fd, when));
	close(fd);
}

static bool there(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

static void three_windows(void)
{
	make("profile_2026-01-01T00:00:01.col", 10, 1);
	make("profile_2026-01-01T00:00:01.html", 30, 1);
	make("profile_2026-01-01T00:00:02.col", 10, 2);
	make("profile_2026-01-01T00:00:02.html", 30, 2);
	make("profile_2026-01-01T00:00:03.col", 10, 3);
	make("notes.txt", 999, 0);
	make("profile_of_mine.txt", 999, 0);
	assert_ok(symlink("notes.txt", "profile_9_link"));
	assert_ok(symlink("profile_2026-01-01T00:00:03.col", "last_profile.col"));
	assert_ok(symlink("profile_2026-01-01T00:00:02.html", "last_flamegraph.html"));
}

static void retention__oldest_first_and_no_more_than_needed(void **state)
{
	const char *stem = "profile_2026-01-01T00:00:03.html";

	(void)state;
	three_windows();
	// 90 KB there, 30 to come.
	assert_ok(retention_make_room(".", stem, 120 * KB, 30 * KB));
	assert_true(there("profile_2026-01-01T00:00:01.col"));
	assert_ok(retention_make_room(".", stem, 110 * KB, 30 * KB));
	assert_false(there("profile_2026-01-01T00:00:01.col"));
	assert_true(there("profile_2026-01-01T00:00:01.html"));
	assert_ok(retention_make_room(".", stem, 80 * KB, 30 * KB));
	assert_false(there("profile_2026-01-01T00:00:01.html"));
	assert_true(there("profile_2026-01-01T00:00:02.col") && there("last_flamegraph.html"));
}

static void retention__the_running_one_and_foreign_files_stay(void **state)
{
	(void)state;
	three_windows();
	assert_ok(retention_make_room(".", "profile_2026-01-01T00:00:03.cycles.html", 1, 30 * KB));
	assert_true(there("profile_2026-01-01T00:00:03.col") && there("last_profile.col"));
	assert_false(there("profile_2026-01-01T00:00:02.col"));
	// Its file is gone, and so is the link on it.
	assert_false(there("profile_2026-01-01T00:00:02.html") || there("last_flamegraph.html"));
	assert_true(there("notes.txt") && there("profile_of_mine.txt") && there("profile_9_link"));
}

static void retention__a_full_disk_takes_one_at_a_time(void **state)
{
	const char *stem = "profile_2026-01-01T00:00:03";
	unsigned n = 0;

	(void)state;
	three_windows();
	while (retention_drop_oldest(".", stem))
		n++;
	assert_int_equal(n, 4);
	assert_true(there("profile_2026-01-01T00:00:03.col"));
	assert_false(retention_drop_oldest("/nonexistent", stem));
	assert_true(retention_make_room("/nonexistent", stem, 1, 1) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			retention__oldest_first_and_no_more_than_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			retention__the_running_one_and_foreign_files_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(
			retention__a_full_disk_takes_one_at_a_time, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole or not at all. */
#include "tests/harness.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"

static char dir[64];

static int enter_scratch(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/gp-test-fs-XXXXXX");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int leave_scratch(void **state)
{
	static const char *const names[] = {"a", "b", "link", "x/y/z", "x/y", "x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		remove(names[i]);
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static unsigned count_entries(void)
{
	_cleanup_closedir_ DIR *d = opendir(".");
	unsigned n = 0;

	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	return n;
}

static void assert_content(const char *path, const char *want)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	assert_ok(fs_read_file(path, &text));
	assert_string_equal(buf_str(&text), want);
}

static void put(const char *path, const char *text)
{
	struct fs_atomic a;

	assert_ok(fs_atomic_open(&a, path, 0640));
	fputs(text, a.f);
	assert_ok(fs_atomic_commit(&a));
}

static void atomic__appears_whole_and_replaces(void **state)
{
	struct fs_atomic a;
	struct stat st;

	(void)state;
	umask(022);
	put("a", "old");
	assert_ok(stat("a", &st));
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_ok(fs_atomic_open(&a, "a", 0644));
	fputs("new", a.f);
	fflush(a.f);
	assert_content("a", "old");
	assert_ok(fs_atomic_commit(&a));
	assert_content("a", "new");
	assert_int_equal(count_entries(), 1);
	fs_atomic_abort(&a);
	assert_ok(fs_atomic_open(&a, "a", 0644));
	fputs("never", a.f);
	fs_atomic_abort(&a);
	assert_content("a", "new");
	assert_int_equal(count_entries(), 1);
}

static void atomic__a_kill_leaves_nothing(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	put("a", "old");
	pid = fork();
	if (pid == 0) {
		struct fs_atomic a;

		if (fs_atomic_open(&a, "a", 0644))
			_exit(1);
		fputs("half", a.f);
		fflush(a.f);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_content("a", "old");
	assert_int_equal(count_entries(), 1);
}

static void atomic__errors_are_told(void **state)
{
	struct fs_atomic a;

	(void)state;
	assert_int_equal(fs_atomic_open(&a, "no/such/dir/a", 0644), -ENOENT);
	fs_atomic_abort(&a);
	assert_ok(fs_mkdir_p("x/y", 0755));
	// The name is a directory by the time of the commit.
	assert_ok(fs_atomic_open(&a, "x", 0644));
	fputs("text", a.f);
	assert_int_equal(fs_atomic_commit(&a), -EISDIR);
	assert_int_equal(count_entries(), 1);
}

static void mkdir__makes_all_and_accepts_what_is(void **state)
{
	struct stat st;

	(void)state;
	assert_ok(fs_mkdir_p("x/y/z", 0755));
	assert_ok(fs_mkdir_p("x/y/z/", 0755));
	assert_ok(fs_mkdir_p("./x//y", 0755));
	assert_ok(fs_mkdir_p("/", 0755));
	assert_ok(stat("x/y/z", &st));
	assert_ok(fs_mkdir_parents("bare", 0755));
	assert_ok(fs_mkdir_parents("/at-root", 0755));
	put("a", "file");
	assert_int_equal(fs_mkdir_p("a", 0755), -ENOTDIR);
	assert_int_equal(fs_mkdir_p("a/b", 0755), -ENOTDIR);
	assert_int_equal(fs_mkdir_p("", 0755), -ENOENT);
}

static void read__proc_and_cap(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20), small = BUF_INIT(10);
	_cleanup_buf_ struct buf exact = BUF_INIT(3);

	(void)state;
	// A size that /proc does not tell.
	assert_ok(fs_read_file("/proc/self/status", &text));
	assert_non_null(strstr(buf_str(&text), "Pid:"));
	assert_int_equal(fs_read_file("/proc/self/status", &small), -ENOSPC);
	assert_int_equal(small.len, 10);
	put("a", "abc");
	assert_ok(fs_read_file("a", &exact));
	assert_string_equal(buf_str(&exact), "abc");
	assert_int_equal(fs_read_file("absent", &text), -ENOENT);
	assert_int_equal(fs_read_file(".", &text), -EISDIR);
}

static void symlink__is_replaced_in_one_step(void **state)
{
	char target[16] = "";

	(void)state;
	put("a", "1");
	put("b", "2");
	assert_ok(fs_symlink_replace("a", "link"));
	assert_content("link", "1");
	assert_ok(fs_symlink_replace("b", "link"));
	assert_content("link", "2");
	assert_int_equal(readlink("link", target, sizeof(target) - 1), 1);
	assert_string_equal(target, "b");
	assert_int_equal(count_entries(), 3);
	assert_string_equal(fs_basename("/x/y"), "y");
	assert_string_equal(fs_basename("y"), "y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			atomic__appears_whole_and_replaces, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			atomic__a_kill_leaves_nothing, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			atomic__errors_are_told, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			mkdir__makes_all_and_accepts_what_is, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(read__proc_and_cap, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			symlink__is_replaced_in_one_step, enter_scratch, leave_scratch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A full disk: a small tmpfs in a mount namespace of our own. The old file stays, the error says
 * ENOSPC, nothing is left behind. */
#include "tests/harness.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

static void write_much(FILE *f)
{
	char block[4096];

	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 64; i++)
		fwrite(block, sizeof(block), 1, f);
}

static void disk__full_keeps_the_old_file(void **state)
{
	char dir[] = "/tmp/gp-test-full-XXXXXX";
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	const struct log_config config = {.file = "log", .console_stderr = true};
	struct fs_atomic a;
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	(void)state;
	assert_non_null(mkdtemp(dir));
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("none", dir, "tmpfs", 0, "size=65536") < 0) {
		int error = errno;

		rmdir(dir);
		test_skip("no mount namespace: %s", strerror(error));
	}
	assert_ok(chdir(dir));
	assert_ok(fs_atomic_open(&a, "out", 0644));
	fputs("old", a.f);
	assert_ok(fs_atomic_commit(&a));

	assert_ok(fs_atomic_open(&a, "out", 0644));
	write_much(a.f);
	assert_int_equal(fs_atomic_commit(&a), -ENOSPC);
	assert_ok(fs_read_file("out", &text));
	assert_string_equal(buf_str(&text), "old");

	// A log on a full disk drops lines; it neither fails nor ends the program.
	assert_ok(log_open(&config));
	for (int i = 0; i < 2000; i++)
		log_debug("gprofiler", "line %d of a log that does not fit on this disk at all", i);
	log_close();
	unlink("log");

	// There is room again: it works again.
	assert_ok(fs_atomic_open(&a, "out", 0644));
	fputs("new", a.f);
	assert_ok(fs_atomic_commit(&a));
	buf_clear(&text);
	assert_ok(fs_read_file("out", &text));
	assert_string_equal(buf_str(&text), "new");
	d = opendir(".");
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	assert_int_equal(n, 1);
	assert_ok(chdir("/"));
	assert_ok(umount2(dir, MNT_DETACH));
	assert_ok(rmdir(dir));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disk__full_keeps_the_old_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

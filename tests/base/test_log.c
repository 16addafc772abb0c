/* SPDX-License-Identifier: Apache-2.0 */
/* The log: its line, its levels, rotation, odd file names. */
#include "tests/harness.h"

#include <fcntl.h>
#include <regex.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

static char dir[64];

static int enter_scratch(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/gp-test-log-XXXXXX");
	return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int leave_scratch(void **state)
{
	static const char *const names[] = {
		"a.log", "a.log.1", "a.log.2", "a.log.3", "sub/b.log", "moved", "console"};

	(void)state;
	log_close();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(names[i]);
	rmdir("sub");
	return chdir("/") == 0 && rmdir(dir) == 0 ? 0 : -1;
}

static void read_all(const char *path, struct buf *b)
{
	buf_clear(b);
	assert_ok(fs_read_file(path, b));
}

/* What is printed meanwhile goes to a file. */
static int console_begin(int fd)
{
	int saved = dup(fd), file = open("console", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	fflush(NULL);
	assert_true(saved >= 0 && file >= 0);
	dup2(file, fd);
	close(file);
	return saved;
}

static void console_end(int fd, int saved)
{
	dup2(saved, fd);
	close(saved);
}

static void assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_ok(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB));
	if (regexec(&re, text, 0, NULL, 0))
		fail_msg("'%s' does not match %s", text, pattern);
	regfree(&re);
}

#define STAMP "^\\[20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}\\] "

static void log__line_is_the_references(void **state)
{
	const struct log_config config = {.file = "a.log"};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	int saved;

	(void)state;
	saved = console_begin(STDOUT_FILENO);
	assert_ok(log_open(&config));
	log_info("gprofiler", "Saved %s to %d%%", "flamegraph", 7);
	log_debug("gprofiler.x", "quiet");
	console_end(STDOUT_FILENO, saved);
	read_all("console", &text);
	assert_matches(buf_str(&text), STAMP "INFO: gprofiler: Saved flamegraph to 7%\n$");
	read_all("a.log", &text);
	assert_non_null(strstr(buf_str(&text), "DEBUG: gprofiler.x: quiet\n"));
	assert_true(log_enabled(LOG_LEVEL_DEBUG));
	log_close();
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
}

static void log__verbose_and_stderr(void **state)
{
	const struct log_config config = {.verbose = true, .console_stderr = true};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	unsigned long before = log_count(LOG_LEVEL_WARNING);
	int saved = console_begin(STDERR_FILENO);

	(void)state;
	assert_ok(log_open(&config));
	log_debug("gprofiler", "seen");
	log_error("gprofiler", "bad");
	console_end(STDERR_FILENO, saved);
	read_all("console", &text);
	assert_non_null(strstr(buf_str(&text), "DEBUG: gprofiler: seen\n"));
	assert_non_null(strstr(buf_str(&text), "] ERROR: gprofiler: bad\n"));
	assert_int_equal(log_count(LOG_LEVEL_WARNING), before + 1);
}

/* Foreign text cannot forge a line or speak to the terminal, and cannot be longer than a line. */
static void log__foreign_text_stays_in_its_line(void **state)
{
	const struct log_config config = {.file = "a.log"};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	char huge[20000];
	int saved = console_begin(STDOUT_FILENO);

	(void)state;
	memset(huge, 'h', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = 0;
	assert_ok(log_open(&config));
	log_debug("gprofiler", "comm %s", "a\n[2020] ERROR: x\r\033[2J\tb");
	read_all("a.log", &text);
	assert_int_equal(strcspn(buf_str(&text), "\n"), text.len - 1);
	assert_null(strchr(buf_str(&text), '\033'));
	assert_null(strchr(buf_str(&text), '\r'));
	assert_non_null(strstr(buf_str(&text), "\tb\n"));
	log_debug("gprofiler", "%s", huge);
	read_all("a.log", &text);
	assert_true(text.len < 9000);
	assert_int_equal(buf_str(&text)[text.len - 1], '\n');
	console_end(STDOUT_FILENO, saved);
}

static void log__rotates_and_keeps_n(void **state)
{
	const struct log_config config = {.file = "a.log", .rotate_size = 1000, .rotate_count = 2};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	(void)state;
	assert_ok(log_open(&config));
	for (int i = 0; i < 100; i++)
		log_debug("gprofiler", "line number %03d", i);
	for (int i = 0; i < 3; i++) {
		char name[16];

		snprintf(name, sizeof(name), i ? "a.log.%d" : "a.log", i);
		read_all(name, &text);
		assert_true(text.len > 0 && text.len <= 1000);
		// Whole lines only.
		assert_int_equal(text.data[0], '[');
		assert_int_equal(text.data[text.len - 1], '\n');
	}
	assert_int_equal(access("a.log.3", F_OK), -1);
	read_all("a.log", &text);
	assert_non_null(strstr(buf_str(&text), "line number 099\n"));
	// What was written before counts towards the size of a file that is opened again.
	log_close();
	assert_ok(log_open(&config));
	for (int i = 0; i < 20; i++)
		log_debug("gprofiler", "after opening again");
	read_all("a.log", &text);
	assert_true(text.len <= 1000);
}

static void log__odd_files(void **state)
{
	// A bare name crashed the reference; parents are made; what cannot be opened is said.
	const struct log_config deep = {.file = "sub/b.log"}, none = {.file = ""};
	const struct log_config bad = {.file = "/proc/no/such.log"};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	(void)state;
	assert_ok(log_open(&deep));
	log_debug("gprofiler", "deep");
	assert_ok(rename("sub/b.log", "moved"));
	assert_ok(log_reopen());
	log_debug("gprofiler", "new");
	read_all("sub/b.log", &text);
	assert_non_null(strstr(buf_str(&text), "new"));
	assert_null(strstr(buf_str(&text), "deep"));
	assert_ok(log_open(&none));
	assert_true(log_open(&bad) < 0);
}

/* A pipe that nobody reads, filled to the brim: lines are counted and said later, the file has all. */
static void log__a_console_nobody_reads_is_not_waited_for(void **state)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 24), file = BUF_INIT(1 << 24);
	const struct log_config config = {.file = "a.log"};
	char piece[4096];
	int saved, ends[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	assert_ok(log_open(&config));
	fflush(NULL);
	saved = dup(STDOUT_FILENO);
	dup2(ends[1], STDOUT_FILENO);
	fcntl(ends[1], F_SETFL, 0); // as an ordinary console: a write to it would wait
	for (int i = 0; i < 3000; i++)
		log_info("test", "line %d %0500d", i, 0);
	while ((n = read(ends[0], piece, sizeof(piece))) > 0)
		assert_ok(buf_append(&text, piece, (size_t)n));
	log_info("test", "read again");
	n = read(ends[0], piece, sizeof(piece) - 1);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	assert_true(n > 0);
	piece[n] = 0;
	assert_matches(piece, "([0-9]+ lines left out: nobody was reading)");
	assert_non_null(strstr(piece, "read again"));
	assert_non_null(strstr(buf_str(&text), "line 0 "));
	assert_null(strstr(buf_str(&text), "line 2999 "));
	read_all("a.log", &file);
	assert_non_null(strstr(buf_str(&file), "line 2999 "));
	assert_non_null(strstr(buf_str(&file), "read again"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			log__line_is_the_references, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			log__verbose_and_stderr, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			log__foreign_text_stays_in_its_line, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(
			log__rotates_and_keeps_n, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(log__odd_files, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(log__a_console_nobody_reads_is_not_waited_for,
			enter_scratch, leave_scratch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

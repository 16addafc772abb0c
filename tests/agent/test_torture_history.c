/* SPDX-License-Identifier: Apache-2.0 */
/* The file of commands when the n-th allocation, write, sync, link or rename fails, and when the program is
 * killed there: there is the state before or the state after, never half of one. */
#include "tests/agent/commands.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/command_history.h"

/* Every call that can fail is routed through here (meson.build: --wrap), jansson's allocations by
 * json_set_alloc_funcs(). */
static unsigned long step_at, step_count;
static bool step_kills;

static bool step_fails(void)
{
	if (++step_count != step_at)
		return false;
	if (step_kills)
		kill(getpid(), SIGKILL);
	errno = ENOSPC;
	return true;
}

#define STEP(type, name, params, args, failed)                                                     \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return step_fails() ? failed : __real_##name args;                                 \
	}

STEP(void *, malloc, (size_t n), (n), NULL)
STEP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
STEP(void *, realloc, (void *p, size_t n), (p, n), NULL)
STEP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL)
STEP(char *, strdup, (const char *s), (s), NULL)
STEP(char *, strndup, (const char *s, size_t n), (s, n), NULL)
STEP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
STEP(int, fflush, (FILE * f), (f), EOF)
STEP(int, fsync, (int fd), (fd), -1)
STEP(int, linkat, (int a, const char *from, int b, const char *to, int flags),
	(a, from, b, to, flags), -1)
STEP(int, rename, (const char *from, const char *to), (from, to), -1)

ssize_t __real_read(int fd, void *p, size_t n);
ssize_t __wrap_read(int fd, void *p, size_t n);

ssize_t __wrap_read(int fd, void *p, size_t n)
{
	if (!step_fails())
		return __real_read(fd, p, n);
	errno = EIO;
	return -1;
}

size_t __real_fwrite(const void *p, size_t size, size_t n, FILE *f);
size_t __wrap_fwrite(const void *p, size_t size, size_t n, FILE *f);

/* A disk that becomes full takes a part first. */
size_t __wrap_fwrite(const void *p, size_t size, size_t n, FILE *f)
{
	return __real_fwrite(p, size, step_fails() ? n / 2 : n, f);
}

static void *json_malloc(size_t n)
{
	return malloc(n);
}

static void json_free(void *p)
{
	free(p);
}

struct place {
	char dir[64], path[96];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	snprintf(p->dir, sizeof(p->dir), "/tmp/gprofiler-test-commands-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->path, sizeof(p->path), "%s/commands.json", p->dir);
	*state = p;
	return 0;
}

/* Files in the directory; with remove they go. */
static unsigned files(const struct place *p, bool remove)
{
	DIR *d = opendir(p->dir);
	unsigned n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		n += e->d_name[0] != '.';
		if (remove)
			unlinkat(dirfd(d), e->d_name, 0);
	}
	closedir(d);
	return n;
}

static int teardown(void **state)
{
	struct place *p = *state;

	step_at = 0;
	files(p, true);
	rmdir(p->dir);
	free(p);
	return 0;
}

static int receive(struct command_history *h, unsigned n, const char *text)
{
	struct remote_command c = command_of(n, text);
	int r = command_history_receive(h, &c);

	remote_command_deinit(&c);
	return r;
}

/* The state before has the commands 1 and 2, the one after 3 besides. */
static void before(struct command_history *h)
{
	const struct command_outcome failed = {.failed = true, .seconds = 3, .error = "because"};
	char id[REMOTE_ID_MAX + 1];

	command_history_init(h);
	assert_ok(receive(h, 1, CONTINUOUS_TEXT));
	assert_ok(receive(h, 2, ONCE_TEXT));
	assert_ok(command_history_finish(h, command_id(2, id), &failed));
}

static int keep(const struct command_history *h, const struct place *p)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	int r = command_history_encode(h, &text);

	return r ? r : command_history_write(&text, p->path);
}

/* What the next run finds: 2 or 3 commands, each as it was. */
static size_t found(const struct place *p)
{
	const struct command_entry *due;
	struct command_history h;
	char id[REMOTE_ID_MAX + 1];
	size_t n;

	command_history_init(&h);
	assert_ok(command_history_load(&h, p->path));
	n = h.entries.len;
	assert_true(n == 2 || n == 3);
	due = command_history_due(&h);
	assert_non_null(due);
	assert_string_equal(due->id, command_id(2, id));
	assert_string_equal(due->error, "because");
	assert_true(due->failed && due->executed && due->seconds == 3);
	assert_int_equal(h.entries.data[0].executed, false);
	assert_int_equal(h.force.body != NULL, n == 2);
	assert_int_equal(h.stopped, n == 3);
	command_history_deinit(&h);
	return n;
}

static void torture__a_failure_leaves_one_state_whole(void **state)
{
	const struct place *p = *state;
	unsigned long failed = 0;
	struct command_history h;

	before(&h);
	assert_ok(keep(&h, p));
	assert_int_equal(found(p), 2);
	for (unsigned long n = 1;; n++) {
		struct command_history after;
		bool hit;
		int r;

		before(&after);
		assert_ok(receive(&after, 3, STOP_TEXT));
		assert_ok(keep(&h, p));
		step_count = 0;
		step_at = n;
		r = keep(&after, p);
		hit = step_count >= n;
		step_at = 0;
		command_history_deinit(&after);
		// No error, and it is there; nothing else is left behind.
		if (!r)
			assert_int_equal(found(p), 3);
		else
			found(p);
		assert_int_equal(files(p, false), 1);
		if (!hit)
			break;
		failed++;
	}
	command_history_deinit(&h);
	assert_true(failed > 20);
	printf("# %lu calls failed\n", failed);
}

static void torture__a_kill_leaves_one_state_whole(void **state)
{
	const struct place *p = *state;
	struct command_history h;
	unsigned long killed = 0;
	unsigned old = 0;

	before(&h);
	for (unsigned long n = 1;; n++) {
		int status;
		pid_t pid;

		assert_ok(keep(&h, p));
		pid = fork();
		if (!pid) {
			int r;

			receive(&h, 3, STOP_TEXT);
			step_kills = true;
			step_count = 0;
			step_at = n;
			r = keep(&h, p);
			step_at = 0;
			_exit(r ? 1 : 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		old += found(p) == 2;
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			assert_int_equal(found(p), 3);
			break;
		}
		assert_int_equal(WTERMSIG(status), SIGKILL);
		killed++;
		files(p, true);
	}
	command_history_deinit(&h);
	// Both states were seen: before the rename the old one, after it the new one.
	assert_true(killed > 20 && old > 0 && old < killed + 1);
	printf("# killed at %lu calls, the state before was found %u times\n", killed, old);
}

static void torture__reading(void **state)
{
	const struct place *p = *state;
	unsigned long failed = 0, no_memory = 0;
	struct command_history h;

	before(&h);
	assert_ok(keep(&h, p));
	command_history_deinit(&h);
	for (unsigned long n = 1;; n++) {
		bool hit;
		int r;

		command_history_init(&h);
		step_count = 0;
		step_at = n;
		r = command_history_load(&h, p->path);
		hit = step_count >= n;
		step_at = 0;
		// Within a string jansson calls it a bad token.
		assert_true(r == 0 || r == -ENOMEM || r == -EIO || r == -EINVAL);
		no_memory += r == -ENOMEM;
		assert_int_equal(h.entries.len, r ? 0 : 2);
		assert_int_equal(h.force.body != NULL, !r);
		command_history_deinit(&h);
		if (!hit)
			break;
		failed++;
	}
	assert_true(failed > 20 && no_memory > failed / 4);
	assert_int_equal(found(p), 2);
	printf("# %lu calls failed, %lu were told as no memory\n", failed, no_memory);
}

/* A command that cannot be remembered is as if it had not come. */
static void torture__receiving(void **state)
{
	unsigned long failed = 0;

	(void)state;
	for (unsigned long n = 1;; n++) {
		struct remote_command c = command_of(3, CONTINUOUS_TEXT);
		struct command_history h;
		bool hit;
		int r;

		before(&h);
		step_count = 0;
		step_at = n;
		r = command_history_receive(&h, &c);
		hit = step_count >= n;
		step_at = 0;
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(command_history_has(&h, c.id), !r);
		assert_int_equal(!strcmp(h.force.id, c.id), !r);
		assert_non_null(h.force.body);
		remote_command_deinit(&c);
		command_history_deinit(&h);
		if (!hit)
			break;
		failed++;
	}
	assert_true(failed > 3);
	printf("# %lu calls failed\n", failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			torture__a_failure_leaves_one_state_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(
			torture__a_kill_leaves_one_state_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(torture__reading, setup, teardown),
		cmocka_unit_test(torture__receiving),
	};

	json_set_alloc_funcs(json_malloc, json_free);
	return cmocka_run_group_tests_name("torture_history", tests, NULL, NULL);
}

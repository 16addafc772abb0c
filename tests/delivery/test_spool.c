/* SPDX-License-Identifier: Apache-2.0 */
/* The spool: order, caps, damage; the n-th write, sync or rename fails; kill -9 while it writes. */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "delivery/spool.h"

#define SECOND 1000000000ull
#define NOW (1700000000ull * SECOND)
#define ITEM_MAX 65536

/* The calls a spool makes on its files are routed through here (meson.build: --wrap). */
static unsigned long call_at, call_count;
static int call_error;

static bool call_fails(void)
{
	if (++call_count != call_at)
		return false;
	errno = call_error;
	return true;
}

ssize_t __real_write(int fd, const void *data, size_t len);
int __real_fsync(int fd);
int __real_renameat(int a, const char *from, int b, const char *to);
ssize_t __wrap_write(int fd, const void *data, size_t len);
int __wrap_fsync(int fd);
int __wrap_renameat(int a, const char *from, int b, const char *to);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	if (!call_fails())
		return __real_write(fd, data, len);
	// A disk that becomes full takes a part first.
	if (len > 1 && fd > 2)
		(void)!__real_write(fd, data, len / 2);
	errno = call_error;
	return -1;
}

int __wrap_fsync(int fd)
{
	return call_fails() ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int a, const char *from, int b, const char *to)
{
	return call_fails() ? -1 : __real_renameat(a, from, b, to);
}

struct place {
	char dir[64], spool[80];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	snprintf(p->dir, sizeof(p->dir), "/tmp/gprofiler-spool-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->spool, sizeof(p->spool), "%s/spool", p->dir);
	call_at = call_count = 0;
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	char path[400];
	DIR *d = opendir(p->spool);

	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof(path), "%s/%s", p->spool, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(p->spool);
	rmdir(p->dir);
	free(p);
	return 0;
}

static struct spool *open_spool(const struct place *p, uint64_t max_bytes)
{
	struct spool *s = NULL;

	assert_ok(spool_open(&(struct spool_config){.dir = p->spool,
				     .max_bytes = max_bytes,
				     .max_age_s = UINT64_MAX,
				     .item_max = ITEM_MAX},
		&s));
	return s;
}

static unsigned files(const struct place *p)
{
	unsigned n = 0;
	DIR *d = opendir(p->spool);

	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void put(struct spool *s, const char *text, uint64_t now)
{
	assert_ok(spool_put(s, text, strlen(text), now));
}

static void expect_oldest(struct spool *s, const char *text)
{
	_cleanup_buf_ struct buf b = BUF_INIT(ITEM_MAX);
	uint64_t id;

	assert_ok(spool_oldest(s, &id));
	assert_ok(spool_read(s, id, &b));
	assert_string_equal(buf_str(&b), text);
	spool_remove(s, id, false);
}

static void spool__first_in_first_out_and_over_restarts(void **state)
{
	struct spool *s = open_spool(*state, 1000);
	uint64_t id;

	put(s, "one", NOW);
	put(s, "two", NOW); // the same instant
	put(s, "three", NOW + 5);
	spool_close(s);
	s = open_spool(*state, 1000);
	assert_int_equal(spool_items(s), 3);
	assert_int_equal(spool_bytes(s), 11);
	put(s, "zero", NOW - 5); // a clock that was set back
	expect_oldest(s, "zero");
	expect_oldest(s, "one");
	expect_oldest(s, "two");
	expect_oldest(s, "three");
	assert_int_equal(spool_oldest(s, &id), -ENOENT);
	assert_int_equal(spool_bytes(s), 0);
	assert_int_equal(spool_stats(s)->taken, 4);
	assert_int_equal(files(*state), 0);
	spool_close(s);
}

static void spool__oldest_go_first(void **state)
{
	struct spool *s = open_spool(*state, 10);
	struct spool *other;

	for (unsigned i = 0; i < 10; i++)
		put(s, "abc", NOW + i);
	assert_int_equal(spool_items(s), 3);
	assert_int_equal(spool_stats(s)->lost_size, 7);
	assert_int_equal(files(*state), 3);
	assert_int_equal(spool_put(s, "more than the cap", 17, NOW), -EFBIG);
	assert_int_equal(spool_items(s), 3);
	// One program at a time.
	assert_int_equal(spool_open(&(struct spool_config){.dir = ((struct place *)*state)->spool,
					    .max_bytes = 10,
					    .item_max = 10},
				 &other),
		-EBUSY);
	spool_close(s);
	// A smaller cap holds at once.
	s = open_spool(*state, 4);
	assert_int_equal(spool_items(s), 1);
	spool_expire(s, NOW);
	assert_int_equal(spool_items(s), 1);
	spool_close(s);
}

static void spool__what_is_set_aside_goes_last(void **state)
{
	struct place *p = *state;
	struct spool *s = open_spool(p, 1000);
	uint64_t id;

	put(s, "one", 10);
	put(s, "two", 20);
	assert_ok(spool_oldest(s, &id));
	assert_false(spool_was_aside(s, id));
	spool_set_aside(s, id);
	put(s, "three", 30);
	expect_oldest(s, "two");
	assert_ok(spool_oldest(s, &id));
	spool_set_aside(s, id);
	assert_int_equal(spool_oldest(s, &id), -ENOENT);
	assert_int_equal(spool_items(s), 2);
	spool_recall(s);
	assert_ok(spool_oldest(s, &id));
	assert_true(spool_was_aside(s, id));
	expect_oldest(s, "one");
	expect_oldest(s, "three");
	spool_close(s);
}

static void spool__age(void **state)
{
	const struct place *p = *state;
	struct spool *s = open_spool(p, 1000);

	put(s, "old", NOW);
	put(s, "young", NOW + 100 * SECOND);
	spool_close(s);
	assert_ok(spool_open(&(struct spool_config){.dir = p->spool,
				     .max_bytes = 1000,
				     .max_age_s = UINT64_MAX / SECOND,
				     .item_max = ITEM_MAX},
		&s));
	assert_int_equal(spool_items(s), 2);
	spool_close(s);
	assert_ok(spool_open(
		&(struct spool_config){
			.dir = p->spool, .max_bytes = 1000, .max_age_s = 60, .item_max = ITEM_MAX},
		&s));
	// By the real clock both are years old.
	assert_int_equal(spool_items(s), 0);
	assert_int_equal(spool_stats(s)->lost_age, 2);
	put(s, "old", NOW);
	put(s, "young", NOW + 100 * SECOND);
	spool_expire(s, NOW + 120 * SECOND);
	expect_oldest(s, "young");
	spool_close(s);
}

static void spool__is_private(void **state)
{
	const struct place *p = *state;
	struct spool *s = open_spool(p, 1000);
	struct stat st;
	char path[160];

	put(s, "x", NOW);
	assert_ok(stat(p->spool, &st));
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/%016llx.upload", p->spool, NOW);
	assert_ok(stat(path, &st));
	assert_int_equal(st.st_mode & 0777, 0600);
	spool_close(s);
	assert_ok(chmod(p->spool, 0777));
	assert_int_equal(
		spool_open(&(struct spool_config){.dir = p->spool, .max_bytes = 10}, &s), -EPERM);
	assert_ok(chmod(p->spool, 0700));
}

static void spool__foreign_files(void **state)
{
	const struct place *p = *state;
	struct spool *s = open_spool(p, 1000);
	_cleanup_buf_ struct buf b = BUF_INIT(ITEM_MAX);
	char path[160];
	uint64_t id;
	int fd;

	spool_close(s);
	snprintf(path, sizeof(path), "%s/%016llx.upload", p->spool, NOW);
	assert_ok(symlink("/etc/passwd", path));
	snprintf(path, sizeof(path), "%s/%016llX.upload", p->spool, NOW + 0xabc);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/%016llx.upload", p->spool, NOW + 1);
	fd = open(path, O_CREAT | O_WRONLY, 0600); // empty
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/%016llx.upload", p->spool, NOW + 2);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_ok(ftruncate(fd, ITEM_MAX + 1));
	close(fd);
	s = open_spool(p, UINT64_MAX);
	assert_int_equal(spool_items(s), 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(spool_oldest(s, &id));
		assert_int_equal(spool_read(s, id, &b), -EINVAL);
		spool_remove(s, id, true);
	}
	assert_int_equal(spool_stats(s)->lost_damaged, 2);
	spool_close(s);
}

/* Whatever call fails: the items that were acknowledged are whole, the one that was not is absent,
 * no temporary file stays, and the next item goes through. */
static void torture__each_call_fails(void **state)
{
	static const int reasons[] = {EIO, ENOSPC, EROFS};

	for (size_t e = 0; e < ARRAY_SIZE(reasons); e++) {
		for (unsigned long n = 1; n <= 12; n++) {
			struct spool *s = open_spool(*state, 1000);
			unsigned kept = 0;
			bool ok[3];

			call_error = reasons[e];
			call_count = 0;
			call_at = n;
			for (unsigned i = 0; i < 3; i++) {
				char text[16];

				snprintf(text, sizeof(text), "item %u", i);
				ok[i] = spool_put(s, text, strlen(text), NOW + i) == 0;
			}
			call_at = 0;
			for (unsigned i = 0; i < 3; i++)
				kept += ok[i];
			// A full disk costs the oldest, anything else the one that was written.
			if (reasons[e] == ENOSPC)
				kept -= (unsigned)spool_stats(s)->lost_size;
			assert_int_equal(spool_items(s), kept);
			assert_int_equal(files(*state), kept);
			assert_true(kept >= 2);
			spool_close(s);
			s = open_spool(*state, 1000);
			assert_int_equal(spool_items(s), kept);
			for (unsigned i = (unsigned)(3 - kept); kept--;) {
				_cleanup_buf_ struct buf b = BUF_INIT(ITEM_MAX);
				uint64_t id;

				(void)i;
				assert_ok(spool_oldest(s, &id));
				assert_ok(spool_read(s, id, &b));
				assert_int_equal(b.len, 6);
				assert_memory_equal(b.data, "item ", 5);
				spool_remove(s, id, false);
			}
			spool_close(s);
		}
	}
}

/* A process that puts items until it is killed, and says of each when it is kept. */
static void child_puts(const struct place *p, int out)
{
	struct spool *s = open_spool(p, UINT64_MAX);
	static char data[40000];

	for (uint32_t i = 1;; i++) {
		memset(data, 'a' + (int)(i % 26), sizeof(data));
		memcpy(data, &i, sizeof(i));
		if (spool_put(s, data, sizeof(data), NOW + i * SECOND) ||
			write(out, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

static void torture__kill_9_while_writing(void **state)
{
	uint32_t total = 0;

	for (unsigned round = 0; round < 20; round++) {
		uint32_t last = 0, seen = 0, i;
		struct spool *s;
		int fds[2];
		pid_t pid;

		assert_ok(pipe(fds));
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(fds[0]);
			child_puts(*state, fds[1]);
		}
		close(fds[1]);
		for (unsigned k = 0; k < 3 && read(fds[0], &i, sizeof(i)) == sizeof(i); k++)
			last = i;
		usleep(round * 137);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(fds[0], &i, sizeof(i)) == sizeof(i))
			last = i;
		close(fds[0]);
		assert_true(last >= 3);
		s = open_spool(*state, UINT64_MAX);
		for (uint64_t id; !spool_oldest(s, &id);) {
			_cleanup_buf_ struct buf b = BUF_INIT(ITEM_MAX);

			assert_ok(spool_read(s, id, &b));
			assert_int_equal(b.len, 40000);
			memcpy(&i, b.data, sizeof(i));
			assert_int_equal(i, ++seen);
			assert_int_equal(b.data[39999], 'a' + (int)(i % 26));
			spool_remove(s, id, false);
		}
		// All that were acknowledged; one more may be whole without having been.
		assert_true(seen == last || seen == last + 1);
		assert_int_equal(files(*state), 0);
		spool_close(s);
		total += seen;
	}
	printf("# %u items over 20 kills\n", total);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			spool__first_in_first_out_and_over_restarts, setup, teardown),
		cmocka_unit_test_setup_teardown(spool__oldest_go_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
			spool__what_is_set_aside_goes_last, setup, teardown),
		cmocka_unit_test_setup_teardown(spool__age, setup, teardown),
		cmocka_unit_test_setup_teardown(spool__is_private, setup, teardown),
		cmocka_unit_test_setup_teardown(spool__foreign_files, setup, teardown),
		cmocka_unit_test_setup_teardown(torture__each_call_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(torture__kill_9_while_writing, setup, teardown),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}

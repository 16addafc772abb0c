/* SPDX-License-Identifier: Apache-2.0 */
/* The maps parser on every odd line, kinds by name, and the mapping set against a byte-wise model. */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "process/maps.h"
#include "process/table.h"

struct seen {
	struct maps_line lines[32];
	char paths[32][MAPS_PATH_MAX];
	size_t n;
};

static int collect(void *arg, const struct maps_line *line)
{
	struct seen *s = arg;

	assert_true(s->n < 32);
	s->lines[s->n] = *line;
	snprintf(s->paths[s->n], MAPS_PATH_MAX, "%s", line->path);
	s->n++;
	return 0;
}

static void maps__odd_lines(void **state)
{
	static const char text[] =
		"55e0c0000000-55e0c0001000 r-xp 00002000 fe:00 1234                       /usr/bin/a b  c\n"
		"7f0000000000-7f0000001000 r-xp 00000000 fe:00 77  /tmp/new\\012line (deleted)\n"
		"7f0000001000-7f0000002000 rwxp 00000000 00:00 0 \n"
		"7f0000002000-7f0000003000 rwxp 00000000 00:00 0\n"
		"7f0000003000-7f0000004000 rwxs 00000000 00:01 9  /memfd:jit (deleted)\n"
		"garbage\n"
		"7f0000005000-7f0000004000 r-xp 00000000 00:00 0 \n" // ends before it starts
		"7f0000005000-7f0000006000 r?xp 00000000 00:00 0 \n"
		"fffffffffffffffff-7f0000006000 r-xp 00000000 00:00 0 \n" // 17 digits
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
		"7f0000009000-7f000000a000 r-xp 00000000 00:00 0 [anon:dalvik code]\n"
		"7f000000a000-7f000000b000 r-xp 00000000 00:00 0 [unfinish";
	static struct seen s;
	ssize_t done = maps_parse(text, sizeof(text) - 1, collect, &s);

	(void)state;
	assert_int_equal(done, strstr(text, "7f000000a000-7f") - text);
	assert_int_equal(s.n, 7);
	assert_int_equal(s.lines[0].start, 0x55e0c0000000);
	assert_int_equal(s.lines[0].pgoff, 0x2000);
	assert_int_equal(s.lines[0].maj, 0xfe);
	assert_int_equal(s.lines[0].ino, 1234);
	assert_true(s.lines[0].exec && s.lines[0].read && !s.lines[0].write);
	assert_string_equal(s.paths[0], "/usr/bin/a b  c");
	assert_string_equal(s.paths[1], "/tmp/new\nline (deleted)");
	assert_string_equal(s.paths[2], "");
	assert_string_equal(s.paths[3], "");
	assert_true(s.lines[4].shared);
	assert_string_equal(s.paths[5], "[vsyscall]");
	assert_string_equal(s.paths[6], "[anon:dalvik code]");
}

static int stop_at_two(void *arg, const struct maps_line *line)
{
	(void)line;
	return ++*(int *)arg == 2 ? -ECANCELED : 0;
}

static void maps__reads_itself_in_pieces(void **state)
{
	int fd = open("/proc/self/maps", O_RDONLY), n = 0;
	char path[64] = "/tmp/test_maps.XXXXXX";
	int tmp = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && tmp >= 0);
	unlink(path);
	// 5000 lines of 100 to 300 bytes: pieces end inside lines.
	for (int i = 0; i < 5000; i++)
		dprintf(tmp, "%x000-%x000 r-xp 00000000 fe:00 5 /lib/%0*d\n", 0x1000 + i,
			0x1001 + i, 100 + i % 200, i);
	lseek(tmp, 0, SEEK_SET);
	assert_int_equal(maps_read_fd(fd, stop_at_two, &n), -ECANCELED);
	close(fd);
	n = 10;
	assert_int_equal(maps_read_fd(tmp, stop_at_two, &n), 0);
	assert_int_equal(n, 5010);
	close(tmp);
}

static void maps__kinds(void **state)
{
	static const struct {
		const char *path;
		enum mapping_kind kind;
	} rows[] = {
		{"/usr/lib/libc.so.6", MAPPING_FILE},
		{"/usr/lib/x (deleted)", MAPPING_FILE},
		{"/dev/shm/jffi.so", MAPPING_FILE},
		{"/devel/lib.so", MAPPING_FILE},
		{"", MAPPING_ANON},
		{"//anon", MAPPING_ANON},
		{"[anon:v8]", MAPPING_ANON},
		{"[heap]", MAPPING_ANON},
		{"[stack]", MAPPING_ANON},
		{"/anon_hugepage (deleted)", MAPPING_ANON},
		{"[vdso]", MAPPING_VDSO},
		{"[vsyscall]", MAPPING_NOFILE},
		{"/memfd:doublemapper (deleted)", MAPPING_NOFILE},
		{"/dev/zero (deleted)", MAPPING_NOFILE},
		{"/dev/nvidia0", MAPPING_NOFILE},
		{"/dev/nvidia-uvm", MAPPING_NOFILE},
		{"/dev/dri/renderD128", MAPPING_NOFILE},
		{"/dev/mem", MAPPING_NOFILE},
		{"/SYSV00000000 (deleted)", MAPPING_NOFILE},
		{"/dmabuf:", MAPPING_NOFILE},
		{"/drm mm object (deleted)", MAPPING_NOFILE},
		{"/[aio] (deleted)", MAPPING_NOFILE},
		{"/sys/devices/pci0000:00/resource0", MAPPING_NOFILE},
		{"anon_inode:[perf_event]", MAPPING_NOFILE},
		{"socket:[123]", MAPPING_NOFILE},
	};
	bool deleted;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (maps_kind(rows[i].path) != rows[i].kind)
			fail_msg("%s: kind %d", rows[i].path, maps_kind(rows[i].path));
	assert_int_equal(maps_path_len("/a (deleted)", &deleted), 2);
	assert_true(deleted);
	assert_int_equal(maps_path_len(" (deleted)", &deleted), 10);
	assert_false(deleted);
}

#define PAGES 64

/* Each page knows the module, file page and kind that the last put gave it; 0 = unmapped. */
struct model {
	uint32_t module[PAGES];
	uint64_t pgoff[PAGES];
};

static void compare(const struct mapping_vec *v, const struct model *model)
{
	for (size_t i = 0; i < v->len; i++) {
		assert_true(v->data[i].start < v->data[i].end);
		if (i)
			assert_true(v->data[i - 1].end <= v->data[i].start);
	}
	for (uint64_t page = 0; page < PAGES; page++) {
		ssize_t at = mapping_vec_find(v, page * 4096 + 17);

		assert_int_equal(at >= 0, model->module[page] != 0);
		if (at < 0)
			continue;
		assert_int_equal(v->data[at].module, model->module[page]);
		assert_int_equal(
			v->data[at].pgoff + page * 4096 - v->data[at].start, model->pgoff[page]);
	}
}

static void mapping_vec__matches_model(void **state)
{
	struct mapping_vec v;
	struct model model = {0};

	(void)state;
	srand(11);
	mapping_vec_init(&v, PAGES);
	for (int i = 0; i < 20000; i++) {
		uint64_t start = (uint64_t)rand() % PAGES;
		uint64_t n = 1 + (uint64_t)rand() % MIN(12, PAGES - start);
		struct mapping m = {
			.start = start * 4096,
			.end = (start + n) * 4096,
			.pgoff = (uint64_t)(rand() % 4) * 4096 + start * 4096,
			.module = 1 + (uint32_t)rand() % 3,
			.kind = MAPPING_FILE,
		};
		bool cut = rand() % 3 == 0;
		struct mapping_vec before = v;
		int r;

		before.data = malloc((v.len + 1) * sizeof(m));
		memcpy(before.data, v.data ? v.data : &m, v.len * sizeof(m));
		r = cut ? mapping_vec_cut(&v, m.start, m.end) : mapping_vec_put(&v, &m);
		assert_true(r == 0 || r == 1);
		if (r == 0) {
			assert_int_equal(before.len, v.len);
			if (v.len)
				assert_memory_equal(before.data, v.data, v.len * sizeof(m));
		}
		free(before.data);
		for (uint64_t p = start; p < start + n; p++) {
			model.module[p] = cut ? 0 : m.module;
			model.pgoff[p] = m.pgoff + (p - start) * 4096;
		}
		compare(&v, &model);
	}
	mapping_vec_deinit(&v);
}

static void mapping_vec__pieces_of_one_mapping_join(void **state)
{
	struct mapping_vec v;
	struct mapping m = {.start = 0x1000, .end = 0x2000, .kind = MAPPING_ANON};

	(void)state;
	mapping_vec_init(&v, 4);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(mapping_vec_put(&v, &m), 1);
		m.start += 0x1000;
		m.end += 0x1000;
	}
	assert_int_equal(v.len, 1);
	m.start = 0x3000;
	m.end = 0x4000;
	assert_int_equal(mapping_vec_put(&v, &m), 0);
	mapping_vec_deinit(&v);
}

static void stat__hostile_names(void **state)
{
	static const char text[] =
		"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 13 0 100 99 1 2";
	struct process_stat st;

	(void)state;
	assert_true(process_stat_parse(text, sizeof(text) - 1, &st));
	assert_string_equal(st.comm, "a) R 1 (b\n");
	assert_int_equal(st.state, 'S');
	assert_int_equal(st.ppid, 7);
	assert_int_equal(st.nthreads, 13);
	assert_int_equal(st.start_time, 100 * 10000000ull);
	assert_int_equal(st.cpu_ns, (5 + 6) * 10000000ull);
	assert_false(st.kernel_thread);
	assert_false(process_stat_parse(text, 20, &st));
	assert_false(process_stat_parse(") (", 3, &st));
}

static void stat__where_a_thread_blocks(void **state)
{
	static const char in_call[] = "0 0x3 0x7ffc10 0x1 0x0 0x0 0x0 0x7ffd8 0x7f01\n";
	static const char *const bad[] = {
		"", "\n", "-1", "-1 0x7ffd8", "0 0x1 7ffd8 0x1", "-1 0x1 0x1g"};
	struct process_blocked b;

	(void)state;
	assert_true(process_blocked_parse(in_call, sizeof(in_call) - 1, &b));
	assert_true(!b.running && b.sp == 0x7ffd8 && b.pc == 0x7f01);
	assert_true(process_blocked_parse("-1 0x10 0x20", 12, &b) && b.sp == 0x10 && b.pc == 0x20);
	assert_true(process_blocked_parse("running\n", 8, &b) && b.running && !b.sp);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(process_blocked_parse(bad[i], strlen(bad[i]), &b));
}

#define ID_A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void cgroup__container_is_last_group_of_first_line(void **state)
{
	static const struct {
		const char *text, *path, *container;
	} rows[] = {
		{"0::/system.slice/docker-" ID_A ".scope\n", "/system.slice/docker-" ID_A ".scope",
			ID_A},
		{"12:cpu:/docker/" ID_B "/docker/" ID_A "\n11:memory:/docker/" ID_B "\n0::/\n",
			"/docker/" ID_B "/docker/" ID_A, ID_A},
		{"4:memory:/user\n0::/\n", "/user", NULL},
		{"4:memory:/user\n0::/kubepods/x", "/kubepods/x", NULL},
		{"0::/a" ID_A "\n", "/a" ID_A, NULL}, // 65 digits
		{"", NULL, NULL},
		{"nonsense\n::\n", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct cgroup_slices s;

		process_cgroup_parse(rows[i].text, strlen(rows[i].text), &s);
		assert_int_equal(s.path_len, rows[i].path ? strlen(rows[i].path) : 0);
		if (s.path_len)
			assert_memory_equal(s.path, rows[i].path, s.path_len);
		assert_int_equal(s.container_len, rows[i].container ? 64 : 0);
		if (s.container_len)
			assert_memory_equal(s.container, rows[i].container, 64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps__odd_lines),
		cmocka_unit_test(maps__reads_itself_in_pieces),
		cmocka_unit_test(maps__kinds),
		cmocka_unit_test(mapping_vec__matches_model),
		cmocka_unit_test(mapping_vec__pieces_of_one_mapping_join),
		cmocka_unit_test(stat__hostile_names),
		cmocka_unit_test(stat__where_a_thread_blocks),
		cmocka_unit_test(cgroup__container_is_last_group_of_first_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cgroups: trees of files as v1, v2 and hybrid hosts show them; ranking, containers, membership. */
#include "tests/scratch.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "agent/cgroups.h"
#include "base/clock.h"
#include "base/fs.h"

#define ID_A "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

struct tree {
	char dir[SCRATCH_DIR];
	char mountinfo[96];
};

static void put(const struct tree *t, const char *path, const char *text)
{
	scratch_put(t->dir, path, text);
}

/* hierarchies: letters of v2, cpuacct, memory */
static void tree_begin(struct tree *t, const char *hierarchies)
{
	char text[1024] = "22 1 0:5 / / rw - ext4 /dev/sda1 rw\n";
	size_t n = strlen(text);

	scratch_begin(t->dir, "cgroups");
	if (strchr(hierarchies, '2'))
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"30 22 0:26 / %s/v2 rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			t->dir);
	if (strchr(hierarchies, 'c'))
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"31 22 0:27 / %s/cpu rw - cgroup cgroup rw,cpu,cpuacct\n", t->dir);
	if (strchr(hierarchies, 'm'))
		snprintf(text + n, sizeof(text) - n,
			"32 22 0:28 / %s/memory rw shared:1 master:2 - cgroup cgroup rw,memory\n",
			t->dir);
	put(t, "mountinfo", text);
	snprintf(t->mountinfo, sizeof(t->mountinfo), "%s/mountinfo", t->dir);
}

static void tree_end(struct tree *t)
{
	scratch_end(t->dir);
}

static void v2_group(
	const struct tree *t, const char *path, unsigned long usec, unsigned mb, const char *pids)
{
	char file[512], text[128];

	snprintf(file, sizeof(file), "v2%s/cpu.stat", path);
	snprintf(text, sizeof(text), "usage_usec %lu\nuser_usec 1\nsystem_usec 2\n", usec);
	put(t, file, text);
	snprintf(file, sizeof(file), "v2%s/memory.current", path);
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)mb << 20);
	put(t, file, text);
	snprintf(file, sizeof(file), "v2%s/cgroup.procs", path);
	put(t, file, pids);
}

static bool chosen(const struct cgroups *c, const char *path)
{
	uint32_t id = intern_find(&c->paths, path, strlen(path));

	return id && c->groups.data[id - 1].chosen;
}

static uint64_t inode(const struct tree *t, const char *path)
{
	char full[512];
	struct stat st;

	snprintf(full, sizeof(full), "%s/v2%s", t->dir, path);
	assert_ok(stat(full, &st));
	return st.st_ino;
}

static void container__of_every_engine(void **state)
{
	static const struct {
		const char *path, *container;
	} cases[] = {
		{"/docker/" ID_A, "/docker/" ID_A},
		{"/docker/" ID_A "/init.scope", "/docker/" ID_A},
		{"/system.slice/docker-" ID_A ".scope", "/system.slice/docker-" ID_A ".scope"},
		{"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID_A ".scope/x",
			"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID_A ".scope"},
		{"/kubepods/burstable/pod5/" ID_B, "/kubepods/burstable/pod5/" ID_B},
		{"/kubepods.slice/crio-" ID_B ".scope", "/kubepods.slice/crio-" ID_B ".scope"},
		{"/machine.slice/libpod-" ID_A ".scope/container",
			"/machine.slice/libpod-" ID_A ".scope"},
		{"/machine.slice/libpod-conmon-" ID_A ".scope", ""},
		{"/kubepods.slice/crio-conmon-" ID_A ".scope", ""},
		{"/user.slice/user-1000.slice", ""},
		{"/x/0123456789abcdef", ""},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[256];

		snprintf(got, sizeof(got), "%.*s", (int)cgroups_container(cases[i].path),
			cases[i].path);
		assert_string_equal(got, cases[i].container);
	}
}

static void choose__by_rate_not_by_age(void **state)
{
	const struct cgroups_limits limits = {.total = 2};
	struct cgroups c;
	struct tree t;

	(void)state;
	tree_begin(&t, "2");
	v2_group(&t, "/old", 900000000, 10, "11\n");
	v2_group(&t, "/busy", 1000, 10, "12\n");
	v2_group(&t, "/idle", 1000, 10, "13\n");
	v2_group(&t, "/some", 1000, 10, "14\n");
	assert_ok(cgroups_init(&c, t.mountinfo));
	assert_ok(cgroups_choose(&c, &limits));
	v2_group(&t, "/busy", 9001000, 10, "12\n");
	v2_group(&t, "/some", 4001000, 10, "14\n");
	assert_ok(cgroups_choose(&c, &limits));
	assert_int_equal(c.chosen, 2);
	assert_true(chosen(&c, "/busy") && chosen(&c, "/some"));
	assert_true(cgroups_has(&c, inode(&t, "/busy"), 999));
	assert_false(cgroups_has(&c, inode(&t, "/old"), 11));
	cgroups_made(&c, "/busy/new", 424242);
	cgroups_made(&c, "/old/new", 434343);
	assert_true(cgroups_has(&c, 424242, 1));
	assert_false(cgroups_has(&c, 434343, 1));
	cgroups_deinit(&c);
	tree_end(&t);
}

/* Ten percent of a CPU are more than forty of the memory; among those that are idle it is memory. */
static void choose__cpu_ten_times_before_memory(void **state)
{
	struct cgroups_limits limits = {.total = 1};
	struct cgroups c;
	struct sysinfo si;
	struct tree t;
	unsigned mb;

	(void)state;
	assert_ok(sysinfo(&si));
	mb = (unsigned)(((uint64_t)si.totalram * si.mem_unit >> 20) * 4 / 10);
	tree_begin(&t, "2");
	v2_group(&t, "/small", 1000, 1, "1\n");
	v2_group(&t, "/large", 1000, mb, "2\n");
	v2_group(&t, "/works", 1000, 1, "3\n");
	assert_ok(cgroups_init(&c, t.mountinfo));
	assert_ok(cgroups_choose(&c, &limits));
	assert_true(chosen(&c, "/large"));
	v2_group(&t, "/works", 100001000, 1, "3\n");
	c.read_ns -= 1000 * NSEC_PER_SEC;
	assert_ok(cgroups_choose(&c, &limits));
	assert_true(chosen(&c, "/works"));
	cgroups_deinit(&c);
	tree_end(&t);
}

static void choose__never_a_parent_with_its_child(void **state)
{
	const struct cgroups_limits limits = {.total = 4};
	struct cgroups c;
	struct tree t;

	(void)state;
	tree_begin(&t, "2");
	// What is used in the parent itself is little; its sum is most.
	v2_group(&t, "/p", 1000, 10, "1\n");
	v2_group(&t, "/p/a", 1000, 10, "2\n");
	v2_group(&t, "/p/b", 1000, 10, "3\n");
	v2_group(&t, "/q", 1000, 10, "4\n");
	v2_group(&t, "/empty", 1000, 10, "");
	assert_ok(cgroups_init(&c, t.mountinfo));
	assert_ok(cgroups_choose(&c, &limits));
	v2_group(&t, "/p", 9000000, 10, "1\n");
	v2_group(&t, "/p/a", 5000000, 10, "2\n");
	v2_group(&t, "/p/b", 3900000, 10, "3\n");
	v2_group(&t, "/q", 1000000, 10, "4\n");
	v2_group(&t, "/empty", 90000000, 10, "");
	assert_ok(cgroups_choose(&c, &limits));
	assert_true(chosen(&c, "/p/a") && chosen(&c, "/p/b") && chosen(&c, "/q"));
	// There is room for one more, and the parent is not it.
	assert_int_equal(c.chosen, 3);
	assert_false(chosen(&c, "/p") || chosen(&c, "/empty"));
	cgroups_deinit(&c);
	tree_end(&t);
}

static void choose__containers_first_and_whole(void **state)
{
	const struct cgroups_limits one = {.total = 0, .containers = 1};
	const struct cgroups_limits mixed = {.total = 2, .containers = 1};
	const struct cgroups_limits many = {.total = 9, .containers = 1};
	struct cgroups c;
	struct tree t;

	(void)state;
	tree_begin(&t, "2");
	v2_group(&t, "/docker", 0, 0, "");
	v2_group(&t, "/docker/" ID_A, 0, 1, "");
	v2_group(&t, "/docker/" ID_A "/app", 0, 1, "5\n");
	v2_group(&t, "/docker/" ID_B, 0, 1, "6\n");
	v2_group(&t, "/host", 0, 1, "7\n");
	v2_group(&t, "/other", 0, 1, "8\n");
	v2_group(&t, "/docker/" ID_B "/app", 0, 1, "9\n");
	assert_ok(cgroups_init(&c, t.mountinfo));
	assert_ok(cgroups_choose(&c, &one));
	v2_group(&t, "/docker/" ID_A, 2000000, 1, "");
	v2_group(&t, "/docker/" ID_A "/app", 2000000, 1, "5\n");
	v2_group(&t, "/docker/" ID_B, 1000000, 1, "6\n");
	v2_group(&t, "/host", 9000000, 1, "7\n");
	assert_ok(cgroups_choose(&c, &one));
	assert_int_equal(c.chosen, 1);
	assert_true(chosen(&c, "/docker/" ID_A));
	assert_true(cgroups_has(&c, inode(&t, "/docker/" ID_A "/app"), 0));
	v2_group(&t, "/docker/" ID_A, 4000000, 1, "");
	v2_group(&t, "/docker/" ID_A "/app", 4000000, 1, "5\n");
	v2_group(&t, "/host", 18000000, 1, "7\n");
	assert_ok(cgroups_choose(&c, &mixed));
	assert_int_equal(c.chosen, 2);
	assert_int_equal(c.containers, 1);
	assert_true(chosen(&c, "/docker/" ID_A) && chosen(&c, "/host"));
	// What is in a container that is not chosen is no group of its own.
	assert_ok(cgroups_choose(&c, &many));
	assert_int_equal(c.chosen, 3);
	assert_int_equal(c.containers, 1);
	assert_true(chosen(&c, "/host") && chosen(&c, "/other"));
	cgroups_deinit(&c);
	tree_end(&t);
}

static void choose__v1_by_the_set_of_processes(void **state)
{
	struct cgroups_limits limits = {.total = 1};
	struct cgroups c;
	struct tree t;

	(void)state;
	tree_begin(&t, "2cm");
	put(&t, "v2/cgroup.procs", "1\n");
	put(&t, "cpu/x/cpuacct.usage", "5\n");
	put(&t, "cpu/x/cgroup.procs", "21\n22\n");
	// A hybrid host may show the group in v2 as well, without its processes.
	put(&t, "v2/x/cgroup.procs", "");
	put(&t, "cpu/x/y/cpuacct.usage", "0\n");
	put(&t, "cpu/x/y/cgroup.procs", "23\n");
	put(&t, "memory/m/memory.usage_in_bytes", "1048576\n");
	put(&t, "memory/m/cgroup.procs", "31\n");
	assert_ok(cgroups_init(&c, t.mountinfo));
	assert_ok(cgroups_choose(&c, &limits));
	put(&t, "cpu/x/cpuacct.usage", "900000000\n");
	assert_ok(cgroups_choose(&c, &limits));
	assert_true(chosen(&c, "/x"));
	assert_true(cgroups_has(&c, 0, 21) && cgroups_has(&c, 0, 22) && cgroups_has(&c, 0, 23));
	assert_false(cgroups_has(&c, 0, 31));
	cgroups_forked(&c, 22, 99);
	cgroups_forked(&c, 31, 98);
	assert_true(cgroups_has(&c, 0, 99));
	assert_false(cgroups_has(&c, 0, 98));
	put(&t, "cpu/x/cgroup.procs", "22\n");
	assert_ok(cgroups_refresh(&c));
	assert_false(cgroups_has(&c, 0, 21));
	limits.total = 2;
	assert_ok(cgroups_choose(&c, &limits));
	assert_true(chosen(&c, "/m") && cgroups_has(&c, 0, 31));
	cgroups_deinit(&c);
	tree_end(&t);
}

static void init__without_cgroups(void **state)
{
	struct cgroups c;
	struct tree t;

	(void)state;
	tree_begin(&t, "");
	assert_int_equal(cgroups_init(&c, t.mountinfo), -ENOENT);
	assert_int_equal(cgroups_init(&c, "/nonexistent"), -ENOENT);
	put(&t, "odd", "\n-\n - \n1 2 3\n30 22 0:26 / \n30 22 0:26 / /x rw - cgroup2\n - cgroup x");
	snprintf(t.mountinfo, sizeof(t.mountinfo), "%s/odd", t.dir);
	if (!cgroups_init(&c, t.mountinfo))
		cgroups_deinit(&c);
	tree_end(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(container__of_every_engine),
		cmocka_unit_test(choose__by_rate_not_by_age),
		cmocka_unit_test(choose__cpu_ten_times_before_memory),
		cmocka_unit_test(choose__never_a_parent_with_its_child),
		cmocka_unit_test(choose__containers_first_and_whole),
		cmocka_unit_test(choose__v1_by_the_set_of_processes),
		cmocka_unit_test(init__without_cgroups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

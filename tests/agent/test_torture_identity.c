/* SPDX-License-Identifier: Apache-2.0 */
/* Who processes and containers are, and what the machine counts, when the n-th allocation, open or read fails: nothing
 * crashes or leaks, and when nothing fails everything is known. On a fixture of /proc. */
#include "tests/scratch.h"

#include <errno.h>

#include "agent/application.h"
#include "agent/containers.h"
#include "agent/external_metadata.h"
#include "agent/hw_metrics.h"
#include "agent/inventory.h"
#include "agent/other_agent.h"
#include "agent/usage.h"
#include "base/fs.h"
#include "process/container_files.h"
#include "tests/torture_io.h"

#define ID_LOG "1111111111111111111111111111111111111111111111111111111111111111"
#define ID_DOCKER "2222222222222222222222222222222222222222222222222222222222222222"
#define ID_CRIO "3333333333333333333333333333333333333333333333333333333333333333"
#define ID_PODMAN "4444444444444444444444444444444444444444444444444444444444444444"
#define ID_CONTAINERD "5555555555555555555555555555555555555555555555555555555555555555"
#define ID_CONMON "6666666666666666666666666666666666666666666666666666666666666666"
#define UID "11111111-2222-3333-4444-555555555555"

struct fixture {
	char proc[SCRATCH_DIR];
	struct options options;
};

#define PUT(f, path, text) scratch_put_bytes((f)->proc, path, text, sizeof(text) - 1)

static void put_link(const struct fixture *f, const char *path, const char *target)
{
	char whole[512];

	snprintf(whole, sizeof(whole), "%s%s", f->proc, path);
	assert_ok(fs_mkdir_parents(whole, 0755));
	assert_ok(symlink(target, whole));
}

static void put_process(const struct fixture *f, const char *pid, const char *exe)
{
	char path[64], root[96];

	snprintf(root, sizeof(root), "%s/fs", f->proc);
	snprintf(path, sizeof(path), "/%s/root", pid);
	put_link(f, path, root);
	snprintf(path, sizeof(path), "/%s/cwd", pid);
	put_link(f, path, "/app");
	snprintf(path, sizeof(path), "/%s/exe", pid);
	put_link(f, path, exe);
}

static void put_processes(const struct fixture *f)
{
	static const char hsperf[] =
		"\xca\xfe\xc0\xc0\x01\x02\0\x01\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\x20\0\0\0\x01\0\0\0"
		"\x40\0\0\0\x14\0\0\0\x05\0\0\0B\0\0\0\x28\0\0\0"
		"sun.rt.javaCommand\0\0Main\0";

	put_process(f, "1", "/sbin/init");
	put_process(f, "7", "/jdk/bin/java");
	PUT(f, "/7/cmdline", "java\0-Xmx1g\0@more\0Main");
	PUT(f, "/7/environ", "JAVA_TOOL_OPTIONS=-XX:+UseZGC\0");
	PUT(f, "/7/status", "Name:\tjava\nUid:\t0\t0\t0\t0\nNSpid:\t7\n");
	PUT(f, "/7/maps", "7f00-7f10 r-xp 00000000 08:01 9 /jdk/lib/server/libjvm.so\n");
	PUT(f, "/7/auxv", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
	PUT(f, "/fs/app/more", "-XX:NewRatio=3");
	PUT(f, "/fs/jdk/lib/server/libjvm.so", "no ELF file");
	PUT(f, "/fs/jdk/release", "JAVA_VERSION=\"17.0.9\"\n");
	scratch_put_bytes(f->proc, "/fs/tmp/hsperfdata_root/7", hsperf, sizeof(hsperf));
	put_process(f, "8", "/usr/bin/uwsgi");
	PUT(f, "/8/cmdline", "uwsgi\0--ini\0x.ini");
	PUT(f, "/8/maps", "7f00-7f10 r-xp 00000000 08:01 9 /usr/lib/libpython3.11.so.1.0\n");
	PUT(f, "/fs/app/x.ini", "[uwsgi]\nmodule = shop.wsgi\n");
	PUT(f, "/fs/usr/bin/uwsgi", "no ELF file");
	put_process(f, "9", "/usr/share/dotnet/dotnet");
	PUT(f, "/9/cmdline", "dotnet\0/app/Fibonacci.dll");
	PUT(f, "/9/maps",
		"7f00-7f10 r-xp 00000000 08:01 9 "
		"/usr/share/dotnet/shared/Microsoft.NETCore.App/6.0.8/libcoreclr.so\n");
	PUT(f, "/fs/usr/share/dotnet/dotnet", "no ELF file");
}

static void put_containers(const struct fixture *f)
{
	put_link(f, "/fs/var/log/containers/p_n_c-" ID_LOG ".log",
		"/var/log/pods/n_p_" UID "/c/2.log");
	PUT(f, "/fs/var/lib/docker/containers/" ID_DOCKER "/config.v2.json",
		"{\"ID\": \"" ID_DOCKER "\", \"Name\": \"/web\"}");
	PUT(f, "/fs/var/lib/containers/storage/overlay-containers/" ID_CRIO "/userdata/config.json",
		"{\"annotations\": {\"io.kubernetes.cri-o.Name\": \"k8s_a_b_c_d_0\", "
		"\"io.kubernetes.cri-o.Labels\": \"{\\\"app\\\": \\\"x\\\"}\"}}");
	PUT(f, "/fs/var/lib/containers/storage/overlay-containers/containers.json",
		"[{\"id\": \"" ID_PODMAN "\", \"names\": [\"brave\"]}]");
	PUT(f,
		"/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID_CONTAINERD
		"/config.json",
		"{\"annotations\": {\"io.kubernetes.cri.container-name\": \"c\", "
		"\"io.kubernetes.cri.sandbox-name\": \"p\", \"io.kubernetes.cri.sandbox-namespace\": "
		"\"n\", \"io.kubernetes.cri.sandbox-uid\": \"" UID "\"}}");
	PUT(f, "/fs/var/log/pods/n_p_" UID "/c/4.log", "");
	PUT(f, "/20/stat", "20 (conmon) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	PUT(f, "/20/cmdline", "/usr/bin/conmon\0-c\0" ID_CONMON "\0-n\0quiet");
	PUT(f, "/21/stat", "21 (sleep) S 20 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	PUT(f, "/21/cmdline",
		"sleep\0"
		"9");
	PUT(f, "/21/cgroup", "0::/machine/libpod-" ID_CONMON ".scope\n");
}

static int setup(void **state)
{
	static char name[] = "gprofiler";
	static char o[] = "-o", dir[] = "/tmp";
	char *argv[] = {name, o, dir, NULL};
	const struct options_input none = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	scratch_begin(f->proc, "identity");
	put_processes(f);
	put_containers(f);
	PUT(f, "/external", "{\"static\": {\"a\": 1}, \"application\": {\"7\": {\"b\": 2}}}");
	assert_int_equal(options_parse(&f->options, 3, argv, &none, &text), OPTIONS_RUN);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	scratch_end(f->proc);
	options_deinit(&f->options);
	free(f);
	return 0;
}

/* Something failed in this run. */
static bool hit(void)
{
	return torture_at && torture_count >= torture_at;
}

static bool find_container(const struct fixture *f, const char *id, const char *name)
{
	struct container c;
	int r = container_files_find(f->proc, id, 21, &c);

	return r ? hit() : hit() || !strcmp(c.name, name);
}

static void torture__files_of_containers(void **state)
{
	const struct fixture *f = *state;
	static const char *const known[][2] = {
		{ID_LOG, "k8s_c_p_n_" UID "_2"},
		{ID_DOCKER, "web"},
		{ID_CRIO, "k8s_a_b_c_d_0"},
		{ID_PODMAN, "brave"},
		{ID_CONTAINERD, "k8s_c_p_n_" UID "_4"},
		{ID_CONMON, "quiet"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		unsigned long n = torture_each(find_container(f, known[i][0], known[i][1]));

		printf("# %s: %lu calls failed\n", known[i][1], n);
		assert_true(n > 3);
	}
}

static void count(void *arg, const struct container *c)
{
	*(unsigned *)arg += c->name[0] != 0;
}

/* What is found stays; what failed is looked for again. */
static bool use_containers(const struct fixture *f)
{
	struct containers *all;
	struct container c;
	unsigned n = 0;
	bool good;

	if (containers_new(f->proc, &all))
		return hit();
	good = containers_find(all, ID_PODMAN, 0, &c) && !strcmp(c.name, "brave") &&
	       containers_find(all, ID_CONMON, 21, &c) && containers_known(all, ID_PODMAN, &c);
	containers_each(all, count, &n);
	containers_free(all);
	return hit() || (good && n == 2);
}

static void torture__containers(void **state)
{
	const struct fixture *f = *state;
	unsigned long n = torture_each(use_containers(f));

	printf("# %lu calls failed\n", n);
	assert_true(n > 10);
}

static bool take_inventory(const struct fixture *f)
{
	json_t *list = inventory_take(f->proc);
	size_t n = json_array_size(list);

	json_decref(list);
	return hit() || n == 1;
}

static void torture__inventory(void **state)
{
	const struct fixture *f = *state;

	printf("# %lu calls failed\n", torture_each(take_inventory(f)));
}

static bool read_application(
	const struct fixture *f, uint32_t pid, const char *appid, const char *key)
{
	_cleanup_buf_ struct buf id = BUF_INIT(APPID_MAX);
	struct applications a;
	json_t *metadata = NULL;
	bool good;

	if (applications_init(&a, &f->options, f->proc))
		return hit();
	good = application_read(&a, pid, &id, &metadata) == 0 && !strcmp(buf_str(&id), appid) &&
	       json_object_get(metadata, key);
	if (good && pid == 7)
		good = json_array_size(json_object_get(metadata, "jvm_flags")) == 3;
	json_decref(metadata);
	applications_deinit(&a);
	return hit() || good;
}

static void torture__applications(void **state)
{
	const struct fixture *f = *state;
	unsigned long java = torture_each(read_application(f, 7, "java: Main", "java_version"));
	unsigned long python = torture_each(
		read_application(f, 8, "uwsgi: x.ini (/app/shop/wsgi.py)", "python_version"));
	// It has no id, as in the reference.
	unsigned long dotnet = torture_each(read_application(f, 9, "", "dotnet_version"));

	printf("# java: %lu calls failed, uwsgi: %lu, dotnet: %lu\n", java, python, dotnet);
	assert_true(java > 20 && python > 10);
}

/* A program of which there is nothing to tell is read about once, whoever runs it; not one that runs Python. */
static void applications__plain_programs(void **state)
{
	const struct fixture *f = *state;
	_cleanup_buf_ struct buf id = BUF_INIT(APPID_MAX);
	struct applications a;
	json_t *metadata;

	assert_ok(applications_init(&a, &f->options, f->proc));
	put_process(f, "40", "/bin/sleep");
	put_process(f, "41", "/bin/sleep");
	assert_false(application_is_plain(&a, 40));
	assert_int_equal(application_read(&a, 40, &id, &metadata), -ESRCH);
	assert_false(application_is_plain(&a, 40));
	PUT(f, "/40/cmdline", "sleep");
	PUT(f, "/40/maps", "55d0000-55d9000 r-xp 00000000 08:01 7 /bin/sleep\n");
	assert_ok(application_read(&a, 40, &id, &metadata));
	assert_null(metadata);
	assert_true(application_is_plain(&a, 40) && application_is_plain(&a, 41));
	assert_false(application_is_plain(&a, 42));
	assert_ok(application_read(&a, 8, &id, &metadata));
	json_decref(metadata);
	assert_false(application_is_plain(&a, 8));
	applications_deinit(&a);
}

static bool read_external(const struct fixture *f)
{
	struct external_metadata e;
	char path[96];
	bool good;

	snprintf(path, sizeof(path), "%s/external", f->proc);
	if (external_metadata_init(&e, path))
		return hit();
	external_metadata_refresh(&e);
	good = json_object_get(external_metadata_of(&e, 7), "b") && json_object_get(e.fixed, "a");
	external_metadata_deinit(&e);
	return hit() || good;
}

static void torture__external_metadata(void **state)
{
	printf("# %lu calls failed\n", torture_each(read_external(*state)));
}

/* Machines without counters, and those where some CPU refuses: the same from outside. */
static bool count_hardware(void)
{
	struct profile_hw counted;
	struct hw_metrics m;
	int r = hw_metrics_open(&m);
	bool window = hw_metrics_window(&m, &counted);

	hw_metrics_close(&m);
	return r ? !window : window;
}

static void torture__hw_metrics(void **state)
{
	unsigned long n = torture_each(count_hardware());

	(void)state;
	printf("# %lu calls failed\n", n);
	assert_true(n > PROFILE_HW_MAX);
}

static bool use_usage(void)
{
	struct usage_averages a;
	struct usage u;

	usage_init(&u);
	usage_sample(&u, 1);
	a = usage_window(&u);
	return hit() || a.memory > 0;
}

static bool look_for_agents(void)
{
	struct other_agent other;

	return !other_agent_find("gprofiler-test-torture-nobody", 0, &other);
}

static void torture__usage_and_other_agents(void **state)
{
	(void)state;
	printf("# usage: %lu calls failed\n", torture_each(use_usage()));
	// A namespace has one listing: few calls, whatever runs here.
	printf("# other agents: %lu calls failed\n", torture_each(look_for_agents()));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(torture__files_of_containers),
		CASE(torture__containers),
		CASE(torture__inventory),
		CASE(torture__applications),
		CASE(applications__plain_programs),
		CASE(torture__external_metadata),
		CASE(torture__hw_metrics),
		CASE(torture__usage_and_other_agents),
	};

	return cmocka_run_group_tests_name("torture_identity", tests, NULL, NULL);
}

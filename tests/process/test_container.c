/* SPDX-License-Identifier: Apache-2.0 */
/* Names of containers, out of what Docker, containerd, CRI-O, Podman and kubelet write: each form by
 * itself, and files of them in a fixture of the host's root. */
#include "tests/scratch.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/container.h"
#include "process/container_files.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UID "11111111-2222-3333-4444-555555555555"
#define SIX "k8s_app_web-7f8d9c6b5-abcde_shop_" UID "_3"

static void put(const struct scratch_host *f, const char *path, const char *text, size_t len)
{
	scratch_put_bytes(f->proc, path, text, len);
}

static void put_text(const struct scratch_host *f, const char *path, const char *text)
{
	put(f, path, text, strlen(text));
}

static struct container docker(const char *text, int expect)
{
	_cleanup_json_ json_t *j = json_loads(text, 0, NULL);
	struct container c = {0};

	assert_non_null(j);
	assert_int_equal(container_from_docker(j, &c), expect);
	return c;
}

static void container__docker(void **state)
{
	struct container c =
		docker("{\"Id\": \"" ID "\", \"Names\": [\"/web-1\"], \"Labels\": {}}", 0);

	(void)state;
	assert_string_equal(c.name, "web-1");
	assert_string_equal(c.runtime, "docker");
	assert_string_equal(c.container_name, "web-1");
	c = docker("{\"ID\": \"" ID "\", \"Name\": \"/db\", \"Config\": {\"Labels\": {\"app\": "
		   "\"store\"}}}",
		0);
	assert_string_equal(c.name, "db");
	assert_string_equal(c.app, "store");
	// dockershim: the name is made already.
	c = docker("{\"Id\": \"" ID "\", \"Names\": [\"/" SIX "\"], \"Labels\": "
		   "{\"io.kubernetes.container.name\": \"app\", \"io.kubernetes.pod.name\": "
		   "\"web-7f8d9c6b5-abcde\", \"io.kubernetes.pod.namespace\": \"shop\"}}",
		0);
	assert_string_equal(c.name, SIX);
	assert_string_equal(c.container_name, "app");
	assert_string_equal(c.namespace, "shop");
	docker("{\"Id\": \"short\", \"Names\": [\"/x\"]}", -EINVAL);
	docker("{\"Id\": \"" ID "\", \"Names\": [], \"Labels\": null}", -EINVAL);
	docker("{\"Id\": \"" ID "\", \"Names\": [7]}", -EINVAL);
	docker("[]", -EINVAL);
}

static void container__log_link(void **state)
{
	struct container c;
	char wide[600];

	(void)state;
	assert_ok(container_from_log_link("web-7f8d9c6b5-abcde_shop_app-" ID ".log",
		"/var/log/pods/shop_web-7f8d9c6b5-abcde_" UID "/app/3.log", ID, &c));
	assert_string_equal(c.name, SIX);
	assert_string_equal(c.uid, UID);
	assert_string_equal(c.restarts, "3");
	assert_int_equal(
		container_from_log_link("x-" ID ".log", "/a/b_c_d/e/1.log", SIX, &c), -ENOENT);
	assert_int_equal(container_from_log_link("x-" ID ".log", "1.log", ID, &c), -EINVAL);
	assert_int_equal(
		container_from_log_link("x-" ID ".log", "/a/b_c/e/1.log", ID, &c), -EINVAL);
	assert_int_equal(
		container_from_log_link("x-" ID ".log", "/a/_b_c/e/1.log", ID, &c), -EINVAL);
	memset(wide, 'w', sizeof(wide));
	snprintf(wide + 300, 100, "_p_u/app/1.log");
	wide[0] = wide[2] = '/';
	assert_int_equal(container_from_log_link("x-" ID ".log", wide, ID, &c), -EINVAL);
}

static void check(const struct scratch_host *f, uint32_t pid, const char *name, const char *runtime)
{
	struct container c;
	int r = container_files_find(f->proc, ID, pid, &c);

	assert_int_equal(r, name ? 0 : -ENOENT);
	if (!name)
		return;
	assert_string_equal(c.name, name);
	assert_string_equal(c.id, ID);
	assert_string_equal(c.runtime, runtime);
}

static void container__files_of_docker(void **state)
{
	check(*state, 0, NULL, NULL);
	put_text(*state, "/fs/var/lib/docker/containers/" ID "/config.v2.json",
		"{\"ID\": \"" ID "\", \"Name\": \"/web-1\", \"Config\": {\"Labels\": {}}}");
	check(*state, 0, "web-1", "docker");
}

static void container__files_of_containerd(void **state)
{
	struct scratch_host *f = *state;

	put_text(
		f, "/fs/run/containerd/io.containerd.runtime.v2.task/moby/other/config.json", "{}");
	put_text(f, "/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json",
		"{\"ociVersion\": \"1.0.2\", \"annotations\": {"
		"\"io.kubernetes.cri.container-name\": \"app\", "
		"\"io.kubernetes.cri.container-type\": \"container\", "
		"\"io.kubernetes.cri.sandbox-name\": \"web-7f8d9c6b5-abcde\", "
		"\"io.kubernetes.cri.sandbox-namespace\": \"shop\", "
		"\"io.kubernetes.cri.sandbox-uid\": \"" UID "\"}}");
	check(f, 0, "k8s_app_web-7f8d9c6b5-abcde_shop_" UID "_0", "containerd");
	// How often it was restarted, its logs tell.
	put_text(f, "/fs/var/log/pods/shop_web-7f8d9c6b5-abcde_" UID "/app/2.log", "");
	put_text(f, "/fs/var/log/pods/shop_web-7f8d9c6b5-abcde_" UID "/app/3.log", "");
	check(f, 0, SIX, "containerd");
}

/* The pod's own container has no name there, and what was never restarted no log. */
static void container__files_of_a_sandbox(void **state)
{
	put_text(*state,
		"/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json",
		"{\"annotations\": {\"io.kubernetes.cri.container-type\": \"sandbox\", "
		"\"io.kubernetes.cri.sandbox-name\": \"web\", "
		"\"io.kubernetes.cri.sandbox-namespace\": \"shop\", "
		"\"io.kubernetes.cri.sandbox-uid\": \"" UID "\"}}");
	check(*state, 0, "k8s_POD_web_shop_" UID "_0", "containerd");
}

static void container__files_of_nerdctl_and_k3s(void **state)
{
	put_text(*state,
		"/fs/run/k3s/containerd/io.containerd.runtime.v2.task/default/" ID "/config.json",
		"{\"annotations\": {\"nerdctl/name\": \"web\"}}");
	check(*state, 0, "web", "containerd");
}

static void container__files_of_crio(void **state)
{
	put_text(*state,
		"/fs/run/containers/storage/overlay-containers/" ID "/userdata/config.json",
		"{\"annotations\": {\"io.kubernetes.cri-o.Name\": \"" SIX "\", "
		"\"io.kubernetes.cri-o.Labels\": \"{\\\"io.kubernetes.container.name\\\":\\\"app\\\","
		"\\\"io.kubernetes.pod.name\\\":\\\"web-7f8d9c6b5-abcde\\\",\\\"app\\\":\\\"web\\\"}\", "
		"\"io.kubernetes.cri-o.Annotations\": "
		"\"{\\\"io.kubernetes.container.restartCount\\\":\\\"3\\\"}\"}}");
	check(*state, 0, SIX, "cri-o");
}

static void container__files_of_podman(void **state)
{
	put_text(*state, "/fs/var/lib/containers/storage/overlay-containers/containers.json",
		"[{\"id\": \"ff\", \"names\": [\"no\"]}, {\"id\": \"" ID
		"\", \"names\": [\"brave_web\"], \"image\": \"x\"}]");
	put_text(*state,
		"/fs/run/containers/storage/overlay-containers/" ID "/userdata/config.json",
		"{\"annotations\": {\"run.oci.systemd.subgroup\": \"\"}}");
	check(*state, 0, "brave_web", "podman");
}

/* Of `podman run --rm`, and what is gone after a boot. */
static void container__files_of_what_podman_forgets(void **state)
{
	put_text(*state, "/fs/var/lib/containers/storage/overlay-containers/containers.json",
		"[{\"id\": \"ff\", \"names\": [\"no\"]}]");
	put_text(*state,
		"/fs/var/lib/containers/storage/overlay-containers/volatile-containers.json",
		"[{\"id\": \"" ID "\", \"names\": [\"brief\"]}]");
	check(*state, 0, "brief", "podman");
}

static void container__monitor_of_podman(void **state)
{
	struct scratch_host *f = *state;
	static const char args[] = "conmon\0--api-version\0"
				   "1\0-c\0" ID "\0-n\0mine\0";

	put(f, "/50/cmdline", args, sizeof(args) - 1);
	put_text(f, "/50/stat", "50 (conmon) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	put_text(f, "/51/stat", "51 (init) S 50 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	put_text(f, "/52/stat", "52 (app) S 51 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	check(f, 52, "mine", "podman");
	check(f, 0, NULL, NULL);
	// A circle of parents ends.
	put_text(f, "/60/stat", "60 (a) S 60 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0");
	check(f, 60, NULL, NULL);
}

static void container__log_links_come_first(void **state)
{
	struct scratch_host *f = *state;
	char path[256];

	put_text(f, "/fs/var/log/containers/readme", "");
	snprintf(path, sizeof(path),
		"%s/fs/var/log/containers/web-7f8d9c6b5-abcde_shop_app-" ID ".log", f->proc);
	assert_ok(symlink("/var/log/pods/shop_web-7f8d9c6b5-abcde_" UID "/app/3.log", path));
	put_text(f, "/fs/var/lib/docker/containers/" ID "/config.v2.json",
		"{\"ID\": \"" ID "\", \"Name\": \"/web-1\"}");
	check(f, 0, SIX, "");
}

static void container__nonsense_is_none(void **state)
{
	struct scratch_host *f = *state;
	struct container c;

	put_text(f, "/fs/var/lib/docker/containers/" ID "/config.v2.json", "{\"ID\": [");
	put_text(f, "/fs/var/lib/containers/storage/overlay-containers/containers.json", "{}");
	put_text(f, "/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID "/config.json",
		"[]");
	check(f, 0, NULL, NULL);
	assert_int_equal(container_files_find(f->proc, "../../etc", 0, &c), -ENOENT);
	assert_false(container_is_id(ID "0"));
	assert_false(container_is_id("G" ID));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_HOST_CASE(container__docker),
		SCRATCH_HOST_CASE(container__log_link),
		SCRATCH_HOST_CASE(container__files_of_docker),
		SCRATCH_HOST_CASE(container__files_of_containerd),
		SCRATCH_HOST_CASE(container__files_of_nerdctl_and_k3s),
		SCRATCH_HOST_CASE(container__files_of_crio),
		SCRATCH_HOST_CASE(container__files_of_podman),
		SCRATCH_HOST_CASE(container__files_of_what_podman_forgets),
		SCRATCH_HOST_CASE(container__files_of_a_sandbox),
		SCRATCH_HOST_CASE(container__monitor_of_podman),
		SCRATCH_HOST_CASE(container__log_links_come_first),
		SCRATCH_HOST_CASE(container__nonsense_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

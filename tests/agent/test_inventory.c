/* SPDX-License-Identifier: Apache-2.0 */
/* The containers a heartbeat lists, by the ids of the reference's workload spec: AT-A1 to AT-A5 and AT-A9
 * here, AT-A6 to AT-A8 (what commands do) in tests/delivery/test_heartbeat.py. */
#include "tests/scratch.h"

#include <unistd.h>

#include "agent/heartbeat_request.h"
#include "agent/inventory.h"
#include "base/fs.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define UID "11111111-2222-3333-4444-555555555555"

static void put(const struct scratch_host *f, const char *path, const char *text)
{
	scratch_put(f->proc, path, text);
}

/* A process in a cgroup whose path holds a container's id, or in none. */
static void process(const struct scratch_host *f, unsigned pid, const char *comm, const char *id)
{
	char path[64], text[256];

	snprintf(path, sizeof(path), "/%u/stat", pid);
	snprintf(text, sizeof(text), "%u (%s) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0", pid,
		comm);
	put(f, path, text);
	snprintf(path, sizeof(path), "/%u/cgroup", pid);
	snprintf(text, sizeof(text), "0::%s%s\n",
		id ? "/kubepods.slice/cri-containerd-" : "/user.slice", id ? id : "");
	put(f, path, text);
}

static void bundle(const struct scratch_host *f, const char *id, const char *pod)
{
	char path[256], text[1024];

	snprintf(path, sizeof(path),
		"/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/%s/config.json", id);
	snprintf(text, sizeof(text),
		"{\"annotations\": {\"io.kubernetes.cri.container-name\": \"app\", "
		"\"io.kubernetes.cri.container-type\": \"container\", "
		"\"io.kubernetes.cri.sandbox-name\": \"%s\", "
		"\"io.kubernetes.cri.sandbox-namespace\": \"shop\", "
		"\"io.kubernetes.cri.sandbox-uid\": \"" UID "\"}}",
		pod);
	put(f, path, text);
}

static const char *text_of(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	assert_non_null(v);
	return json_is_null(v) ? "(null)" : json_string_value(v);
}

static void assert_process(const json_t *container, size_t at, int pid, const char *name)
{
	const json_t *p = json_array_get(json_object_get(container, "processes"), at);

	assert_int_equal(json_integer_value(json_object_get(p, "pid")), pid);
	assert_string_equal(text_of(p, "process_name"), name);
}

static void at_a1__containers_and_their_processes(void **state)
{
	const struct scratch_host *f = *state;
	_cleanup_json_ json_t *list = NULL;
	const json_t *c;

	process(f, 1, "init", NULL);
	process(f, 300, "worker", ID_A);
	process(f, 20, "main", ID_A);
	process(f, 7, "db", ID_B);
	process(f, 8, "shell", NULL);
	bundle(f, ID_A, "web-7f8d9c6b5-abcde");
	put(f, "/fs/var/lib/docker/containers/" ID_B "/config.v2.json",
		"{\"ID\": \"" ID_B "\", \"Name\": \"/db-1\", \"Config\": {\"Labels\": {\"app\": "
		"\"store\"}}}");
	list = inventory_take(f->proc);
	assert_int_equal(json_array_size(list), 2);
	c = json_array_get(list, 0);
	assert_string_equal(text_of(c, "container_id"), ID_A);
	assert_string_equal(text_of(c, "container_name"), "app");
	assert_string_equal(text_of(c, "runtime"), "containerd");
	assert_string_equal(text_of(c, "namespace"), "shop");
	assert_string_equal(text_of(c, "pod_name"), "web-7f8d9c6b5-abcde");
	assert_string_equal(text_of(c, "workload_name"), "web");
	assert_string_equal(text_of(c, "workload_kind"), "k8s");
	assert_int_equal(json_array_size(json_object_get(c, "processes")), 2);
	assert_process(c, 0, 20, "main"); // by pid
	assert_process(c, 1, 300, "worker");
	c = json_array_get(list, 1);
	assert_string_equal(text_of(c, "container_name"), "db-1");
	assert_string_equal(text_of(c, "runtime"), "docker");
	assert_string_equal(text_of(c, "namespace"), "(null)");
	assert_string_equal(text_of(c, "pod_name"), "(null)");
	assert_string_equal(text_of(c, "workload_name"), "store");
	assert_string_equal(text_of(c, "workload_kind"), "container");
	assert_process(c, 0, 7, "db");
}

/* The server refuses the whole heartbeat for a container or a process without a name. */
static void at_a1__what_nothing_names_has_a_name(void **state)
{
	const struct scratch_host *f = *state;
	_cleanup_json_ json_t *list = NULL;
	const json_t *c;

	process(f, 5,
		"\xff\xfe"
		"bad",
		ID_C);
	process(f, 6, "", ID_C);
	list = inventory_take(f->proc);
	assert_int_equal(json_array_size(list), 1);
	c = json_array_get(list, 0);
	assert_string_equal(text_of(c, "container_name"), "cccccccccccc");
	assert_string_equal(text_of(c, "runtime"), "(null)");
	assert_string_equal(text_of(c, "workload_name"), "(null)");
	assert_int_equal(json_array_size(json_object_get(c, "processes")), 1);
	assert_process(c, 0, 5,
		"\xef\xbf\xbd\xef\xbf\xbd"
		"bad");
}

static void at_a2__no_containers_is_an_empty_list(void **state)
{
	const struct scratch_host *f = *state;
	_cleanup_json_ json_t *list = NULL;

	process(f, 1, "init", NULL);
	process(f, 8, "shell", NULL);
	list = inventory_take(f->proc);
	assert_true(json_is_array(list));
	assert_int_equal(json_array_size(list), 0);
}

static void at_a3__what_cannot_be_read_costs_nothing(void **state)
{
	const struct scratch_host *f = *state;
	_cleanup_json_ json_t *none = inventory_take("/proc/nowhere"), *list = NULL;

	assert_true(json_is_array(none));
	assert_int_equal(json_array_size(none), 0);
	// Processes that end while they are looked at, and files that are nonsense.
	process(f, 4, "good", ID_A);
	put(f, "/5/cgroup", "0::/" ID_A "\n");
	put(f, "/6/stat", "6 (gone) S 1");
	put(f, "/7/cgroup", "nonsense");
	put(f, "/7/stat", "nonsense");
	put(f, "/8/cgroup", "0::/" ID_B "\n");
	put(f, "/8/stat", "nonsense");
	bundle(f, ID_A, "");
	put(f, "/fs/run/containerd/io.containerd.runtime.v2.task/k8s.io/" ID_A "/config.json",
		"{\"annotations\":");
	list = inventory_take(f->proc);
	assert_int_equal(json_array_size(list), 1);
	assert_process(json_array_get(list, 0), 0, 4, "good");
}

static void at_a4__names_of_workloads(void **state)
{
	static const struct {
		const char *label, *pod, *expect;
	} cases[] = {
		{"shop", "web-7f8d9c6b5-abcde", "shop"},
		{"", "web-7f8d9c6b5-abcde", "web"},
		{"", "web-api-7f8d9c6b5d-x2m9q", "web-api"},
		{"", "web-7f8d9c6-abcde", "web-7f8d9c6-abcde"}, // 7 digits are no hash
		{"", "web-7f8d9c6b5-abcd", "web-7f8d9c6b5-abcd"},
		{"", "web-7f8d9c6b5-ab_de", "web-7f8d9c6b5-ab_de"},
		{"", "db-0", "db"},
		{"", "db-17", "db"},
		{"", "db-", "db-"},
		{"", "-0", "-0"},
		{"", "node-exporter-x2m9q", "node-exporter-x2m9q"},
		{"", "standalone", "standalone"},
		{"", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[254];

		inventory_workload(cases[i].label, cases[i].pod, name, sizeof(name));
		if (strcmp(name, cases[i].expect) != 0)
			fail_msg("%s %s: %s", cases[i].label, cases[i].pod, name);
	}
}

/* A host of many containers, and one with a storm in it: bounded, and the ones that are there whole. */
static void inventory__is_bounded(void **state)
{
	const struct scratch_host *f = *state;
	_cleanup_json_ json_t *list = NULL;
	char id[65];

	snprintf(id, sizeof(id), "%064x", 0);
	for (unsigned pid = 2; pid < 2 + INVENTORY_PROCESSES_MAX + 40; pid++)
		process(f, pid, "p", id);
	for (unsigned n = 1; n < INVENTORY_CONTAINERS_MAX + 10; n++) {
		snprintf(id, sizeof(id), "%064x", n);
		process(f, 1000 + n, "p", id);
	}
	list = inventory_take(f->proc);
	assert_int_equal(json_array_size(list), INVENTORY_CONTAINERS_MAX);
	for (size_t i = 0; i < json_array_size(list); i++)
		assert_int_equal(
			json_array_size(json_object_get(json_array_get(list, i), "processes")),
			i ? 1 : INVENTORY_PROCESSES_MAX);
}

static const json_t *request(struct heartbeat_request *q, json_t **ret)
{
	struct command_history h;

	command_history_init(&h);
	*ret = heartbeat_request_make(q, &h, "");
	command_history_deinit(&h);
	assert_non_null(*ret);
	return *ret;
}

static void at_a5__the_agents_own_pod(void **state)
{
	struct heartbeat_request q;
	json_t *r;

	(void)state;
	heartbeat_request_init(&q, "host", "service");
	unsetenv("POD_NAMESPACE");
	setenv("POD_NAME", "", 1);
	request(&q, &r);
	assert_string_equal(text_of(r, "namespace"), "(null)");
	assert_string_equal(text_of(r, "pod_name"), "(null)");
	json_decref(r);
	setenv("POD_NAMESPACE", "observability", 1);
	setenv("POD_NAME", "gprofiler-abcde", 1);
	request(&q, &r);
	assert_string_equal(text_of(r, "namespace"), "observability");
	assert_string_equal(text_of(r, "pod_name"), "gprofiler-abcde");
	json_decref(r);
	unsetenv("POD_NAMESPACE");
	unsetenv("POD_NAME");
	heartbeat_request_deinit(&q);
}

/* Who knows nothing of containers finds what was always there, as it was. */
static void at_a9__fields_are_added_to_what_there_was(void **state)
{
	struct heartbeat_request q;
	const json_t *containers;
	json_t *r;

	(void)state;
	heartbeat_request_init(&q, "host", "service");
	request(&q, &r);
	assert_string_equal(text_of(r, "hostname"), "host");
	assert_string_equal(text_of(r, "service_name"), "service");
	assert_string_equal(text_of(r, "status"), "active");
	assert_string_equal(text_of(r, "last_command_id"), "(null)");
	assert_true(json_array_size(json_object_get(r, "perf_supported_events")) > 0);
	assert_int_equal(json_array_size(json_object_get(r, "received_command_ids")), 0);
	assert_int_equal(json_array_size(json_object_get(r, "executed_command_ids")), 0);
	containers = json_object_get(r, "containers");
	assert_true(json_is_array(containers));
	assert_ptr_equal(containers, q.containers);
	json_decref(r);
	// Not looked for again before its time.
	request(&q, &r);
	assert_ptr_equal(json_object_get(r, "containers"), containers);
	json_decref(r);
	heartbeat_request_deinit(&q);
}

static void assert_ids(const json_t *r, const char *key, const char *expect)
{
	const json_t *list = json_object_get(r, key);

	assert_int_equal(json_array_size(list), 1);
	assert_string_equal(json_string_value(json_array_get(list, 0)), expect);
}

/* What a server cannot take is left out when it said so. */
static void request__less_of_it(void **state)
{
	static const char *const ids[] = {"cmd-1", "0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11"};
	struct remote_command c = {.kind = REMOTE_ONCE, .body = json_object()};
	const struct command_outcome done = {0};
	struct heartbeat_request q;
	struct command_history h;
	json_t *r;

	(void)state;
	command_history_init(&h);
	heartbeat_request_init(&q, "host", "service");
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		snprintf(c.id, sizeof(c.id), "%s", ids[i]);
		assert_ok(command_history_receive(&h, &c));
		assert_ok(command_history_finish(&h, ids[i], &done));
	}
	r = heartbeat_request_make(&q, &h, ids[0]);
	assert_int_equal(json_array_size(json_object_get(r, "received_command_ids")), 2);
	assert_string_equal(text_of(r, "last_command_id"), ids[0]);
	json_decref(r);
	q.uuids_only = q.no_containers = true;
	json_array_append_new(q.containers, json_object());
	r = heartbeat_request_make(&q, &h, ids[0]);
	assert_ids(r, "received_command_ids", ids[1]);
	assert_ids(r, "executed_command_ids", ids[1]);
	assert_string_equal(text_of(r, "last_command_id"), "(null)");
	assert_int_equal(json_array_size(json_object_get(r, "containers")), 0);
	json_decref(r);
	remote_command_deinit(&c);
	command_history_deinit(&h);
	heartbeat_request_deinit(&q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_HOST_CASE(at_a1__containers_and_their_processes),
		SCRATCH_HOST_CASE(at_a1__what_nothing_names_has_a_name),
		SCRATCH_HOST_CASE(at_a2__no_containers_is_an_empty_list),
		SCRATCH_HOST_CASE(at_a3__what_cannot_be_read_costs_nothing),
		cmocka_unit_test(at_a4__names_of_workloads),
		SCRATCH_HOST_CASE(inventory__is_bounded),
		cmocka_unit_test(at_a5__the_agents_own_pod),
		cmocka_unit_test(at_a9__fields_are_added_to_what_there_was),
		cmocka_unit_test(request__less_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

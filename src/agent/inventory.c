/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inventory.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "process/container_files.h"
#include "process/table.h"

#define FILE_MAX ((size_t)16 << 10)
#define SHORT_ID 12 // as docker ps and crictl show it

struct seen_process {
	char container[CONTAINER_ID_LEN + 1];
	uint32_t pid;
	char name[REC_COMM_LEN];
};
VEC_DEFINE(seen_processes, struct seen_process)

static bool all_of(const char *s, size_t n, int (*is)(int))
{
	for (size_t i = 0; i < n; i++)
		if (!is((unsigned char)s[i]))
			return false;
	return n > 0;
}

/* "-7f8d9c6b5-abcde": of a ReplicaSet 8 to 10 hexadecimal digits, of a pod 5 letters and digits. */
static size_t without_replica(const char *pod, size_t n)
{
	const char *dash = memrchr(pod, '-', n), *before;
	size_t tail, hash;

	if (!dash)
		return 0;
	tail = n - (size_t)(dash - pod) - 1;
	before = memrchr(pod, '-', (size_t)(dash - pod));
	if (!before || tail != 5 || !all_of(dash + 1, tail, isalnum))
		return 0;
	hash = (size_t)(dash - before) - 1;
	return hash >= 8 && hash <= 10 && all_of(before + 1, hash, isxdigit)
		       ? (size_t)(before - pod)
		       : 0;
}

void inventory_workload(const char *label, const char *pod, char *ret, size_t size)
{
	size_t n = strlen(pod), kept = without_replica(pod, n);
	const char *dash = strrchr(pod, '-');

	if (label[0]) {
		snprintf(ret, size, "%s", label);
		return;
	}
	// Of a StatefulSet: "-0".
	if (!kept && dash && all_of(dash + 1, strlen(dash + 1), isdigit))
		kept = (size_t)(dash - pod);
	snprintf(ret, size, "%.*s", (int)(kept ? kept : n), pod);
}

/* The process of a /proc entry if it is in a container. */
static bool look(const char *proc, const char *entry, struct seen_process *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	struct cgroup_slices slices;
	struct process_stat stat;
	char path[300];

	snprintf(path, sizeof(path), "%s/%s/cgroup", proc, entry);
	if (fs_read_file(path, &text))
		return false;
	process_cgroup_parse(buf_str(&text), text.len, &slices);
	if (slices.container_len != CONTAINER_ID_LEN)
		return false;
	*ret = (struct seen_process){.pid = (uint32_t)strtoul(entry, NULL, 10)};
	memcpy(ret->container, slices.container, CONTAINER_ID_LEN);
	buf_clear(&text);
	snprintf(path, sizeof(path), "%s/%s/stat", proc, entry);
	if (fs_read_file(path, &text) || !process_stat_parse(buf_str(&text), text.len, &stat))
		return false;
	memcpy(ret->name, stat.comm, sizeof(ret->name));
	return ret->name[0] != 0;
}

static int by_container(const void *a, const void *b)
{
	const struct seen_process *x = a, *y = b;
	int c = strcmp(x->container, y->container);

	return c ? c : (x->pid > y->pid) - (x->pid < y->pid);
}

static json_t *text_or_null(const char *s)
{
	return s[0] ? json_text(s) : json_null();
}

static json_t *describe(const char *proc, const struct seen_process *p)
{
	struct container c = {0};
	char workload[CONTAINER_TEXT_MAX], short_id[SHORT_ID + 1];
	json_t *o = json_object();

	if (container_files_find(proc, p->container, p->pid, &c))
		c = (struct container){0};
	snprintf(short_id, sizeof(short_id), "%.*s", SHORT_ID, p->container);
	inventory_workload(c.app, c.pod, workload, sizeof(workload));
	json_object_set_new(o, "container_id", json_string(p->container));
	// The server refuses the whole heartbeat for a container without a name.
	json_object_set_new(o, "container_name",
		json_text(c.container_name[0] ? c.container_name
			  : c.name[0]	      ? c.name
					      : short_id));
	json_object_set_new(o, "runtime", text_or_null(c.runtime));
	json_object_set_new(o, "namespace", text_or_null(c.namespace));
	json_object_set_new(o, "pod_name", text_or_null(c.pod));
	json_object_set_new(o, "workload_name", text_or_null(workload));
	json_object_set_new(
		o, "workload_kind", json_string(c.namespace[0] || c.pod[0] ? "k8s" : "container"));
	json_object_set_new(o, "processes", json_array());
	return o;
}

static json_t *list(const char *proc, const struct seen_processes *all)
{
	json_t *containers = json_array(), *o = NULL;
	const char *last = "";

	vec_foreach (p, all) {
		json_t *processes;

		if (strcmp(p->container, last) != 0) {
			if (json_array_size(containers) == INVENTORY_CONTAINERS_MAX)
				break;
			o = describe(proc, p);
			json_array_append_new(containers, o);
			last = p->container;
		}
		processes = json_object_get(o, "processes");
		if (json_array_size(processes) < INVENTORY_PROCESSES_MAX)
			json_array_append_new(
				processes, json_pack("{s:i, s:o}", "pid", (int)p->pid,
						   "process_name", json_text(p->name)));
	}
	return containers;
}

json_t *inventory_take(const char *proc)
{
	_cleanup_closedir_ DIR *dir = opendir(proc);
	struct seen_processes all;
	struct dirent *d;
	json_t *ret;
	int r = 0;

	seen_processes_init(&all, (size_t)INVENTORY_CONTAINERS_MAX * 64);
	while (!r && dir && (d = readdir(dir))) {
		struct seen_process p;

		if (isdigit((unsigned char)d->d_name[0]) && look(proc, d->d_name, &p))
			r = seen_processes_push(&all, p);
	}
	if (all.len)
		qsort(all.data, all.len, sizeof(*all.data), by_container);
	ret = list(proc, &all);
	seen_processes_deinit(&all);
	return ret;
}

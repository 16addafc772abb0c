/* SPDX-License-Identifier: Apache-2.0 */
#include "process/container_files.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "process/arguments.h"
#include "process/root.h"
#include "process/table.h"

#define JSON_MAX ((size_t)8 << 20)
#define LINKS_MAX 16384 // looked at
#define NAMESPACES_MAX 64 // of containerd
#define ANCESTORS_MAX 32
#define STAT_MAX 4096

static const char *const storages[] = {"/var/lib/containers/storage", "/run/containers/storage"};
static const char *const drivers[] = {"overlay", "vfs", "btrfs", "zfs"};
static const char *const containerds[] = {
	"/run/containerd/io.containerd.runtime.v2.task",
	"/run/k3s/containerd/io.containerd.runtime.v2.task",
};

/* The JSON of a file on the host, or NULL. */
static json_t *load(const char *proc, const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT(JSON_MAX);

	if (process_root_read(proc, process_root_host(proc), path, &text))
		return NULL;
	return json_loadb(buf_str(&text), text.len, 0, NULL);
}

static int from_log_links(const char *proc, const char *id, struct container *ret)
{
	int fd = process_root_directory(proc, process_root_host(proc), "/var/log/containers"),
	    r = -ENOENT;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char target[PATH_MAX];
	struct dirent *d;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -ENOENT;
	}
	for (unsigned n = 0; r && n < LINKS_MAX && (d = readdir(dir)); n++) {
		ssize_t len;

		if (!strstr(d->d_name, id))
			continue;
		len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		if (len <= 0)
			continue;
		target[len] = 0;
		r = container_from_log_link(d->d_name, target, id, ret);
	}
	return r;
}

static int from_docker(const char *proc, const char *id, struct container *ret)
{
	_cleanup_json_ json_t *j = NULL;
	char path[256];

	snprintf(path, sizeof(path), "/var/lib/docker/containers/%s/config.v2.json", id);
	j = load(proc, path);
	return j ? container_from_docker(j, ret) : -ENOENT;
}

static int from_bundle(const char *proc, const char *path, const char *id, struct container *ret)
{
	_cleanup_json_ json_t *j = load(proc, path);

	return j ? container_from_oci(j, id, ret) : -ENOENT;
}

static int from_crio(const char *proc, const char *id, struct container *ret)
{
	char path[256];
	int r = -ENOENT;

	for (size_t i = 0; r && i < ARRAY_SIZE(storages); i++) {
		for (size_t k = 0; r && k < ARRAY_SIZE(drivers); k++) {
			snprintf(path, sizeof(path), "%s/%s-containers/%s/userdata/config.json",
				storages[i], drivers[k], id);
			r = from_bundle(proc, path, id, ret);
		}
	}
	return r;
}

static int from_storage(const char *proc, const char *id, struct container *ret)
{
	static const char *const files[] = {"containers.json", "volatile-containers.json"};
	char path[256];
	int r = -ENOENT;

	for (size_t k = 0; r && k < ARRAY_SIZE(drivers); k++) {
		for (size_t f = 0; r && f < ARRAY_SIZE(files); f++) {
			_cleanup_json_ json_t *j = NULL;

			snprintf(path, sizeof(path), "%s/%s-containers/%s", storages[0], drivers[k],
				files[f]);
			j = load(proc, path);
			r = j ? container_from_storage(j, id, ret) : -ENOENT;
		}
	}
	return r;
}

/* kubelet keeps a log a start of the container, by number. */
static void count_restarts(const char *proc, struct container *c)
{
	_cleanup_closedir_ DIR *dir = NULL;
	unsigned long most = 0;
	struct dirent *d;
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/var/log/pods/%s_%s_%s/%s", c->namespace, c->pod, c->uid,
		c->container_name);
	fd = process_root_directory(proc, process_root_host(proc), path);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir && fd >= 0)
		close(fd);
	while (dir && (d = readdir(dir)))
		if (isdigit((unsigned char)d->d_name[0]))
			most = MAX(most, strtoul(d->d_name, NULL, 10));
	snprintf(c->restarts, sizeof(c->restarts), "%lu", most % 1000000);
	snprintf(c->name, sizeof(c->name), "k8s_%s_%s_%s_%s_%s", c->container_name, c->pod,
		c->namespace, c->uid, c->restarts);
}

static int from_containerd(const char *proc, const char *id, struct container *ret)
{
	int r = -ENOENT;

	for (size_t i = 0; r && i < ARRAY_SIZE(containerds); i++) {
		int fd = process_root_directory(proc, process_root_host(proc), containerds[i]);
		_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *d;

		if (!dir && fd >= 0)
			close(fd);
		for (unsigned n = 0; r && dir && n < NAMESPACES_MAX && (d = readdir(dir)); n++) {
			char path[PATH_MAX];

			if (d->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s/%s/config.json", containerds[i],
				d->d_name, id);
			r = from_bundle(proc, path, id, ret);
		}
	}
	if (!r && ret->pod[0])
		count_restarts(proc, ret);
	return r;
}

/* conmon's "-n NAME", if it is the one of this container ("-c ID"). */
static int from_conmon_arguments(const struct arguments *a, const char *id, struct container *ret)
{
	const char *name = NULL;
	bool ours = false;

	for (unsigned i = 1; i + 1 < a->argc; i++) {
		if (!strcmp(a->argv[i], "-n") || !strcmp(a->argv[i], "--name"))
			name = a->argv[i + 1];
		if (!strcmp(a->argv[i], "-c") || !strcmp(a->argv[i], "--cid"))
			ours = strcmp(a->argv[i + 1], id) == 0;
	}
	if (!ours || !name || !name[0])
		return -ENOENT;
	*ret = (struct container){0};
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(ret->container_name, sizeof(ret->container_name), "%.*s", CONTAINER_TEXT_MAX - 1,
		name);
	snprintf(ret->runtime, sizeof(ret->runtime), "%s",
		strncmp(name, "k8s_", 4) ? "podman" : "cri-o");
	return 0;
}

static int from_conmon(const char *proc, const char *id, uint32_t pid, struct container *ret)
{
	struct arguments a;
	int r = -ENOENT;

	arguments_init(&a);
	for (unsigned i = 0; r && pid > 1 && i < ANCESTORS_MAX; i++) {
		_cleanup_buf_ struct buf text = BUF_INIT(STAT_MAX);
		struct process_stat st;
		char path[128];

		snprintf(path, sizeof(path), "%s/%u/stat", proc, pid);
		if (fs_read_file(path, &text) || !process_stat_parse(buf_str(&text), text.len, &st))
			break;
		if (!strcmp(st.comm, "conmon") && !arguments_read(&a, proc, pid))
			r = from_conmon_arguments(&a, id, ret);
		pid = st.ppid;
	}
	arguments_deinit(&a);
	return r;
}

int container_files_find(const char *proc, const char *id, uint32_t pid, struct container *ret)
{
	int r;

	if (!container_is_id(id))
		return -ENOENT;
	r = from_log_links(proc, id, ret);
	if (r)
		r = from_docker(proc, id, ret);
	if (r)
		r = from_crio(proc, id, ret);
	if (r)
		r = from_storage(proc, id, ret);
	if (r)
		r = from_containerd(proc, id, ret);
	if (r)
		r = from_conmon(proc, id, pid, ret);
	return r ? -ENOENT : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "process/container.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RESTARTS_LABEL "io.kubernetes.container.restartCount"

bool container_is_id(const char *s)
{
	return strspn(s, "0123456789abcdef") == CONTAINER_ID_LEN && !s[CONTAINER_ID_LEN];
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* What does not fit is unknown: half a name would be another's. */
static void set(char *to, size_t size, const char *s)
{
	size_t n = strlen(s);

	if (n < size)
		memcpy(to, s, n + 1);
	else
		to[0] = 0;
}
#define SET(field, s) set((field), sizeof(field), (s))

/* Labels as Kubernetes puts them on containers of Docker and CRI-O. */
static void take_labels(const json_t *labels, struct container *c)
{
	const char *app = text(labels, "app.kubernetes.io/name");

	SET(c->app, app[0] ? app : text(labels, "app"));
	SET(c->container_name, text(labels, "io.kubernetes.container.name"));
	SET(c->pod, text(labels, "io.kubernetes.pod.name"));
	SET(c->namespace, text(labels, "io.kubernetes.pod.namespace"));
	SET(c->uid, text(labels, "io.kubernetes.pod.uid"));
	SET(c->restarts, text(labels, RESTARTS_LABEL));
}

/* The six parts, if it is a pod's; keeps the name it has otherwise. */
static int make_name(struct container *c)
{
	if (c->container_name[0] && c->pod[0] && strncmp(c->name, "k8s_", 4) != 0)
		snprintf(c->name, sizeof(c->name), "k8s_%s_%s_%s_%s_%s", c->container_name, c->pod,
			c->namespace, c->uid, c->restarts[0] ? c->restarts : "0");
	if (!c->container_name[0])
		snprintf(c->container_name, sizeof(c->container_name), "%.*s",
			CONTAINER_TEXT_MAX - 1, c->name);
	return c->name[0] ? 0 : -ENOENT;
}

int container_from_docker(const json_t *j, struct container *ret)
{
	const json_t *names = json_object_get(j, "Names"), *labels = json_object_get(j, "Labels");
	const char *id = text(j, "Id"), *name = json_string_value(json_array_get(names, 0));
	struct container c = {.runtime = "docker"};

	if (!id[0])
		id = text(j, "ID");
	if (!name)
		name = text(j, "Name");
	if (!labels)
		labels = json_object_get(json_object_get(j, "Config"), "Labels");
	if (!container_is_id(id) || !name[0])
		return -EINVAL;
	SET(c.id, id);
	SET(c.name, name + (name[0] == '/'));
	take_labels(labels, &c);
	if (make_name(&c))
		return -EINVAL;
	*ret = c;
	return 0;
}

/* CRI-O keeps labels and annotations of the pod as JSON in a text. */
static json_t *parsed(const json_t *annotations, const char *key)
{
	return json_loads(text(annotations, key), 0, NULL);
}

static void take_crio(const json_t *a, struct container *c)
{
	_cleanup_json_ json_t *labels = parsed(a, "io.kubernetes.cri-o.Labels");
	_cleanup_json_ json_t *more = parsed(a, "io.kubernetes.cri-o.Annotations");
	const char *restarts;

	take_labels(labels, c);
	if (!c->container_name[0])
		take_labels(a, c);
	restarts = text(more, RESTARTS_LABEL);
	if (!restarts[0])
		restarts = text(a, RESTARTS_LABEL);
	SET(c->restarts, restarts);
	SET(c->name, text(a, "io.kubernetes.cri-o.Name"));
	SET(c->runtime, "cri-o");
}

static void take_containerd(const json_t *a, struct container *c)
{
	bool sandbox = strcmp(text(a, "io.kubernetes.cri.container-type"), "sandbox") == 0;

	SET(c->runtime, "containerd");
	SET(c->container_name, sandbox ? "POD" : text(a, "io.kubernetes.cri.container-name"));
	SET(c->pod, text(a, "io.kubernetes.cri.sandbox-name"));
	SET(c->namespace, text(a, "io.kubernetes.cri.sandbox-namespace"));
	SET(c->uid, text(a, "io.kubernetes.cri.sandbox-uid"));
}

int container_from_oci(const json_t *config, const char *id, struct container *ret)
{
	const json_t *a = json_object_get(config, "annotations");
	struct container c = {0};
	int r;

	if (!json_is_object(config))
		return -EINVAL;
	SET(c.id, id);
	if (text(a, "io.kubernetes.cri-o.Name")[0])
		take_crio(a, &c);
	else if (text(a, "io.kubernetes.cri.sandbox-name")[0])
		take_containerd(a, &c);
	else
		SET(c.name, text(a, "nerdctl/name"));
	if (c.name[0] && !c.runtime[0])
		SET(c.runtime, "containerd");
	r = make_name(&c);
	if (!r)
		*ret = c;
	return r;
}

int container_from_storage(const json_t *list, const char *id, struct container *ret)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(list))
		return -EINVAL;
	json_array_foreach (list, i, item) {
		const json_t *names = json_object_get(item, "names");
		const char *name = json_string_value(json_array_get(names, 0));
		struct container c = {0};

		if (strcmp(text(item, "id"), id) != 0)
			continue;
		if (!name || !name[0])
			return -ENOENT;
		SET(c.id, id);
		SET(c.name, name);
		SET(c.runtime, strncmp(name, "k8s_", 4) == 0 ? "cri-o" : "podman");
		*ret = c;
		return make_name(ret);
	}
	return -ENOENT;
}

/* Copies one component, up to `end`. */
static bool part(char *to, size_t size, const char *from, const char *end)
{
	size_t n = (size_t)(end - from);

	if (!n || n >= size)
		return false;
	memcpy(to, from, n);
	to[n] = 0;
	return true;
}

int container_from_log_link(
	const char *link, const char *target, const char *id, struct container *ret)
{
	const char *file = strrchr(target, '/'), *name, *pod, *at, *uid;
	size_t n = strlen(link);
	struct container c = {0};

	if (n < CONTAINER_ID_LEN + 5 || strcmp(link + n - 4, ".log") != 0 ||
		strncmp(link + n - 4 - CONTAINER_ID_LEN, id, CONTAINER_ID_LEN) != 0)
		return -ENOENT;
	name = file ? memrchr(target, '/', (size_t)(file - target)) : NULL;
	pod = name ? memrchr(target, '/', (size_t)(name - target)) : NULL;
	if (!pod)
		return -EINVAL;
	pod++;
	at = memchr(pod, '_', (size_t)(name - pod));
	uid = memrchr(pod, '_', (size_t)(name - pod));
	if (!at || at == uid || !part(c.namespace, sizeof(c.namespace), pod, at) ||
		!part(c.pod, sizeof(c.pod), at + 1, uid) ||
		!part(c.uid, sizeof(c.uid), uid + 1, name) ||
		!part(c.container_name, sizeof(c.container_name), name + 1, file) ||
		!part(c.restarts, sizeof(c.restarts), file + 1, file + 1 + strcspn(file + 1, ".")))
		return -EINVAL;
	SET(c.id, id);
	*ret = c;
	return make_name(ret);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/docker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "delivery/http_client.h"

#define LOGGER "gprofiler.containers"
#define ANSWER_MAX ((size_t)16 << 20)

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* GET path. Return 0 with the answer's JSON. */
static int get(const char *socket, const char *path, json_t **ret)
{
	const struct http_config config = {.unix_socket = socket, .direct = true};
	_cleanup_http_response_ struct http_response response = {.body = BUF_INIT(ANSWER_MAX)};
	struct http_client *client = NULL;
	struct http_request request = {
		.method = "GET", .timeout_ms = DOCKER_TIMEOUT_MS, .connect_timeout_ms = 500};
	char url[256];
	int r;

	if (!is_socket(socket))
		return -ENOENT;
	snprintf(url, sizeof(url), "http://localhost%s", path);
	request.url = url;
	r = http_client_new(&config, &client);
	if (!r)
		r = http_request(client, &request, &response);
	http_client_free(client);
	if (r == -ENOMEM)
		return r;
	if (r || (response.status != 200 && response.status != 404)) {
		log_debug(LOGGER, "Docker at %s: %s (status=%ld)", socket,
			r ? response.error : "no list of containers", response.status);
		return -EIO;
	}
	if (response.status == 404)
		return -ENXIO;
	*ret = json_loadb(buf_str(&response.body), response.body.len, 0, NULL);
	return *ret ? 0 : -EIO;
}

int docker_list(const char *socket, docker_fn fn, void *arg)
{
	_cleanup_json_ json_t *list = NULL;
	const json_t *item;
	struct container c;
	size_t i;
	int r = get(socket, "/containers/json", &list);

	if (r)
		return r == -ENXIO ? -EIO : r;
	if (!json_is_array(list))
		return -EIO;
	json_array_foreach (list, i, item) {
		if (container_from_docker(item, &c))
			continue;
		r = fn(arg, &c);
		if (r)
			return r;
	}
	return 0;
}

int docker_inspect(const char *socket, const char *id, struct container *ret)
{
	_cleanup_json_ json_t *j = NULL;
	char path[128];
	int r;

	if (!container_is_id(id))
		return -ENXIO;
	snprintf(path, sizeof(path), "/containers/%s/json", id);
	r = get(socket, path, &j);
	if (r)
		return r;
	return container_from_docker(j, ret) || strcmp(ret->id, id) ? -EIO : 0;
}

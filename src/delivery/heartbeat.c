/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/heartbeat.h"

#include <errno.h>
#include <string.h>

#define URL_MAX ((size_t)64 << 10)
#define HEADER_MAX ((size_t)16 << 10)
#define REQUEST_MAX ((size_t)4 << 20) // an inventory of a large host, and 2000 ids

struct heartbeat {
	struct heartbeat_config config;
	struct http_client *http;
};

void heartbeat_answer_deinit(struct heartbeat_answer *a)
{
	json_decref(a->command);
	a->command = NULL;
}

int heartbeat_new(const struct heartbeat_config *config, struct heartbeat **ret)
{
	struct heartbeat *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->config = *config;
	h->config.http.secret = config->token;
	r = http_client_new(&h->config.http, &h->http);
	if (r) {
		free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void heartbeat_free(struct heartbeat *h)
{
	if (!h)
		return;
	http_client_free(h->http);
	free(h);
}

void heartbeat_abort(struct heartbeat *h)
{
	http_client_abort(h->http);
}

void heartbeat_rest(struct heartbeat *h)
{
	http_client_rest(h->http);
}

/* An id that can be kept and said again. */
static bool take_id(struct heartbeat_answer *a, const json_t *id)
{
	const char *text = json_string_value(id);
	size_t n = text ? json_string_length(id) : 0;

	if (!n || n > HEARTBEAT_ID_MAX || strlen(text) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (text[i] <= 0x20 || text[i] >= 0x7f || text[i] == '"' || text[i] == '\\')
			return false;
	memcpy(a->id, text, n + 1);
	return true;
}

void heartbeat_judge(long status, const char *body, size_t len, struct heartbeat_answer *ret)
{
	_cleanup_json_ json_t *root = len ? json_loadb(body, len, 0, NULL) : NULL;
	json_t *command = json_object_get(root, "profiling_command");

	*ret = (struct heartbeat_answer){.said.gpid = STUDIO_GPID_NONE};
	studio_judge(status, body, len, false, &ret->said);
	ret->success = json_is_true(json_object_get(root, "success"));
	// A page that says 200 to everything is no studio.
	if (ret->said.verdict == STUDIO_DONE && !json_object_get(root, "success"))
		ret->said.verdict = STUDIO_BUSY;
	// An empty one is as good as null.
	if (ret->said.verdict != STUDIO_DONE || !ret->success || !json_object_size(command))
		return;
	ret->nameless = !take_id(ret, json_object_get(root, "command_id"));
	if (!ret->nameless)
		ret->command = json_incref(command);
}

static int build_url(struct buf *url, const struct heartbeat *h, const char *path)
{
	studio_base_url(url, h->config.server);
	buf_printf(url, "/api/metrics/%s", path);
	return url->bad ? -ENOSPC : 0;
}

static int post(struct heartbeat *h, const char *path, const json_t *body, unsigned timeout_ms,
	struct heartbeat_answer *ret)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX), bearer = BUF_INIT(HEADER_MAX);
	_cleanup_buf_ struct buf text = BUF_INIT(REQUEST_MAX);
	_cleanup_http_response_ struct http_response response = HTTP_RESPONSE_INIT;
	struct http_request q = {.method = "POST", .timeout_ms = timeout_ms};
	int r = build_url(&url, h, path);

	buf_printf(&bearer, "Authorization: Bearer %s", h->config.token);
	if (!r && json_append(&text, body))
		r = -ENOSPC;
	if (r || bearer.bad)
		return r ? r : -ENOSPC;
	const char *const headers[] = {buf_str(&bearer), "Content-Type: application/json", NULL};

	q.url = buf_str(&url);
	q.headers = headers;
	q.body = text.data;
	q.body_len = text.len;
	response.body.cap = HEARTBEAT_ANSWER_MAX;
	r = http_request(h->http, &q, &response);
	if (r < 0)
		return r;
	if (r == HTTP_OK) {
		heartbeat_judge(response.status, buf_str(&response.body), response.body.len, ret);
		ret->said.retry_after_s = response.retry_after_s;
	} else {
		*ret = (struct heartbeat_answer){.said.gpid = STUDIO_GPID_NONE};
		studio_no_answer(r, response.error, &ret->said);
	}
	studio_hide_secret(&ret->said, h->config.token);
	return 0;
}

int heartbeat_send(struct heartbeat *h, const json_t *request, struct heartbeat_answer *ret)
{
	return post(h, "heartbeat", request, HEARTBEAT_TIMEOUT_MS, ret);
}

int heartbeat_complete(struct heartbeat *h, const struct heartbeat_completion *c,
	unsigned timeout_ms, struct heartbeat_answer *ret)
{
	_cleanup_json_ json_t *body = json_object();

	json_object_set_new(body, "command_id", json_text(c->id));
	json_object_set_new(body, "hostname", json_text(c->hostname));
	json_object_set_new(body, "status", json_text(c->failed ? "failed" : "completed"));
	json_object_set_new(body, "execution_time", json_integer((json_int_t)c->seconds));
	json_object_set_new(body, "error_message", json_text(c->error));
	json_object_set_new(body, "results_path", json_null());
	if (json_object_size(body) != 6)
		return -ENOMEM;
	return post(h, "command_completion", body, timeout_ms, ret);
}

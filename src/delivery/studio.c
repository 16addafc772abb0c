/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/studio.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define URL_MAX ((size_t)64 << 10)
#define HEADER_MAX ((size_t)16 << 10)
#define HEALTH_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 10000
/* Stands where the reference puts the token. */
#define KEY_IN_QUERY "in-header"

struct studio {
	struct studio_config config;
	struct http_client *http;
	struct buf body; // kept between uploads
};

int studio_new(const struct studio_config *config, struct studio **ret)
{
	struct studio *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.http.secret = config->token;
	s->body = BUF_INIT(UPLOAD_KEPT_MAX);
	r = http_client_new(&s->config.http, &s->http);
	if (r) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void studio_free(struct studio *s)
{
	if (!s)
		return;
	http_client_free(s->http);
	buf_deinit(&s->body);
	free(s);
}

void studio_abort(struct studio *s)
{
	http_client_abort(s->http);
}

void studio_rest(struct studio *s)
{
	http_client_rest(s->http);
}

struct http_client *studio_http(struct studio *s)
{
	return s->http;
}

int studio_clean_service(const char *name, struct buf *ret)
{
	buf_clear(ret);
	for (const unsigned char *s = (const unsigned char *)name; *s; s++)
		if (*s < 0x80 && (isalnum(*s) || strchr("._-", *s)) && (ret->len || *s != '_'))
			buf_append_char(ret, (char)*s);
	return ret->bad ? -ENOSPC : ret->len ? 0 : -EINVAL;
}

/* Foreign text on its way to the log: one printable line without our secret. */
static void show(struct studio_answer *a, const char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n < sizeof(a->message) - 1; i++) {
		unsigned char c = (unsigned char)text[i];

		a->message[n++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
	a->message[n] = 0;
}

void studio_hide_secret(struct studio_answer *a, const char *secret)
{
	size_t n = secret ? strlen(secret) : 0;
	char *hit = a->message;

	for (; n && (hit = strstr(hit, secret)) != NULL; hit += n)
		memset(hit, '*', n);
	// Of a token that was cut by the end of the line nothing may stay.
	for (size_t left = strlen(a->message), k = MIN(n, left); n && k >= 4; k--) {
		if (memcmp(a->message + left - k, secret, k) == 0) {
			memset(a->message + left - k, '*', k);
			break;
		}
	}
}

/* Whether a 400 is about who we are, not about what was sent (gprofiler-studio.md 1.2, 1.3). */
static bool about_key(const char *message)
{
	return strcasestr(message, "api key") || strcasestr(message, "api-key") ||
	       strcasestr(message, "service-name header");
}

static enum studio_verdict verdict_of(long status, const char *message)
{
	switch (status) {
	case 400:
		return about_key(message) ? STUDIO_DENIED : STUDIO_REFUSED;
	case 413:
		return STUDIO_TOO_LARGE;
	case 411:
	case 422:
		return STUDIO_INVALID;
	case 408:
	case 425:
	case 429:
		return STUDIO_BUSY;
	default:
		// A redirect is not followed, and a 404 is another server: both are the address.
		return status >= 300 && status < 500 ? STUDIO_DENIED : STUDIO_BUSY;
	}
}

static void read_gpid(const json_t *root, struct studio_answer *a)
{
	const json_t *gpid = json_object_get(root, "gpid");
	_cleanup_buf_ struct buf text = BUF_INIT(STUDIO_GPID_MAX - 1);

	snprintf(a->gpid, sizeof(a->gpid), "%s", STUDIO_GPID_NONE);
	if (json_is_integer(gpid))
		buf_printf(&text, "%lld", (long long)json_integer_value(gpid));
	else if (json_is_string(gpid))
		json_append_string(&text, json_string_value(gpid), json_string_length(gpid));
	if (!text.bad && text.len)
		snprintf(a->gpid, sizeof(a->gpid), "%s", buf_str(&text));
}

void studio_judge(
	long status, const char *body, size_t len, bool uploaded, struct studio_answer *ret)
{
	_cleanup_json_ json_t *root = len ? json_loadb(body, len, 0, NULL) : NULL;
	const json_t *message = json_object_get(root, "message");

	ret->status = status;
	read_gpid(root, ret);
	if (json_is_string(message))
		show(ret, json_string_value(message), json_string_length(message));
	else if (json_is_object(root) && status >= 400 && status < 500 && status != 422)
		show(ret, "(no message in response)", strlen("(no message in response)"));
	else
		show(ret, body ? body : "", len);
	if (status < 200 || status > 299) {
		ret->verdict = verdict_of(status, ret->message);
		return;
	}
	// A login page that says 200 to everything has stored nothing.
	if (json_is_object(root) && (!uploaded || json_object_get(root, "gpid") || message))
		ret->verdict = STUDIO_DONE;
	else
		ret->verdict = STUDIO_BUSY;
}

void studio_base_url(struct buf *url, const char *server)
{
	size_t len = strlen(server);

	while (len && server[len - 1] == '/')
		len--;
	// Without a scheme, as a person types it.
	if (!memmem(server, len, "://", 3))
		buf_append_str(url, "https://");
	buf_append(url, server, len);
}

static int build_url(
	struct buf *url, const struct studio *s, const char *path, const struct upload *u)
{
	char when[32];

	clock_iso_utc(clock_real_ns(), when);
	studio_base_url(url, s->config.server);
	buf_printf(url, "/api/%s?key=%s&service=", path, KEY_IN_QUERY);
	http_url_escape(url, u ? u->origin.service : s->config.service);
	buf_append_str(url, "&hostname=");
	http_url_escape(url, u ? u->origin.hostname : s->config.hostname);
	buf_append_str(url, "&timestamp=");
	http_url_escape(url, when);
	if (u)
		buf_append_str(url, "&version=" GP_VERSION);
	return url->bad ? -ENOSPC : 0;
}

static enum studio_verdict verdict_without_answer(int err)
{
	switch (err) {
	case HTTP_TIMEOUT:
		return STUDIO_TIMED_OUT;
	case HTTP_ABORTED:
		return STUDIO_STOPPED;
	case HTTP_NONSENSE:
		return STUDIO_BUSY;
	default:
		return STUDIO_AWAY;
	}
}

void studio_no_answer(int err, const char *error, struct studio_answer *ret)
{
	ret->verdict = verdict_without_answer(err);
	show(ret, error, strlen(error));
}

static int ask(struct studio *s, const char *path, const struct upload *u, struct studio_answer *a)
{
	_cleanup_buf_ struct buf url = BUF_INIT(URL_MAX);
	_cleanup_buf_ struct buf key = BUF_INIT(HEADER_MAX);
	_cleanup_buf_ struct buf service = BUF_INIT(HEADER_MAX);
	_cleanup_http_response_ struct http_response response = HTTP_RESPONSE_INIT;
	struct http_request q = {
		.method = u ? "POST" : "GET",
		.timeout_ms = u ? s->config.upload_timeout_s * 1000 : HEALTH_TIMEOUT_MS,
		.connect_timeout_ms = u ? CONNECT_TIMEOUT_MS : 0,
	};
	int r = build_url(&url, s, path, u);

	buf_printf(&key, "GPROFILER-API-KEY: %s", s->config.token);
	buf_printf(
		&service, "GPROFILER-SERVICE-NAME: %s", u ? u->origin.service : s->config.service);
	if (r || key.bad || service.bad)
		return -ENOMEM;
	const char *const headers[] = {buf_str(&key), buf_str(&service),
		u ? "Content-Encoding: gzip" : NULL, "Content-Type: application/json", NULL};

	q.url = buf_str(&url);
	q.headers = headers;
	if (u) {
		q.body = s->body.data;
		q.body_len = s->body.len;
	}
	r = http_request(s->http, &q, &response);
	if (r < 0)
		return r;
	if (r == HTTP_OK) {
		studio_judge(response.status, buf_str(&response.body), response.body.len, u, a);
		a->retry_after_s = response.retry_after_s;
	} else {
		studio_no_answer(r, response.error, a);
	}
	studio_hide_secret(a, s->config.token);
	return 0;
}

static void answer_init(struct studio_answer *a)
{
	*a = (struct studio_answer){.gpid = STUDIO_GPID_NONE};
}

int studio_health(struct studio *s, struct studio_answer *ret)
{
	answer_init(ret);
	return ask(s, "v1/health_check", NULL, ret);
}

int studio_upload(
	struct studio *s, const struct upload *u, const char *gpid, struct studio_answer *ret)
{
	int r = upload_body(&s->body, u, gpid);

	answer_init(ret);
	if (!r)
		r = ask(s, u->origin.v1 ? "v1/profiles" : "v2/profiles", u, ret);
	buf_deinit(&s->body);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/http_client.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "delivery/curl_library.h"

#define LOGGER "gprofiler.http"
#define PEM_MAX ((size_t)4 << 20)
#define HEADERS_MAX ((size_t)64 << 10)
#define CURL_LINE_MAX ((size_t)64 << 20)
#define RETRY_AFTER_MAX 3600

/* A PEM file as it was when it was read. */
struct pem {
	const char *path; // NULL: none
	struct stat seen;
	struct buf text;
};

struct identity {
	struct pem ca, cert, key;
};

struct http_client {
	struct http_config config;
	CURL *curl; // NULL before the first request
	struct identity now, before; // before: what worked until the files changed
	uint64_t connected_ns;
	atomic_bool aborted;
};

struct transfer {
	struct http_client *client;
	struct http_response *response;
	size_t header_bytes;
	bool too_big;
};

void http_response_deinit(struct http_response *response)
{
	buf_deinit(&response->body);
}

static void identity_deinit(struct identity *id)
{
	buf_deinit(&id->ca.text);
	buf_deinit(&id->cert.text);
	buf_deinit(&id->key.text);
}

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

int http_client_new(const struct http_config *config, struct http_client **ret)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->config = *config;
	c->now.ca.path = config->ca_bundle && config->ca_bundle[0] ? config->ca_bundle : NULL;
	if (c->now.ca.path)
		c->config.verify = true;
	else if (config->verify)
		c->now.ca.path = environment("REQUESTS_CA_BUNDLE");
	if (!c->now.ca.path && config->verify)
		c->now.ca.path = environment("CURL_CA_BUNDLE");
	// Only one of the two identifies nobody; whoever parsed the options has said so.
	if (config->client_cert && config->client_key) {
		c->now.cert.path = config->client_cert;
		c->now.key.path = config->client_key;
	}
	*ret = c;
	return 0;
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	if (c->curl)
		curl_library()->easy_cleanup(c->curl);
	identity_deinit(&c->now);
	identity_deinit(&c->before);
	free(c);
}

void http_client_rest(struct http_client *c)
{
	if (c->curl)
		curl_library()->easy_cleanup(c->curl);
	c->curl = NULL;
}

void http_client_abort(struct http_client *c)
{
	atomic_store(&c->aborted, true);
}

static bool pem_changed(const struct pem *p)
{
	struct stat st;

	if (!p->path)
		return false;
	// A file that is away for a moment is being replaced: what was read stays in use.
	if (stat(p->path, &st) < 0)
		return !p->text.len;
	return !p->text.len || st.st_ino != p->seen.st_ino || st.st_dev != p->seen.st_dev ||
	       st.st_size != p->seen.st_size || st.st_mtim.tv_sec != p->seen.st_mtim.tv_sec ||
	       st.st_mtim.tv_nsec != p->seen.st_mtim.tv_nsec;
}

static int pem_read(struct pem *p, char *error)
{
	struct stat st;
	int r;

	if (!p->path)
		return 0;
	buf_deinit(&p->text);
	p->text = BUF_INIT(PEM_MAX);
	// Looked at before it is read: a change in between is seen next time.
	r = stat(p->path, &st) < 0 ? -errno : fs_read_file(p->path, &p->text);
	if (!r && !p->text.len)
		r = -ENODATA;
	if (r) {
		buf_deinit(&p->text);
		snprintf(error, HTTP_ERROR_TEXT, "certificate file %.160s: %s", p->path,
			strerror(-r));
		return r == -ENOMEM ? r : HTTP_CERTIFICATE;
	}
	p->seen = st;
	return 0;
}

static int identity_read(struct identity *id, char *error)
{
	int r = pem_read(&id->ca, error);

	if (!r)
		r = pem_read(&id->cert, error);
	return r ? r : pem_read(&id->key, error);
}

int http_client_check_files(const struct http_client *c, char error[HTTP_ERROR_TEXT])
{
	struct identity id = {
		.ca.path = c->now.ca.path,
		.cert.path = c->now.cert.path,
		.key.path = c->now.key.path,
	};
	int r = identity_read(&id, error);

	identity_deinit(&id);
	return r;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct transfer *t = arg;

	(void)one;
	if (buf_append(&t->response->body, data, n)) {
		t->too_big = true;
		return 0;
	}
	return n;
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
	static const char name[] = "retry-after:";
	struct transfer *t = arg;
	char value[32] = "";

	(void)one;
	t->header_bytes += n;
	if (t->header_bytes > HEADERS_MAX) {
		t->too_big = true;
		return 0;
	}
	if (n > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0) {
		size_t len = MIN(n - (sizeof(name) - 1), sizeof(value) - 1);
		unsigned long seconds;

		memcpy(value, data + sizeof(name) - 1, len);
		seconds = strtoul(value, NULL, 10); // a date gives 0: our own patience then
		t->response->retry_after_s = (unsigned)MIN(seconds, RETRY_AFTER_MAX);
	}
	return n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct http_client *client = arg;

	(void)a, (void)b, (void)c, (void)d;
	return atomic_load(&client->aborted);
}

static void set_blob(CURL *curl, CURLoption option, const struct pem *p)
{
	struct curl_blob blob = {
		.data = p->text.data, .len = p->text.len, .flags = CURL_BLOB_NOCOPY};

	if (p->text.len)
		curl_library()->easy_setopt(curl, option, &blob);
}

/* requests also reads the capital form; libcurl does not, since in a CGI program it is the client's
 * to set. */
static void set_proxy(CURL *curl, const char *url)
{
	const char *proxy = environment("HTTP_PROXY");

	if (strncasecmp(url, "http:", 5) == 0 && proxy && !environment("http_proxy") &&
		!environment("REQUEST_METHOD"))
		curl_library()->easy_setopt(curl, CURLOPT_PROXY, proxy);
}

/* A handle with the identity of now; the connection of the last one is closed. */
static int connect_anew(struct http_client *c)
{
	CURL *curl;

	if (!curl_library())
		return -ELIBACC;
	if (c->curl)
		curl_library()->easy_cleanup(c->curl);
	c->curl = curl = curl_library()->easy_init();
	if (!curl)
		return -ENOMEM;
	curl_library()->easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_library()->easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
	curl_library()->easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_library()->easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_library()->easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_library()->easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
	curl_library()->easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_library()->easy_setopt(curl, CURLOPT_USERAGENT, "gprofiler/" GP_VERSION);
	curl_library()->easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_library()->easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_library()->easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_library()->easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_library()->easy_setopt(curl, CURLOPT_XFERINFODATA, c);
	curl_library()->easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, c->config.verify ? 1L : 0L);
	curl_library()->easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, c->config.verify ? 2L : 0L);
	curl_library()->easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	set_blob(curl, CURLOPT_CAINFO_BLOB, &c->now.ca);
	set_blob(curl, CURLOPT_SSLCERT_BLOB, &c->now.cert);
	set_blob(curl, CURLOPT_SSLKEY_BLOB, &c->now.key);
	if (c->config.unix_socket)
		curl_library()->easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, c->config.unix_socket);
	c->connected_ns = clock_mono_ns();
	return 0;
}

/* Takes in files that changed. Files that cannot be read any more leave what was read in use. */
static int prepare(struct http_client *c, char *error)
{
	struct identity fresh = {
		.ca.path = c->now.ca.path,
		.cert.path = c->now.cert.path,
		.key.path = c->now.key.path,
	};
	bool old = c->config.refresh_s &&
		   clock_mono_ns() - c->connected_ns > c->config.refresh_s * NSEC_PER_SEC;
	int r;

	if (!pem_changed(&c->now.ca) && !pem_changed(&c->now.cert) && !pem_changed(&c->now.key))
		return c->curl && !old ? 0 : connect_anew(c);
	r = identity_read(&fresh, error);
	if (r) {
		identity_deinit(&fresh);
		if (!c->curl)
			return r;
		log_once(LOG_LEVEL_WARNING, LOGGER, "%s; the ones read before stay in use", error);
		return 0;
	}
	if (c->curl)
		log_info(
			LOGGER, "TLS certificates changed on disk: reconnecting with the new ones");
	identity_deinit(&c->before);
	c->before = c->now;
	c->now = fresh;
	return connect_anew(c);
}

static int classify(const struct transfer *t, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return HTTP_OK;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_TIMEOUT;
	case CURLE_ABORTED_BY_CALLBACK:
		return HTTP_ABORTED;
	case CURLE_WRITE_ERROR:
		return t->too_big ? HTTP_NONSENSE : HTTP_AWAY;
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_HTTP2:
		return HTTP_NONSENSE;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
		return HTTP_TLS;
	default:
		return HTTP_AWAY;
	}
}

static CURLcode transfer(struct http_client *c, const struct http_request *q,
	const struct curl_slist *headers, struct transfer *t)
{
	char detail[CURL_ERROR_SIZE] = "";
	CURLcode code;

	if (c->config.direct || c->config.unix_socket)
		curl_library()->easy_setopt(c->curl, CURLOPT_PROXY, "");
	else
		set_proxy(c->curl, q->url);
	curl_library()->easy_setopt(c->curl, CURLOPT_URL, q->url);
	curl_library()->easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
	curl_library()->easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
	curl_library()->easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS,
		(long)(q->connect_timeout_ms ? q->connect_timeout_ms : q->timeout_ms));
	if (q->body) {
		curl_library()->easy_setopt(c->curl, CURLOPT_POST, 1L);
		curl_library()->easy_setopt(c->curl, CURLOPT_POSTFIELDS, q->body);
		curl_library()->easy_setopt(
			c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_len);
	} else {
		curl_library()->easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
	}
	curl_library()->easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, q->method);
	curl_library()->easy_setopt(c->curl, CURLOPT_WRITEDATA, t);
	curl_library()->easy_setopt(c->curl, CURLOPT_HEADERDATA, t);
	curl_library()->easy_setopt(c->curl, CURLOPT_ERRORBUFFER, detail);
	code = curl_library()->easy_perform(c->curl);
	curl_library()->easy_setopt(c->curl, CURLOPT_ERRORBUFFER, NULL);
	if (code != CURLE_OK)
		snprintf(t->response->error, HTTP_ERROR_TEXT, "%s",
			detail[0] ? detail : curl_library()->easy_strerror(code));
	return code;
}

static int perform(
	struct http_client *c, const struct http_request *q, struct http_response *response)
{
	struct curl_slist *headers = curl_library()->slist_append(NULL, "Expect:");
	struct transfer t = {.client = c, .response = response};
	bool complete = headers != NULL;
	CURLcode code = CURLE_OUT_OF_MEMORY;

	for (size_t i = 0; complete && q->headers && q->headers[i]; i++)
		complete = curl_library()->slist_append(headers, q->headers[i]) != NULL;
	if (complete)
		code = transfer(c, q, headers, &t);
	if (code == CURLE_OK)
		curl_library()->easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &response->status);
	curl_library()->easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
	curl_library()->slist_free_all(headers);
	return code == CURLE_SSL_CERTPROBLEM ? HTTP_CERTIFICATE : classify(&t, code);
}

static void log_curl(const struct http_client *c, const struct http_request *q)
{
	_cleanup_buf_ struct buf line = BUF_INIT(CURL_LINE_MAX);

	if (!c->config.curlify || !log_enabled(LOG_LEVEL_DEBUG))
		return;
	if (!http_curl_line(&line, q, c->config.secret))
		log_debug(LOGGER, "%s", buf_str(&line));
}

int http_request(
	struct http_client *c, const struct http_request *q, struct http_response *response)
{
	int r;

	response->status = 0;
	response->retry_after_s = 0;
	response->error[0] = 0;
	buf_clear(&response->body);
	if (atomic_load(&c->aborted))
		return HTTP_ABORTED;
	r = prepare(c, response->error);
	if (r)
		return r;
	log_curl(c, q);
	r = perform(c, q, response);
	if (r == HTTP_CERTIFICATE && c->before.cert.text.len) {
		// Certificate and key are replaced one after the other: until both are there the
		// old pair goes on, and the next request looks again.
		struct identity broken = c->now;

		log_once(LOG_LEVEL_WARNING, LOGGER,
			"The new TLS certificate and key do not fit (%s); the old pair stays in use",
			response->error);
		c->now = c->before;
		c->before = (struct identity){0};
		identity_deinit(&broken);
		r = connect_anew(c);
		if (!r)
			r = perform(c, q, response);
	}
	if (r == HTTP_OK)
		response->error[0] = 0;
	return r;
}

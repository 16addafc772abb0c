/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/http_client.h -- requests to one server; libcurl behind one wall.
 *
 * A client keeps one connection alive and costs nothing before its first request. It follows no
 * redirect (a header with a token must not go where a server points), asks for no compressed
 * answers, and obeys http_proxy, https_proxy, all_proxy and no_proxy. Certificates are read by us:
 * when a file changes, the next request uses the new one on a new connection; while a new pair is
 * half-written (it does not load) the old one stays in use. One thread a client; http_client_abort()
 * from any. */
#ifndef GP_DELIVERY_HTTP_CLIENT_H
#define GP_DELIVERY_HTTP_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define HTTP_ERROR_TEXT 256
#define HTTP_RESPONSE_MAX ((size_t)1 << 20)

/* All texts are borrowed and outlive the client. */
struct http_config {
	bool verify; // the server's certificate; ca_bundle implies it (gprofiler-agent.md 4.7)
	const char *ca_bundle; // NULL: $REQUESTS_CA_BUNDLE, $CURL_CA_BUNDLE, else the system's
	const char *client_cert, *client_key; // PEM; both or none
	unsigned refresh_s; // a new connection after so long even if no file changed; 0 never
	bool curlify; // log each request as a curl command at DEBUG
	const char *secret; // masked in what is logged; may be NULL
	const char *unix_socket; // connect there, whatever the URL's host; NULL: over the network
	bool direct; // never through a proxy
};

struct http_request {
	const char *method; // "GET", "POST"
	const char *url; // http:// or https://
	const char *const *headers; // "Name: value", NULL-terminated; may be NULL
	const void *body; // NULL: none. Sent with Content-Length
	size_t body_len;
	unsigned timeout_ms; // of the whole request
	unsigned connect_timeout_ms; // 0: the whole time
};

/* What a server said. Reusable; init with HTTP_RESPONSE_INIT. */
struct http_response {
	long status; // 0 if none came
	unsigned retry_after_s; // 0 not said
	struct buf body; // its cap cuts off a server that does not stop
	char error[HTTP_ERROR_TEXT]; // a sentence for people; empty after an answer
};
#define HTTP_RESPONSE_INIT ((struct http_response){.body = BUF_INIT(HTTP_RESPONSE_MAX)})
void http_response_deinit(struct http_response *response);
static inline void cleanup_http_response(struct http_response *r)
{
	http_response_deinit(r);
}
#define _cleanup_http_response_ _cleanup_(cleanup_http_response)

enum http_err {
	HTTP_OK,
	HTTP_AWAY, // no connection, or it broke
	HTTP_TIMEOUT,
	HTTP_TLS, // the server's certificate or ours was not accepted
	HTTP_NONSENSE, // not HTTP, or more than the response's cap
	HTTP_ABORTED,
	HTTP_CERTIFICATE, // a file of ours cannot be read
};

struct http_client;

/* Return 0 or -ENOMEM. Reads no file. */
int http_client_new(const struct http_config *config, struct http_client **ret);
void http_client_free(struct http_client *client);

/* Whether the configured files can be read, as they must at start.
 * Return 0, or HTTP_CERTIFICATE with a sentence in error. */
int http_client_check_files(const struct http_client *client, char error[HTTP_ERROR_TEXT]);

/* Return HTTP_OK when an answer of whatever status came, else an enum http_err with a sentence in
 * response->error, or -ENOMEM. */
int http_request(struct http_client *client, const struct http_request *request,
	struct http_response *response);

/* Closes the connection and gives its memory back; the next request opens one. */
void http_client_rest(struct http_client *client);

/* Ends the request that is under way, and all later ones, with HTTP_ABORTED. */
void http_client_abort(struct http_client *client);

/* Appends text as a component of a URL. */
int http_url_escape(struct buf *out, const char *text);

/* Appends the request as a curl command: body un-gzipped (its first 64 KiB), every occurrence of secret as "***". */
int http_curl_line(struct buf *out, const struct http_request *request, const char *secret);

#endif

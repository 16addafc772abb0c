/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/http_server.h -- a small HTTP server: pages that are made when they are asked for.
 *
 * GET and HEAD only, no bodies, no TLS, few connections, each with a time limit: for numbers about the
 * program itself, on loopback unless told otherwise. One thread of its own, which calls the pages. */
#ifndef GP_DELIVERY_HTTP_SERVER_H
#define GP_DELIVERY_HTTP_SERVER_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"

#define HTTP_SERVER_ADDRESS_TEXT 80

struct http_server;

struct http_page {
	unsigned status; // 200 when called
	const char *type; // "text/plain; charset=utf-8" when called
	struct buf *body;
};

/* Answers a path that starts with "/" (query cut off). What it knows nothing of: status 404. */
typedef void (*http_server_fn)(void *arg, const char *path, struct http_page *page);

/* "ADDRESS:PORT", "[ADDRESS]:PORT", ":PORT" or "PORT" (of 127.0.0.1), "localhost:PORT"; numbers only, port
 * 0 lets the kernel choose. Return 0 or -EINVAL. */
int http_server_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len);

/* Listens and serves. Return 0; -errno with *ret_why, a constant text. */
int http_server_start(const struct sockaddr_storage *address, http_server_fn fn, void *arg,
	struct http_server **ret, const char **ret_why);
/* No call of fn is under way or will come when this returns. */
void http_server_stop(struct http_server *s);
/* Where it listens, "127.0.0.1:9203". */
const char *http_server_address(const struct http_server *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "delivery/microhttpd_library.h"

#define PAGE_MAX ((size_t)4 << 20)
#define CONNECTIONS_MAX 8
#define CONNECTION_SECONDS 10
#define CONNECTION_MEMORY ((size_t)16 << 10)
#define THREAD_STACK ((size_t)256 << 10)
#define PORT_MAX 65535

struct http_server {
	struct MHD_Daemon *daemon;
	const struct microhttpd_library *mhd;
	http_server_fn fn;
	void *arg;
	char address[HTTP_SERVER_ADDRESS_TEXT];
};

static int parse_port(const char *text, in_port_t *ret)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || port > PORT_MAX)
		return -EINVAL;
	*ret = htons((uint16_t)port);
	return 0;
}

int http_server_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_storage address = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
	char host[INET6_ADDRSTRLEN];
	size_t n = colon ? (size_t)(colon - text) : 0;
	in_port_t port;
	bool brackets = n >= 2 && text[0] == '[' && text[n - 1] == ']';

	if (parse_port(colon ? colon + 1 : text, &port) || n >= sizeof(host))
		return -EINVAL;
	snprintf(host, sizeof(host), "%.*s", (int)(n - 2 * brackets), text + brackets);
	if (!n || !strcmp(host, "localhost"))
		snprintf(host, sizeof(host), "127.0.0.1");
	if (brackets && inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = port;
		*ret_len = sizeof(*v6);
	} else if (!brackets && inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = port;
		*ret_len = sizeof(*v4);
	} else {
		return -EINVAL;
	}
	*ret = address;
	return 0;
}

static enum MHD_Result send_page(
	struct http_server *s, struct MHD_Connection *connection, const struct http_page *page)
{
	// Copied: the library sends it after we have returned.
	struct MHD_Response *response = s->mhd->create_response_from_buffer(
		page->body->len, page->body->data, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	s->mhd->add_response_header(response, "Content-Type", page->type);
	s->mhd->add_response_header(response, "Cache-Control", "no-store");
	if (page->status == 405)
		s->mhd->add_response_header(response, "Allow", "GET, HEAD");
	result = s->mhd->queue_response(connection, page->status, response);
	s->mhd->destroy_response(response);
	return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **request)
{
	_cleanup_buf_ struct buf body = BUF_INIT(PAGE_MAX);
	struct http_server *s = cls;
	struct http_page page = {.status = 200, .type = "text/plain; charset=utf-8", .body = &body};

	(void)version;
	(void)upload;
	if (!*request) {
		*request = s; // headers only; what follows is called again
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0; // a body nobody wants
		return MHD_YES;
	}
	if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
		page.status = 405;
		buf_append_str(&body, "GET or HEAD only\n");
	} else {
		s->fn(s->arg, url, &page);
	}
	if (body.bad) {
		buf_clear(&body);
		page.status = 500;
		buf_append_str(&body, "no memory for this page\n");
	}
	return send_page(s, connection, &page);
}

static void name_address(struct http_server *s, const struct sockaddr_storage *address)
{
	const union MHD_DaemonInfo *info =
		s->mhd->get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
	char host[INET6_ADDRSTRLEN] = "?";
	bool v6 = address->ss_family == AF_INET6;

	inet_ntop(address->ss_family,
		v6 ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
		   : (const void *)&((const struct sockaddr_in *)address)->sin_addr,
		host, sizeof(host));
	snprintf(s->address, sizeof(s->address), "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "",
		info ? (unsigned)info->port : 0);
}

static void quiet(void *cls, const char *fmt, va_list args)
{
	(void)cls;
	(void)fmt;
	(void)args;
}

/* Signals are for the thread that profiles: the server's thread inherits a full mask. */
static struct MHD_Daemon *start_daemon(
	struct http_server *s, const struct sockaddr_storage *address)
{
	unsigned flags = MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ERROR_LOG;
	struct MHD_Daemon *daemon;
	sigset_t all, before;

	if (address->ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = 0;
	daemon = s->mhd->start_daemon(flags, 0, NULL, NULL, on_request, s,
		MHD_OPTION_EXTERNAL_LOGGER, quiet, NULL, MHD_OPTION_SOCK_ADDR, address,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
		THREAD_STACK, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return daemon;
}

int http_server_start(const struct sockaddr_storage *address, http_server_fn fn, void *arg,
	struct http_server **ret, const char **ret_why)
{
	struct http_server *s = calloc(1, sizeof(*s));
	int r;

	*ret_why = "out of memory";
	if (!s)
		return -ENOMEM;
	s->fn = fn;
	s->arg = arg;
	s->mhd = microhttpd_library(ret_why);
	if (!s->mhd) {
		free(s);
		return -ENOENT;
	}
	s->daemon = start_daemon(s, address);
	if (!s->daemon) {
		r = errno ? -errno : -EADDRINUSE;
		*ret_why = r == -EADDRINUSE	 ? "another program listens there"
			   : r == -EACCES	 ? "this port takes a privilege"
			   : r == -EADDRNOTAVAIL ? "this machine has no such address"
						 : "the server could not be started";
		free(s);
		return r;
	}
	name_address(s, address);
	*ret = s;
	return 0;
}

void http_server_stop(struct http_server *s)
{
	if (!s)
		return;
	s->mhd->stop_daemon(s->daemon);
	free(s);
}

const char *http_server_address(const struct http_server *s)
{
	return s->address;
}

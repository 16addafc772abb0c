/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/server_log.h -- the agent's log lines to the studio's log service, in batches
 * (gprofiler-agent.md 4.4, gprofiler-studio.md 1.6).
 *
 * Every line of DEBUG and above is kept in memory, 4 MiB at most: when it is full the oldest quarter
 * goes and is counted. A thread of its own sends every 30 s, or sooner when it is four fifths full;
 * a batch that failed is sent again. Requests themselves and libbpf's babble stay local. Any
 * thread. */
#ifndef GP_DELIVERY_SERVER_LOG_H
#define GP_DELIVERY_SERVER_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/http_client.h"

/* Texts are borrowed and outlive the log. */
struct server_log_config {
	struct http_config http;
	const char *server; // --api-server; a path in it is not used
	const char *token, *service, *hostname;
	size_t max_bytes; // 0: the reference's 4 MiB
	unsigned interval_ms; // between batches; 0: the reference's 30 s
};

struct server_log;

/* Starts to gather and to send. Return 0, -errno. */
int server_log_start(const struct server_log_config *config, struct server_log **ret);
/* Nothing is profiled from now on, until it is said that something is: after each batch the connection is
 * closed, and what its TLS took is given back. NULL is fine. */
void server_log_set_idle(struct server_log *log, bool idle);
/* Sends what is left, for timeout_ms at most, and ends. NULL is fine. */
void server_log_stop(struct server_log *log, unsigned timeout_ms);

#endif

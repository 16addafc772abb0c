/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/metrics.h -- the agent's own metrics as lines over TCP: "put NAME SECONDS VALUE k=v ..."
 * (gprofiler-agent.md 4.6).
 *
 * A line is queued and sent by a thread of its own, a connection a line, as the reference's server
 * expects it; a server that is away costs the lines that do not fit the queue, oldest first, and one
 * line in the log. Who emits never waits. Any thread; NULL metrics: nothing. */
#ifndef GP_DELIVERY_METRICS_H
#define GP_DELIVERY_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define METRICS_PORT 18126
#define METRICS_QUEUE_MAX 256 // lines that wait
#define METRICS_LINE_MAX 2048

/* Texts are borrowed and outlive the metrics. */
struct metrics_config {
	const char *server; // tcp://host[:port]
	const char *service, *hostname;
	const char *sli_uuid; // NULL: no service level lines
};

struct metrics;

struct metrics_stats {
	uint64_t sent, lost; // lines
};

/* host and port of tcp://host[:port], [v6]:port. Return 0, -EINVAL. */
int metrics_parse_url(const char *url, char host[static 256], char port[static 8]);

/* Return 0; -EINVAL no such address (tcp://host[:port]); -errno. */
int metrics_start(const struct metrics_config *config, struct metrics **ret);
/* Sends what waits, for a second at most; lines of later are dropped. Return false if a send hangs:
 * then it must be left alone until the process exits, and is not freed. */
bool metrics_stop(struct metrics *m);
/* After a stop that returned true, when no thread is left that could emit. */
void metrics_free(struct metrics *m);
void metrics_get_stats(struct metrics *m, struct metrics_stats *ret);

/* An error of a part: gprofiler.CATEGORY.TYPE.error 1. */
struct metrics_error {
	const char *category, *type; // "api_client", "upload_error"
	const char *severity; // "warning", "error", "critical"
	const char *method; // "GProfiler._snapshot"
	const char *extra_name, *extra; // a tag of its own, NULL none
};
void metrics_error(struct metrics *m, const struct metrics_error *e);
/* A request of a service level: response is "success", "failure" or "ignored_failure"; tag: one of
 * status_code or error, NULL none. */
void metrics_sli(struct metrics *m, const char *response, const char *method, const char *tag,
	const char *value);

/* Appends " k=v"; what would end the tag or the line becomes '_'. */
void metrics_tag(struct buf *line, const char *key, const char *value);

#endif

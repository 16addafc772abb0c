/* SPDX-License-Identifier: Apache-2.0 */
/* agent/status.h -- `gprofiler status`: the running agent answers whoever asks.
 *
 * The agent's lock (preconditions.h) is an abstract Unix socket that every agent of the machine holds
 * under one name, also in a container: the agent listens on it and writes one JSON object to each
 * connection. No network, no file, and "which agent" is settled. An abstract socket has no mode, so the
 * peer's credentials are looked at: root and the agent's own user are answered. A small thread. */
#ifndef GP_AGENT_STATUS_H
#define GP_AGENT_STATUS_H

#include "agent/vitals.h"
#include "base/buf.h"
#include "base/json.h"

struct status_server;

/* Listens on the lock, which stays the caller's. Return 0 or -errno. */
int status_server_start(int lock, struct vitals *vitals, struct status_server **ret);
void status_server_stop(struct status_server *s);

/* The object; NULL without memory. */
json_t *status_json(const struct vitals_report *report);

enum status_ask {
	STATUS_NOBODY = 1, // no agent runs
	STATUS_OTHER, // the lock is held by something that does not answer: the Python agent, an old version
	STATUS_DENIED, // it is another user's
	STATUS_SILENT, // it took the question and said nothing in time
};

/* Asks the agent that holds the lock of that name; appends its answer to out. The answer is only taken
 * from root or from the caller's own user. Return 0, enum status_ask, -errno. */
int status_ask(const char *lock_name, struct buf *out);

#endif

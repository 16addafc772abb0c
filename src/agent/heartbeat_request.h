/* SPDX-License-Identifier: Apache-2.0 */
/* agent/heartbeat_request.h -- what a heartbeat says: who we are, which commands we know, what this machine
 * can count, and which containers run here (gprofiler-agent.md 4.5).
 *
 * Times are UTC: the server compares them with its own clock. Texts are never null where the server
 * refuses a null. One thread. */
#ifndef GP_AGENT_HEARTBEAT_REQUEST_H
#define GP_AGENT_HEARTBEAT_REQUEST_H

#include "agent/command_history.h"

struct heartbeat_request {
	const char *hostname, *service; // borrowed
	json_t *events; // found once; NULL: not yet
	json_t *containers; // as they were at `taken`
	uint64_t taken; // CLOCK_MONOTONIC ns
	bool uuids_only; // the server's columns hold no other ids
	bool no_containers; // with them it is more than the server takes
};

void heartbeat_request_init(struct heartbeat_request *q, const char *hostname, const char *service);
void heartbeat_request_deinit(struct heartbeat_request *q);

/* The next heartbeat's body; last_id "" is none. NULL without memory. */
json_t *heartbeat_request_make(
	struct heartbeat_request *q, const struct command_history *h, const char *last_id);

#endif

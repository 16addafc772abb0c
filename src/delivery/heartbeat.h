/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/heartbeat.h -- the studio's control protocol: heartbeats out, commands in, completions out
 * (gprofiler-agent.md 4.5, gprofiler-studio.md 1.7 and 1.8).
 *
 * Plain JSON to --api-server, with the token as a bearer. What the server says is a stranger's: an answer
 * is read into a verdict, a printable sentence, and a command with its id if there is a whole one. One
 * thread; heartbeat_abort() from any. */
#ifndef GP_DELIVERY_HEARTBEAT_H
#define GP_DELIVERY_HEARTBEAT_H

#include "base/json.h"
#include "delivery/studio.h"

#define HEARTBEAT_TIMEOUT_MS 30000
#define HEARTBEAT_ANSWER_MAX ((size_t)256 << 10)
#define HEARTBEAT_ID_MAX 64

/* All texts are borrowed and outlive the heartbeat. */
struct heartbeat_config {
	struct http_config http;
	const char *server; // --api-server
	const char *token;
};

struct heartbeat_answer {
	struct studio_answer said; // verdict, status, message, retry_after_s
	bool success; // as the server says
	bool nameless; // there was a command, but no id that can be said again
	char id[HEARTBEAT_ID_MAX + 1]; // of the command, "" none
	json_t *command; // owned: profiling_command, NULL none
};
void heartbeat_answer_deinit(struct heartbeat_answer *a);

/* What became of a command. */
struct heartbeat_completion {
	const char *id, *hostname;
	bool failed;
	uint64_t seconds;
	const char *error; // NULL: none
};

struct heartbeat;

/* Return 0, -ENOMEM. Connects to nothing. */
int heartbeat_new(const struct heartbeat_config *config, struct heartbeat **ret);
void heartbeat_free(struct heartbeat *h);
void heartbeat_abort(struct heartbeat *h);
/* Closes the connection and gives back what it took; the next request opens one. */
void heartbeat_rest(struct heartbeat *h);

/* Each returns 0 with the answer filled (to be deinitialised), -ENOSPC when the request is too large,
 * -ENOMEM. */
int heartbeat_send(struct heartbeat *h, const json_t *request, struct heartbeat_answer *ret);
int heartbeat_complete(struct heartbeat *h, const struct heartbeat_completion *completion,
	unsigned timeout_ms, struct heartbeat_answer *ret);

/* Reads a status and a body, both hostile. */
void heartbeat_judge(long status, const char *body, size_t len, struct heartbeat_answer *ret);

#endif

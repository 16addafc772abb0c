/* SPDX-License-Identifier: Apache-2.0 */
/* agent/command_history.h -- what the studio has told us, over restarts.
 *
 * The server hands the same command out with every heartbeat, and again after a restart: an id that was
 * received is not carried out twice. With the ids goes what became of each, until the server knows it,
 * and the continuous command in force, which goes on after a restart. At most 1000, the oldest first to
 * go, but never the one in force. The file is written whole, synced and renamed: whatever instruction a
 * kill hits, there is the state before or the state after. Pure but for load and save; callers
 * serialise. */
#ifndef GP_AGENT_COMMAND_HISTORY_H
#define GP_AGENT_COMMAND_HISTORY_H

#include "agent/remote_command.h"
#include "base/buf.h"

#define COMMAND_HISTORY_MAX 1000
/* Of the file: of each command an id and a reason, whose bytes may each be six when escaped, and the body
 * of one. */
#define COMMAND_FILE_MAX                                                                           \
	(COMMAND_HISTORY_MAX * (6 * REMOTE_WHY_MAX + REMOTE_ID_MAX + 256) + 2 * REMOTE_BODY_MAX)

enum command_report {
	COMMAND_REPORT_NONE, // nothing to say yet
	COMMAND_REPORT_DUE,
	COMMAND_REPORT_SENT, // or given up
};

/* What a command became. */
struct command_outcome {
	bool failed;
	uint64_t seconds; // it took
	const char *error; // NULL: none
};

struct command_entry {
	char id[REMOTE_ID_MAX + 1];
	enum remote_kind kind;
	bool executed;
	enum command_report report;
	bool failed;
	uint64_t seconds;
	char *error; // owned; NULL: none
};
VEC_DEFINE(command_entries, struct command_entry)

struct command_history {
	struct command_entries entries; // oldest first
	struct remote_command force; // body NULL: nothing is in force
	bool stopped; // the last word was to stop: what the command line asks for does not begin
	char stop_id[REMOTE_ID_MAX + 1]; // said by
};

void command_history_init(struct command_history *h);
void command_history_deinit(struct command_history *h);

bool command_history_has(const struct command_history *h, const char *id);
/* A command came: a continuous one is in force from now on, a stop of everything ends that. Return 0; 1:
 * seen before, and nothing changed; -ENOMEM. */
int command_history_receive(struct command_history *h, const struct remote_command *c);
/* A command is over, or a continuous one has begun for good; the server is to know. A continuous one
 * that failed is no more in force. Only the first call says something. Return 0; -ENOENT, -ENOMEM. */
int command_history_finish(
	struct command_history *h, const char *id, const struct command_outcome *outcome);
/* The command in force is over (its processes were stopped). */
void command_history_release(struct command_history *h);
/* A continuous command that goes on, since what came after it failed, is in force again, unless something else is
 * or all was stopped. Return 0; 1: nothing changed; -ENOMEM. */
int command_history_restore(struct command_history *h, const char *id, const json_t *body);
/* These processes are out of the command in force. */
void command_history_leave_out(struct command_history *h, const struct option_pids *pids);
/* After a load: what the end of the last run left open is over, and is not done again. */
int command_history_interrupted(struct command_history *h);

/* The oldest entry that the server is to know of, NULL if none. Good until the next change. */
const struct command_entry *command_history_due(const struct command_history *h);
void command_history_told(struct command_history *h, const char *id);
unsigned command_history_ndue(const struct command_history *h);

/* The file's text. Return 0, -ENOSPC, -ENOMEM. */
int command_history_encode(const struct command_history *h, struct buf *out);
/* Into an initialised history, which is empty again on failure. Return 0, -EINVAL: it is none, -ENOMEM. */
int command_history_decode(struct command_history *h, const void *text, size_t len);
/* Return 0; 1: there was no file; -EINVAL: it is damaged; -errno. */
int command_history_load(struct command_history *h, const char *path);
/* Writes an encoded text: whole, synced, renamed. Return 0 or -errno. */
int command_history_write(const struct buf *text, const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/remote_command.h -- a command of the studio: what it says, and what that means for options.
 *
 * {"command_type": "start"|"stop", "combined_config": {...}} with an id (gprofiler-agent.md 4.5,
 * gprofiler-studio.md A.1). Everything in it is a stranger's: types are checked, numbers have the bounds
 * of the options they stand for, a null is as good as absent, unknown keys say nothing. Pure. */
#ifndef GP_AGENT_REMOTE_COMMAND_H
#define GP_AGENT_REMOTE_COMMAND_H

#include "base/json.h"
#include "config/options.h"

#define REMOTE_ID_MAX 64 // characters; the studio's are UUIDs of 36
#define REMOTE_BODY_MAX ((size_t)64 << 10) // of JSON
#define REMOTE_WHY_MAX ((size_t)512) // of a reason

/* In the order in which they are carried out. */
enum remote_kind {
	REMOTE_STOP,
	REMOTE_ONCE, // a start of one profile, "ad-hoc"
	REMOTE_CONTINUOUS, // a start of window after window
};

struct remote_command {
	char id[REMOTE_ID_MAX + 1];
	enum remote_kind kind;
	json_t *body; // owned: the profiling_command
};

void remote_command_deinit(struct remote_command *c);

/* An id that can be kept and said again: printable, no blank, not too long. */
bool remote_id_good(const char *id);

/* One that the studio's columns can hold. */
bool remote_id_is_uuid(const char *id);

/* Reads one; body is copied. Return 0; 1: it is none, with the reason in why (ret has the id, so that it
 * can be answered); -ENOMEM. */
int remote_command_read(
	struct remote_command *ret, const char *id, const json_t *body, struct buf *why);

/* The options of the profile that a start asks for: base with what the command says. ret is overwritten,
 * and owned by the caller after 0. Return 0; 1: refused, with the reason in why; -ENOMEM. */
int remote_command_options(const struct remote_command *c, const struct options *base,
	const char *hostname, struct options *ret, struct buf *why);

/* The processes a command is about, into an initialised list; none: all of the machine.
 * Return 0, 1 with the reason in why, -ENOMEM. */
int remote_command_pids(const struct remote_command *c, struct option_pids *ret, struct buf *why);
/* A stop of certain processes; otherwise it is one of everything. */
bool remote_command_is_partial(const struct remote_command *c);
/* Takes pids out of the list of a start. Return true if it had one and none is left. */
bool remote_command_leave_out(struct remote_command *c, const struct option_pids *pids);

#endif

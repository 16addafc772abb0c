/* SPDX-License-Identifier: Apache-2.0 */
/* agent/control.h -- control from afar: the studio's heartbeats, and the commands they bring.
 *
 * A thread sends a heartbeat each --heartbeat-interval (after failures later and later, with jitter),
 * keeps what it is told on disk before anybody acts on it, and tells the server once what became of each
 * command. The main loop takes commands when it can carry them out and says when they are over. A server
 * that is away, slow or lying costs nothing but a line in the log. Idle it takes a connection's memory
 * for the time of a heartbeat, and no more. */
#ifndef GP_AGENT_CONTROL_H
#define GP_AGENT_CONTROL_H

#include "agent/command_history.h"
#include "agent/command_queue.h"
#include "config/options.h"
#include "delivery/heartbeat.h"
#include "delivery/metrics.h"

struct control;

/* All texts are borrowed and outlive the control. */
struct control_config {
	struct heartbeat_config heartbeat;
	const char *hostname, *service; // as the server knows them
	const char *state_dir; // NULL: the usual places
	unsigned interval_s;
	struct metrics *metrics; // of each heartbeat's service level; NULL none
};

struct control_stats {
	uint64_t sent, failed; // heartbeats
	uint64_t answered_real_ns; // when the server last took one
	uint64_t received, completed, failed_commands;
	uint64_t history, due; // ids remembered, completions that the server does not know yet
};

/* Reads what was kept, and begins. Return 0; -EINVAL: an address or a token cannot be (logged); -ENOMEM. */
int control_start(const struct control_config *config, struct control **ret);
/* No more heartbeats; completions are still sent, for a second and a half at most. Does not wait. */
void control_close(struct control *c);
/* Waits for the thread. What could not be told is kept for the next run. */
void control_free(struct control *c);

/* Readable when a command came. */
int control_fd(const struct control *c);
/* The next command of these kinds (COMMAND_BIT()), to be deinitialised. False: none. */
bool control_next(struct control *c, unsigned kinds, struct remote_command *ret);
/* The continuous command that was in force when the last run ended. False: none. */
bool control_resume(struct control *c, struct remote_command *ret);
/* Whether the last word of the server was a stop; ret_id holds REMOTE_ID_MAX + 1 bytes. */
bool control_is_stopped(struct control *c, char *ret_id);

/* A command is over, or a continuous one has its first window. Only the first call says something. Any
 * thread. */
void control_finish(struct control *c, const char *id, const struct command_outcome *outcome);
/* Whether the server was told, or will be. */
bool control_is_finished(struct control *c, const char *id);
/* The command in force is over, whatever ended it but a stop or another command. */
void control_release(struct control *c, const char *id);
/* The continuous command that runs is in force again: the one that was to replace it could not begin. */
void control_keep(struct control *c, const char *id, const json_t *body);
/* These processes are out of what is in force and what waits. */
void control_leave_out(struct control *c, const struct option_pids *pids);

void control_get_stats(struct control *c, struct control_stats *ret);

#endif

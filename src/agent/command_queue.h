/* SPDX-License-Identifier: Apache-2.0 */
/* agent/command_queue.h -- commands of the studio that wait for their turn.
 *
 * Stops go before ad-hoc profiles, those before continuous ones. Stops and ad-hoc profiles are carried out
 * in the order they came; of continuous ones only the latest waits. A stop of everything also ends what
 * waits, but not what comes after it. Capped; what it turns out is handed to who put something in. Pure,
 * one thread at a time. */
#ifndef GP_AGENT_COMMAND_QUEUE_H
#define GP_AGENT_COMMAND_QUEUE_H

#include "agent/remote_command.h"

#define COMMAND_STOPS_MAX 4
#define COMMAND_ONCE_MAX 10

/* Kinds of commands as bits. */
#define COMMAND_BIT(kind) (1u << (kind))
#define COMMAND_ALL                                                                                \
	(COMMAND_BIT(REMOTE_STOP) | COMMAND_BIT(REMOTE_ONCE) | COMMAND_BIT(REMOTE_CONTINUOUS))

struct command_queue {
	struct remote_command stops[COMMAND_STOPS_MAX], once[COMMAND_ONCE_MAX], continuous;
	unsigned nstops, nonce;
	bool has_continuous;
};

/* Told of each command that will not be carried out; it may not keep c. */
typedef void (*command_queue_fn)(void *arg, const struct remote_command *c, const char *why);

void command_queue_init(struct command_queue *q);
void command_queue_deinit(struct command_queue *q);

/* Takes *c over, also when it fails. Return 0; -ENOSPC: full, and it was told of. */
int command_queue_put(
	struct command_queue *q, struct remote_command *c, command_queue_fn turned_out, void *arg);
/* The command whose turn it is among these kinds (COMMAND_BIT()), NULL if none waits. It stays. */
const struct remote_command *command_queue_peek(const struct command_queue *q, unsigned kinds);
/* Moves that command out to *ret. Return false if the one with this id is not at the head of its kind. */
bool command_queue_take(struct command_queue *q, const char *id, struct remote_command *ret);
/* These processes are not to be profiled: a start that names none besides them is turned out. */
void command_queue_leave_out(struct command_queue *q, const struct option_pids *pids,
	command_queue_fn turned_out, void *arg);

/* That wait. */
unsigned command_queue_len(const struct command_queue *q);

#endif

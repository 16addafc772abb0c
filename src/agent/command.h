/* SPDX-License-Identifier: Apache-2.0 */
/* agent/command.h -- the one child we ever start: the command a person asked us to profile.
 *
 * It is forked before sampling starts and waits to be let go, so that its first instruction is in
 * the profile. */
#ifndef GP_AGENT_COMMAND_H
#define GP_AGENT_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

struct command {
	pid_t pid; // 0: none
	int gate; // write end; closed to let it go
	bool ended;
	int status; // exit status as a shell gives it: 128 + signal
};

/* argv is NULL-terminated. Return 0 or -errno. */
int command_start(struct command *c, char **argv);
/* Lets it run. */
void command_go(struct command *c);
/* True once it has ended; never blocks. */
bool command_ended(struct command *c);
/* Ends a command that was never let go; harmless otherwise. */
void command_deinit(struct command *c);

#endif

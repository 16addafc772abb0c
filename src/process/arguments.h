/* SPDX-License-Identifier: Apache-2.0 */
/* process/arguments.h -- what a process was started with, by its own account: argv, program, working
 * directory.
 *
 * The bytes are the target's own memory (proc_pid_cmdline(5)): it may write anything there, and what
 * sets a title does. Bounded; nothing is run. Owned by its reader's thread. */
#ifndef GP_PROCESS_ARGUMENTS_H
#define GP_PROCESS_ARGUMENTS_H

#include <limits.h>
#include <stdint.h>

#include "base/buf.h"

#define ARGUMENTS_BYTES_MAX (256u << 10) // a longer command line is cut
#define ARGUMENTS_MAX 1024

struct arguments {
	struct buf text;
	const char *argv[ARGUMENTS_MAX]; // into text
	unsigned argc;
	char exe[PATH_MAX]; // as /proc/PID/exe names it, without " (deleted)"; "" unknown
	char cwd[PATH_MAX]; // likewise; "" unknown
};

void arguments_init(struct arguments *a);
void arguments_deinit(struct arguments *a);
/* proc: "/proc", or a fixture. Return 0 (a kernel thread has argc 0); -ESRCH gone; -errno. */
int arguments_read(struct arguments *a, const char *proc, uint32_t pid);
/* Cuts a->text at its NULs. */
void arguments_split(struct arguments *a);
/* argv[i], "" if there is none. */
static inline const char *argument(const struct arguments *a, unsigned i)
{
	return i < a->argc ? a->argv[i] : "";
}

#endif

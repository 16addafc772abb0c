/* SPDX-License-Identifier: Apache-2.0 */
/* cli/terminal.h -- a full screen on the controlling terminal, by ANSI escapes, and back again.
 *
 * Between enter and leave the terminal shows the alternate screen, without echo and line editing; what
 * is written to a standard error that is the terminal is kept and shown after it. A signal that would
 * kill puts the terminal back first. One in a process. Main thread. */
#ifndef GP_CLI_TERMINAL_H
#define GP_CLI_TERMINAL_H

#include <signal.h>
#include <stdbool.h>

#include "base/buf.h"

/* What signals said. `stop` may be given to session_run(). */
struct terminal_signals {
	volatile sig_atomic_t stop; // SIGINT, SIGTERM, SIGHUP, SIGQUIT
	volatile sig_atomic_t resized; // SIGWINCH
	volatile sig_atomic_t suspend; // SIGTSTP
};

/* Catches the signals that end a program; those of a screen, too, if screen. */
struct terminal_signals *terminal_catch(bool screen);

/* True if standard output is a terminal that knows escapes. */
bool terminal_possible(void);
/* Return 0 or -errno. */
int terminal_enter(void);
/* Puts everything back and shows what standard error got. Nothing if not entered. */
void terminal_leave(void);
/* Leaves, stops the process as Ctrl-Z asks, and enters again when it goes on. Return as enter. */
int terminal_suspend(void);
/* Columns and lines; those of a VT100 where the terminal does not say. */
void terminal_size(unsigned *ret_columns, unsigned *ret_lines);
/* Shows the lines of text from the top left, and nothing else. Return 0, -errno. */
int terminal_paint(const struct buf *text);
/* The next key that was pressed, 0 none. */
char terminal_key(void);

#endif

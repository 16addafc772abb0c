/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

#define COLUMNS 80
#define LINES 24
#define PAINT_MAX (4u << 20)
/* xterm(1) and the Linux console: alternate screen, cursor off, no wrap at the right margin. */
#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[0m\033[?7h\033[?25h\033[?1049l"

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};

struct terminal {
	struct termios before;
	bool entered, input; // input: standard input is the terminal
	int err, kept; // standard error as it was; what holds its text. -1 none
	struct terminal_signals signals;
};

/* Signal handlers have no other way to it. */
static struct terminal *terminal(void)
{
	static struct terminal t = {.err = -1, .kept = -1};

	return &t;
}

static void on_signal(int sig)
{
	struct terminal_signals *s = &terminal()->signals;

	if (sig == SIGWINCH)
		s->resized = 1;
	else if (sig == SIGTSTP)
		s->suspend = 1;
	else
		s->stop = sig;
}

/* Only what signal-safety(7) allows. Whoever has put us in the background owns the terminal now. */
static void put_back(struct terminal *t)
{
	ssize_t r;

	if (!t->entered)
		return;
	t->entered = false;
	if (t->err >= 0)
		dup2(t->err, STDERR_FILENO);
	if (tcgetpgrp(STDOUT_FILENO) != getpgrp())
		return;
	if (t->input)
		tcsetattr(STDIN_FILENO, TCSANOW, &t->before);
	r = write(STDOUT_FILENO, LEAVE, sizeof(LEAVE) - 1);
	(void)r;
}

/* SA_RESETHAND: raised again, it kills as it would have. */
static void on_fatal(int sig)
{
	put_back(terminal());
	raise(sig);
}

struct terminal_signals *terminal_catch(bool screen)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal};

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &action, NULL);
	if (!screen)
		return &terminal()->signals;
	sigaction(SIGWINCH, &action, NULL);
	sigaction(SIGTSTP, &action, NULL);
	action = (struct sigaction){.sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER};
	for (unsigned i = 0; i < ARRAY_SIZE(fatal); i++)
		sigaction(fatal[i], &action, NULL);
	// A terminal that went away is an error of write(), which comes back here.
	signal(SIGPIPE, SIG_IGN);
	return &terminal()->signals;
}

bool terminal_possible(void)
{
	const char *type = getenv("TERM");

	return isatty(STDOUT_FILENO) && type && type[0] && strcmp(type, "dumb") != 0;
}

/* Log lines in the middle of the screen would be lost with the next picture. */
static void keep_errors(struct terminal *t)
{
	if (!isatty(STDERR_FILENO))
		return;
	t->kept = memfd_create("stderr", MFD_CLOEXEC);
	t->err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (t->kept >= 0 && t->err >= 0)
		dup2(t->kept, STDERR_FILENO);
}

static void show_errors(struct terminal *t)
{
	char text[4096];
	ssize_t n;

	if (t->kept >= 0 && t->err >= 0) {
		lseek(t->kept, 0, SEEK_SET);
		while ((n = read(t->kept, text, sizeof(text))) > 0)
			if (write(STDERR_FILENO, text, (size_t)n) < 0)
				break;
	}
	if (t->kept >= 0)
		close(t->kept);
	if (t->err >= 0)
		close(t->err);
	t->kept = t->err = -1;
}

static int write_all(const char *data, size_t len)
{
	struct terminal *t = terminal();

	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		// Held by Ctrl-S, it waits here; then a signal must get through.
		if (n < 0 && (errno != EINTR || t->signals.stop))
			return -errno;
		if (n < 0)
			continue;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

int terminal_enter(void)
{
	struct terminal *t = terminal();
	struct termios raw;

	t->input = tcgetattr(STDIN_FILENO, &t->before) == 0;
	keep_errors(t);
	t->entered = true;
	if (t->input) {
		raw = t->before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 0;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	return write_all(ENTER, sizeof(ENTER) - 1);
}

void terminal_leave(void)
{
	struct terminal *t = terminal();

	put_back(t);
	show_errors(t);
}

int terminal_suspend(void)
{
	struct terminal *t = terminal();

	t->signals.suspend = 0;
	terminal_leave();
	raise(SIGSTOP);
	t->signals.resized = 1;
	return terminal_enter();
}

void terminal_size(unsigned *ret_columns, unsigned *ret_lines)
{
	struct winsize size = {0};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	*ret_columns = size.ws_col ? size.ws_col : COLUMNS;
	*ret_lines = size.ws_row ? size.ws_row : LINES;
}

int terminal_paint(const struct buf *text)
{
	_cleanup_buf_ struct buf out = BUF_INIT(PAINT_MAX);
	const char *line = buf_str(text), *end;

	buf_append_str(&out, "\033[H");
	for (bool first = true; *line; line = *end ? end + 1 : end, first = false) {
		end = strchrnul(line, '\n');
		// No new line behind the last one: it would scroll.
		buf_append_str(&out, first ? "" : "\r\n");
		buf_append(&out, line, (size_t)(end - line));
		buf_append_str(&out, "\033[K");
	}
	buf_append_str(&out, "\033[J");
	return out.bad ? -ENOMEM : write_all(out.data, out.len);
}

char terminal_key(void)
{
	char c;

	return terminal()->input && read(STDIN_FILENO, &c, 1) == 1 ? c : 0;
}

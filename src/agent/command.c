/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"

/* As a shell: found but not executable, not found. */
#define STATUS_NOT_EXECUTABLE 126
#define STATUS_NOT_FOUND 127

static void become(char **argv, int gate)
{
	char c;
	ssize_t n;

	do
		n = read(gate, &c, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(STATUS_NOT_FOUND); // the profiler ended before it began
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	fprintf(stderr, "gprofiler: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

int command_start(struct command *c, char **argv)
{
	int fds[2];

	*c = (struct command){.gate = -1};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	c->pid = fork();
	if (c->pid < 0) {
		int r = -errno;

		close(fds[0]);
		close(fds[1]);
		c->pid = 0;
		return r;
	}
	if (c->pid == 0) {
		close(fds[1]);
		become(argv, fds[0]);
	}
	close(fds[0]);
	c->gate = fds[1];
	return 0;
}

void command_go(struct command *c)
{
	if (c->gate >= 0 && write(c->gate, "", 1) == 1) {
		close(c->gate);
		c->gate = -1;
	}
}

bool command_ended(struct command *c)
{
	int status;

	if (!c->pid || c->ended)
		return c->ended;
	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return false;
	c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	c->ended = true;
	return true;
}

void command_deinit(struct command *c)
{
	if (c->gate < 0)
		return;
	close(c->gate); // it reads end of file and leaves
	c->gate = -1;
	waitpid(c->pid, NULL, 0);
}

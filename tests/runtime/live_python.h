/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runtime/live_python.h -- a Python process that stands still in inner(), called by outer(). */
#ifndef GP_TESTS_LIVE_PYTHON_H
#define GP_TESTS_LIVE_PYTHON_H

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

struct live_python {
	pid_t pid;
	int hold; // it waits for this
};

#define LIVE_PYTHON_STANDS                                                                         \
	"import os\ndef inner():\n  os.write(1, b'u'); os.read(0, 1)\ndef outer(): inner()\nouter()\n"
#define LIVE_PYTHON_SPINS                                                                          \
	"import os\ndef inner():\n  while True: pass\nos.write(1, b'u')\ninner()\n"

static inline bool live_python_run(struct live_python *p, const char *script)
{
	int in[2], out[2];
	char up;

	*p = (struct live_python){.hold = -1};
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		return false;
	p->pid = fork();
	if (p->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execlp("python3", "python3", "-c", script, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->hold = in[1];
	if (read(out[0], &up, 1) != 1)
		up = 0;
	close(out[0]);
	usleep(50000);
	return up == 'u';
}

static inline bool live_python_start(struct live_python *p)
{
	return live_python_run(p, LIVE_PYTHON_STANDS);
}

static inline void live_python_end(struct live_python *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	if (p->hold >= 0)
		close(p->hold);
}

#endif

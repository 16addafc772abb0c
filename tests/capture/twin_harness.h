/* SPDX-License-Identifier: Apache-2.0 */
/* What twin tests share: a child that the sampling program stops at each of its samples. */
#ifndef GP_TESTS_TWIN_HARNESS_H
#define GP_TESTS_TWIN_HARNESS_H

#include "tests/harness.h"

#include <signal.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "capture/event.h"
#include "tests/capture/capture_harness.h"

struct twin_target {
	uint32_t pid;
	bool stopped, gone;
};

/* Waits until the signal that the sampling program sent has stopped the target. */
static inline bool twin_await_stop(struct twin_target *t)
{
	uint64_t end = clock_mono_ns() + 2 * NSEC_PER_SEC;

	while (!t->stopped && !t->gone && clock_mono_ns() < end) {
		int status;
		pid_t r = waitpid((pid_t)t->pid, &status, WUNTRACED | WNOHANG);

		if (r == (pid_t)t->pid) {
			t->stopped = WIFSTOPPED(status);
			t->gone = !t->stopped;
		} else if (r < 0) {
			t->gone = true;
		} else {
			clock_sleep_ns(50000);
		}
	}
	return t->stopped;
}

/* Whether the thread stands where it was sampled. The stop is a signal that an interrupt of its own
 * sends; a thread that was sampled with interrupts off may run some instructions more. */
static inline bool twin_still_there(const struct twin_target *t, const struct capture_sample *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT(512);
	char path[64];
	const char *pc, *sp;

	// proc_pid_syscall(5): ... then the stack pointer and the program counter.
	snprintf(path, sizeof(path), "/proc/%u/task/%u/syscall", t->pid, c->rec->tid);
	if (fs_read_file(path, &text))
		return true;
	pc = strrchr(buf_str(&text), ' ');
	if (!pc)
		return false;
	for (sp = pc - 1; sp > buf_str(&text) && *sp != ' '; sp--)
		;
	return strtoull(pc, NULL, 16) == c->handoff->regs[REC_REG_X86_IP] &&
	       strtoull(sp, NULL, 16) == c->handoff->regs[REC_REG_X86_SP];
}

/* Lets the target go on. A stop may have come without a record (a full ring): it is looked for. */
static inline void twin_go_on(struct twin_target *t)
{
	int status;

	if (!t->stopped && waitpid((pid_t)t->pid, &status, WUNTRACED | WNOHANG) == (pid_t)t->pid) {
		t->stopped = WIFSTOPPED(status);
		t->gone = !t->stopped;
		return;
	}
	if (t->stopped && !t->gone) {
		t->stopped = false;
		kill((pid_t)t->pid, SIGCONT);
	}
}

/* A child that runs a program once a byte is written to *ret_release. */
static inline pid_t twin_spawn_held(const char *const *argv, int *ret_release)
{
	int hold[2];
	char go;
	pid_t pid;

	assert_ok(pipe(hold));
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(hold[1]);
		if (read(hold[0], &go, 1) == 1)
			execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(hold[0]);
	*ret_release = hold[1];
	return pid;
}

#endif

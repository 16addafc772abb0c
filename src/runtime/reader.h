/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/reader.h -- the source `reader`: stacks of interpreters, read from outside by a timer.
 *
 * At each tick the CPU clock of every chosen process says whether it ran for a whole period since it
 * was last looked at; only then are its threads asked, and only those that run and have used a period
 * of CPU time are read, through runtime_read_threads(), which stops nothing. A sample stands for as many
 * periods as its thread has used, so counts are CPU time, whatever the rate of ticks, and the work is
 * bounded by the CPUs of the machine, not by its processes. Ticks come at random distances, so that a
 * program with a timer of its own is not always met at the same point.
 *
 * A stack that moved under every attempt is counted as torn; its time goes to the thread's next one. A
 * process that cannot be read is counted, left alone, and stops nobody. Owned by the pipeline thread. */
#ifndef GP_RUNTIME_READER_H
#define GP_RUNTIME_READER_H

#include "runtime/readable.h"

#define READER_HZ_MAX 50 // ticks a second: the reference's limit

/* Pointers live until the callback returns. */
struct reader_sample {
	struct process *process;
	uint32_t tid;
	const char *comm; // of the thread
	const uint64_t *words; // frames, leaf first
	size_t nwords;
	unsigned samples; // periods of CPU time it stands for
};

struct reader_config {
	struct readable_config who;
	unsigned hz; // ticks a second, up to READER_HZ_MAX
	uint64_t period_ns; // CPU time of a sample
	bool lock_only; // only threads that hold their interpreter's lock
	/* Return 0 or -errno, which ends the turn and is forwarded. */
	int (*sample)(void *arg, const struct reader_sample *s);
	void *arg;
};

/* Monotonic. */
struct reader_stats {
	uint64_t ticks;
	uint64_t stacks; // read
	uint64_t samples; // periods that they stand for
	uint64_t torn; // attempts given up
	uint64_t failed; // readings of a process
	uint64_t unseen; // periods used by threads that ran at no tick, or had no frames
};

struct reader;

int reader_new(const struct reader_config *config, struct reader **ret);
void reader_free(struct reader *r);
/* A window begins: processes are chosen anew. Return 0, -ENOMEM. */
int reader_window(struct reader *r);
/* The window ends: CPU time that no stack stands for is given up, and counted. */
void reader_settle(struct reader *r);
/* When reader_turn() has something to do, CLOCK_MONOTONIC ns. */
uint64_t reader_next(const struct reader *r);
/* Does what is due. Return 0, -ENOMEM, what sample() returned. */
int reader_turn(struct reader *r);
/* Ticks a second from now on, 0: none for now. Counts stay those of config.period_ns. */
void reader_set_hz(struct reader *r, unsigned hz);
const struct reader_stats *reader_stats(const struct reader *r);
/* Processes that should have been read in this window and could not be: error is the negative errno of the last
 * attempt, or 1: their interpreter is of a kind that cannot be read. Before the next window begins. A
 * nonzero return of fn ends it and is returned. */
int reader_failures(
	const struct reader *r, int (*fn)(void *arg, uint32_t uid, int error), void *arg);
/* Processes that are read now. */
size_t reader_chosen(const struct reader *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Named threads that block, each below functions of its own: in read, in a sleep, on a lock, and far down a
 * stack that is larger than what is copied of one. Writes "up" when all were started, and blocks in main. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "tests/workloads/workload.h"

#define DESCENTS 900
#define FRAME_BYTES 128 // so that the stack takes more than 100 KiB

static int never[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

NOINLINE long read_inner(void)
{
	char c;
	long n = read(never[0], &c, 1);

	barrier();
	return n;
}

NOINLINE long read_outer(void)
{
	long n = read_inner();

	barrier();
	return n;
}

NOINLINE void sleep_inner(void)
{
	struct timespec ts = {.tv_sec = 1000};

	nanosleep(&ts, NULL);
	barrier();
}

NOINLINE void sleep_outer(void)
{
	sleep_inner();
	barrier();
}

NOINLINE void lock_inner(void)
{
	pthread_mutex_lock(&lock);
	barrier();
}

NOINLINE void lock_outer(void)
{
	lock_inner();
	barrier();
}

NOINLINE unsigned fall(unsigned depth)
{
	volatile char room[FRAME_BYTES];
	unsigned r = 0;

	room[0] = (char)depth;
	if (depth)
		r = fall(depth - 1) + 1;
	else
		read_inner();
	barrier();
	return r + (unsigned)room[0];
}

static void *reader(void *arg)
{
	read_outer();
	return arg;
}

static void *sleeper(void *arg)
{
	sleep_outer();
	return arg;
}

static void *waiter(void *arg)
{
	lock_outer();
	return arg;
}

static void *faller(void *arg)
{
	fall(DESCENTS);
	return arg;
}

static int start(const char *name, void *(*fn)(void *))
{
	pthread_t t;

	return pthread_create(&t, NULL, fn, NULL) || pthread_setname_np(t, name);
}

int main(int argc, char **argv)
{
	life_end(argc, argv);
	if (pipe(never) || pthread_mutex_lock(&lock) || start("reader", reader) ||
		start("sleeper", sleeper) || start("waiter", waiter) || start("faller", faller))
		return 1;
	puts("up");
	fflush(stdout);
	read_inner();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the single-step test steps through: built with -O2 -fomit-frame-pointer, bound lazily, so
 * that PLT stubs and the dynamic linker's resolver are part of it. Stops itself by int3 at begin
 * and end. */
#include <alloca.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile uint64_t sink;
static jmp_buf env;

static __attribute__((noinline)) uint64_t leaf(uint64_t x)
{
	return x * 0x9e3779b97f4a7c15ull >> 7;
}

static __attribute__((noinline)) uint64_t recurse(unsigned n, uint64_t x)
{
	volatile uint64_t pad[3] = {n, x, n ^ x};

	if (!n)
		return leaf(x);
	return recurse(n - 1, x + pad[n % 3]) + pad[0];
}

static __attribute__((noinline)) uint64_t with_alloca(size_t n)
{
	uint8_t *p = alloca(n);

	memset(p, (int)n, n);
	return leaf(p[n / 2]);
}

/* A 64-byte aligned local makes the compiler realign the stack: CFA = *(rbp - n). */
static __attribute__((noinline)) uint64_t realigned(size_t n)
{
	_Alignas(64) volatile uint8_t box[128];
	uint8_t *p = alloca(n);

	memset(p, 7, n);
	box[n % 128] = p[n / 3];
	return leaf(box[n % 128]) + recurse(2, n);
}

static __attribute__((noinline, cold)) uint64_t unlikely(uint64_t x)
{
	sink += leaf(x);
	return recurse(3, x);
}

/* Its error path is moved to another section, with an FDE of its own. */
static __attribute__((noinline)) uint64_t with_cold(uint64_t x)
{
	uint64_t a = leaf(x), b = leaf(x + 1), c = leaf(x + 2);

	if (__builtin_expect(x % 3 == 0, 0))
		return unlikely(a + b) + c + leaf(a);
	return a ^ b ^ c;
}

static __attribute__((noinline)) void jump(unsigned n)
{
	if (!n)
		longjmp(env, 1);
	jump(n - 1);
	sink++;
}

static __attribute__((noinline)) void handler(int sig)
{
	sink += leaf((uint64_t)sig) + recurse(4, sink);
}

static int compare(const void *a, const void *b)
{
	return (int)leaf(*(const unsigned *)a) - (int)leaf(*(const unsigned *)b);
}

static __attribute__((noinline)) void library(void)
{
	unsigned v[24];
	struct timespec ts;
	char text[64];

	for (unsigned i = 0; i < 24; i++)
		v[i] = (unsigned)leaf(i);
	qsort(v, 24, sizeof(v[0]), compare); // libc calls back
	clock_gettime(CLOCK_MONOTONIC, &ts); // vDSO
	snprintf(text, sizeof(text), "%lu %s %.3f", (unsigned long)ts.tv_nsec, "x", 1.5);
	sink += strlen(text);
	free(malloc(100));
	sink += (uint64_t)syscall(SYS_getppid);
	sink += (uint64_t)getpid();
}

static __attribute__((noinline)) void all(void)
{
	for (unsigned i = 0; i < 6; i++)
		sink += with_cold(i);
	sink += recurse(40, 1);
	sink += with_alloca(100) + with_alloca(3000);
	sink += realigned(33);
	if (!setjmp(env))
		jump(9);
	library();
	raise(SIGUSR1);
	kill(getpid(), SIGUSR1);
	library();
}

int main(void)
{
	signal(SIGUSR1, handler);
	__asm__ volatile("int3");
	all();
	__asm__ volatile("int3");
	return sink == 42;
}

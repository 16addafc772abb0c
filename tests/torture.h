/* SPDX-License-Identifier: Apache-2.0 */
/* tests/torture.h -- the n-th allocation fails.
 *
 * A torture test includes this once and is linked with torture_link_args (tests/meson.build), which
 * route the program's own calls of malloc and its kin through here; what libraries allocate inside
 * is not counted. torture_each() runs a body again and again, with the first, the second, ...
 * allocation failing, until a run needs no more of them: the body must neither crash nor leak (the
 * sanitizer build looks), and must report the failure or do without. */
#ifndef GP_TESTS_TORTURE_H
#define GP_TESTS_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static unsigned long torture_at; // this allocation fails, counted from 1; 0: none
static unsigned long torture_count;

static bool torture_fails(void)
{
	return ++torture_count == torture_at;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

void *__wrap_malloc(size_t n)
{
	return torture_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return torture_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return torture_fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return torture_fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return torture_fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return torture_fails() ? NULL : __real_strndup(s, n);
}

/* body: an expression that is true if the run noticed the failure or coped. Evaluates to the number
 * of allocations that were made to fail. */
#define torture_each(body)                                                                         \
	({                                                                                         \
		unsigned long failed_ = 0;                                                         \
		for (unsigned long n_ = 1;; n_++) {                                                \
			torture_at = n_;                                                           \
			torture_count = 0;                                                         \
			bool fine_ = (body);                                                       \
			bool hit_ = torture_count >= n_;                                           \
			torture_at = 0;                                                            \
			if (!fine_)                                                                \
				fail_msg("allocation %lu failed unnoticed", n_);                   \
			if (!hit_)                                                                 \
				break;                                                             \
			failed_++;                                                                 \
		}                                                                                  \
		failed_;                                                                           \
	})

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* base/thread.h -- threads beside the pipeline. */
#ifndef GP_BASE_THREAD_H
#define GP_BASE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/* Starts fn(arg) on a thread with a stack of so many bytes (0: the system's default) and every signal
 * blocked: signals are for the thread that profiles. The caller joins it. Return 0 or -errno. */
int thread_start(pthread_t *ret, size_t stack, void *(*fn)(void *arg), void *arg);

#endif

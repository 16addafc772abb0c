/* SPDX-License-Identifier: Apache-2.0 */
/* capture/thread_iter.h -- the threads of a process as the kernel keeps them: registers of user mode,
 * kernel stack, whether they run. By an iterator over tasks (bpf/threads.bpf.c, Linux 5.15), which
 * neither stops, signals nor wakes a thread. One thread. */
#ifndef GP_CAPTURE_THREAD_ITER_H
#define GP_CAPTURE_THREAD_ITER_H

#include "bpf/abi/threads.h"
#include "capture/source.h"

struct thread_iter;

/* Of the process pid, in the initial pid namespace. Return 0, or -errno with a sentence for people
 * (subject, reason, remedy) in why, of CAPTURE_WHY bytes. */
int thread_iter_open(uint32_t pid, struct thread_iter **ret, char *why);
void thread_iter_close(struct thread_iter *it);

/* Calls fn for each thread there is now. Return 0, -ENOENT there was none (it ended, or pid is a number
 * of another namespace), what fn returned if not 0, -errno. */
typedef int (*thread_iter_fn)(void *arg, const struct threads_record *t);
int thread_iter_run(struct thread_iter *it, thread_iter_fn fn, void *arg);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/tids.h -- the kernel's number of a thread that an interpreter knows by pthread_t.
 *
 * From 3.11 the interpreter keeps it, as its own pid namespace counts; before, it is found in the C
 * library's struct pthread. Made for one reading of one process. */
#ifndef GP_RUNTIME_PYTHON_TIDS_H
#define GP_RUNTIME_PYTHON_TIDS_H

#include <stdint.h>

#include "base/vec.h"

struct py_tid {
	uint32_t tid; // as we see it
	uint32_t inner; // as the process sees it
};
VEC_DEFINE(py_tid_vec, struct py_tid)

struct py_tids {
	uint32_t pid;
	struct py_tid_vec tids;
};

/* Return 0, -ENOMEM, -errno of /proc/PID/task. */
int py_tids_read(struct py_tids *t, uint32_t pid);
void py_tids_deinit(struct py_tids *t);
/* native: the number the interpreter keeps, 0 none; pthread: address of struct pthread. Return 0 if
 * no living thread is meant. */
uint32_t py_tids_find(const struct py_tids *t, uint32_t native, uint64_t pthread);

#endif

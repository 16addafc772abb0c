/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/attach.h -- a CPython in a living process: its addresses, and what the in-kernel
 * walker must know to find the state of a thread. Nothing is kept here; pipeline thread. */
#ifndef GP_RUNTIME_PYTHON_ATTACH_H
#define GP_RUNTIME_PYTHON_ATTACH_H

#include "process/process.h"
#include "runtime/python/locate.h"

/* How a C library finds a thread-specific value. */
struct py_slot {
	uint8_t by; // enum py_slot_by
	int32_t offset;
	uint32_t stride;
};

/* Of a C library's module that is open, from pthread_getspecific(). Return 0, -ENOENT, -ENOMEM. */
int py_slot_locate(const struct module *m, struct py_slot *ret);
/* Opens the C library of a process (the static program itself, if pthread_getspecific is there is not
 * looked at). Return its module, open, or NULL. */
struct module *py_libc_open(struct process_table *t, struct process *p);

/* Load bias of the module behind a mapping: address - virtual address. */
bool py_bias(const struct module *m, const struct mapping *map, uint64_t *ret);

/* Where the interpreter lives now. */
struct py_target {
	uint32_t pid;
	const struct py_module *module;
	uint64_t bias;
};

/* The first interpreter and a thread state of it, proven by their invariants. Return 0; -EAGAIN the
 * interpreter is not up (yet); -EINVAL the offsets are wrong for this build; -errno of the read. */
struct py_first {
	uint64_t interp, tstate, thread_pointer;
};
int py_first_thread(const struct py_target *t, struct py_first *ret);

/* Fills what the kernel walker must know, but the index of the layout. slot may be NULL (unknown).
 * first may be NULL (interpreter not up): then thread-local storage goes the long way. Return 0,
 * -ENOENT no way to a thread's state, or none yet. */
int py_attach(const struct py_target *t, const struct py_slot *slot, const struct py_first *first,
	struct py_process *ret);

#endif

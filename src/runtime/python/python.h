/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/python.h -- CPython as a runtime: what is known of modules and processes.
 * Owned by the pipeline thread. */
#ifndef GP_RUNTIME_PYTHON_PYTHON_H
#define GP_RUNTIME_PYTHON_PYTHON_H

#include "base/map.h"
#include "base/vec.h"
#include "runtime/python/attach.h"
#include "runtime/python/locate.h"
#include "runtime/runtime.h"

#define PY_MODULES_MAX 4096 // CPythons and C libraries of a machine
#define PY_MODULES_SEEN_MAX (1u << 17) // modules that were looked at
#define PY_NAMED_MAX 65536 // code objects that are named

/* A process with a CPython in it. */
struct py_proc {
	uint32_t uid, pid;
	uint32_t module; // index in modules
	uint64_t bias;
	struct py_process words; // as published
	struct py_slot slot;
	bool published; // the kernel walker knows
	bool verified; // invariants held in the living process
	bool refused; // they did not
	uint64_t doubted; // when they failed first, CLOCK_MONOTONIC ns; 0 never
};

/* A code object by its texts. */
struct py_named {
	uint32_t name, file, package; // ids in strings
	uint32_t start_line;
	uint64_t lines; // address of the line table
};

VEC_DEFINE(py_module_vec, struct py_module *)
VEC_DEFINE(py_slot_vec, struct py_slot)
VEC_DEFINE(py_layout_vec, struct py_layout)
VEC_DEFINE(py_named_vec, struct py_named)

struct py_packages;
struct py_reader;

struct py_runtime {
	struct runtime_config config;
	struct intern *strings; // the set's
	struct map by_module; // module id -> index in modules + 1, 0: no CPython
	struct py_module_vec modules;
	struct map slot_by_module; // module id of a C library -> index in slots + 1, 0: none
	struct py_slot_vec slots;
	struct py_layout_vec layouts;
	struct map procs; // process uid -> struct py_proc
	struct map published; // pid -> uid of the process that the kernel walker knows
	struct map named_by_code; // hash of (process uid, code, cookie) -> index in named
	struct py_named_vec named;
	struct py_packages *packages; // NULL: not asked for, or none needed yet
	struct py_reader *reader; // NULL until something is read
	uint32_t stale; // id of the text for what is gone
};

int py_runtime_new(
	const struct runtime_config *config, struct intern *strings, struct py_runtime **ret);
extern const struct runtime_ops py_runtime_ops;

/* What is known of a process, or NULL; made from its mappings if look is set (opens files). */
struct py_proc *py_proc_get(struct py_runtime *rt, const struct process *p);
struct py_proc *py_proc_look(struct py_runtime *rt, struct process *p);
static inline const struct py_module *py_proc_module(
	const struct py_runtime *rt, const struct py_proc *proc)
{
	return rt->modules.data[proc->module];
}
/* Proves the offsets once the interpreter is up. Return 0, -EAGAIN not up yet, -EINVAL refused. */
int py_proc_verify(struct py_runtime *rt, struct process *p, struct py_proc *proc);

/* names.c: ops of struct runtime_ops */
int py_name_frame(
	void *runtime, struct process *p, const uint64_t *words, struct runtime_frame *ret);
/* reader.c */
int py_read_threads(void *runtime, struct process *p, const struct runtime_visitor *v);

#endif

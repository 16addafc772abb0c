/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/python.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/python/packages.h"

#define LOGGER "gprofiler.python"
/* An interpreter that is being made, or unmade, looks wrong for a moment. */
#define DOUBT_NS (2 * NSEC_PER_SEC)

/* ---- modules ---- */

static const char *refusal(int why)
{
	switch (why) {
	case PY_OFFSETS_FREE_THREADED:
		return "a free-threaded build, whose frames are not readable";
	case PY_OFFSETS_PRERELEASE:
		return "a pre-release, whose structures may differ";
	case PY_OFFSETS_IMPLAUSIBLE:
		return "a build whose debug offsets contradict themselves";
	default:
		return "a version that is not known";
	}
}

static void say_refused(
	const struct py_runtime *rt, const struct module *m, const struct py_module *py)
{
	log_info(LOGGER,
		"CPython %u.%u.%u (%.200s) is %s: its processes are profiled without Python frames, "
		"their native stacks stay",
		py->hex >> 24, py->hex >> 16 & 0xff, py->hex >> 8 & 0xff,
		module_path(rt->config.processes->modules, m), refusal(py->refused));
}

static int add_module(struct py_runtime *rt, const struct module *m, struct py_module **ret)
{
	struct py_module *py = calloc(1, sizeof(*py));
	int r;

	if (!py)
		return -ENOMEM;
	r = py_locate(m, module_path(rt->config.processes->modules, m), py);
	if (!r)
		r = py_module_vec_push(&rt->modules, py);
	if (r) {
		free(py);
		return r;
	}
	if (py->refused)
		say_refused(rt, m, py);
	else
		log_debug(LOGGER, "CPython %u.%u.%u: %.200s", py->hex >> 24, py->hex >> 16 & 0xff,
			py->hex >> 8 & 0xff, module_path(rt->config.processes->modules, m));
	*ret = py;
	return 0;
}

/* Index of a module's CPython + 1, 0 if it is none. Looked at once. */
static int find_module(struct py_runtime *rt, const struct module *m, uint64_t *ret)
{
	const uint64_t *known = map_get(&rt->by_module, m->id);
	struct py_module *py;
	uint64_t index = 0;
	int r;

	if (known) {
		*ret = *known;
		return 0;
	}
	r = add_module(rt, m, &py);
	if (r == -ENOMEM)
		return r;
	if (!r)
		index = rt->modules.len;
	r = map_set(&rt->by_module, m->id, index);
	*ret = index;
	return r == -ENOSPC ? 0 : r;
}

static int find_slot(struct py_runtime *rt, struct process *p, struct py_slot *ret)
{
	struct module *m = py_libc_open(rt->config.processes, p);
	const uint64_t *known = m ? map_get(&rt->slot_by_module, m->id) : NULL;
	uint64_t index = 0;
	struct py_slot slot;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!m)
		return 0;
	if (known) {
		if (*known)
			*ret = rt->slots.data[*known - 1];
		return 0;
	}
	r = py_slot_locate(m, &slot);
	if (r == -ENOMEM)
		return r;
	if (!r && py_slot_vec_push(&rt->slots, slot) == 0) {
		index = rt->slots.len;
		*ret = slot;
	}
	r = map_set(&rt->slot_by_module, m->id, index);
	return r == -ENOSPC ? 0 : r;
}

/* ---- processes ---- */

static int set_layout(struct py_runtime *rt, const struct py_layout *layout, uint32_t *ret)
{
	struct capture_source *s = rt->config.source;
	int r;

	for (size_t i = 0; i < rt->layouts.len; i++) {
		if (memcmp(&rt->layouts.data[i], layout, sizeof(*layout)) == 0) {
			*ret = (uint32_t)i;
			return 0;
		}
	}
	r = py_layout_vec_push(&rt->layouts, *layout);
	if (r)
		return r;
	*ret = (uint32_t)rt->layouts.len - 1;
	r = s->ops->set_runtime_layout(s, REC_FRAME_PYTHON, *ret, layout);
	if (r)
		rt->layouts.len--;
	return r;
}

static void publish(struct py_runtime *rt, struct py_proc *proc)
{
	struct capture_source *s = rt->config.source;
	int r;

	if (!s || !s->ops->set_runtime || !s->ops->set_runtime_layout || proc->refused)
		return;
	r = set_layout(rt, &py_proc_module(rt, proc)->offsets.layout, &proc->words.layout);
	if (!r)
		r = s->ops->set_runtime(s, REC_FRAME_PYTHON, proc->pid, &proc->words);
	proc->published = !r && !map_set(&rt->published, proc->pid, proc->uid);
	log_debug(LOGGER,
		"process %u: state by %u (TLS %d, DTV %u), slot by %u (%d, %u), %u ranges%s%s",
		proc->pid, proc->words.tstate_by, proc->words.tls_offset, proc->words.dtv_entry,
		proc->words.slot_by, proc->words.slot_offset, proc->words.slot_stride,
		proc->words.nranges, r ? ", not walked in the kernel: " : "",
		r ? strerror(-r) : "");
}

static void unpublish(struct py_runtime *rt, struct py_proc *proc)
{
	struct capture_source *s = rt->config.source;
	const uint64_t *uid = map_get(&rt->published, proc->pid);

	// After an exec the pid may be another's already.
	if (proc->published && uid && *uid == proc->uid) {
		map_remove(&rt->published, proc->pid);
		s->ops->set_runtime(s, REC_FRAME_PYTHON, proc->pid, NULL);
	}
	proc->published = false;
}

/* What the kernel walker is told, as far as it is known now; told again if it changed. */
static int attach(struct py_runtime *rt, struct process *p, struct py_proc *proc,
	const struct py_first *first)
{
	struct py_target t = {proc->pid, py_proc_module(rt, proc), proc->bias};
	struct py_process words;
	int r = proc->slot.by ? 0 : find_slot(rt, p, &proc->slot);

	if (r)
		return r;
	r = py_attach(&t, proc->slot.by ? &proc->slot : NULL, first, &words);
	// Without a way to a thread's state the reader can still walk all of them.
	if (r)
		return 0;
	words.layout = proc->words.layout;
	if (proc->published && memcmp(&words, &proc->words, sizeof(words)) == 0)
		return 0;
	proc->words = words;
	publish(rt, proc);
	return 0;
}

static bool doubted_long(struct py_proc *proc)
{
	uint64_t now = clock_mono_ns();

	if (!proc->doubted)
		proc->doubted = now;
	return now - proc->doubted > DOUBT_NS;
}

int py_proc_verify(struct py_runtime *rt, struct process *p, struct py_proc *proc)
{
	struct py_target t = {proc->pid, py_proc_module(rt, proc), proc->bias};
	struct py_first first;
	int r;

	if (proc->verified)
		return 0;
	if (proc->refused)
		return -EINVAL;
	r = py_first_thread(&t, &first);
	if (r == -EINVAL && !doubted_long(proc))
		return -EAGAIN;
	if (r == -EINVAL) {
		log_debug(LOGGER, "process %u: the structures of its CPython are not as known",
			proc->pid);
		proc->refused = true;
		unpublish(rt, proc);
		return r;
	}
	if (r)
		return r;
	proc->verified = true;
	return attach(rt, p, proc, &first);
}

/* Return 0, RUNTIME_MEET_AGAIN, -errno. */
static int settle(struct py_runtime *rt, struct process *p, struct py_proc *proc)
{
	int r = py_proc_verify(rt, p, proc);

	if (r == -ENOMEM)
		return r;
	if (!r || proc->refused)
		return 0;
	r = attach(rt, p, proc, NULL);
	return r ? r : RUNTIME_MEET_AGAIN;
}

static int add_proc(
	struct py_runtime *rt, struct process *p, const struct mapping *map, uint64_t index)
{
	const struct module *m = module_get(rt->config.processes->modules, map->module);
	struct py_proc *proc;
	uint64_t bias;
	int r;

	if (!m || !py_bias(m, map, &bias))
		return 0;
	proc = calloc(1, sizeof(*proc));
	if (!proc)
		return -ENOMEM;
	*proc = (struct py_proc){
		.uid = p->uid, .pid = p->pid, .module = (uint32_t)index, .bias = bias};
	r = map_set(&rt->procs, p->uid, (uint64_t)(uintptr_t)proc);
	if (r) {
		free(proc);
		return r == -ENOSPC ? 0 : r;
	}
	return settle(rt, p, proc);
}

struct py_proc *py_proc_get(struct py_runtime *rt, const struct process *p)
{
	const uint64_t *v = map_get(&rt->procs, p->uid);

	return v ? (struct py_proc *)(uintptr_t)*v : NULL;
}

static void remove_proc(struct py_runtime *rt, struct py_proc *proc)
{
	unpublish(rt, proc);
	map_remove(&rt->procs, proc->uid);
	free(proc);
}

static int meet(void *runtime, struct process *p, const struct mapping *map)
{
	struct py_runtime *rt = runtime;
	const struct module *m = module_get(rt->config.processes->modules, map->module);
	struct py_proc *known;
	uint64_t index;
	int r;

	if (!m || m->state != MODULE_OPEN)
		return 0;
	r = find_module(rt, m, &index);
	if (r || !index || rt->modules.data[index - 1]->refused)
		return r;
	known = py_proc_get(rt, p);
	if (known && known->module == index - 1)
		return settle(rt, p, known);
	if (known && !rt->modules.data[index - 1]->nranges)
		return 0;
	if (known)
		remove_proc(rt, known);
	return add_proc(rt, p, map, index - 1);
}

struct py_proc *py_proc_look(struct py_runtime *rt, struct process *p)
{
	struct py_proc *proc = py_proc_get(rt, p);

	for (size_t i = 0; i < p->maps.len && !proc; i++) {
		struct mapping map = p->maps.data[i];

		if (map.kind != MAPPING_FILE || process_open_module(rt->config.processes, p, &map))
			continue;
		if (meet(rt, p, &map) < 0)
			return NULL;
		proc = py_proc_get(rt, p);
	}
	return proc;
}

static void forget(void *runtime, struct process *p)
{
	struct py_proc *proc = py_proc_get(runtime, p);

	if (proc)
		remove_proc(runtime, proc);
}

static bool knows(void *runtime, struct process *p)
{
	const struct py_proc *proc = py_proc_look(runtime, p);

	return proc && !proc->refused;
}

static void version_text(uint32_t hex, char *ret, size_t size)
{
	if (PY_HEX_MICRO(hex) == PY_MICRO_UNKNOWN)
		snprintf(ret, size, "CPython %u.%u", hex >> 24, hex >> 16 & 0xff);
	else
		snprintf(ret, size, "CPython %u.%u.%u", hex >> 24, hex >> 16 & 0xff,
			PY_HEX_MICRO(hex));
}

/* Modules that were looked at when it was asked what is known: nothing is opened again. */
static bool refuses(void *runtime, struct process *p, char *ret, size_t size)
{
	struct py_runtime *rt = runtime;
	const struct py_proc *proc = py_proc_look(rt, p);

	if (proc)
		return false;
	for (size_t i = 0; i < p->maps.len; i++) {
		const uint64_t *index = map_get(&rt->by_module, p->maps.data[i].module);

		if (!index || !*index || !rt->modules.data[*index - 1]->refused)
			continue;
		version_text(rt->modules.data[*index - 1]->hex, ret, size);
		return true;
	}
	return false;
}

static bool describe(void *runtime, const struct process *p, char *ret, size_t size)
{
	struct py_runtime *rt = runtime;
	const struct py_proc *proc = py_proc_get(rt, p);

	if (!proc)
		return false;
	version_text(py_proc_module(rt, proc)->hex, ret, size);
	return true;
}

static unsigned loops(void *runtime, const struct process *p, struct runtime_loop *ret)
{
	struct py_runtime *rt = runtime;
	const struct py_proc *proc = py_proc_get(rt, p);
	const struct py_module *m = proc ? py_proc_module(rt, proc) : NULL;
	unsigned n = m ? MIN(m->nranges, (unsigned)PY_EVAL_RANGES) : 0;

	for (unsigned i = 0; i < n; i++)
		ret[i] = (struct runtime_loop){
			m->eval[i].start + proc->bias, m->eval[i].end + proc->bias};
	return n;
}

static void trim(void *runtime)
{
	struct py_runtime *rt = runtime;

	map_clear(&rt->named_by_code);
	py_named_vec_clear(&rt->named);
	rt->stale = 0;
}

static void free_runtime(void *runtime)
{
	struct py_runtime *rt = runtime;

	if (!rt)
		return;
	map_foreach (slot, &rt->procs) {
		struct py_proc *proc = (struct py_proc *)(uintptr_t)slot->value;

		unpublish(rt, proc);
		free(proc);
	}
	vec_foreach (m, &rt->modules)
		free(*m);
	map_deinit(&rt->procs);
	map_deinit(&rt->by_module);
	map_deinit(&rt->slot_by_module);
	map_deinit(&rt->published);
	map_deinit(&rt->named_by_code);
	py_module_vec_deinit(&rt->modules);
	py_slot_vec_deinit(&rt->slots);
	py_layout_vec_deinit(&rt->layouts);
	py_named_vec_deinit(&rt->named);
	py_packages_free(rt->packages);
	free(rt->reader);
	free(rt);
}

int py_runtime_new(
	const struct runtime_config *config, struct intern *strings, struct py_runtime **ret)
{
	struct py_runtime *rt = calloc(1, sizeof(*rt));

	if (!rt)
		return -ENOMEM;
	rt->config = *config;
	rt->strings = strings;
	map_init(&rt->by_module, PY_MODULES_SEEN_MAX);
	map_init(&rt->slot_by_module, PY_MODULES_MAX);
	map_init(&rt->procs, PY_PROCESSES);
	map_init(&rt->published, PY_PROCESSES);
	map_init(&rt->named_by_code, PY_NAMED_MAX);
	py_module_vec_init(&rt->modules, PY_MODULES_MAX);
	py_slot_vec_init(&rt->slots, PY_MODULES_MAX);
	py_layout_vec_init(&rt->layouts, PY_LAYOUTS);
	py_named_vec_init(&rt->named, PY_NAMED_MAX);
	*ret = rt;
	return 0;
}

const struct runtime_ops py_runtime_ops = {
	.name = "python",
	.kind = REC_FRAME_PYTHON,
	.meet = meet,
	.forget = forget,
	.name_frame = py_name_frame,
	.knows = knows,
	.read_threads = py_read_threads,
	.loops = loops,
	.describe = describe,
	.refuses = refuses,
	.trim = trim,
	.free = free_runtime,
};

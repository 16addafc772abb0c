/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/runtimes.h"

#include <errno.h>
#include <string.h>

#include "bpf/abi/record.h"

#define MET_MAX 65536
#define MET_SWEEP_MIN 1024
#define LOOPS_MAX 1024
#define MAPS_OF_A_PROGRAM 4 // itself, dynamic loader, C library, vDSO

enum met {
	MET_FINALLY = 1,
	MET_AGAIN, // an interpreter that was still being loaded
};

int runtimes_init(struct runtimes *r, const struct runtime_config *config, uint32_t max_frames)
{
	int e;

	*r = (struct runtimes){.processes = config->processes};
	map_init(&r->met, MET_MAX);
	map_init(&r->loops, LOOPS_MAX);
	if (!config->python)
		return 0;
	e = runtime_set_new(config, &r->set);
	if (!e)
		runtime_frames_init(&r->frames, r->set, max_frames);
	return e;
}

void runtimes_deinit(struct runtimes *r)
{
	if (r->set)
		runtime_frames_deinit(&r->frames);
	runtime_set_free(r->set);
	map_deinit(&r->met);
	map_deinit(&r->loops);
	*r = (struct runtimes){0};
}

static uint64_t met_key(const struct process *p, uint32_t module)
{
	return (uint64_t)p->uid << 32 | module;
}

static bool met_finally(const struct runtimes *r, const struct process *p, const struct mapping *m)
{
	const uint64_t *met = map_get(&r->met, met_key(p, m->module));

	return met && *met == MET_FINALLY;
}

int runtimes_meet(struct runtimes *r, struct process *p, const struct mapping *m)
{
	int e;

	if (!r->set || met_finally(r, p, m))
		return 0;
	// Full of processes that ended long ago: a second look does no harm.
	if (r->met.len == r->met.cap)
		map_clear(&r->met);
	e = runtime_meet(r->set, p, m);
	if (e >= 0)
		e = map_set(&r->met, met_key(p, m->module),
			e == RUNTIME_MEET_AGAIN ? MET_AGAIN : MET_FINALLY);
	return e == -ENOMEM ? e : 0;
}

/* May this file hold an interpreter's loop? */
static bool promising(const struct runtimes *r, const struct mapping *m)
{
	const char *path = intern_str(&r->processes->strings, m->path), *name = strrchr(path, '/');

	return map_get(&r->loops, m->module) || strstr(name ? name : path, "python");
}

/* Shows the runtimes the files of p; `early`: only those that promise an interpreter. */
static int meet_files(struct runtimes *r, struct process *p, bool early)
{
	for (size_t i = 0; i < p->maps.len; i++) {
		// A copy: opening may learn of further mappings.
		struct mapping m = p->maps.data[i];
		int e;

		if (m.module == MODULE_NONE || m.kind != MAPPING_FILE ||
			(early && !promising(r, &m)) || met_finally(r, p, &m) ||
			process_open_module(r->processes, p, &m))
			continue;
		e = runtimes_meet(r, p, &m);
		if (e)
			return e;
	}
	return 0;
}

int runtimes_meet_all(struct runtimes *r, struct process *p)
{
	return r->set && !p->interpreter ? meet_files(r, p, false) : 0;
}

int runtimes_learn(struct runtimes *r, struct process *p, const uint64_t *native, unsigned nnative)
{
	if (!r->set || p->interpreter)
		return 0;
	p->interpreter = REC_FRAME_PYTHON;
	for (unsigned i = 0; i < nnative; i++) {
		uint64_t pc = native[i] & REC_FRAME_DATA_MASK;
		const struct mapping *m;
		int e;

		if (REC_FRAME_KIND(native[i]) != REC_FRAME_EVAL)
			continue;
		i++;
		m = process_mapping(p, pc - 1);
		if (!m || m->module == MODULE_NONE)
			continue;
		e = map_set(&r->loops, m->module, 1);
		if (e == -ENOMEM)
			return e;
	}
	// Frames of a child that the kernel took for its parent: the names are asked for next.
	return meet_files(r, p, true);
}

void runtimes_fork(struct runtimes *r, const struct process *parent, struct process *child)
{
	if (!r->set)
		return;
	child->interpreter = parent->interpreter;
	child->image = parent->image ? parent->image : parent->uid;
}

void runtimes_forget(struct runtimes *r, struct process *p)
{
	bool met = false;

	if (!r->set)
		return;
	for (size_t i = 0; i < p->maps.len; i++)
		if (map_remove(&r->met, met_key(p, p->maps.data[i].module)))
			met = true;
	if (met)
		runtime_forget(r->set, p);
}

void runtimes_sweep(struct runtimes *r)
{
	struct map fresh;
	int e = 0;

	if (r->met.len < MAX(2 * r->met_left, (size_t)MET_SWEEP_MIN))
		return;
	map_init(&fresh, MET_MAX);
	map_foreach (slot, &r->met)
		if (!e && process_table_by_uid(r->processes, (uint32_t)(slot->key >> 32)))
			e = map_set(&fresh, slot->key, slot->value);
	if (e) {
		map_deinit(&fresh);
		return;
	}
	map_deinit(&r->met);
	r->met = fresh;
	r->met_left = fresh.len;
}

int runtimes_changed(struct runtimes *r, struct process *p)
{
	if (!r->set)
		return 0;
	// A program that is just being loaded has no C library yet, by which its threads are told apart.
	if (!p->exit_time)
		return p->maps.len >= MAPS_OF_A_PROGRAM ? meet_files(r, p, true) : 0;
	runtimes_forget(r, p);
	return 0;
}

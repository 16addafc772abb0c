/* SPDX-License-Identifier: Apache-2.0 */
#include "process/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define EVICT_STEP 1024 // ended processes
#define RESYNC_INTERVAL_NS (100 * NSEC_PER_MSEC)

static struct process *pointer(const uint64_t *value)
{
	return value ? (struct process *)(uintptr_t)*value : NULL;
}

static struct process *process_alloc(struct process_table *t, uint32_t pid)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->pid = pid;
	p->uid = ++t->next_uid;
	p->epoch = t->lost_epoch;
	p->nthreads = 1;
	mapping_vec_init(&p->maps, PROCESS_MAPPINGS_MAX);
	thread_name_vec_init(&p->threads, PROCESS_THREADS_MAX);
	return p;
}

static void process_free(struct process *p)
{
	if (!p)
		return;
	mapping_vec_deinit(&p->maps);
	thread_name_vec_deinit(&p->threads);
	free(p);
}

int process_table_init(struct process_table *t, struct module_table *modules, const char *proc_root)
{
	*t = (struct process_table){.modules = modules};
	if (strlen(proc_root) >= sizeof(t->proc_root))
		return -ENAMETOOLONG;
	memcpy(t->proc_root, proc_root, strlen(proc_root) + 1);
	map_init(&t->by_pid, PROCESSES_MAX);
	map_init(&t->by_uid, PROCESSES_MAX + PROCESSES_KEPT_MAX);
	map_init(&t->ended_by_pid, PROCESSES_MAX + PROCESSES_KEPT_MAX);
	map_init(&t->retry, 4096);
	process_vec_init(&t->dirty, PROCESSES_MAX + PROCESSES_KEPT_MAX);
	process_vec_init(&t->kept, PROCESSES_MAX + PROCESSES_KEPT_MAX);
	intern_init(&t->strings, PROCESS_STRINGS_MAX, PROCESS_STRINGS_BYTES);
	t->other = process_alloc(t, UINT32_MAX);
	if (!t->other)
		return -ENOMEM;
	process_copy_comm(t->other->comm, "[other]");
	return 0;
}

void process_table_deinit(struct process_table *t)
{
	map_foreach (slot, &t->by_uid)
		process_free(pointer(&slot->value));
	process_free(t->other);
	map_deinit(&t->by_pid);
	map_deinit(&t->by_uid);
	map_deinit(&t->ended_by_pid);
	map_deinit(&t->retry);
	process_vec_deinit(&t->dirty);
	process_vec_deinit(&t->kept);
	intern_deinit(&t->strings);
	t->other = NULL;
}

void process_copy_comm(char *dst, const char *src)
{
	size_t n = strnlen(src, REC_COMM_LEN - 1);

	memcpy(dst, src, n);
	memset(dst + n, 0, REC_COMM_LEN - n);
}

uint32_t process_string(struct process_table *t, const char *s, size_t len)
{
	uint32_t id;

	if (len == 0)
		return 0;
	if (intern_add(&t->strings, s, len, &id)) {
		t->stats.full++;
		return 0;
	}
	return id;
}

/* Room in both lists for every process there is and one more: later pushes cannot fail. */
static int reserve_lists(struct process_table *t)
{
	size_t need = t->by_uid.len + 1;
	int r = 0;

	if (t->dirty.len < need)
		r = process_vec_reserve(&t->dirty, need - t->dirty.len);
	if (!r && t->kept.len < need)
		r = process_vec_reserve(&t->kept, need - t->kept.len);
	return r;
}

static struct process *add_process(struct process_table *t, uint32_t pid)
{
	struct process *p;

	if (t->by_uid.len >= t->by_uid.cap || reserve_lists(t))
		return NULL;
	p = process_alloc(t, pid);
	if (!p)
		return NULL;
	if (map_set(&t->by_pid, pid, (uintptr_t)p)) {
		process_free(p);
		return NULL;
	}
	if (map_set(&t->by_uid, p->uid, (uintptr_t)p)) {
		map_remove(&t->by_pid, pid);
		process_free(p);
		return NULL;
	}
	return p;
}

static void free_ended(struct process_table *t, bool unseen_only)
{
	size_t left = 0;

	for (size_t i = 0; i < t->kept.len; i++) {
		struct process *p = t->kept.data[i];

		if (p->refs || p->queued || (unseen_only && p->sampled)) {
			t->kept.data[left++] = p;
			continue;
		}
		if (pointer(map_get(&t->ended_by_pid, p->pid)) == p)
			map_remove(&t->ended_by_pid, p->pid);
		map_remove(&t->by_uid, p->uid);
		process_free(p);
	}
	t->kept.len = left;
}

struct process *process_new(struct process_table *t, uint32_t pid)
{
	struct process *p;

	// In a storm of processes that no sample hit, nobody needs the ended ones. (Not before there
	// are some more of them than the last time: those left then are left now.)
	if (t->by_uid.len >= t->by_uid.cap && t->kept.len >= t->kept_left + EVICT_STEP) {
		free_ended(t, true);
		t->kept_left = t->kept.len;
	}
	p = add_process(t, pid);
	if (!p) {
		t->stats.full++;
		return NULL;
	}
	process_mark_dirty(t, p);
	return p;
}

void process_mark_dirty(struct process_table *t, struct process *p)
{
	if (p == t->other)
		return;
	p->dirty = true;
	if (p->queued)
		return;
	p->queued = process_vec_push(&t->dirty, p) == 0;
}

void process_end(struct process_table *t, struct process *p, uint64_t time)
{
	uint64_t *living = map_get(&t->by_pid, p->pid);

	if (p->exit_time || p == t->other)
		return;
	if (pointer(living) == p)
		map_remove(&t->by_pid, p->pid);
	p->exit_time = time ? time : 1;
	process_vec_push(&t->kept, p);
	// At its cap this only costs the late samples of an exiting task their record.
	(void)map_set(&t->ended_by_pid, p->pid, (uintptr_t)p);
	process_mark_dirty(t, p);
	// Most processes of a fork storm are never sampled: keep their names, not their mappings.
	if (!p->sampled && !p->refs) {
		mapping_vec_deinit(&p->maps);
		thread_name_vec_deinit(&p->threads);
	}
}

struct process *process_exec(struct process_table *t, struct process *old, uint64_t time)
{
	struct process *p;

	process_end(t, old, time);
	p = process_new(t, old->pid);
	if (!p)
		return NULL;
	p->born = time;
	p->ppid = old->ppid;
	p->start_time = old->start_time;
	p->cgroup_path = old->cgroup_path;
	p->container = old->container;
	p->cgroup_stale = true;
	p->execed = true;
	return p;
}

static size_t thread_index(const struct process *p, uint32_t tid)
{
	size_t lo = 0, hi = p->threads.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (p->threads.data[mid].tid >= tid)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

void process_forget_thread(struct process *p, uint32_t tid)
{
	size_t i = thread_index(p, tid);

	if (i < p->threads.len && p->threads.data[i].tid == tid)
		thread_name_vec_remove(&p->threads, i, 1);
}

void process_set_thread_name(
	struct process_table *t, struct process *p, uint32_t tid, const char *comm)
{
	struct thread_name name = {.tid = tid};
	size_t i;

	process_copy_comm(name.comm, comm);
	if (strcmp(name.comm, p->comm) == 0) {
		process_forget_thread(p, tid);
		return;
	}
	i = thread_index(p, tid);
	if (i < p->threads.len && p->threads.data[i].tid == tid)
		p->threads.data[i] = name;
	else if (thread_name_vec_insert(&p->threads, i, name))
		t->stats.full++;
}

const char *process_thread_comm(const struct process *p, uint32_t tid)
{
	size_t i = thread_index(p, tid);

	return i < p->threads.len && p->threads.data[i].tid == tid ? p->threads.data[i].comm
								   : p->comm;
}

struct process *process_table_find(const struct process_table *t, uint32_t pid)
{
	return pointer(map_get(&t->by_pid, pid));
}

struct process *process_table_by_uid(const struct process_table *t, uint32_t uid)
{
	if (t->other && uid == t->other->uid)
		return t->other;
	return pointer(map_get(&t->by_uid, uid));
}

static struct process *make_empty(struct process_table *t, uint32_t pid, const char *comm)
{
	struct process *p = process_new(t, pid);

	if (!p)
		return t->other;
	p->unsure = true;
	p->kernel_thread = pid == 0; // the idle tasks
	if (comm)
		process_copy_comm(p->comm, comm);
	return p;
}

struct process *process_table_ensure(struct process_table *t, uint32_t pid, const char *comm)
{
	struct process *p = process_table_find(t, pid), *ended;

	if (p && p->epoch != t->lost_epoch && pid != 0) {
		process_table_scan_pid(t, pid);
		p = process_table_find(t, pid);
	}
	if (!p) {
		ended = pointer(map_get(&t->ended_by_pid, pid));
		if (ended && ended->epoch == t->lost_epoch)
			p = ended;
	}
	if (!p && pid != 0 && process_table_scan_pid(t, pid) == 0)
		p = process_table_find(t, pid);
	if (!p)
		p = make_empty(t, pid, comm);
	if (p->cgroup_stale && !p->exit_time)
		process_read_cgroup(t, p);
	p->sampled = true;
	return p;
}

const struct mapping *process_mapping(const struct process *p, uint64_t addr)
{
	ssize_t i = mapping_vec_find(&p->maps, addr);

	return i < 0 ? NULL : &p->maps.data[i];
}

const struct mapping *process_mapping_resync(
	struct process_table *t, struct process *p, uint64_t addr, uint64_t now)
{
	const struct mapping *m = process_mapping(p, addr);

	if (m || p->exit_time || p->kernel_thread || p == t->other)
		return m;
	if (p->resync_time && now < p->resync_time + RESYNC_INTERVAL_NS)
		return NULL;
	t->stats.resyncs++;
	process_table_scan_pid(t, p->pid);
	return process_mapping(p, addr);
}

int process_table_take_dirty(struct process_table *t, process_fn fn, void *arg)
{
	size_t n = t->dirty.len, later = 0, i;
	int r = 0;

	for (i = 0; i < n && r >= 0; i++) {
		struct process *p = t->dirty.data[i];

		p->queued = false;
		p->dirty = false;
		r = fn(arg, p);
		if (r != 1 || p->queued)
			continue;
		p->queued = p->dirty = true;
		t->dirty.data[later++] = p;
	}
	t->kept_left = 0;
	process_vec_remove(&t->dirty, later, i - later);
	return MIN(r, 0);
}

/* Processes whose exit record may have been lost, or that were made without knowing whether they
 * live. (A stat of /proc each; only after losses.) */
static void sweep_lost(struct process_table *t)
{
	bool lost = t->swept_epoch != t->lost_epoch;
	size_t n = 0;
	struct process **gone;

	gone = malloc((t->by_pid.len + 1) * sizeof(struct process *));
	if (!gone)
		return;
	map_foreach (slot, &t->by_pid) {
		struct process *p = pointer(&slot->value);
		bool doubt = p->unsure || p->leader_gone || (lost && p->epoch != t->lost_epoch);

		if (doubt && p->pid != 0 && !process_alive(t, p->pid, p->start_time))
			gone[n++] = p;
	}
	for (size_t i = 0; i < n; i++)
		process_end(t, gone[i], clock_mono_ns());
	free(gone);
	t->swept_epoch = t->lost_epoch;
}

/* Nothing is ever removed from an intern, and JIT libraries with random names come and go: what the
 * remaining processes use is moved to a fresh one. */
static void compact_strings(struct process_table *t)
{
	struct intern fresh;

	if (!intern_is_stale(&t->strings))
		return;
	intern_init(&fresh, PROCESS_STRINGS_MAX, PROCESS_STRINGS_BYTES);
	map_foreach (slot, &t->by_uid) {
		struct process *p = pointer(&slot->value);

		intern_move(&fresh, &t->strings, p->cgroup_path, &p->cgroup_path);
		intern_move(&fresh, &t->strings, p->container, &p->container);
		vec_foreach (m, &p->maps)
			intern_move(&fresh, &t->strings, m->path, &m->path);
	}
	intern_deinit(&t->strings);
	t->strings = fresh;
}

void process_table_sweep(struct process_table *t)
{
	sweep_lost(t);
	free_ended(t, false);
	t->kept_left = 0;
	map_foreach (slot, &t->by_uid)
		pointer(&slot->value)->sampled = false;
	t->other->sampled = false;
	map_clear(&t->retry);
	compact_strings(t);
}

struct held {
	struct map ids;
	uint32_t vdso;
	bool (*drop)(void *arg, struct module *m);
	void *arg;
};

static bool is_held(void *arg, struct module *m)
{
	const struct held *h = arg;

	return m->id == h->vdso || map_get(&h->ids, m->id) || !h->drop(h->arg, m);
}

int process_table_sweep_modules(
	struct process_table *t, bool (*drop)(void *arg, struct module *m), void *arg)
{
	struct held h = {.vdso = t->vdso_module, .drop = drop, .arg = arg};
	int r = 0;

	if (!module_table_wants_sweep(t->modules))
		return 0;
	map_init(&h.ids, t->modules->cap);
	map_foreach (slot, &t->by_uid)
		vec_foreach (m, &pointer(&slot->value)->maps)
			if (!r && m->module != MODULE_NONE)
				r = map_set(&h.ids, m->module, 1);
	if (!r)
		module_table_sweep(t->modules, is_held, &h);
	map_deinit(&h.ids);
	return r;
}

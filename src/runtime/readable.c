/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/readable.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/cpu.h"

#define PROCESSES_MAX 32768
#define THREADS_MAX 4096 // of a process
#define PASS_NS NSEC_PER_SEC
#define BEHIND_NS (50 * NSEC_PER_MSEC) // until the next pass while files are to be looked at
#define FIRST_NS (100 * NSEC_PER_MSEC) // between the first two readings of all clocks
#define LOOKS_NS (10 * NSEC_PER_MSEC) // spent on files, a pass
#define RAN_NS NSEC_PER_MSEC // of CPU time, for a process to be worth a look
#define RETRY_NS NSEC_PER_SEC // the first time, twice as much each time
#define RETRY_SHIFT_MAX 6u
#define YOUNG_NS (5 * NSEC_PER_SEC) // may still be loading its interpreter

void readables_init(struct readables *r, const struct readable_config *config)
{
	*r = (struct readables){.config = *config};
	map_init(&r->by_uid, PROCESSES_MAX);
	readable_vec_init(&r->all, PROCESSES_MAX);
	readable_vec_init(&r->chosen, PROCESSES_MAX);
	readable_uid_vec_init(&r->uids, PROCESSES_MAX);
}

static void free_one(struct readable *e)
{
	readable_thread_vec_deinit(&e->threads);
	free(e);
}

void readables_deinit(struct readables *r)
{
	vec_foreach (e, &r->all)
		free_one(*e);
	map_deinit(&r->by_uid);
	readable_vec_deinit(&r->all);
	readable_vec_deinit(&r->chosen);
	readable_uid_vec_deinit(&r->uids);
}

static void remove_chosen(struct readables *r, const struct readable *e)
{
	for (size_t i = 0; i < r->chosen.len; i++) {
		if (r->chosen.data[i] == e) {
			readable_vec_remove(&r->chosen, i, 1);
			return;
		}
	}
}

void readables_drop(struct readables *r, struct readable *e)
{
	remove_chosen(r, e);
	e->chosen = false;
	e->verdict = READABLE_FAILED;
	e->retry_ns = clock_mono_ns() + (RETRY_NS << MIN(e->drops, RETRY_SHIFT_MAX));
	e->drops++;
}

static bool is_listed(const struct readables *r, uint32_t pid)
{
	for (size_t i = 0; i < r->config.nlisted; i++)
		if (r->config.listed[i] == pid)
			return true;
	return false;
}

/* The entry of a process, made if it has none; NULL at the cap. */
static struct readable *entry_of(struct readables *r, const struct process *p)
{
	const uint64_t *known = map_get(&r->by_uid, p->uid);
	struct readable *e;

	if (known)
		return (struct readable *)(uintptr_t)*known;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->uid = p->uid;
	e->pid = p->pid;
	e->listed = is_listed(r, p->pid);
	readable_thread_vec_init(&e->threads, THREADS_MAX);
	if (readable_vec_push(&r->all, e)) {
		free(e);
		return NULL;
	}
	if (map_set(&r->by_uid, p->uid, (uint64_t)(uintptr_t)e)) {
		r->all.len--;
		free(e);
		return NULL;
	}
	return e;
}

struct readable *readables_find(const struct readables *r, uint32_t uid)
{
	const uint64_t *known = map_get(&r->by_uid, uid);

	return known ? (struct readable *)(uintptr_t)*known : NULL;
}

static struct process *process_of(const struct readables *r, const struct readable *e)
{
	struct process *p = process_table_by_uid(r->config.processes, e->uid);

	return p && !p->exit_time ? p : NULL;
}

/* Those that ended go. */
static void sweep(struct readables *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->all.len; i++) {
		struct readable *e = r->all.data[i];

		if (process_of(r, e)) {
			r->all.data[kept++] = e;
			continue;
		}
		remove_chosen(r, e);
		map_remove(&r->by_uid, e->uid);
		free_one(e);
	}
	r->all.len = kept;
}

/* Whether a process may be read now. */
static bool eligible(
	const struct readables *r, const struct readable *e, const struct process *p, uint64_t boot)
{
	const struct readable_config *c = &r->config;
	uint64_t age = p->start_time && boot > p->start_time ? boot - p->start_time : UINT64_MAX;
	bool asked_for = false;

	if (e->listed)
		return true;
	if (c->only_listed || (c->wanted && !c->wanted(c->arg, p, &asked_for)))
		return false;
	if (asked_for)
		return true;
	return age >= c->min_age_ns && (c->spawned || p->start_time <= r->window_boot_ns);
}

/* Is there an interpreter in it? A process that is being loaded is asked again once it has mapped more. */
static bool look(struct readables *r, struct readable *e, struct process *p, uint64_t boot)
{
	char what[64] = "";
	uint32_t maps;

	if (r->config.no_records && boot < p->start_time + YOUNG_NS && e->verdict != READABLE_YES) {
		process_table_scan_pid(r->config.processes, e->pid);
		p = process_of(r, e);
		if (!p)
			return false;
	}
	maps = (uint32_t)p->maps.len;
	if (e->verdict == READABLE_FAILED || (e->verdict == READABLE_NO && e->maps != maps))
		e->verdict = READABLE_UNKNOWN;
	if (e->verdict == READABLE_UNKNOWN) {
		e->verdict = runtime_knows(r->config.set, p) ? READABLE_YES : READABLE_NO;
		e->maps = maps;
		if (e->verdict == READABLE_NO)
			runtime_refuses(r->config.set, p, what, sizeof(what));
		e->refused = what[0] != 0;
	}
	return e->verdict == READABLE_YES;
}

static int choose_one(struct readables *r, struct readable *e)
{
	// Who is chosen again keeps what is known of its threads.
	e->fresh = e->fresh || !e->was_chosen;
	e->chosen = true;
	e->failures = 0;
	return readable_vec_push(&r->chosen, e);
}

static int by_rate(const void *a, const void *b)
{
	const struct readable *x = *(struct readable *const *)a, *y = *(struct readable *const *)b;

	if (x->listed != y->listed)
		return x->listed ? -1 : 1;
	if (x->rate != y->rate)
		return x->rate < y->rate ? 1 : -1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static bool room(const struct readables *r)
{
	return !r->config.max || r->chosen.len < r->config.max;
}

/* Goes through the processes, busiest first: lets join who may, as long as there is room and time. */
static int let_join(struct readables *r)
{
	uint64_t end = clock_mono_ns() + LOOKS_NS, boot = process_boot_ns();
	int e = 0;

	r->behind = false;
	for (size_t i = 0; i < r->all.len && !e; i++) {
		struct readable *x = r->all.data[i];
		struct process *p = process_of(r, x);

		if (!p || (!x->listed && !room(r)) || x->chosen ||
			(x->verdict == READABLE_FAILED && clock_mono_ns() < x->retry_ns) ||
			(!x->listed && x->rate < RAN_NS) || !eligible(r, x, p, boot))
			continue;
		if (clock_mono_ns() > end) {
			r->behind = true;
			break;
		}
		if (look(r, x, p, boot))
			e = choose_one(r, x);
	}
	return e == -ENOSPC ? 0 : e;
}

/* The clock of one. A process that is met only now did not run all its life in this window. */
static void read_clock(struct readables *r, const struct process *p, bool window)
{
	bool known = map_get(&r->by_uid, p->uid) != NULL;
	struct readable *x = entry_of(r, p);
	uint64_t cpu;

	if (!x || process_cpu_ns(x->pid, &cpu))
		return;
	if (!known && p->start_time <= r->window_boot_ns)
		x->cpu_ns = x->cpu_window_ns = cpu;
	x->rate = cpu - MIN(cpu, window ? x->cpu_window_ns : x->cpu_ns);
	x->cpu_ns = cpu;
}

/* Reads every process's CPU clock: rates are CPU time since the window began, or since the last pass. */
static int read_clocks(struct readables *r, bool window)
{
	struct process_table *t = r->config.processes;
	uint32_t self = (uint32_t)getpid();
	int e;

	// What looks into a process may find that it has become another one.
	readable_uid_vec_clear(&r->uids);
	map_foreach (slot, &t->by_pid) {
		const struct process *p = (const struct process *)(uintptr_t)slot->value;

		if (p->kernel_thread || !p->pid || p->pid == self ||
			(r->config.only_listed && !is_listed(r, p->pid)))
			continue;
		e = readable_uid_vec_push(&r->uids, p->uid);
		if (e == -ENOMEM)
			return e;
	}
	vec_foreach (uid, &r->uids) {
		const struct process *p = process_table_by_uid(t, *uid);

		if (p)
			read_clock(r, p, window);
	}
	return 0;
}

static int choose(struct readables *r)
{
	int e = read_clocks(r, true);

	sweep(r);
	r->chosen.len = 0;
	r->choose_at = 0;
	vec_foreach (x, &r->all) {
		(*x)->was_chosen = (*x)->chosen;
		(*x)->chosen = false;
	}
	if (!e && r->all.len)
		qsort(r->all.data, r->all.len, sizeof(*r->all.data), by_rate);
	if (!e)
		e = let_join(r);
	vec_foreach (x, &r->all)
		(*x)->was_chosen = false;
	return e;
}

int readables_window(struct readables *r, uint64_t now)
{
	int e = 0;

	if (r->begun)
		e = choose(r);
	else
		e = read_clocks(r, true);
	// The first choice needs a second reading.
	if (!r->begun)
		r->choose_at = now + FIRST_NS;
	r->begun = true;
	r->window_ns = now;
	r->window_boot_ns = process_boot_ns();
	vec_foreach (x, &r->all)
		(*x)->cpu_window_ns = (*x)->cpu_ns;
	return e;
}

int readables_pass(struct readables *r, uint64_t now, uint64_t *ret_next)
{
	int e;

	if (r->choose_at && now < r->choose_at) {
		*ret_next = r->choose_at;
		return 0;
	}
	if (r->choose_at) {
		e = choose(r);
	} else {
		e = read_clocks(r, false);
		sweep(r);
		if (!e)
			e = let_join(r);
	}
	*ret_next = now + (r->behind ? BEHIND_NS : PASS_NS);
	return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/cpu.h"

#define LOGGER "gprofiler.reader"
#define FAILURES_MAX 5u // in a row, then a process is left alone for a while
#define LIST_NS NSEC_PER_SEC // threads of a process are listed this often at least
#define IDLE_SHIFT_MAX 4u // a thread that sleeps is asked about at one look of 16
#define DUE_MAX 4096u // threads of a process at one tick
#define WORDS_MAX (1u << 20)
#define FAILED_MAX 4096u // processes that are told of

/* A thread to be read now, and what was read of it. */
struct due {
	struct readable_thread *thread;
	size_t first, nwords; // into words
	uint64_t interpreter;
	bool found, torn, holds_lock;
};
VEC_DEFINE(due_vec, struct due)
VEC_DEFINE(word_vec, uint64_t)

struct reader {
	struct reader_config config;
	struct readables who;
	struct reader_stats stats;
	unsigned hz;
	uint64_t next_tick, next_pass;
	uint64_t random;
	struct due_vec due;
	struct word_vec words;
	struct map failed; // process uid -> errno, of those that could not be read in this window
};

int reader_new(const struct reader_config *config, struct reader **ret)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->config = *config;
	r->random = clock_mono_ns() | 1;
	readables_init(&r->who, &config->who);
	due_vec_init(&r->due, DUE_MAX);
	word_vec_init(&r->words, WORDS_MAX);
	map_init(&r->failed, FAILED_MAX);
	r->next_tick = UINT64_MAX;
	reader_set_hz(r, config->hz);
	*ret = r;
	return 0;
}

void reader_free(struct reader *r)
{
	if (!r)
		return;
	readables_deinit(&r->who);
	due_vec_deinit(&r->due);
	word_vec_deinit(&r->words);
	map_deinit(&r->failed);
	free(r);
}

const struct reader_stats *reader_stats(const struct reader *r)
{
	return &r->stats;
}

size_t reader_chosen(const struct reader *r)
{
	return r->who.chosen.len;
}

/* The next tick, half an interval to one and a half away (xorshift: a period of its own is enough). */
static void set_next_tick(struct reader *r, uint64_t now)
{
	uint64_t interval;

	if (!r->hz) {
		r->next_tick = UINT64_MAX;
		return;
	}
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	interval = NSEC_PER_SEC / r->hz;
	r->next_tick = now + interval / 2 + r->random % interval;
}

void reader_set_hz(struct reader *r, unsigned hz)
{
	// What ran while nobody looked is not told by what runs then.
	if (!r->hz && hz)
		vec_foreach (e, &r->who.chosen)
			(*e)->fresh = true;
	r->hz = MIN(hz, (unsigned)READER_HZ_MAX);
	set_next_tick(r, clock_mono_ns());
}

uint64_t reader_next(const struct reader *r)
{
	return MIN(r->next_tick, r->next_pass);
}

/* ---- threads ---- */

static struct readable_thread *find_thread(struct readable *e, uint32_t tid)
{
	vec_foreach (t, &e->threads)
		if (t->tid == tid)
			return t;
	return NULL;
}

/* The threads of a process by /proc. Those that are known keep what is known of them. */
static int list_threads(struct readable *e, uint64_t now)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct readable_thread_vec fresh;
	struct dirent *d;
	char path[48];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%u/task", e->pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	readable_thread_vec_init(&fresh, e->threads.cap);
	while (!r && (d = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(d->d_name, NULL, 10);
		const struct readable_thread *known = tid ? find_thread(e, tid) : NULL;

		if (tid)
			r = readable_thread_vec_push(
				&fresh, known ? *known : (struct readable_thread){.tid = tid});
	}
	if (r == -ENOMEM) {
		readable_thread_vec_deinit(&fresh);
		return r;
	}
	readable_thread_vec_deinit(&e->threads);
	e->threads = fresh;
	e->nthreads = (uint32_t)fresh.len;
	e->listed_ns = now;
	return 0;
}

/* Asks a thread for its state and CPU time. fresh: what it used before is not ours to tell. */
static void ask_thread(struct reader *r, struct readable *e, struct readable_thread *t)
{
	struct process_thread now;
	uint64_t used;

	if (t->idle && (e->looks & ((1u << MIN(t->idle, IDLE_SHIFT_MAX)) - 1)) != 0)
		return;
	if (process_thread_read(e->pid, t->tid, &now))
		return;
	used = now.cpu_ns - MIN(now.cpu_ns, t->cpu_ns);
	t->idle = used ? 0 : t->idle + 1;
	t->cpu_ns = now.cpu_ns;
	memcpy(t->comm, now.comm, sizeof(t->comm));
	if (e->fresh)
		return;
	t->debt_ns += used;
	if (t->debt_ns >= r->config.period_ns && now.state == 'R')
		(void)due_vec_push(&r->due, (struct due){.thread = t}); // the rest at the next tick
	if (t->tid == e->pid && now.nthreads != e->nthreads)
		e->listed_ns = 0;
}

/* Which threads are to be read now: r->due. */
static int find_due(struct reader *r, struct readable *e, uint64_t now)
{
	int err = 0;

	due_vec_clear(&r->due);
	if (!e->threads.len || (e->nthreads > 1 && now - e->listed_ns > LIST_NS) || !e->listed_ns)
		err = list_threads(e, now);
	if (err)
		return err;
	e->looks++;
	vec_foreach (t, &e->threads)
		ask_thread(r, e, t);
	e->fresh = false;
	return 0;
}

/* ---- stacks ---- */

static bool want(void *arg, uint32_t tid)
{
	const struct reader *r = arg;

	vec_foreach (d, &r->due)
		if (d->thread->tid == tid)
			return true;
	return false;
}

/* Is this the interpreter that a thread of several runs in? The one whose lock it holds, else the
 * innermost, which was made last. */
static bool better(const struct due *d, const struct runtime_thread *t)
{
	if (!d->found || d->torn != t->torn)
		return !d->found || d->torn;
	if (d->holds_lock != t->holds_lock)
		return t->holds_lock;
	return t->nwords && (!d->nwords || t->interpreter > d->interpreter);
}

static int keep(void *arg, const struct runtime_thread *t)
{
	struct reader *r = arg;

	vec_foreach (d, &r->due) {
		int err;

		if (d->thread->tid != t->tid || !better(d, t))
			continue;
		err = word_vec_reserve(&r->words, t->nwords);
		if (err)
			return err;
		d->first = r->words.len;
		d->nwords = t->nwords;
		if (t->nwords)
			memcpy(r->words.data + d->first, t->words, t->nwords * sizeof(*t->words));
		r->words.len += t->nwords;
		d->interpreter = t->interpreter;
		d->holds_lock = t->holds_lock;
		d->torn = t->torn;
		d->found = true;
	}
	return 0;
}

static int give_out(struct reader *r, struct process *p, struct due *d)
{
	struct readable_thread *t = d->thread;
	uint64_t periods = t->debt_ns / r->config.period_ns;
	struct reader_sample s = {
		.process = p,
		.tid = t->tid,
		.comm = t->comm,
		.words = r->words.data + d->first,
		.nwords = d->nwords,
		.samples = (unsigned)MIN(periods, (uint64_t)UINT32_MAX),
	};

	if (d->torn) {
		r->stats.torn++;
		return 0;
	}
	t->debt_ns %= r->config.period_ns;
	if (r->config.lock_only && !d->holds_lock)
		return 0;
	if (!d->nwords) { // no thread of the interpreter, or it runs no Python
		r->stats.unseen += periods;
		return 0;
	}
	r->stats.stacks++;
	r->stats.samples += s.samples;
	map_remove(&r->failed, p->uid);
	return r->config.sample(r->config.arg, &s);
}

/* A process that cannot be read may have become another one. Where nothing tells so, /proc is asked. */
static void failed(struct reader *r, struct readable *e, int err)
{
	const struct capture_event lost = {.type = CAPTURE_LOST, .lost.count = 1};
	struct process_table *t = r->config.who.processes;
	uint32_t pid = e->pid;

	r->stats.failed++;
	(void)map_set(&r->failed, e->uid, (uint64_t)-err); // at the cap they are only counted
	if (err == -EPERM)
		log_once(LOG_LEVEL_WARNING, LOGGER,
			"Process %u cannot be read: %s. Reading other users' processes takes "
			"CAP_SYS_PTRACE; own ones may be forbidden by kernel.yama.ptrace_scope",
			pid, strerror(-err));
	if (++e->failures < FAILURES_MAX && err != -EPERM && err != -EINVAL)
		return;
	log_debug(LOGGER, "process %u is left alone for a while: %s", pid, strerror(-err));
	readables_drop(&r->who, e);
	if (r->config.who.no_records && !process_table_apply(t, &lost))
		process_table_scan_pid(t, pid);
}

static int look_at(struct reader *r, struct readable *e, uint64_t now)
{
	const struct runtime_visitor visitor = {
		.want = want, .fn = keep, .locks = r->config.lock_only, .arg = r};
	struct process *p = process_table_by_uid(r->config.who.processes, e->uid);
	uint64_t cpu;
	int err;

	if (!p || p->exit_time || process_cpu_ns(e->pid, &cpu))
		return 0;
	if (!e->fresh && cpu - MIN(cpu, e->looked_ns) < r->config.period_ns)
		return 0;
	e->looked_ns = cpu;
	err = find_due(r, e, now);
	if (err == -ENOMEM)
		return err;
	if (err || !r->due.len)
		return 0;
	word_vec_clear(&r->words);
	err = runtime_read_threads(r->config.who.set, p, &visitor);
	if (err == -EAGAIN) // the interpreter is not up yet
		return 0;
	if (err) {
		failed(r, e, err);
		return 0;
	}
	e->failures = 0;
	for (size_t i = 0; i < r->due.len && !err; i++)
		err = give_out(r, p, &r->due.data[i]);
	return err;
}

static int tick(struct reader *r, uint64_t now)
{
	int err = 0;

	r->stats.ticks++;
	// Backwards: who fails is taken out.
	for (size_t i = r->who.chosen.len; i > 0 && !err; i--)
		if (i <= r->who.chosen.len)
			err = look_at(r, r->who.chosen.data[i - 1], now);
	return err;
}

void reader_settle(struct reader *r)
{
	vec_foreach (e, &r->who.chosen) {
		vec_foreach (t, &(*e)->threads) {
			r->stats.unseen += t->debt_ns / r->config.period_ns;
			t->debt_ns %= r->config.period_ns;
		}
	}
}

/* Who is left alone for a while fails in the next window, too. */
static void keep_failed(struct reader *r)
{
	struct map still;

	map_init(&still, FAILED_MAX);
	map_foreach (slot, &r->failed) {
		const struct readable *e = readables_find(&r->who, (uint32_t)slot->key);

		if (e && e->verdict == READABLE_FAILED)
			(void)map_set(&still, slot->key, slot->value);
	}
	map_deinit(&r->failed);
	r->failed = still;
}

int reader_failures(
	const struct reader *r, int (*fn)(void *arg, uint32_t uid, int error), void *arg)
{
	int err = 0;

	map_foreach (slot, &r->failed) {
		err = fn(arg, (uint32_t)slot->key, -(int)slot->value);
		if (err)
			return err;
	}
	vec_foreach (e, &r->who.all) {
		if (!err && (*e)->refused && (*e)->verdict == READABLE_NO)
			err = fn(arg, (*e)->uid, 1);
	}
	return err;
}

int reader_window(struct reader *r)
{
	uint64_t now = clock_mono_ns();

	keep_failed(r);
	r->next_pass = now;
	return readables_window(&r->who, now);
}

int reader_turn(struct reader *r)
{
	uint64_t now = clock_mono_ns();
	int err = 0;

	if (now >= r->next_pass)
		err = readables_pass(&r->who, now, &r->next_pass);
	if (!err && now >= r->next_tick) {
		err = tick(r, now);
		set_next_tick(r, now);
	}
	return err;
}

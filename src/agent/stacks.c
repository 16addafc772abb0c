/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/stacks.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "capture/thread_iter.h"
#include "process/memory.h"
#include "process/table.h"

#define THREADS_MAX 65536
#define SCRIPTS_MAX 131072
#define ATTEMPTS 5 // at a thread that moves
#define REGS_ALL ((1ull << THREADS_REGS) - 1)
#define REGS_BLOCKED (1ull << REC_REG_X86_SP | 1ull << REC_REG_X86_IP)
#define FILE_MAX 4096

int stacks_init(struct stacks *s, struct process_table *processes, struct runtimes *r)
{
	*s = (struct stacks){.processes = processes, .runtimes = r, .first = true};
	stacks_thread_vec_init(&s->threads, THREADS_MAX);
	stacks_script_vec_init(&s->scripts, SCRIPTS_MAX);
	map_init(&s->by_tid, THREADS_MAX);
	s->result = malloc(sizeof(*s->result));
	s->stack = malloc(REC_STACK_MAX);
	if (!s->result || !s->stack)
		return -ENOMEM;
	return unwind_new(NULL, processes, BPF_UNWIND_SMART, &s->unwind);
}

void stacks_deinit(struct stacks *s)
{
	vec_foreach (t, &s->threads)
		free(t->words);
	vec_foreach (c, &s->scripts)
		free(c->words);
	stacks_thread_vec_deinit(&s->threads);
	stacks_script_vec_deinit(&s->scripts);
	map_deinit(&s->by_tid);
	thread_iter_close(s->iter);
	unwind_free(s->unwind);
	free(s->result);
	free(s->stack);
}

/* A thread's file in /proc. Return 0 or -errno. */
static int read_file(uint32_t pid, uint32_t tid, const char *name, struct buf *ret)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%u/task/%u/%s", pid, tid, name);
	return fs_read_file(path, ret);
}

/* Lists the threads as they are before they are read: what reads them must not wake them. */
int stacks_list(struct stacks *s, uint32_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *e;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((e = readdir(dir)) && s->threads.len < THREADS_MAX) {
		_cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
		struct stacks_thread t = {.tid = (uint32_t)strtoul(e->d_name, NULL, 10)};
		struct process_stat st;
		int r;

		if (e->d_name[0] == '.' || read_file(pid, t.tid, "stat", &b) ||
			!process_stat_parse(buf_str(&b), b.len, &st))
			continue;
		memcpy(t.name, st.comm, sizeof(t.name));
		t.state = st.state;
		r = stacks_thread_vec_push(&s->threads, t);
		if (!r)
			r = map_set(&s->by_tid, t.tid, s->threads.len);
		if (r)
			return r;
	}
	return 0;
}

static struct stacks_thread *find(struct stacks *s, uint32_t tid)
{
	const uint64_t *at = map_get(&s->by_tid, tid);

	return at ? &s->threads.data[*at - 1] : NULL;
}

static int on_thread(void *arg, const struct threads_record *record)
{
	struct stacks_thread *t = find(arg, record->tid);

	// One that is born meanwhile is not shown; one that stood still is as it was then.
	if (t && t->native != STACKS_STILL) {
		t->now = *record;
		t->seen = true;
	}
	return 0;
}

/* By /proc: where the thread blocks, if it does. */
static void look_at_file(struct stacks *s, struct stacks_thread *t)
{
	_cleanup_buf_ struct buf b = BUF_INIT(FILE_MAX);
	struct process_blocked blocked;

	t->now = (struct threads_record){.pid = s->p->pid, .tid = t->tid};
	t->seen = !read_file(s->p->pid, t->tid, "syscall", &b) &&
		  process_blocked_parse(buf_str(&b), b.len, &blocked);
	if (!t->seen || blocked.running)
		t->now.flags = t->seen ? THREADS_F_ON_CPU : THREADS_F_NO_USER;
	else if (!blocked.sp)
		t->now.flags = THREADS_F_NO_USER;
	else
		t->now.regs[REC_REG_X86_SP] = blocked.sp;
	t->now.regs[REC_REG_X86_IP] = t->now.flags ? 0 : blocked.pc;
}

/* Looks at all threads. Return 0 or -errno. */
static int look(struct stacks *s)
{
	vec_foreach (t, &s->threads) {
		if (t->native == STACKS_STILL)
			continue;
		t->before = t->now;
		t->seen = false;
		if (!s->iter)
			look_at_file(s, t);
	}
	if (s->iter)
		return thread_iter_run(s->iter, on_thread, s);
	return 0;
}

static bool open_to_walk(const struct stacks *s, const struct stacks_thread *t)
{
	bool running = t->now.flags & THREADS_F_ON_CPU;

	return t->native != STACKS_STILL && t->seen && !(t->now.flags & THREADS_F_NO_USER) &&
	       (s->iter || !running);
}

/* Copies the user stack and walks it as one that the kernel handed over. */
static int walk(struct stacks *s, struct stacks_thread *t)
{
	struct rec_sample rec = {
		.type = REC_SAMPLE,
		.flags = REC_F_HANDOFF | REC_F_IN_KERNEL,
		.pid = s->p->pid,
		.tid = t->tid,
		.outcome = REC_OUT_HANDOFF,
		.handoff_exact = true,
		.handoff_mark = REC_MARK_LEAF,
	};
	struct rec_handoff h = {.valid = s->valid, .stack_base = t->now.regs[REC_REG_X86_SP]};
	const struct capture_sample sample = {.rec = &rec, .handoff = &h, .stack = s->stack};
	struct runtime_loop loops[REC_EVAL_RANGES];
	unsigned n = s->runtimes->set ? runtime_loops(s->runtimes->set, s->p, loops) : 0;
	ssize_t got = process_memory_read_some(s->p->pid, h.stack_base, s->stack, REC_STACK_MAX);
	int r;

	memcpy(h.regs, t->now.regs, sizeof(t->now.regs));
	for (unsigned i = 0; i < n; i++) {
		h.eval[i].start = loops[i].start;
		h.eval[i].end = loops[i].end;
	}
	h.stack_len = got > 0 ? (uint32_t)got : 0;
	r = unwind_finish(s->unwind, s->p, &sample, clock_mono_ns(), s->result);
	if (r)
		return r;
	free(t->words);
	t->nwords = s->result->nwords;
	t->words = calloc(t->nwords ? t->nwords : 1, sizeof(*t->words));
	if (!t->words)
		return -ENOMEM;
	memcpy(t->words, s->result->words, t->nwords * sizeof(*t->words));
	t->outcome = (uint8_t)s->result->outcome;
	t->reason = (uint8_t)s->result->reason;
	t->late = s->result->late;
	t->has_words = true;
	return 0;
}

static int walk_all(struct stacks *s)
{
	vec_foreach (t, &s->threads) {
		int r = 0;

		t->has_words &= t->native == STACKS_STILL;
		if (!open_to_walk(s, t))
			continue;
		if (t->now.flags & THREADS_F_BITS32) {
			t->outcome = REC_OUT_BITS32;
			t->has_words = true;
		} else {
			r = walk(s, t);
		}
		if (r)
			return r;
	}
	return 0;
}

/* Threads whose interpreter's stack is to be read (again). */
static bool want_script(void *arg, uint32_t tid)
{
	struct stacks *s = arg;
	const struct stacks_thread *t = find(s, tid);

	return s->first || (t && t->native != STACKS_STILL && open_to_walk(s, t));
}

static int on_script(void *arg, const struct runtime_thread *t)
{
	struct stacks *s = arg;
	struct stacks_script c = {.tid = t->tid, .interpreter = t->interpreter, .torn = t->torn};
	int r;

	c.nwords = (unsigned)MIN(t->nwords, (size_t)REC_RUNTIME_WORDS_MAX);
	c.words = calloc(c.nwords ? c.nwords : 1, sizeof(*c.words));
	if (!c.words)
		return -ENOMEM;
	memcpy(c.words, t->words, c.nwords * sizeof(*c.words));
	r = stacks_script_vec_push(&s->scripts, c);
	if (r)
		free(c.words);
	return r;
}

/* Forgets the interpreters' stacks that are about to be read again. */
static void drop_scripts(struct stacks *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->scripts.len; i++) {
		struct stacks_script *c = &s->scripts.data[i];

		if (c->tid && want_script(s, c->tid))
			free(c->words);
		else
			s->scripts.data[kept++] = *c;
	}
	s->scripts.len = kept;
}

static int read_scripts(struct stacks *s)
{
	const struct runtime_visitor v = {
		.want = want_script, .fn = on_script, .marks = true, .arg = s};
	int r;

	drop_scripts(s);
	r = s->runtimes->set ? runtime_read_threads(s->runtimes->set, s->p, &v) : -ENOENT;
	s->first = false;
	s->refused = r == -EINVAL;
	// No interpreter, one that is not up yet or cannot be read: native frames are still shown.
	return r == -ENOENT || r == -EAGAIN || s->refused ? 0 : r;
}

/* Did it stand still between the last two looks? */
static uint8_t judge(const struct stacks_thread *t)
{
	const struct threads_record *a = &t->before, *b = &t->now;

	if (!t->has_words)
		return t->native;
	if ((a->flags | b->flags) & THREADS_F_ON_CPU)
		return STACKS_RUNNING;
	if (!t->seen || a->switches != b->switches || memcmp(a->regs, b->regs, sizeof(a->regs)))
		return STACKS_MOVED;
	return STACKS_STILL;
}

/* One attempt at all threads that did not stand still yet. Return how many there are still. */
static int attempt(struct stacks *s, unsigned *ret_left)
{
	int r = read_scripts(s);

	if (!r)
		r = walk_all(s);
	if (!r)
		r = look(s);
	if (r)
		return r;
	*ret_left = 0;
	vec_foreach (t, &s->threads) {
		if (t->native == STACKS_STILL)
			continue;
		t->native = judge(t);
		*ret_left += t->native == STACKS_RUNNING || t->native == STACKS_MOVED;
	}
	return 0;
}

/* Chooses by what native stacks are found. */
static int begin(struct stacks *s)
{
	int r = thread_iter_open(s->p->pid, &s->iter, s->why);

	s->valid = REGS_ALL;
	if (!r)
		r = look(s);
	if (!r)
		return 0;
	if (s->iter)
		snprintf(s->why, sizeof(s->why),
			"the kernel shows no threads of process %u by BPF: its number is one of "
			"another pid namespace; run in the initial one",
			s->p->pid);
	thread_iter_close(s->iter);
	s->iter = NULL;
	s->valid = REGS_BLOCKED;
	return look(s);
}

int stacks_read(struct stacks *s, struct process *p)
{
	unsigned left = 1;
	int r;

	s->p = p;
	r = begin(s);
	for (unsigned i = 0; i < ATTEMPTS && left && !r; i++)
		r = attempt(s, &left);
	// It ended meanwhile: what was read is all there is.
	return r == -ENOENT ? 0 : r;
}

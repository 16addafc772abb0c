/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks of all threads of a process through process_vm_readv, which does not stop it: it runs on
 * while it is read. A chain of frames is first walked link by link; that tells where its frames lie.
 * Then all that memory is copied in one call, between two looks at the thread's running frame, and
 * the chain is followed in the copy. Frames that both looks agree on were a stack at that moment;
 * frames are reused in place, so that a second copy helps where the first one did not. */
#include <errno.h>
#include <string.h>

#include "base/cursor.h"
#include "process/memory.h"
#include "runtime/python/object.h"
#include "runtime/python/python.h"
#include "runtime/python/tids.h"

#define FRAMES_MAX 1024u
#define THREADS_MAX 4096u
#define INTERPRETERS_MAX 256u
#define ATTEMPTS                                                                                   \
	50u // of some microseconds; a thread that calls all the time holds still in one of three
#define RANGES_MAX 128u
#define RANGE_GAP 1024u // bytes between frames that are copied with them
#define HINTS 512u // threads, by hash
#define HINT_RANGES 12u
#define COPY_MAX (256u << 10)
#define OWNER_INTERPRETER 3 // 3.12 and later: a frame of the interpreter's own, on the C stack
#define LASTI_MAX (1 << 28)

/* A frame as read. */
struct link {
	uint64_t addr, back, code;
	uint64_t lasti; // as stored
	uint8_t entry;
};

struct range {
	uint64_t start, end;
	const uint8_t *copy; // in the last copy, NULL: not read
};

/* Where a thread's frames lay when it was read before: most likely they lie there again. */
struct hint {
	uint32_t uid; // process
	uint64_t tstate;
	struct range ranges[HINT_RANGES];
	unsigned n;
	uint32_t native, tid; // the thread's number as the interpreter keeps it, and as we see it
};

struct py_reader {
	struct py_runtime *rt;
	const struct py_proc *proc;
	const struct py_offsets *o;
	struct py_tids tids;
	bool have_tids;
	const struct runtime_visitor *v;
	uint64_t holder; // thread state that holds the lock, 0 none or unknown
	struct hint hints[HINTS];
	/* of the thread at hand */
	struct link links[FRAMES_MAX];
	unsigned n;
	struct range ranges[RANGES_MAX + 1]; // where frames lay, sorted, apart
	unsigned nranges;
	uint64_t words[FRAMES_MAX * PY_FRAME_WORDS]; // and, in what room is left, marks
	struct process_memory_piece pieces[FRAMES_MAX];
	uint8_t copy[COPY_MAX];
	uint8_t codes[FRAMES_MAX * PY_CODE_BYTES_MAX];
};

static uint64_t word_at(const uint8_t *p, size_t off, unsigned width)
{
	struct cursor c = cursor_make(p + off, width);

	return width == 4 ? cursor_u32(&c) : cursor_u64(&c);
}

static int read_u64(const struct py_reader *r, uint64_t addr, uint64_t *ret)
{
	uint8_t raw[8];
	int e = process_memory_read(r->proc->pid, addr, raw, sizeof(raw));

	if (!e)
		*ret = word_at(raw, 0, 8);
	return e;
}

static void parse_link(
	const struct py_reader *r, const uint8_t *bytes, uint64_t addr, struct link *ret)
{
	const struct py_layout *l = &r->o->layout;
	bool old = l->chain == PY_CHAIN_FRAME;

	ret->addr = addr;
	ret->back = word_at(bytes, l->frame_back, 8);
	ret->code = word_at(bytes, l->frame_code, 8) & ~(uint64_t)l->code_tag_mask;
	ret->lasti = word_at(bytes, l->frame_lasti, old ? 4 : 8);
	ret->entry = l->entry_kind ? bytes[l->frame_entry] : 0;
}

/* Remembers where a frame lies; joins ranges that are near. */
static void add_range(struct py_reader *r, uint64_t start)
{
	uint64_t end = start + r->o->frame_size;
	unsigned at = 0, last;

	while (at < r->nranges && r->ranges[at].end + RANGE_GAP < start)
		at++;
	for (last = at; last < r->nranges && r->ranges[last].start <= end + RANGE_GAP; last++) {
		start = MIN(start, r->ranges[last].start);
		end = MAX(end, r->ranges[last].end);
	}
	if (last == at && r->nranges == RANGES_MAX)
		return;
	memmove(&r->ranges[at + 1], &r->ranges[last], (r->nranges - last) * sizeof(r->ranges[0]));
	r->ranges[at] = (struct range){start, end, NULL};
	r->nranges = r->nranges - (last - at) + 1;
}

/* The bytes of a frame in the last copy, or NULL. */
static const uint8_t *in_copy(const struct py_reader *r, uint64_t addr)
{
	for (unsigned i = 0; i < r->nranges; i++) {
		const struct range *g = &r->ranges[i];

		if (addr >= g->start && addr + r->o->frame_size <= g->end)
			return g->copy ? g->copy + (addr - g->start) : NULL;
	}
	return NULL;
}

/* Follows the chain link by link, each in a read of its own. */
static void walk(struct py_reader *r, uint64_t top)
{
	uint8_t bytes[PY_FRAME_BYTES_MAX + 8];

	for (r->n = 0; top && r->n < FRAMES_MAX; r->n++) {
		if (process_memory_read(r->proc->pid, top, bytes, r->o->frame_size))
			return;
		parse_link(r, bytes, top, &r->links[r->n]);
		add_range(r, top);
		top = r->links[r->n].back;
	}
}

/* Follows it in the copy. False: it leaves what was copied; the way out is remembered. */
static bool walk_copy(struct py_reader *r, uint64_t top)
{
	for (r->n = 0; top && r->n < FRAMES_MAX; r->n++) {
		const uint8_t *bytes = in_copy(r, top);

		if (!bytes) {
			walk(r, top);
			return false;
		}
		parse_link(r, bytes, top, &r->links[r->n]);
		top = r->links[r->n].back;
	}
	return true;
}

/* Where a thread state says which frame runs: up to 3.10 and from 3.13 in itself, else in the
 * _PyCFrame that it points to. */
static int find_top(const struct py_reader *r, uint64_t tstate, uint64_t *ret)
{
	const struct py_layout *l = &r->o->layout;
	int e;

	*ret = tstate + l->tstate_frame;
	if (l->chain != PY_CHAIN_CFRAME)
		return 0;
	e = read_u64(r, *ret, ret);
	*ret = e || !*ret ? 0 : *ret + l->cframe_current;
	return e;
}

struct looks {
	uint64_t before, after;
};

/* Copies all ranges between two looks at the running frame. */
static int take_copy(struct py_reader *r, uint64_t at, struct looks *ret)
{
	uint8_t before[8] = {0}, after[8] = {0};
	size_t n = 0, used = 0;
	int e;

	r->pieces[n++] = (struct process_memory_piece){at, before, sizeof(before), 0};
	for (unsigned i = 0; i < r->nranges; i++) {
		size_t len = r->ranges[i].end - r->ranges[i].start;

		r->ranges[i].copy = NULL;
		if (used + len > sizeof(r->copy))
			continue;
		r->ranges[i].copy = r->copy + used;
		r->pieces[n++] =
			(struct process_memory_piece){r->ranges[i].start, r->copy + used, len, 0};
		used += len;
	}
	r->pieces[n++] = (struct process_memory_piece){at, after, sizeof(after), 0};
	e = process_memory_read_many(r->proc->pid, r->pieces, n);
	if (e)
		return e;
	for (unsigned i = 0, k = 1; i < r->nranges; i++)
		if (r->ranges[i].copy && r->pieces[k++].result)
			r->ranges[i].copy = NULL;
	ret->before = word_at(before, 0, 8);
	ret->after = word_at(after, 0, 8);
	return r->pieces[0].result ? r->pieces[0].result : r->pieces[n - 1].result;
}

/* Cuts off the frames that returned meanwhile. False: the frame that runs is not on the chain. */
static bool cut_to(struct py_reader *r, uint64_t top)
{
	const uint8_t *bytes = in_copy(r, top);
	struct link l;

	for (unsigned i = 0; i < r->n; i++) {
		if (r->links[i].addr != top)
			continue;
		memmove(r->links, r->links + i, (r->n - i) * sizeof(r->links[0]));
		r->n -= i;
		return true;
	}
	// One more call: its frame was pushed on the chain.
	if (!bytes || !r->n)
		return false;
	parse_link(r, bytes, top, &l);
	return l.back == r->links[0].addr;
}

static struct hint *hint_of(struct py_reader *r, uint64_t tstate)
{
	return &r->hints[hash_u64(tstate ^ r->proc->uid) % HINTS];
}

/* Starts with where the frames lay before. False: nothing is known. */
static bool take_hint(struct py_reader *r, uint64_t tstate)
{
	const struct hint *h = hint_of(r, tstate);

	r->nranges = 0;
	if (!h->n)
		return false;
	memcpy(r->ranges, h->ranges, h->n * sizeof(h->ranges[0]));
	r->nranges = h->n;
	return true;
}

/* Remembers the ranges that this chain needed. */
static void leave_hint(struct py_reader *r, uint64_t tstate)
{
	struct hint *h = hint_of(r, tstate);

	r->nranges = 0;
	for (unsigned i = 0; i < r->n; i++)
		add_range(r, r->links[i].addr);
	h->n = MIN(r->nranges, HINT_RANGES);
	memcpy(h->ranges, r->ranges, h->n * sizeof(h->ranges[0]));
}

/* Return 0, 1 torn, -errno. */
static int read_stack(struct py_reader *r, uint64_t tstate)
{
	struct looks l;
	uint64_t at;
	int e = find_top(r, tstate, &at);

	r->n = 0;
	if (e || !at)
		return e == -EFAULT ? 1 : e;
	if (!take_hint(r, tstate)) {
		e = read_u64(r, at, &l.before);
		if (e)
			return e == -EFAULT ? 1 : e;
		walk(r, l.before);
	}
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		if (i && find_top(r, tstate, &at))
			continue;
		e = at ? take_copy(r, at, &l) : -EAGAIN;
		if (e == -ESRCH || e == -EPERM)
			return e;
		if (e)
			continue;
		if (!l.before && !l.after) {
			r->n = 0;
			return 0;
		}
		if (walk_copy(r, l.before) && cut_to(r, l.after)) {
			leave_hint(r, tstate);
			return 0;
		}
	}
	return 1;
}

static bool is_python(const struct py_reader *r, const struct link *l)
{
	bool shim = r->o->layout.entry_kind == 2 && l->entry >= OWNER_INTERPRETER;

	return l->code && !shim;
}

static int32_t lasti_of(const struct py_reader *r, const struct link *l)
{
	const struct py_layout *y = &r->o->layout;
	int64_t v;

	if (y->chain == PY_CHAIN_FRAME)
		v = (int64_t)(int32_t)l->lasti * y->lasti_scale;
	else
		v = (int64_t)(l->lasti - l->code - y->code_adaptive);
	return v < 0 || v > LASTI_MAX ? -1 : (int32_t)v;
}

/* The frames as words being made. */
struct word_maker {
	size_t n; // words
	size_t code, count; // of Python frames: the next, all
	bool marks; // asked for, and there is room for all frames and one more
	uint64_t cframe; // 3.11: of the run at hand
};

/* Where 3.11 keeps the _PyCFrame of the innermost eval, 0 unknown. */
static uint64_t first_cframe(const struct py_reader *r, uint64_t tstate)
{
	const struct py_layout *l = &r->o->layout;
	uint64_t at = 0;

	if (l->chain == PY_CHAIN_CFRAME && l->entry_kind == 1)
		(void)read_u64(r, tstate + l->tstate_frame, &at);
	return at;
}

static void put_frame(struct py_reader *r, struct word_maker *m, const struct link *l)
{
	const struct process_memory_piece *piece = &r->pieces[m->code++];
	struct py_code code = {.cookie = 0};
	uint64_t end = m->marks && r->o->layout.chain == PY_CHAIN_FRAME ? REC_FRAME_RUN_END : 0;

	if (!piece->result)
		py_code_parse(r->o, piece->dst, &code);
	r->words[m->n++] = REC_FRAME(REC_FRAME_PYTHON, 0, 0, l->code) | end;
	r->words[m->n++] = PY_FRAME_REST(code.cookie, lasti_of(r, l));
}

/* The end of a run, if it is one, as bpf/walk/python.h marks it. */
static void put_mark(struct py_reader *r, struct word_maker *m, const struct link *l)
{
	const struct py_layout *y = &r->o->layout;
	uint64_t at = l->addr;

	if (y->entry_kind == 1 && l->entry) {
		at = m->cframe;
		// _PyCFrame.previous
		if (at && read_u64(r, at + y->cframe_current + 8, &m->cframe))
			m->cframe = 0;
	} else if (y->entry_kind != 2 || is_python(r, l)) {
		return;
	}
	m->marks = m->n + 1 + (m->count - m->code) * PY_FRAME_WORDS < ARRAY_SIZE(r->words);
	if (m->marks)
		r->words[m->n++] = REC_FRAME(REC_FRAME_ENTRY, 0, 0, at);
}

/* The frames as words, with the checksums of their code objects as they are now. */
static size_t make_words(struct py_reader *r, uint64_t tstate)
{
	struct word_maker m = {.marks = r->v->marks};
	size_t size = r->o->code_size;

	for (unsigned i = 0; i < r->n; i++) {
		if (!is_python(r, &r->links[i]))
			continue;
		r->pieces[m.count] = (struct process_memory_piece){
			r->links[i].code, r->codes + m.count * size, size, 0};
		m.count++;
	}
	if (m.count && process_memory_read_many(r->proc->pid, r->pieces, m.count))
		return 0;
	if (m.marks)
		m.cframe = first_cframe(r, tstate);
	for (unsigned i = 0; i < r->n; i++) {
		if (is_python(r, &r->links[i]))
			put_frame(r, &m, &r->links[i]);
		if (m.marks)
			put_mark(r, &m, &r->links[i]);
	}
	return m.n;
}

/* The number of a thread. The process's are listed only if that is not known from before. */
static int find_tid(struct py_reader *r, uint64_t tstate, const uint8_t *bytes, uint32_t *ret)
{
	const struct py_layout *l = &r->o->layout;
	uint32_t native =
		l->tstate_native_tid ? (uint32_t)word_at(bytes, l->tstate_native_tid, 8) : 0;
	struct hint *h = hint_of(r, tstate);

	if (h->uid != r->proc->uid || h->tstate != tstate)
		*h = (struct hint){.uid = r->proc->uid, .tstate = tstate};
	if (native && h->native == native && h->tid) {
		*ret = h->tid;
		return 0;
	}
	if (!r->have_tids) {
		int e = py_tids_read(&r->tids, r->proc->pid);

		if (e)
			return e;
		r->have_tids = true;
	}
	*ret = py_tids_find(&r->tids, native, word_at(bytes, l->tstate_thread_id, 8));
	h->native = native;
	h->tid = *ret;
	return 0;
}

static int read_thread(
	struct py_reader *r, uint64_t tstate, uint64_t interpreter, const uint8_t *bytes)
{
	struct runtime_thread t = {
		.interpreter = interpreter, .holds_lock = tstate == r->holder, .words = r->words};
	int e;

	e = find_tid(r, tstate, bytes, &t.tid);
	if (e)
		return e;
	if (r->v->want && !r->v->want(r->v->arg, t.tid))
		return 0;
	e = read_stack(r, tstate);
	if (e < 0)
		return e;
	t.torn = e;
	t.nwords = make_words(r, tstate);
	return r->v->fn(r->v->arg, &t);
}

/* Who holds the lock: to 3.11 the runtime's current state does; later each interpreter points to its
 * lock, which several may share. */
static void find_holder(struct py_reader *r, uint64_t interp)
{
	const struct py_module *m = py_proc_module(r->rt, r->proc);
	uint64_t lock;
	uint8_t locked[4];

	r->holder = 0;
	if (!r->o->interp_lock) {
		if (m->current)
			(void)read_u64(r, r->proc->bias + m->current, &r->holder);
		return;
	}
	if (read_u64(r, interp + r->o->interp_lock, &lock) ||
		process_memory_read(
			r->proc->pid, lock + r->o->lock_locked, locked, sizeof(locked)) ||
		word_at(locked, 0, 4) != 1)
		return;
	(void)read_u64(r, lock + r->o->lock_holder, &r->holder);
}

static int read_interpreter(struct py_reader *r, uint64_t interp)
{
	uint8_t bytes[PY_TSTATE_BYTES_MAX + 8];
	uint64_t tstate, id = 0;
	int e = read_u64(r, interp + r->o->interp_tstate_head, &tstate);

	if (e)
		return e;
	if (r->v->locks)
		find_holder(r, interp);
	if (r->o->interp_id)
		read_u64(r, interp + r->o->interp_id, &id);
	for (unsigned i = 0; tstate && i < THREADS_MAX; i++) {
		// A state that was freed meanwhile ends the list.
		if (process_memory_read(r->proc->pid, tstate, bytes, r->o->tstate_size) ||
			word_at(bytes, r->o->layout.tstate_interp, 8) != interp)
			break;
		e = read_thread(r, tstate, id, bytes);
		if (e)
			return e;
		tstate = word_at(bytes, r->o->tstate_next, 8);
	}
	return 0;
}

static int read_process(struct py_reader *r)
{
	const struct py_module *m = py_proc_module(r->rt, r->proc);
	uint64_t interp;
	int e = read_u64(r, r->proc->bias + m->interp_head, &interp);

	for (unsigned i = 0; !e && interp && i < INTERPRETERS_MAX; i++) {
		e = read_interpreter(r, interp);
		if (e || read_u64(r, interp + r->o->interp_next, &interp))
			break;
	}
	return e;
}

int py_read_threads(void *runtime, struct process *p, const struct runtime_visitor *v)
{
	struct py_runtime *rt = runtime;
	struct py_proc *proc = py_proc_look(rt, p);
	struct py_reader *r;
	int e;

	if (!proc)
		return -ENOENT;
	e = py_proc_verify(rt, p, proc);
	if (e)
		return e;
	// Kept for the next reading: it is large.
	if (!rt->reader)
		rt->reader = calloc(1, sizeof(*rt->reader));
	r = rt->reader;
	if (!r)
		return -ENOMEM;
	r->rt = rt;
	r->proc = proc;
	r->o = &py_proc_module(rt, proc)->offsets;
	r->v = v;
	r->have_tids = false;
	r->holder = 0;
	e = read_process(r);
	if (r->have_tids)
		py_tids_deinit(&r->tids);
	return e;
}

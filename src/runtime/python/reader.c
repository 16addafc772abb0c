/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks of all threads of a process through process_vm_readv, which does not stop it: it runs on
 * while it is read. A chain of frames is walked link by link, then all of it is read again in one
 * call: links that did not change, under a top that is still on the chain (or was pushed on it), were
 * a stack at one moment; else it is walked again. */
#include <errno.h>

#include "base/cursor.h"
#include "process/memory.h"
#include "runtime/python/object.h"
#include "runtime/python/python.h"
#include "runtime/python/tids.h"

#define FRAMES_MAX 1024u
#define THREADS_MAX 4096u
#define INTERPRETERS_MAX 256u
#define ATTEMPTS 4u
#define OWNER_INTERPRETER 3 // 3.12 and later: a frame of the interpreter's own, on the C stack
#define LASTI_MAX (1 << 28)

/* A frame as read. */
struct link {
	uint64_t addr, back, code;
	uint64_t lasti; // as stored
	uint8_t entry;
};

struct reader {
	struct py_runtime *rt;
	const struct py_proc *proc;
	const struct py_offsets *o;
	struct py_tids tids;
	runtime_thread_fn fn;
	void *arg;
	/* of the thread at hand */
	struct link links[FRAMES_MAX];
	unsigned n;
	uint64_t words[FRAMES_MAX * PY_FRAME_WORDS];
	struct process_memory_piece pieces[2 * FRAMES_MAX];
	uint8_t bytes[FRAMES_MAX * 512];
};

static uint64_t word_at(const uint8_t *p, size_t off, unsigned width)
{
	struct cursor c = cursor_make(p + off, width);

	return width == 4 ? cursor_u32(&c) : cursor_u64(&c);
}

static int read_u64(const struct reader *r, uint64_t addr, uint64_t *ret)
{
	uint8_t raw[8];
	int e = process_memory_read(r->proc->pid, addr, raw, sizeof(raw));

	if (!e)
		*ret = word_at(raw, 0, 8);
	return e;
}

static void parse_link(
	const struct reader *r, const uint8_t *bytes, uint64_t addr, struct link *ret)
{
	const struct py_layout *l = &r->o->layout;
	bool old = l->chain == PY_CHAIN_FRAME;

	ret->addr = addr;
	ret->back = word_at(bytes, l->frame_back, 8);
	ret->code = word_at(bytes, l->frame_code, 8) & ~(uint64_t)l->code_tag_mask;
	ret->lasti = word_at(bytes, l->frame_lasti, old ? 4 : 8);
	ret->entry = l->entry_kind ? bytes[l->frame_entry] : 0;
}

/* The running frame of a thread state. Return 0 (0 in *ret: none), -errno. */
static int read_top(const struct reader *r, uint64_t tstate, uint64_t *ret)
{
	const struct py_layout *l = &r->o->layout;
	int e = read_u64(r, tstate + l->tstate_frame, ret);

	if (e || l->chain != PY_CHAIN_CFRAME || !*ret)
		return e;
	return read_u64(r, *ret + l->cframe_current, ret);
}

static int walk(struct reader *r, uint64_t top)
{
	uint8_t bytes[PY_FRAME_BYTES_MAX + 8];

	for (r->n = 0; top && r->n < FRAMES_MAX; r->n++) {
		int e = process_memory_read(r->proc->pid, top, bytes, r->o->frame_size);

		if (e)
			return e;
		parse_link(r, bytes, top, &r->links[r->n]);
		top = r->links[r->n].back;
	}
	return 0;
}

static bool is_python(const struct reader *r, const struct link *l)
{
	bool shim = r->o->layout.entry_kind == 2 && l->entry >= OWNER_INTERPRETER;

	return l->code && !shim;
}

static int32_t lasti_of(const struct reader *r, const struct link *l)
{
	const struct py_layout *y = &r->o->layout;
	int64_t v;

	if (y->chain == PY_CHAIN_FRAME)
		v = (int64_t)(int32_t)l->lasti * y->lasti_scale;
	else
		v = (int64_t)(l->lasti - l->code - y->code_adaptive);
	return v < 0 || v > LASTI_MAX ? -1 : (int32_t)v;
}

/* Reads all frames and their code objects again. False: they are not what they were. */
static bool read_again(struct reader *r)
{
	size_t frame = r->o->frame_size, code = r->o->code_size, at = 0, n = 0;

	for (unsigned i = 0; i < r->n; i++) {
		if (at + frame + code > sizeof(r->bytes)) {
			r->n = i;
			break;
		}
		r->pieces[n++] =
			(struct process_memory_piece){r->links[i].addr, r->bytes + at, frame, 0};
		at += frame;
		r->pieces[n++] = (struct process_memory_piece){
			r->links[i].code ? r->links[i].code : r->links[i].addr, r->bytes + at, code,
			0};
		at += code;
	}
	if (process_memory_read_many(r->proc->pid, r->pieces, n))
		return false;
	for (unsigned i = 0; i < r->n; i++) {
		struct link now;

		if (r->pieces[2 * i].result)
			return false;
		parse_link(r, r->pieces[2 * i].dst, r->links[i].addr, &now);
		if (now.back != r->links[i].back || now.code != r->links[i].code)
			return false;
		if (i > 0)
			r->links[i].lasti = now.lasti;
	}
	return true;
}

/* True if a top seen after the walk fits the chain: a frame of it, or one that was pushed on it. */
static bool top_fits(struct reader *r, uint64_t top)
{
	uint64_t back;

	for (unsigned i = 0; i < r->n; i++)
		if (r->links[i].addr == top)
			return true;
	return top && r->n && read_u64(r, top + r->o->layout.frame_back, &back) == 0 &&
	       back == r->links[0].addr;
}

/* Walks a thread until it holds still. Return 0, 1 torn, -errno. */
static int read_stack(struct reader *r, uint64_t tstate)
{
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		uint64_t top = 0, after = 0;
		int e = read_top(r, tstate, &top);

		if (e == -ESRCH || e == -EPERM)
			return e;
		if (e || walk(r, top))
			continue;
		if (!top)
			return 0;
		if (read_again(r) && read_top(r, tstate, &after) == 0 &&
			(after == top || top_fits(r, after)))
			return 0;
	}
	return 1;
}

static size_t make_words(struct reader *r)
{
	size_t n = 0;

	for (unsigned i = 0; i < r->n; i++) {
		const struct process_memory_piece *p = &r->pieces[2 * i + 1];
		struct py_code code = {.cookie = 0};

		if (!is_python(r, &r->links[i]))
			continue;
		if (p->addr == r->links[i].code && !p->result)
			py_code_parse(r->o, p->dst, &code);
		r->words[n++] = REC_FRAME(REC_FRAME_PYTHON, 0, 0, r->links[i].code);
		r->words[n++] = PY_FRAME_REST(code.cookie, lasti_of(r, &r->links[i]));
	}
	return n;
}

static int read_thread(
	struct reader *r, uint64_t tstate, uint64_t interpreter, const uint8_t *bytes)
{
	const struct py_layout *l = &r->o->layout;
	struct runtime_thread t = {.interpreter = interpreter, .words = r->words};
	uint64_t native = l->tstate_native_tid ? word_at(bytes, l->tstate_native_tid, 8) : 0;
	int e;

	r->n = 0;
	e = read_stack(r, tstate);
	if (e < 0)
		return e;
	t.torn = e;
	t.nwords = make_words(r);
	t.tid = py_tids_find(&r->tids, (uint32_t)native, word_at(bytes, l->tstate_thread_id, 8));
	return r->fn(r->arg, &t);
}

static int read_interpreter(struct reader *r, uint64_t interp)
{
	uint8_t bytes[PY_TSTATE_BYTES_MAX + 8];
	uint64_t tstate, id = 0;
	int e = read_u64(r, interp + r->o->interp_tstate_head, &tstate);

	if (e)
		return e;
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

static int read_process(struct reader *r)
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

int py_read_threads(void *runtime, struct process *p, runtime_thread_fn fn, void *arg)
{
	struct py_runtime *rt = runtime;
	struct py_proc *proc = py_proc_look(rt, p);
	_cleanup_free_ struct reader *r = NULL;
	int e;

	if (!proc)
		return -ENOENT;
	e = py_proc_verify(rt, p, proc);
	if (e)
		return e;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->rt = rt;
	r->proc = proc;
	r->o = &py_proc_module(rt, proc)->offsets;
	r->fn = fn;
	r->arg = arg;
	e = py_tids_read(&r->tids, p->pid);
	if (e)
		return e;
	e = read_process(r);
	py_tids_deinit(&r->tids);
	return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A frame's code object becomes texts: read once, as the frame is first seen; believed only if its
 * checksum is the one the sample carried. */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "runtime/python/lines.h"
#include "runtime/python/object.h"
#include "runtime/python/packages.h"
#include "runtime/python/python.h"

#define STALE_TEXT "[stale Python frame]"
#define TEXT_MAX (PY_STRING_MAX * 4)

static int intern_text(struct py_runtime *rt, const struct buf *b, uint32_t *ret)
{
	int r = intern_add(rt->strings, buf_str(b), b->len, ret);

	if (r == -ENOSPC)
		*ret = 0;
	return r == -ENOSPC ? 0 : r;
}

static int answer_stale(struct py_runtime *rt, struct runtime_frame *ret)
{
	struct buf b = {.data = (char[]){STALE_TEXT}, .len = strlen(STALE_TEXT)};
	int r = rt->stale ? 0 : intern_text(rt, &b, &rt->stale);

	*ret = (struct runtime_frame){.name = rt->stale, .stale = true};
	return r;
}

static uint64_t key_of(const struct py_proc *proc, uint64_t code, uint32_t cookie)
{
	const uint64_t words[3] = {proc->uid, code, cookie};

	return hash_bytes(words, sizeof(words));
}

/* The texts of a code object that was proven. Return 0, -ENOMEM, other -errno: it is gone. */
static int read_texts(struct py_runtime *rt, struct process *p, const struct py_proc *proc,
	const struct py_code *code, struct py_named *ret)
{
	const struct py_offsets *o = &py_proc_module(rt, proc)->offsets;
	_cleanup_buf_ struct buf name = BUF_INIT(TEXT_MAX), file = BUF_INIT(TEXT_MAX);
	struct py_named n = {.start_line = code->firstlineno, .lines = code->lines};
	int r = -EINVAL;

	if (code->qualname)
		r = py_string_read(proc->pid, o, code->qualname, &name);
	if (r && r != -ENOMEM) {
		buf_clear(&name);
		r = py_string_read(proc->pid, o, code->name, &name);
	}
	if (!r)
		r = py_string_read(proc->pid, o, code->filename, &file);
	if (r)
		return r;
	r = intern_text(rt, &name, &n.name);
	if (!r)
		r = intern_text(rt, &file, &n.file);
	if (!r && rt->config.python_versions)
		r = py_package_of(rt, p, proc, buf_str(&file), &n.package);
	*ret = n;
	return r;
}

/* Names a code object, from what is known or anew. Return 0, -ENOMEM, other -errno: it is gone. */
static int name_code(struct py_runtime *rt, struct process *p, const struct py_proc *proc,
	const uint64_t *words, struct py_named *ret)
{
	const struct py_offsets *o = &py_proc_module(rt, proc)->offsets;
	uint64_t addr = words[0] & REC_FRAME_DATA_MASK, key;
	uint32_t cookie = PY_FRAME_COOKIE(words[1]);
	const uint64_t *known;
	struct py_code code;
	int r;

	key = key_of(proc, addr, cookie);
	known = map_get(&rt->named_by_code, key);
	if (known) {
		*ret = rt->named.data[*known];
		return 0;
	}
	r = py_code_read(proc->pid, o, addr, &code);
	if (r)
		return r;
	// 0: the kernel walker could not read it, it was paged out.
	if (cookie && cookie != code.cookie)
		return -ESTALE;
	r = read_texts(rt, p, proc, &code, ret);
	if (r)
		return r;
	if (py_named_vec_push(&rt->named, *ret) == 0)
		map_set(&rt->named_by_code, key, rt->named.len - 1);
	return 0;
}

static uint32_t line_of(
	struct py_runtime *rt, const struct py_proc *proc, const struct py_named *n, int32_t lasti)
{
	const struct py_offsets *o = &py_proc_module(rt, proc)->offsets;
	_cleanup_buf_ struct buf table = BUF_INIT(PY_LINES_MAX);

	if (py_bytes_read(proc->pid, o, n->lines, PY_LINES_MAX, &table))
		return 0;
	return py_line_of(
		o->line_format, (const uint8_t *)table.data, table.len, n->start_line, lasti);
}

/* Return 0, -ENOMEM, other -errno: what the words point to is not there. */
static int name_in(
	struct py_runtime *rt, struct process *p, const uint64_t *words, struct runtime_frame *ret)
{
	struct py_proc *proc = py_proc_get(rt, p);
	struct py_named n;
	int r;

	if (!proc || py_proc_verify(rt, p, proc) == -EINVAL)
		return -ESTALE;
	r = name_code(rt, p, proc, words, &n);
	if (r)
		return r;
	*ret = (struct runtime_frame){
		.name = n.name,
		.file = n.file,
		.package = n.package,
		.start_line = n.start_line,
		.line = line_of(rt, proc, &n, PY_FRAME_LASTI(words[1])),
	};
	return 0;
}

int py_name_frame(
	void *runtime, struct process *p, const uint64_t *words, struct runtime_frame *ret)
{
	struct py_runtime *rt = runtime;
	struct process *origin = NULL;
	int r = name_in(rt, p, words, ret);

	// What a child ran that has ended lies in the process that it was forked from, unless it was
	// made since: the checksum tells.
	if (r && r != -ENOMEM && p->image && PY_FRAME_COOKIE(words[1]))
		origin = process_table_by_uid(rt->config.processes, p->image);
	if (origin && origin != p && !origin->exit_time)
		r = name_in(rt, origin, words, ret);
	return r && r != -ENOMEM ? answer_stale(rt, ret) : r;
}

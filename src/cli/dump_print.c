/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dump_print.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define OUTPUT_MAX ((size_t)64 << 20)
#define NOTE_MAX 2048
#define PACKAGE_MAX 512

static const char *state_text(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "in uninterruptible sleep";
	case 'T':
		return "stopped";
	case 't':
		return "stopped by a tracer";
	case 'I':
		return "idle";
	default:
		return "ended";
	}
}

static const char *kind_text(const struct profile_frame *f)
{
	switch (f->kind) {
	case PROFILE_FRAME_PYTHON:
		return "python";
	case PROFILE_FRAME_KERNEL:
		return "kernel";
	case PROFILE_FRAME_META:
		return "note";
	default:
		return "native";
	}
}

static json_t *frame_json(const struct dump *d, const struct profile_frame *f)
{
	const struct profile *p = &d->profile;
	bool python = f->kind == PROFILE_FRAME_PYTHON;
	char package[PACKAGE_MAX];

	snprintf(package, sizeof(package), "[%s]", profile_text(p, f->module));
	return json_pack("{s:s, s:o, s:o, s:i, s:i, s:o, s:o}", "kind", kind_text(f), "name",
		json_text(profile_text(p, f->name)), "file",
		json_text(f->file ? profile_text(p, f->file) : NULL), "line", (int)f->line,
		"first_line", (int)f->start_line, "package",
		json_text(python && f->module ? package : NULL), "module",
		json_text(!python && f->module ? profile_text(p, f->module) : NULL));
}

/* NULL without memory. */
static json_t *part_json(struct dump *d, const struct dump_entry *e, unsigned part)
{
	json_t *frames = json_array();

	for (size_t i = dump_part_frames(d, e, part); frames && i > 0; i--) {
		if (!json_array_append_new(
			    frames, frame_json(d, profile_frame_get(&d->profile, d->ids[i - 1]))))
			continue;
		json_decref(frames);
		frames = NULL;
	}
	return frames;
}

static json_t *entry_json(struct dump *d, const struct dump_entry *e)
{
	static const char *const native[] = {"none", "still", "running", "moved"};
	const struct stacks_thread *t = e->thread;
	uint32_t tid = t ? t->tid : e->script->tid;
	json_t *j = json_pack("{s:I, s:o, s:s, s:s}", "tid", (json_int_t)tid, "name",
		json_text(t ? t->name : ""), "state", t ? state_text(t->state) : "unknown",
		"native", native[t ? t->native : STACKS_NONE]);
	int r = j ? 0 : -ENOMEM;

	if (!r && (e->script || e->node[0]))
		r = json_object_set_new(j, "frames", part_json(d, e, 0));
	if (!r && e->apart)
		r = json_object_set_new(j, "native_frames", part_json(d, e, 1));
	if (!r && e->script && e->script->torn)
		r = json_object_set_new(j, "torn", json_true());
	if (!r && e->script && e->script->interpreter)
		r = json_object_set_new(
			j, "interpreter", json_integer((json_int_t)e->script->interpreter));
	if (!r)
		return j;
	json_decref(j);
	return NULL;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* "[libc.so.6]", "[kernel]", "[nf_tables]": what a native frame lies in. */
static void print_module(struct buf *out, const struct profile_frame *f, const char *module)
{
	if (f->kind == PROFILE_FRAME_KERNEL && !strncmp(module, "[kernel", 7))
		buf_append_str(out, " [kernel]");
	else if (module[0] == '[')
		buf_printf(out, " %s", module);
	else if (module[0])
		buf_printf(out, " [%s]", base_name(module));
}

static void print_frame(struct buf *out, const struct dump *d, const struct profile_frame *f)
{
	const char *file = profile_text(&d->profile, f->file);
	const char *module = profile_text(&d->profile, f->module);
	bool python = f->kind == PROFILE_FRAME_PYTHON;

	buf_printf(out, "    %s", profile_text(&d->profile, f->name));
	if (f->flags & PROFILE_FRAME_NO_SYMBOL)
		buf_printf(out, " +0x%llx", (unsigned long long)f->address);
	else if (f->file && f->line)
		buf_printf(out, " (%s:%u", file, f->line);
	else if (f->file)
		buf_printf(out, " (%s", file);
	if (f->file && !(f->flags & PROFILE_FRAME_NO_SYMBOL)) {
		if (python && f->module)
			buf_printf(out, " [%s]", module);
		buf_append_char(out, ')');
	}
	if (!python && !(f->flags & PROFILE_FRAME_NO_SYMBOL))
		print_module(out, f, module);
	buf_append_char(out, '\n');
}

static size_t print_part(struct buf *out, struct dump *d, const struct dump_entry *e, unsigned part)
{
	size_t n = dump_part_frames(d, e, part);

	for (size_t i = n; i > 0; i--)
		print_frame(out, d, profile_frame_get(&d->profile, d->ids[i - 1]));
	return n;
}

/* What is to be said of a native stack that is not of one moment. */
static const char *native_text(const struct stacks_thread *t)
{
	if (t->native == STACKS_RUNNING)
		return ", running: as of its last entry into the kernel";
	return t->native == STACKS_MOVED ? ", moved: it ran on while it was read" : "";
}

static void print_entry(struct buf *out, struct dump *d, const struct dump_entry *e)
{
	const struct stacks_thread *t = e->thread;
	size_t n;

	buf_printf(out, "\nThread %u \"%s\": %s", t ? t->tid : e->script->tid, t ? t->name : "",
		t ? state_text(t->state) : "unknown");
	if (e->script && e->script->interpreter)
		buf_printf(out, ", interpreter %llu", (unsigned long long)e->script->interpreter);
	if (e->script && e->script->torn)
		buf_append_str(out, ", torn: it moved while it was read");
	if (t && !e->script)
		buf_append_str(out, native_text(t));
	buf_append_char(out, '\n');
	n = print_part(out, d, e, 0);
	if (e->apart)
		buf_printf(out, "  native frames%s\n",
			t->native == STACKS_STILL ? " of all its interpreters" : native_text(t));
	n += e->apart ? print_part(out, d, e, 1) : 0;
	if (!n)
		buf_append_str(out, "    (no frames)\n");
}

/* What is missing, and what to do about it. */
static int note_text(const struct dump *d, struct buf *ret)
{
	if (d->stacks.refused)
		buf_append_str(ret,
			"Python frames are missing: the structures of the interpreter are "
			"not those of its version");
	if (d->stacks.refused && d->stacks.why[0])
		buf_append_str(ret, ". ");
	if (d->stacks.why[0])
		buf_printf(ret,
			"Frames of the kernel and of threads that run are missing, and native stacks "
			"may end early: %s",
			d->stacks.why);
	return ret->bad ? -ENOMEM : 0;
}

static int put_json(struct dump *d, const char *runtime, const char *note, struct buf *out)
{
	_cleanup_json_ json_t *threads = json_array();
	_cleanup_json_ json_t *all = NULL;

	vec_foreach (e, &d->entries) {
		if (!threads || json_array_append_new(threads, entry_json(d, e)))
			return -ENOMEM;
	}
	all = json_pack("{s:I, s:o, s:o, s:o, s:O}", "pid", (json_int_t)d->p->pid, "name",
		json_text(d->p->comm), "runtime", json_text(runtime[0] ? runtime : NULL), "note",
		json_text(note[0] ? note : NULL), "threads", threads);
	return !all || json_append(out, all) || buf_append_char(out, '\n') ? -ENOMEM : 0;
}

int dump_print(struct dump *d, bool as_json)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OUTPUT_MAX), note = BUF_INIT(NOTE_MAX);
	char runtime[64];
	int r = note_text(d, &note);

	runtime_describe(d->runtimes.set, d->p, runtime, sizeof(runtime));
	if (!r && as_json)
		r = put_json(d, runtime, note.len ? buf_str(&note) : "", &out);
	if (r)
		return r;
	if (!as_json) {
		buf_printf(&out, "Process %u \"%s\": %s\n", d->p->pid, d->p->comm,
			runtime[0] ? runtime : "no Python interpreter that is known");
		if (note.len)
			buf_printf(&out, "%s\n", buf_str(&note));
		vec_foreach (e, &d->entries)
			print_entry(&out, d, e);
	}
	if (out.bad)
		return -ENOMEM;
	fwrite(out.data, 1, out.len, stdout);
	return 0;
}

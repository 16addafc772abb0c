/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler dump -p PID: every thread of a process and its stack, now: kernel, native and Python. Takes no
 * lock, stops nothing. Exit status: see the help (config/table.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/frames.h"
#include "agent/stacks.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "config/options.h"
#include "profile/naming.h"

#define EXIT_USAGE 2
#define ENTRIES_MAX 131072
#define NAMED_MAX (1u << 18)
#define SAMPLES_MAX (1u << 20)
#define PROFILE_BYTES_MAX (64u << 20)
#define OUTPUT_MAX ((size_t)64 << 20)
#define NOTE_MAX 2048
#define PACKAGE_MAX 512
#define MODULES_MAX 65536
#define FDS_MAX 64
#define PARTS 2 // of an entry
#define FRAMES_SHOWN (2 * FRAMES_MAX) // inlined functions are frames, too

/* What is printed as a thread. */
struct entry {
	const struct stacks_thread *thread; // NULL: it cannot be told by its number
	const struct stacks_script *script; // NULL none
	bool apart; // there are both, and native frames do not fit into the interpreter's
	uint32_t node[PARTS]; // of the profile, 0 none: the stack, native frames apart
};
VEC_DEFINE(entry_vec, struct entry)

struct dump {
	struct module_table modules;
	struct process_table processes;
	struct runtimes runtimes;
	struct stacks stacks;
	struct frames *frames; // scratch
	uint32_t *ids; // scratch, FRAMES_SHOWN
	struct process *p;
	struct entry_vec entries;
	bool several; // the thread being added is in several interpreters
	struct window window;
	struct resolver resolver;
	bool resolver_made;
	struct profile profile;
};

static int dump_init(struct dump *d)
{
	*d = (struct dump){
		.frames = malloc(sizeof(*d->frames)), .ids = calloc(FRAMES_SHOWN, sizeof(*d->ids))};
	entry_vec_init(&d->entries, ENTRIES_MAX);
	window_init(&d->window, SAMPLES_MAX);
	profile_init(&d->profile, SAMPLES_MAX, PROFILE_BYTES_MAX);
	module_table_init(&d->modules, MODULES_MAX, FDS_MAX);
	return d->frames && d->ids ? process_table_init(&d->processes, &d->modules, "/proc")
				   : -ENOMEM;
}

static void dump_deinit(struct dump *d)
{
	if (d->resolver_made)
		resolver_deinit(&d->resolver);
	stacks_deinit(&d->stacks);
	runtimes_deinit(&d->runtimes);
	profile_deinit(&d->profile);
	window_deinit(&d->window);
	process_table_deinit(&d->processes);
	module_table_deinit(&d->modules);
	entry_vec_deinit(&d->entries);
	free(d->frames);
	free(d->ids);
}

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

/* Raw frames of a part of an entry: 0 the stack, 1 native frames that are shown apart. */
static uint32_t part_id(size_t entry, unsigned part)
{
	return (uint32_t)(entry * PARTS + part + 1);
}

static int keep(struct dump *d, size_t entry, unsigned part)
{
	const struct window_context context = {.uid = d->p->uid, .tid = part_id(entry, part)};
	int r = d->frames->count
			? window_add(&d->window, &context, d->frames->frames, d->frames->count, 0)
			: 0;

	return r == -ENOSPC ? 0 : r;
}

/* Native and kernel frames, with an interpreter's in their places if there is one. */
static int keep_native(
	struct dump *d, size_t entry, const struct stacks_thread *t, const struct stacks_script *c)
{
	const struct threads_record *record = t->has_words ? &t->before : &t->now;
	uint64_t kernel[THREADS_KERNEL_MAX];
	const struct rec_sample rec = {
		.kernel_words = (uint16_t)record->nkernel,
		.runtime_words = c ? (uint16_t)c->nwords : 0,
	};
	const struct capture_sample sample = {
		.rec = &rec, .kernel = kernel, .runtime = c ? c->words : NULL};
	const struct frames_stack stack = {
		.sample = &sample,
		.process = d->p,
		.words = t->words,
		.nwords = t->has_words ? t->nwords : 0,
		.outcome = t->has_words ? t->outcome : (uint8_t)REC_OUT_COMPLETE,
		.reason = t->reason,
		.late = t->late,
		.now = clock_mono_ns(),
	};
	bool apart = !c && d->entries.data[entry].apart;
	int r;

	memcpy(kernel, record->kernel, sizeof(kernel));
	r = frames_build(d->frames, &stack);
	return r ? r : keep(d, entry, apart);
}

static int add_entry(struct dump *d, const struct stacks_thread *t, const struct stacks_script *c)
{
	struct entry e = {.thread = t, .script = c, .node = {0}};
	bool first = t && (!d->entries.len || d->entries.data[d->entries.len - 1].thread != t);
	bool one = t && (t->native == STACKS_STILL || t->native == STACKS_NONE) && !d->several;
	size_t at = d->entries.len;
	int r;

	e.apart = first && !one && c;
	r = entry_vec_push(&d->entries, e);
	if (!r && first && !e.apart)
		return keep_native(d, at, t, c);
	if (!r && c) {
		r = frames_read(d->frames, d->p, c->words, c->nwords);
		if (!r)
			r = keep(d, at, 0);
	}
	if (!r && e.apart)
		r = keep_native(d, at, t, NULL);
	return r;
}

/* A thread that is in several interpreters, one called from the other, has an entry for each. */
static int add_thread(struct dump *d, const struct stacks_thread *t)
{
	unsigned n = 0;
	int r = 0;

	vec_foreach (c, &d->stacks.scripts)
		n += c->tid == t->tid;
	d->several = n > 1;
	if (!n)
		return add_entry(d, t, NULL);
	vec_foreach (c, &d->stacks.scripts) {
		if (!r && c->tid == t->tid)
			r = add_entry(d, t, c);
	}
	return r;
}

static int add_all(struct dump *d)
{
	int r = 0;

	vec_foreach (t, &d->stacks.threads) {
		if (!r)
			r = add_thread(d, t);
	}
	// Those that cannot be told by their number.
	vec_foreach (c, &d->stacks.scripts) {
		const uint64_t *at = map_get(&d->stacks.by_tid, c->tid);

		if (!r && !at)
			r = add_entry(d, NULL, c);
	}
	return r;
}

/* Names all frames at once. */
static int name_all(struct dump *d, const struct resolver_config *config)
{
	struct naming naming = {
		.resolver = &d->resolver,
		.processes = &d->processes,
		.modules = &d->modules,
		.runtime = &d->runtimes.frames,
		.event = "",
		.no_containers = true,
	};
	int r = resolver_init(&d->resolver, &d->modules, &d->processes, config);

	d->resolver_made = true;
	if (r)
		return r;
	resolver_note_jit(&d->resolver, d->p);
	r = naming_run(&naming, &d->window, &d->profile);
	if (r && r != -ENOSPC)
		return r;
	vec_foreach (sample, &d->profile.samples) {
		const struct profile_context *c = profile_context_get(&d->profile, sample->context);
		uint32_t at = c->tid - 1;

		if (at / PARTS < d->entries.len)
			d->entries.data[at / PARTS].node[at % PARTS] = sample->node;
	}
	return 0;
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

/* Frames of a part, leaf first. */
static size_t part_frames(struct dump *d, const struct entry *e, unsigned part)
{
	return MIN(profile_stack(&d->profile, e->node[part], d->ids, FRAMES_SHOWN),
		(size_t)FRAMES_SHOWN);
}

/* NULL without memory. */
static json_t *part_json(struct dump *d, const struct entry *e, unsigned part)
{
	json_t *frames = json_array();

	for (size_t i = part_frames(d, e, part); frames && i > 0; i--) {
		if (!json_array_append_new(
			    frames, frame_json(d, profile_frame_get(&d->profile, d->ids[i - 1]))))
			continue;
		json_decref(frames);
		frames = NULL;
	}
	return frames;
}

static json_t *entry_json(struct dump *d, const struct entry *e)
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

static size_t print_part(struct buf *out, struct dump *d, const struct entry *e, unsigned part)
{
	size_t n = part_frames(d, e, part);

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

static void print_entry(struct buf *out, struct dump *d, const struct entry *e)
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

static int print(struct dump *d, bool as_json)
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

static int run(struct dump *d, const struct options *o)
{
	const struct runtime_config config = {
		.processes = &d->processes, .python = true, .python_versions = true};
	const struct resolver_config resolver = {
		.lines = o->line_numbers, .inlines = o->inline_frames};
	uint32_t pid = (uint32_t)o->dump_pid;
	int r = runtimes_init(&d->runtimes, &config, NAMED_MAX);

	if (!r)
		r = stacks_init(&d->stacks, &d->processes, &d->runtimes);
	if (!r)
		r = stacks_list(&d->stacks, pid);
	if (!r)
		r = process_table_scan_pid(&d->processes, pid);
	if (!r)
		r = frames_init(d->frames, &d->processes, &d->runtimes, BPF_UNWIND_SMART);
	if (r)
		return r;
	d->p = process_table_find(&d->processes, pid);
	if (!d->p)
		return -ESRCH;
	if (d->processes.stats.denied)
		return -EPERM;
	r = stacks_read(&d->stacks, d->p);
	if (!r)
		r = add_all(d);
	if (!r)
		r = name_all(d, &resolver);
	return r ? r : print(d, o->dump_json);
}

int cli_dump(const struct options *options, int argc, char **argv)
{
	uint32_t pid = (uint32_t)options->dump_pid;
	struct log_config log = {.console_stderr = true, .verbose = options->verbose};
	struct dump d;
	int r;

	if (!pid || argc > 1) {
		fprintf(stderr, "gprofiler dump: error: %s%.64s (see gprofiler dump --help)\n",
			pid ? "unrecognized arguments: " : "which process? give it by -p PID",
			pid ? argv[1] : "");
		return EXIT_USAGE;
	}
	log_open(&log);
	r = dump_init(&d);
	if (!r)
		r = run(&d, options);
	if (r == -ENOENT || r == -ESRCH)
		fprintf(stderr, "gprofiler dump: error: there is no process %u\n", pid);
	else if (r)
		fprintf(stderr, "gprofiler dump: error: reading process %u: %s%s\n", pid,
			strerror(-r),
			r == -EPERM || r == -EACCES
				? " (it takes its user's rights, or CAP_SYS_PTRACE)"
				: "");
	dump_deinit(&d);
	return r ? 1 : 0;
}

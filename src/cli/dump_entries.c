/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dump_entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "profile/naming.h"

#define ENTRIES_MAX 131072
#define NAMED_MAX (1u << 18)
#define SAMPLES_MAX (1u << 20)
#define PROFILE_BYTES_MAX (64u << 20)
#define MODULES_MAX 65536
#define FDS_MAX 64

int dump_init(struct dump *d)
{
	*d = (struct dump){.frames = malloc(sizeof(*d->frames)),
		.ids = calloc(DUMP_FRAMES_SHOWN, sizeof(*d->ids))};
	dump_entry_vec_init(&d->entries, ENTRIES_MAX);
	window_init(&d->window, SAMPLES_MAX);
	profile_init(&d->profile, SAMPLES_MAX, PROFILE_BYTES_MAX);
	module_table_init(&d->modules, MODULES_MAX, FDS_MAX);
	return d->frames && d->ids ? process_table_init(&d->processes, &d->modules, "/proc")
				   : -ENOMEM;
}

void dump_deinit(struct dump *d)
{
	if (d->resolver_made)
		resolver_deinit(&d->resolver);
	stacks_deinit(&d->stacks);
	runtimes_deinit(&d->runtimes);
	profile_deinit(&d->profile);
	window_deinit(&d->window);
	process_table_deinit(&d->processes);
	module_table_deinit(&d->modules);
	dump_entry_vec_deinit(&d->entries);
	free(d->frames);
	free(d->ids);
}

/* Raw frames of a part of an entry: 0 the stack, 1 native frames that are shown apart. */
static uint32_t part_id(size_t entry, unsigned part)
{
	return (uint32_t)(entry * DUMP_PARTS + part + 1);
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
	struct dump_entry e = {.thread = t, .script = c, .node = {0}};
	bool first = t && (!d->entries.len || d->entries.data[d->entries.len - 1].thread != t);
	bool one = t && (t->native == STACKS_STILL || t->native == STACKS_NONE) && !d->several;
	size_t at = d->entries.len;
	int r;

	e.apart = first && !one && c;
	r = dump_entry_vec_push(&d->entries, e);
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

		if (at / DUMP_PARTS < d->entries.len)
			d->entries.data[at / DUMP_PARTS].node[at % DUMP_PARTS] = sample->node;
	}
	return 0;
}

int dump_gather(struct dump *d, const struct options *o)
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
	return r ? r : name_all(d, &resolver);
}

/* Frames of a part, leaf first. */
size_t dump_part_frames(struct dump *d, const struct dump_entry *e, unsigned part)
{
	return MIN(profile_stack(&d->profile, e->node[part], d->ids, DUMP_FRAMES_SHOWN),
		(size_t)DUMP_FRAMES_SHOWN);
}

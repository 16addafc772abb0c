/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/naming.h"

#include <errno.h>
#include <string.h>

#define CONTAINER_ID_SHOWN 12 // characters, as docker ps and crictl show them
#define FRAMES_PER_ADDRESS 64 // inlined functions of one address, beyond which the outer ones go

/* Frame ids of one address, outermost first. */
struct named_frame {
	uint32_t first, count; // into ids
	bool unnamed;
	bool no_symbols; // unnamed, and nothing there could have named it
};

struct naming_state {
	struct naming *n;
	const struct window *w;
	struct profile *p;
	struct symbol_query *queries;
	struct named_frame *named; // named[window frame id - 1]
	uint32_t *ids;
	size_t nids, ids_size;
	uint32_t *nodes; // nodes[window node id - 1] = profile node
	uint32_t *contexts; // contexts[window context id - 1] = profile context
};

static int text_of(struct naming_state *s, uint32_t resolver_string, uint32_t *ret)
{
	*ret = 0;
	if (!resolver_string)
		return 0;
	return profile_string(s->p, intern_str(&s->n->resolver->strings, resolver_string), ret);
}

/* Kinds of a native frame and of an interpreter's own, by enum rec_frame_kind. */
static enum profile_frame_kind runtime_kind(const struct window_frame *raw)
{
	if (raw->kind != REC_FRAME_PYTHON)
		return PROFILE_FRAME_UNKNOWN;
	return raw->space == WINDOW_RUNTIME ? PROFILE_FRAME_PYTHON : PROFILE_FRAME_PYTHON_NATIVE;
}

static enum profile_frame_kind kind_of(const struct symbol_query *q, const struct window_frame *raw)
{
	if (raw->kind && raw->space != SYMBOL_KERNEL)
		return runtime_kind(raw);
	switch (q->kind) {
	case SYMBOL_KIND_KERNEL:
		return PROFILE_FRAME_KERNEL;
	case SYMBOL_KIND_JIT:
		return PROFILE_FRAME_JIT;
	case SYMBOL_KIND_GO:
		return PROFILE_FRAME_GO;
	case SYMBOL_KIND_CPP:
		return PROFILE_FRAME_CPP;
	case SYMBOL_KIND_RUST:
		return PROFILE_FRAME_RUST;
	}
	if (q->space == SYMBOL_KERNEL)
		return PROFILE_FRAME_KERNEL;
	return q->space == SYMBOL_MODULE ? PROFILE_FRAME_NATIVE : PROFILE_FRAME_UNKNOWN;
}

/* The text of a frame that has no symbol: "(path)", "[unknown]". */
static int fallback_name(struct naming_state *s, const struct symbol_query *q, uint32_t *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(8192);
	const char *path = NULL;

	if (q->module)
		path = intern_str(&s->n->resolver->strings, q->module);
	else if (q->space == SYMBOL_MODULE)
		path = module_path(s->n->modules, module_get(s->n->modules, q->owner));
	else if (q->mapping_path)
		path = intern_str(&s->n->processes->strings, q->mapping_path);
	// Brackets are the kernel's way to say "no file"; the reference shows "(vdso)".
	if (path && path[0] == '[' && path[strlen(path) - 1] == ']')
		buf_printf(&text, "(%.*s)", (int)strlen(path) - 2, path + 1);
	else if (path && path[0])
		buf_printf(&text, "(%s)", path);
	else
		buf_append_str(&text, "[unknown]");
	return text.bad ? -ENOMEM : profile_string(s->p, buf_str(&text), ret);
}

static int module_texts(
	struct naming_state *s, const struct symbol_query *q, struct profile_frame *f)
{
	const struct module *m =
		q->space == SYMBOL_MODULE ? module_get(s->n->modules, q->owner) : NULL;
	char hex[2 * MODULE_BUILD_ID_MAX + 1] = "";
	int r = text_of(s, q->module, &f->module);

	if (!r && !f->module && m)
		r = profile_string(s->p, module_path(s->n->modules, m), &f->module);
	if (!r && !f->module && q->mapping_path)
		r = profile_string(
			s->p, intern_str(&s->n->processes->strings, q->mapping_path), &f->module);
	if (r || !m || !m->key.build_id_len)
		return r;
	for (unsigned i = 0; i < m->key.build_id_len; i++)
		snprintf(hex + 2 * i, 3, "%02x", m->key.build_id[i]);
	return profile_string(s->p, hex, &f->build_id);
}

static int push_frame(struct naming_state *s, const struct profile_frame *f)
{
	int r = vec_grow((void **)&s->ids, &s->ids_size, s->nids + 1, UINT32_MAX, sizeof(*s->ids));

	if (r)
		return r;
	r = profile_frame(s->p, f, &s->ids[s->nids]);
	if (!r)
		s->nids++;
	return r;
}

/* The functions inlined at this address, outermost first, after the real one. */
static int push_inlines(
	struct naming_state *s, const struct symbol_query *q, struct profile_frame outer)
{
	const struct resolver *resolver = s->n->resolver;
	unsigned count = MIN(q->ninlines, FRAMES_PER_ADDRESS);

	for (unsigned i = count; i > 0; i--) {
		const struct symbol_inline *in =
			&resolver->inlines.data[q->first_inline - 1 + i - 1];
		struct profile_frame f = outer;
		int r;

		f.system_name = 0;
		f.start_line = 0;
		f.line = in->line;
		f.flags |= PROFILE_FRAME_INLINED;
		r = text_of(s, in->name, &f.name);
		if (!r)
			r = text_of(s, in->file, &f.file);
		if (!r)
			r = push_frame(s, &f);
		if (r)
			return r;
	}
	return 0;
}

static int name_query(struct naming_state *s, const struct symbol_query *q)
{
	struct named_frame *named = &s->named[q->cookie - 1];
	const struct window_frame *raw = window_frame_get(s->w, q->cookie);
	struct profile_frame f = {
		.kind = kind_of(q, raw), .line = q->line, .start_line = q->start_line};
	int r;

	named->first = (uint32_t)s->nids;
	r = text_of(s, q->name, &f.name);
	if (!r && !f.name) {
		named->unnamed = true;
		named->no_symbols = !q->has_symbols;
		f.flags |= PROFILE_FRAME_NO_SYMBOL | PROFILE_FRAME_UNNAMED |
			   (named->no_symbols ? PROFILE_FRAME_UNNAMEABLE : 0);
		r = fallback_name(s, q, &f.name);
	}
	if (!r)
		r = text_of(s, q->file, &f.file);
	if (!r)
		r = module_texts(s, q, &f);
	if (r)
		return r;
	if (raw->mark == REC_MARK_FP)
		f.flags |= PROFILE_FRAME_BY_FP;
	if (raw->mark == REC_MARK_GUESS)
		f.flags |= PROFILE_FRAME_GUESSED;
	f.address = q->addr;
	r = push_frame(s, &f);
	if (!r && q->ninlines)
		r = push_inlines(s, q, f);
	named->count = (uint32_t)s->nids - named->first;
	return r;
}

const char *naming_reason(unsigned reason)
{
	static const char *const why[REC_WHY_MAX] = {
		[REC_WHY_NONE] = "unknown reason",
		[REC_WHY_NO_PROCESS] = "process unknown",
		[REC_WHY_NO_MAPPING] = "address in no mapping",
		[REC_WHY_NO_TABLE] = "no unwind table",
		[REC_WHY_COMPLEX] = "unwind rule needs lost registers",
		[REC_WHY_STACK_READ] = "stack unreadable",
		[REC_WHY_BAD_CFA] = "frame not above its callee",
		[REC_WHY_BAD_FP] = "no frame pointer",
		[REC_WHY_BAD_PC] = "bad return address",
		[REC_WHY_STEPS] = "out of steps",
		[REC_WHY_STACK_SHORT] = "stack copy too short",
		[REC_WHY_BITS32] = "32-bit task",
	};

	return reason < REC_WHY_MAX && why[reason] ? why[reason] : "unknown reason";
}

static int name_meta(struct naming_state *s, uint32_t id, const struct window_frame *raw)
{
	struct profile_frame f = {.kind = PROFILE_FRAME_META};
	char text[64];
	int r;

	if (raw->addr == WINDOW_BROKEN)
		snprintf(text, sizeof(text), "[incomplete: %s]", naming_reason((unsigned)raw->aux));
	else
		snprintf(text, sizeof(text), "%s",
			raw->addr == WINDOW_BITS32 ? "[32-bit task: not supported]"
						   : "[truncated]");
	r = profile_string(s->p, text, &f.name);
	if (r)
		return r;
	s->named[id - 1] = (struct named_frame){.first = (uint32_t)s->nids, .count = 1};
	return push_frame(s, &f);
}

static int runtime_text_of(struct naming_state *s, uint32_t id, uint32_t *ret)
{
	*ret = 0;
	return id ? profile_string(s->p, runtime_text(s->n->runtime->set, id), ret) : 0;
}

/* The package, "PyYAML==6.0", stands where a native frame has its file: it is what the code came with.
 * Without its brackets, which would make it look like a part of the kernel. */
static int package_of(struct naming_state *s, uint32_t id, uint32_t *ret)
{
	const char *text = id ? runtime_text(s->n->runtime->set, id) : "";
	size_t len = strlen(text);

	if (len > 2 && text[0] == '[' && text[len - 1] == ']')
		return profile_string_n(s->p, text + 1, len - 2, ret);
	return profile_string_n(s->p, text, len, ret);
}

static int name_runtime(struct naming_state *s, uint32_t id, const struct window_frame *raw)
{
	const struct runtime_frame *named = runtime_frames_get(s->n->runtime, (uint32_t)raw->addr);
	bool unnamed = !named->name || named->stale;
	struct profile_frame f = {
		.kind = runtime_kind(raw),
		.line = named->line,
		.start_line = named->start_line,
		.flags = unnamed ? PROFILE_FRAME_UNNAMED : 0,
	};
	int r = runtime_text_of(s, named->name, &f.name);

	if (!r)
		r = runtime_text_of(s, named->file, &f.file);
	if (!r)
		r = package_of(s, named->package, &f.module);
	if (!r && !f.name)
		r = profile_string(s->p, "[unknown]", &f.name);
	if (r)
		return r;
	s->named[id - 1] =
		(struct named_frame){.first = (uint32_t)s->nids, .count = 1, .unnamed = unnamed};
	return push_frame(s, &f);
}

static int name_frames(struct naming_state *s)
{
	size_t nq = 0;
	int r;

	for (uint32_t id = 1; id <= s->w->frames.len; id++) {
		const struct window_frame *raw = window_frame_get(s->w, id);

		if (raw->space == WINDOW_META || raw->space == WINDOW_RUNTIME) {
			r = raw->space == WINDOW_META ? name_meta(s, id, raw)
						      : name_runtime(s, id, raw);
			if (r)
				return r;
			continue;
		}
		s->queries[nq++] = (struct symbol_query){
			.space = raw->space,
			.return_address = raw->return_address,
			.owner = raw->owner,
			.addr = raw->addr,
			.cookie = id,
			.mapping_path = raw->path,
		};
	}
	r = resolver_resolve(s->n->resolver, s->queries, nq);
	for (size_t i = 0; !r && i < nq; i++)
		r = name_query(s, &s->queries[i]);
	return r;
}

/* Parents precede children in the window's numbering, so one pass in id order suffices. */
static int name_nodes(struct naming_state *s)
{
	for (uint32_t id = 1; id <= s->w->nodes.len; id++) {
		const struct window_node *raw = window_node_get(s->w, id);
		const struct named_frame *named = &s->named[raw->frame - 1];
		uint32_t node = raw->parent ? s->nodes[raw->parent - 1] : 0;

		for (uint32_t i = 0; i < named->count; i++) {
			int r = profile_node(s->p, node, s->ids[named->first + i], &node);

			if (r)
				return r;
		}
		s->nodes[id - 1] = node;
	}
	return 0;
}

/* Its name, else the id as runtimes show it. */
static int name_container(struct naming_state *s, const struct process *proc, const char *name,
	struct profile_context *c)
{
	char id[CONTAINER_ID_SHOWN + 1];

	if (s->n->no_containers || (!name[0] && !proc->container))
		return 0;
	if (name[0])
		return profile_string(s->p, name, &c->container);
	snprintf(id, sizeof(id), "%s", intern_str(&s->n->processes->strings, proc->container));
	return profile_string(s->p, id, &c->container);
}

static int name_process(
	struct naming_state *s, const struct process *proc, struct profile_context *c)
{
	struct naming_identity who = {"", "", ""};
	int r = s->n->identify ? s->n->identify(s->n->identify_arg, proc, &who) : 0;

	c->pid = proc->pid;
	if (!r)
		r = name_container(s, proc, who.container, c);
	if (!r)
		r = profile_string(s->p, who.appid, &c->appid);
	// Without room for its metadata a process is one without.
	if (!r && who.metadata[0] &&
		intern_add(&s->p->app_metadata, who.metadata, strlen(who.metadata),
			&c->app_metadata) == -ENOMEM)
		r = -ENOMEM;
	return r;
}

static int name_context(struct naming_state *s, uint32_t id)
{
	const struct window_context *raw = window_context_get(s->w, id);
	const struct process *proc = process_table_by_uid(s->n->processes, raw->uid);
	struct profile_context c = {.tid = raw->tid, .uid = raw->uid};
	int r = proc ? name_process(s, proc, &c) : 0;

	if (!r)
		r = profile_string(s->p, proc ? proc->comm : "swapper", &c.comm);
	if (!r && raw->thread_comm)
		r = profile_string(
			s->p, intern_str(&s->w->strings, raw->thread_comm), &c.thread_comm);
	return r ? r : profile_context(s->p, &c, &s->contexts[id - 1]);
}

static int name_contexts(struct naming_state *s)
{
	int r = 0;

	for (uint32_t id = 1; !r && id <= s->w->contexts.len; id++)
		r = name_context(s, id);
	return r;
}

/* Frames over the path of one node, and those of them without a name. */
static void count_names(struct naming_state *s, uint32_t node, uint64_t samples)
{
	for (; node; node = window_node_get(s->w, node)->parent) {
		const struct named_frame *f = &s->named[window_node_get(s->w, node)->frame - 1];

		s->n->frames += samples;
		if (f->unnamed)
			s->n->unnamed += samples;
		if (f->no_symbols)
			s->n->no_symbols += samples;
	}
}

/* ---- processes that could not be read ---- */

static int failure_frame(struct naming_state *s, const char *text, uint32_t *ret)
{
	struct profile_frame f = {.kind = PROFILE_FRAME_META};
	int r = profile_string(s->p, text, &f.name);

	return r ? r : profile_frame(s->p, &f, ret);
}

/* The same stack with the reason as its outermost frame. */
static int put_failure(struct naming_state *s, const char *text, uint32_t *node)
{
	_cleanup_free_ uint32_t *path = NULL;
	size_t n = 0, size = 0;
	uint32_t frame;
	int r = failure_frame(s, text, &frame);

	for (uint32_t at = *node; !r && at; at = profile_node_get(s->p, at)->parent) {
		r = vec_grow((void **)&path, &size, n + 1, UINT32_MAX, sizeof(*path));
		if (!r)
			path[n++] = profile_node_get(s->p, at)->frame;
	}
	if (!r)
		r = profile_node(s->p, 0, frame, node);
	while (!r && n)
		r = profile_node(s->p, *node, path[--n], node);
	return r;
}

/* A process that nothing else samples: one sample, which took no time. */
static int name_failure(struct naming_state *s, const struct process *proc)
{
	static const int64_t values[PROFILE_VALUES_MAX] = {1, 0};
	struct profile_context c = {.tid = proc->pid, .uid = proc->uid};
	uint32_t context, node = 0;
	int r = name_process(s, proc, &c);

	if (!r)
		r = profile_string(s->p, proc->comm, &c.comm);
	c.thread_comm = c.comm;
	if (!r)
		r = profile_context(s->p, &c, &context);
	if (!r)
		r = put_failure(s, failures_get(s->n->failures, proc->uid), &node);
	return r ? r : profile_add(s->p, context, node, values);
}

static int name_failures(struct naming_state *s)
{
	const struct failures *f = s->n->failures;

	if (!f || !f->alone || !s->n->read)
		return 0;
	map_foreach (slot, &f->by_uid) {
		const struct process *proc =
			process_table_by_uid(s->n->processes, (uint32_t)slot->key);
		int r = 0;

		// It could be read before it could not.
		if (proc && !merge_replaces(s->n->merge, proc->uid))
			r = name_failure(s, proc);
		if (r)
			return r;
	}
	return 0;
}

/* What a sample counts for in the profile, 0 samples: it is left out. */
static struct window_count counts_for(
	const struct naming_state *s, uint32_t uid, const struct window_count *count)
{
	if (!s->n->merge)
		return *count;
	if (s->n->read)
		return merge_scale(s->n->merge, uid, count);
	return merge_replaces(s->n->merge, uid) ? (struct window_count){0} : *count;
}

/* moved: by sample of the window, its place in the profile. */
static int name_samples(struct naming_state *s, struct timeline_move *moved)
{
	for (uint32_t id = 1; id <= s->w->sample_keys.len; id++) {
		const struct window_sample_key *key = window_sample_get(s->w, id);
		const struct window_context *raw = window_context_get(s->w, key->context);
		const struct window_count *own = &s->w->counts.data[id - 1];
		struct window_count count = counts_for(s, raw->uid, own);
		int64_t values[PROFILE_VALUES_MAX] = {
			(int64_t)count.samples, (int64_t)count.weight};
		uint32_t context = s->contexts[key->context - 1];
		uint32_t node = key->node ? s->nodes[key->node - 1] : 0;
		const char *failure;
		int r = 0;

		if (!count.samples)
			continue;
		failure = s->n->failures && !s->n->read ? failures_get(s->n->failures, raw->uid)
							: NULL;
		if (failure)
			r = put_failure(s, failure, &node);
		if (!r)
			r = profile_add(s->p, context, node, values);
		if (r)
			return r;
		moved[id] = (struct timeline_move){
			.sample = profile_sample_id(s->p, context, node),
			.from = own->samples,
			.to = count.samples,
		};
		count_names(s, key->node, count.samples);
	}
	return 0;
}

static int name_types(struct naming_state *s)
{
	struct profile *p = s->p;
	int r = profile_string(p, "samples", &p->types[0].type);

	if (!r)
		r = profile_string(p, "count", &p->types[0].unit);
	if (!r)
		r = profile_string(p, s->n->weight_is_ns ? "cpu" : s->n->event, &p->types[1].type);
	if (!r)
		r = profile_string(
			p, s->n->weight_is_ns ? "nanoseconds" : "count", &p->types[1].unit);
	p->ntypes = 2;
	return r;
}

int naming_run(struct naming *n, const struct window *w, struct profile *ret)
{
	_cleanup_free_ struct symbol_query *queries = NULL;
	_cleanup_free_ struct named_frame *named = NULL;
	_cleanup_free_ uint32_t *nodes = NULL, *contexts = NULL;
	_cleanup_free_ struct timeline_move *samples = NULL;
	struct naming_state s = {.n = n, .w = w, .p = ret};
	int r;

	queries = calloc(w->frames.len + 1u, sizeof(*queries));
	named = calloc(w->frames.len + 1u, sizeof(*named));
	nodes = calloc(w->nodes.len + 1u, sizeof(*nodes));
	samples = calloc(w->sample_keys.len + 1u, sizeof(*samples));
	contexts = calloc(w->contexts.len + 1u, sizeof(*contexts));
	if (!queries || !named || !nodes || !samples || !contexts)
		return -ENOMEM;
	s.queries = queries;
	s.named = named;
	s.nodes = nodes;
	s.contexts = contexts;
	r = name_types(&s);
	if (!r)
		r = name_frames(&s);
	if (!r)
		r = name_nodes(&s);
	if (!r)
		r = name_contexts(&s);
	if (!r)
		r = name_samples(&s, samples);
	if (!r)
		r = name_failures(&s);
	if (!r)
		r = timeline_copy(&ret->timeline, &w->timeline, samples);
	free(s.ids);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html_tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"
#include "export/html_fold.h"

#define NODES_MAX (1u << 30)

/* What only the construction needs. */
struct build {
	struct html_tree *t;
	struct html_tree_options options;
	uint32_t *frame_fun; // frame id -> function
	struct intern contexts; // struct html_context -> id
	uint32_t *context_node; // context id -> node
	size_t context_node_size;
	uint32_t *
		slots; // hash of (parent, item) -> node, HTML_NONE free; a struct map takes 6 times that
	uint32_t nslots; // a power of two
	uint32_t *memo, *memo_of; // profile node -> tree node, valid for the thread node memo_of
	uint32_t *chain; // profile nodes of one climb
};

/* What finds nodes again; none are added after build_nodes(). */
static void build_give_back(struct build *b)
{
	free(b->frame_fun);
	free(b->context_node);
	free(b->slots);
	free(b->memo);
	free(b->memo_of);
	free(b->chain);
	*b = (struct build){.t = b->t, .options = b->options, .contexts = b->contexts};
}

static void build_deinit(struct build *b)
{
	build_give_back(b);
	intern_deinit(&b->contexts);
}

const char *html_tree_fun_name(const struct html_tree *t, uint32_t fun)
{
	if (fun == t->fold_fun)
		return "(small frames)";
	return profile_text(t->p, t->funs[fun].name);
}

static const char *context_name(const struct profile *p, const struct html_context *c)
{
	switch (c->kind) {
	case HTML_CONTAINER:
		return profile_text(p, c->container);
	case HTML_PROCESS:
		return profile_text(p, c->comm);
	default:
		return profile_text(p, c->thread_comm);
	}
}

const char *html_tree_context_name(const struct html_tree *t, uint32_t context)
{
	return context_name(t->p, &t->contexts[context]);
}

struct sort_item {
	const struct html_tree *t;
	const void *item;
	uint32_t id;
};

static int compare_u32(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static int compare_funs(const void *va, const void *vb)
{
	const struct sort_item *a = va, *b = vb;
	const struct html_fun *fa = a->item, *fb = b->item;
	const struct profile *p = a->t->p;
	int r = strcmp(profile_text(p, fa->name), profile_text(p, fb->name));

	if (!r && fa->module != fb->module)
		r = strcmp(profile_text(p, fa->module), profile_text(p, fb->module));
	if (!r && fa->file != fb->file)
		r = strcmp(profile_text(p, fa->file), profile_text(p, fb->file));
	return r ? r : compare_u32(a->id, b->id);
}

static int compare_contexts(const void *va, const void *vb)
{
	const struct sort_item *a = va, *b = vb;
	const struct html_context *ca = a->item, *cb = b->item;
	const struct profile *p = a->t->p;
	int r = compare_u32(ca->kind, cb->kind);

	if (!r)
		r = strcmp(context_name(p, ca), context_name(p, cb));
	if (!r)
		r = compare_u32(ca->pid, cb->pid);
	if (!r)
		r = compare_u32(ca->tid, cb->tid);
	return r ? r : compare_u32(a->id, b->id);
}

struct sort_kind {
	size_t size; // of an item
	int (*compare)(const void *, const void *); // of struct sort_item
};

/* The interned structs in order: ret_sorted[position], ret_rank[id - 1] = position. */
static int sort_interned(const struct html_tree *t, const struct intern *in,
	const struct sort_kind *kind, uint32_t *ret_rank, void *ret_sorted)
{
	_cleanup_free_ struct sort_item *items = calloc(in->len + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	for (uint32_t id = 1; id <= in->len; id++)
		items[id - 1] = (struct sort_item){t, intern_get(in, id, NULL), id};
	qsort(items, in->len, sizeof(*items), kind->compare);
	for (uint32_t i = 0; i < in->len; i++) {
		memcpy((char *)ret_sorted + i * kind->size, items[i].item, kind->size);
		ret_rank[items[i].id - 1] = i;
	}
	return 0;
}

/* "Unknown" is for frames without a name, whatever made their code; text formats do not say what
 * made a named one, and native is what most of those are. */
static uint32_t shown_kind(const struct profile *p, const struct profile_frame *f)
{
	const char *name = profile_text(p, f->name);
	bool unnamed = !name[0] || name[0] == '(' || strcmp(name, "[unknown]") == 0;

	if (f->kind == PROFILE_FRAME_NATIVE && f->flags & PROFILE_FRAME_NO_SYMBOL)
		return PROFILE_FRAME_UNKNOWN;
	if (f->kind == PROFILE_FRAME_UNKNOWN && !unnamed)
		return PROFILE_FRAME_NATIVE;
	return f->kind;
}

/* Frames -> functions, numbered in the order of their names. */
static int build_functions(struct build *b)
{
	struct html_tree *t = b->t;
	const struct profile *p = t->p;
	struct intern funs;
	_cleanup_free_ uint32_t *rank = NULL;
	int r = 0;

	intern_init(&funs, p->frames.len + 1, (size_t)(p->frames.len + 1) * 32);
	b->frame_fun = calloc(p->frames.len + 1, sizeof(*b->frame_fun));
	t->funs = calloc(p->frames.len + 2, sizeof(*t->funs));
	rank = calloc(p->frames.len + 1, sizeof(*rank));
	if (!b->frame_fun || !t->funs || !rank)
		r = -ENOMEM;
	for (uint32_t id = 1; !r && id <= p->frames.len; id++) {
		const struct profile_frame *f = profile_frame_get(p, id);
		struct html_fun fun = {
			f->name, f->module, f->file, f->build_id, .kind = shown_kind(p, f)};

		r = intern_add(&funs, &fun, sizeof(fun), &b->frame_fun[id]);
	}
	if (!r)
		r = sort_interned(t, &funs,
			&(struct sort_kind){sizeof(struct html_fun), compare_funs}, rank, t->funs);
	if (!r) {
		t->nfuns = funs.len;
		for (uint32_t id = 1; id <= p->frames.len; id++) {
			const struct profile_frame *f = profile_frame_get(p, id);
			struct html_fun *fun = &t->funs[rank[b->frame_fun[id] - 1]];
			uint32_t line = f->start_line ? f->start_line : f->line;

			b->frame_fun[id] = (uint32_t)(fun - t->funs);
			if (line && (!fun->line || line < fun->line))
				fun->line = line;
		}
	}
	intern_deinit(&funs);
	return r;
}

static int grow_nodes(struct html_tree *t)
{
	uint32_t size = t->size ? t->size * 2 : 1024;
	void *nodes, *self;

	if (size > NODES_MAX)
		return -ENOSPC;
	nodes = realloc(t->nodes, size * sizeof(*t->nodes));
	if (!nodes)
		return -ENOMEM;
	t->nodes = nodes;
	self = realloc(t->self, (size_t)size * MAX(t->p->ntypes, 1u) * sizeof(*t->self));
	if (!self)
		return -ENOMEM;
	t->self = self;
	t->size = size;
	return 0;
}

/* Where the child of `parent` for `item` is, or belongs. */
static uint32_t *child_slot(const struct build *b, uint32_t parent, uint32_t item)
{
	uint32_t i = (uint32_t)hash_u64((uint64_t)parent << 32 | item) & (b->nslots - 1);

	for (; b->slots[i] != HTML_NONE; i = (i + 1) & (b->nslots - 1)) {
		const struct html_node *n = &b->t->nodes[b->slots[i]];

		if (n->parent == parent && n->item == item)
			break;
	}
	return &b->slots[i];
}

static int grow_slots(struct build *b)
{
	uint32_t n = b->nslots ? b->nslots * 2 : 4096;
	uint32_t *slots = malloc(n * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	free(b->slots);
	b->slots = slots;
	b->nslots = n;
	memset(slots, 0xff, n * sizeof(*slots));
	for (uint32_t i = 1; i < b->t->nnodes; i++)
		*child_slot(b, b->t->nodes[i].parent, b->t->nodes[i].item) = i;
	return 0;
}

static int add_node(struct html_tree *t, uint32_t parent, uint32_t item, uint32_t flags)
{
	if (t->nnodes == t->size) {
		int r = grow_nodes(t);

		if (r)
			return r;
	}
	t->nodes[t->nnodes] = (struct html_node){.parent = parent,
		.item = item,
		.first = HTML_NONE,
		.next = HTML_NONE,
		.flags = flags};
	memset(t->self + (size_t)t->nnodes * t->p->ntypes, 0, t->p->ntypes * sizeof(*t->self));
	t->nnodes++;
	return 0;
}

/* The child of `parent` for `item`, made if absent. Flags of later visits are merged. */
static int tree_child(
	struct build *b, uint32_t parent, uint32_t item, uint32_t flags, uint32_t *ret_node)
{
	struct html_tree *t = b->t;
	uint32_t *slot;
	int r;

	if (b->nslots < NODES_MAX && t->nnodes >= b->nslots / 4 * 3) {
		r = grow_slots(b);
		if (r)
			return r;
	}
	slot = child_slot(b, parent, item);
	if (*slot != HTML_NONE) {
		struct html_node *n = &t->nodes[*slot];

		n->flags = ((n->flags | flags) & ~(uint32_t)HTML_NODE_INLINED) |
			   (n->flags & flags & HTML_NODE_INLINED);
		*ret_node = *slot;
		return 0;
	}
	r = add_node(t, parent, item, flags);
	if (r)
		return r;
	*ret_node = *slot = t->nnodes - 1;
	return 0;
}

/* The node of a context under `parent`. Items of contexts are HTML_NONE - id until all are known. */
static int context_child(
	struct build *b, uint32_t parent, const struct html_context *c, uint32_t *ret_node)
{
	uint32_t before = b->contexts.len, id;
	int r = intern_add(&b->contexts, c, sizeof(*c), &id);

	if (r)
		return r;
	if (id <= before) {
		*ret_node = b->context_node[id];
		return 0;
	}
	r = vec_grow((void **)&b->context_node, &b->context_node_size, id + 1ull, UINT32_MAX,
		sizeof(*b->context_node));
	if (r)
		return r;
	r = tree_child(b, parent, HTML_NONE - id, 0, ret_node);
	if (!r)
		b->context_node[id] = *ret_node;
	return r;
}

static int context_nodes(struct build *b, uint32_t context, uint32_t *ret_node)
{
	const struct profile_context *pc;
	struct html_context c = {.kind = HTML_CONTAINER};
	uint32_t node = 0;
	int r;

	if (!context) {
		*ret_node = 0;
		return 0;
	}
	pc = profile_context_get(b->t->p, context);
	c.container = pc->container;
	r = context_child(b, 0, &c, &node);
	if (r)
		return r;
	c.kind = HTML_PROCESS;
	c.comm = pc->comm;
	c.appid = pc->appid;
	if (!b->options.by_name) {
		c.pid = pc->pid;
		c.uid = pc->uid;
	}
	r = context_child(b, node, &c, &node);
	if (r || (!pc->tid && !pc->thread_comm)) {
		*ret_node = node;
		return r;
	}
	c.kind = HTML_THREAD;
	c.thread_comm = pc->thread_comm;
	c.tid = b->options.by_name ? 0 : pc->tid;
	return context_child(b, node, &c, ret_node);
}

static uint32_t node_flags(const struct profile_frame *f)
{
	return (f->flags & PROFILE_FRAME_INLINED ? HTML_NODE_INLINED : 0u) |
	       (f->flags & PROFILE_FRAME_BY_FP ? HTML_NODE_BY_FP : 0u) |
	       (f->flags & PROFILE_FRAME_GUESSED ? HTML_NODE_GUESSED : 0u) |
	       (f->flags & PROFILE_FRAME_NO_SYMBOL ? HTML_NODE_NO_SYMBOL : 0u);
}

/* The tree node of a profile node below `thread`, climbing only to what is already there. */
static int stack_nodes(struct build *b, uint32_t thread, uint32_t leaf, uint32_t *ret_node)
{
	const struct profile *p = b->t->p;
	uint32_t depth = 0, node = thread;
	int r;

	for (uint32_t n = leaf; n && depth < p->nodes.len; n = profile_node_get(p, n)->parent) {
		if (b->memo_of[n] == thread) {
			node = b->memo[n];
			break;
		}
		b->chain[depth++] = n;
	}
	while (depth--) {
		uint32_t n = b->chain[depth];
		uint32_t frame = profile_node_get(p, n)->frame;

		r = tree_child(b, node, b->frame_fun[frame],
			node_flags(profile_frame_get(p, frame)), &node);
		if (r)
			return r;
		b->memo[n] = node;
		b->memo_of[n] = thread;
	}
	*ret_node = node;
	return 0;
}

static int build_nodes(struct build *b)
{
	struct html_tree *t = b->t;
	const struct profile *p = t->p;
	uint32_t node;
	int r;

	b->memo = calloc(p->nodes.len + 1ull, sizeof(*b->memo));
	b->memo_of = malloc((p->nodes.len + 1ull) * sizeof(*b->memo_of));
	b->chain = calloc(p->nodes.len + 1ull, sizeof(*b->chain));
	if (!b->memo || !b->memo_of || !b->chain)
		return -ENOMEM;
	memset(b->memo_of, 0xff, (p->nodes.len + 1ull) * sizeof(*b->memo_of));
	if (p->timeline.counts.len) {
		t->sample_node = calloc(p->samples.len + 1, sizeof(*t->sample_node));
		if (!t->sample_node)
			return -ENOMEM;
	}
	r = add_node(t, 0, HTML_NONE, 0); // the root
	for (size_t i = 0; !r && i < p->samples.len; i++) {
		const struct profile_sample *s = &p->samples.data[i];
		uint32_t thread;

		r = context_nodes(b, s->context, &thread);
		if (!r)
			r = stack_nodes(b, thread, s->node, &node);
		for (unsigned v = 0; !r && v < p->ntypes; v++)
			t->self[(size_t)node * p->ntypes + v] += s->values[v];
		if (!r && t->sample_node)
			t->sample_node[i] = node;
	}
	return r;
}

/* Contexts get their final numbers, after the functions. */
static int number_contexts(struct build *b)
{
	struct html_tree *t = b->t;
	_cleanup_free_ uint32_t *rank = calloc(b->contexts.len + 1ull, sizeof(*rank));
	int r;

	t->contexts = calloc(b->contexts.len + 1ull, sizeof(*t->contexts));
	if (!rank || !t->contexts)
		return -ENOMEM;
	r = sort_interned(t, &b->contexts,
		&(struct sort_kind){sizeof(*t->contexts), compare_contexts}, rank, t->contexts);
	if (r)
		return r;
	t->ncontexts = b->contexts.len;
	for (uint32_t i = 1; i < t->nnodes; i++) {
		struct html_node *n = &t->nodes[i];

		if (n->item > HTML_NONE - 1 - b->contexts.len)
			n->item = t->nfuns + rank[HTML_NONE - n->item - 1];
	}
	for (uint32_t i = 0; i < t->ncontexts; i++) {
		t->containers += t->contexts[i].kind == HTML_CONTAINER && t->contexts[i].container;
		t->processes += t->contexts[i].kind == HTML_PROCESS;
		t->threads += t->contexts[i].kind == HTML_THREAD;
	}
	return 0;
}

/* Links children in the order of their items (a counting sort), then writes the preorder. */
static int link_children(struct html_tree *t)
{
	uint32_t nitems = t->nfuns + t->ncontexts;
	_cleanup_free_ uint32_t *head = NULL, *next = NULL;

	head = malloc((nitems + 1ull) * sizeof(*head));
	next = malloc((t->nnodes + 1ull) * sizeof(*next));
	t->order = malloc((t->nnodes + 1ull) * sizeof(*t->order));
	if (!head || !next || !t->order)
		return -ENOMEM;
	memset(head, 0xff, (nitems + 1ull) * sizeof(*head));
	for (uint32_t i = 0; i < t->nnodes; i++) {
		t->nodes[i].first = t->nodes[i].next = HTML_NONE;
		t->nodes[i].children = 0;
	}
	for (uint32_t i = 1; i < t->nnodes; i++) {
		next[i] = head[t->nodes[i].item];
		head[t->nodes[i].item] = i;
	}
	for (uint32_t item = nitems; item-- > 0;) {
		for (uint32_t i = head[item]; i != HTML_NONE; i = next[i]) {
			struct html_node *n = &t->nodes[i], *parent = &t->nodes[n->parent];

			n->next = parent->first;
			parent->first = i;
			parent->children++;
		}
	}
	for (uint32_t i = 0, at = 0;; at++) {
		t->order[at] = i;
		if (t->nodes[i].first != HTML_NONE) {
			i = t->nodes[i].first;
			continue;
		}
		while (i && t->nodes[i].next == HTML_NONE)
			i = t->nodes[i].parent;
		if (!i)
			break;
		i = t->nodes[i].next;
	}
	return 0;
}

static int build_run(struct build *b)
{
	struct html_tree *t = b->t;
	int r = build_functions(b);

	if (!r)
		r = build_nodes(b);
	build_give_back(b);
	if (!r)
		r = number_contexts(b);
	if (!r && t->nnodes > b->options.budget) {
		// The fold function sorts last among the functions; contexts move up by one.
		t->fold_fun = t->nfuns++;
		t->funs[t->fold_fun] = (struct html_fun){.kind = PROFILE_FRAME_META};
		for (uint32_t i = 1; i < t->nnodes; i++)
			t->nodes[i].item += t->nodes[i].item >= t->fold_fun;
		r = html_fold(t, b->options.budget);
	}
	return r ? r : link_children(t);
}

int html_tree_init(
	struct html_tree *t, const struct profile *p, const struct html_tree_options *options)
{
	struct build b = {.t = t, .options = *options};
	int r;

	*t = (struct html_tree){.p = p, .fold_fun = HTML_NONE};
	if (!b.options.budget)
		b.options.budget = HTML_NODE_BUDGET;
	intern_init(&b.contexts, UINT32_MAX / 2, UINT32_MAX);
	r = build_run(&b);
	build_deinit(&b);
	if (r)
		html_tree_deinit(t);
	return r;
}

void html_tree_deinit(struct html_tree *t)
{
	free(t->funs);
	free(t->contexts);
	free(t->nodes);
	free(t->self);
	free(t->order);
	free(t->sample_node);
	*t = (struct html_tree){.fold_fun = HTML_NONE};
}

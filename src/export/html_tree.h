/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_tree.h -- the call tree of the page: contexts on top, functions below.
 *
 * Root (node 0) -> container -> process -> thread -> functions, root first. Frames that differ only
 * in line or address are one function. Siblings are ordered by name: functions are numbered in the
 * order of their names and contexts come after them, so ordering by item number is ordering by
 * name. Values are the self values of a node; sums are left to the reader.
 * Bounded by the profile it is made of; above `budget` nodes the narrowest subtrees of each parent
 * become one "(small frames)" node, sums unchanged. One thread, owns what it points to except the
 * profile, which must outlive it. */
#ifndef GP_EXPORT_HTML_TREE_H
#define GP_EXPORT_HTML_TREE_H

#include <stdint.h>

#include "base/map.h"
#include "profile/profile.h"

#define HTML_NODE_BUDGET 300000 // ui-anchors.md 2.3
#define HTML_NONE UINT32_MAX

/* Interned as bytes: no padding. Strings are ids of the profile. */
struct html_fun {
	uint32_t name, module, file, build_id;
	uint32_t line; // first line of the function; 0 unknown. Not part of the identity
	uint32_t kind; // enum profile_frame_kind
};

enum html_context_kind {
	HTML_CONTAINER = 0,
	HTML_PROCESS = 1,
	HTML_THREAD = 2,
};

/* Interned as bytes. A process holds its container, a thread its process, so equal is the same. */
struct html_context {
	uint32_t kind; // enum html_context_kind
	uint32_t container, comm, appid, thread_comm; // strings
	uint32_t pid, uid, tid;
};

enum html_node_flags {
	HTML_NODE_INLINED = 1 << 0, // in every stack that came this way
	HTML_NODE_BY_FP = 1 << 1, // in some
	HTML_NODE_GUESSED = 1 << 2,
	HTML_NODE_NO_SYMBOL = 1 << 3,
	HTML_NODE_FOLDED = 1 << 4, // stands for what the budget left out
};

struct html_node {
	uint32_t parent; // index
	uint32_t item; // function below nfuns, else context nfuns + index
	uint32_t first, next; // child and sibling, HTML_NONE at the end
	uint32_t children;
	uint32_t flags; // enum html_node_flags
};

struct html_tree {
	const struct profile *p;
	struct html_fun *funs; // sorted by name, then module, file
	uint32_t nfuns; // the last one may be the "(small frames)" function
	struct html_context *contexts; // sorted by kind, name, number
	uint32_t ncontexts;
	struct html_node *nodes;
	int64_t *self; // p->ntypes a node
	uint32_t nnodes, size;
	uint32_t *order; // node indices in preorder
	uint32_t *sample_node; // where each sample ended; NULL for a profile without times
	uint32_t fold_fun; // HTML_NONE when nothing was folded
	uint32_t folded; // nodes that "(small frames)" stands for
	uint32_t processes, threads, containers;
};

struct html_tree_options {
	uint32_t budget; // nodes, 0 = HTML_NODE_BUDGET
	bool by_name; // processes and threads of one name are one (compare)
};

/* Return 0, -ENOMEM, -ENOSPC (more than 2^30 nodes). */
int html_tree_init(
	struct html_tree *t, const struct profile *p, const struct html_tree_options *options);
void html_tree_deinit(struct html_tree *t);
static inline void cleanup_html_tree(struct html_tree *t)
{
	html_tree_deinit(t);
}
#define _cleanup_html_tree_ _cleanup_(cleanup_html_tree)

/* The name an item is shown and ordered by. */
const char *html_tree_fun_name(const struct html_tree *t, uint32_t fun);
const char *html_tree_context_name(const struct html_tree *t, uint32_t context);

#endif

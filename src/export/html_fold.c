/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html_fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t magnitude(int64_t v)
{
	return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

/* weight[i]: the size of the subtree of node i, over all values, each as a magnitude. */
static void subtree_weights(const struct html_tree *t, uint64_t *weight)
{
	unsigned ntypes = t->p->ntypes;

	for (uint32_t i = 0; i < t->nnodes; i++) {
		weight[i] = 0;
		for (unsigned v = 0; v < ntypes; v++)
			weight[i] += magnitude(t->self[(size_t)i * ntypes + v]);
	}
	for (uint32_t at = t->nnodes; at-- > 1;) {
		uint32_t i = t->order[at];

		weight[t->nodes[i].parent] += weight[i];
	}
}

static int compare_weights(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

/* Contexts are never folded: a process must be found however small. */
static bool is_small(const struct html_tree *t, uint32_t i, const uint64_t *weight, uint64_t least)
{
	return weight[i] < least && t->nodes[i].item < t->nfuns;
}

/* Nodes left at this threshold: those kept, and one for each parent that loses children. Marks in
 * `seen` (one byte a node) which parents those are. */
static uint32_t nodes_left(
	const struct html_tree *t, const uint64_t *weight, uint64_t least, uint8_t *seen)
{
	uint32_t left = 1;

	memset(seen, 0, t->nnodes);
	for (uint32_t i = 1; i < t->nnodes; i++) {
		uint32_t parent = t->nodes[i].parent;

		if (!is_small(t, i, weight, least)) {
			left++;
		} else if ((!parent || !is_small(t, parent, weight, least)) && !seen[parent]) {
			seen[parent] = 1;
			left++;
		}
	}
	return left;
}

static int threshold(
	const struct html_tree *t, const uint64_t *weight, uint32_t budget, uint64_t *ret_least)
{
	_cleanup_free_ uint64_t *sorted = malloc(t->nnodes * sizeof(*sorted));
	_cleanup_free_ uint8_t *seen = malloc(t->nnodes);
	uint32_t keep = budget;

	if (!sorted || !seen)
		return -ENOMEM;
	memcpy(sorted, weight, t->nnodes * sizeof(*sorted));
	qsort(sorted, t->nnodes, sizeof(*sorted), compare_weights);
	do {
		keep -= keep / 8 + 1;
		*ret_least = sorted[keep] + 1;
	} while (keep > 8 && nodes_left(t, weight, *ret_least, seen) > budget);
	return 0;
}

/* Moves the kept nodes to the front, in preorder; moved[i]: where node i went, or what stands for it. */
static int move_nodes(struct html_tree *t, const uint64_t *weight, uint64_t least, uint32_t *moved)
{
	_cleanup_free_ struct html_node *nodes = malloc(t->nnodes * sizeof(*nodes));
	uint32_t n = 0;

	if (!nodes)
		return -ENOMEM;
	moved[0] = 0;
	for (uint32_t at = 0; at < t->nnodes; at++) {
		uint32_t i = t->order[at];
		uint32_t parent = moved[t->nodes[i].parent];

		if (at && is_small(t, i, weight, least)) {
			t->folded++;
			// A parent that is itself a fold node takes its children in.
			if (nodes[parent].flags & HTML_NODE_FOLDED) {
				moved[i] = parent;
				continue;
			}
			// Until children are linked, `first` is the parent's fold node.
			if (nodes[parent].first == HTML_NONE) {
				nodes[parent].first = n;
				nodes[n++] = (struct html_node){.parent = parent,
					.item = t->fold_fun,
					.flags = HTML_NODE_FOLDED};
			}
			moved[i] = nodes[parent].first;
			continue;
		}
		nodes[n] = t->nodes[i];
		nodes[n].parent = at ? parent : 0;
		nodes[n].first = HTML_NONE;
		moved[i] = n++;
	}
	free(t->nodes);
	t->nodes = steal_ptr(nodes);
	t->nnodes = n;
	return 0;
}

/* Of what were `before` nodes. */
static int move_values(struct html_tree *t, const uint32_t *moved, uint32_t before)
{
	unsigned ntypes = t->p->ntypes;
	_cleanup_free_ int64_t *self = calloc((size_t)t->nnodes * ntypes, sizeof(*self));

	if (!self)
		return -ENOMEM;
	for (uint32_t i = 0; i < before; i++)
		for (unsigned v = 0; v < ntypes; v++)
			self[(size_t)moved[i] * ntypes + v] += t->self[(size_t)i * ntypes + v];
	for (size_t s = 0; t->sample_node && s < t->p->samples.len; s++)
		t->sample_node[s] = moved[t->sample_node[s]];
	free(t->self);
	t->self = steal_ptr(self);
	t->size = t->nnodes;
	return 0;
}

/* One array after the other, so that of each only one is there twice. */
int html_fold(struct html_tree *t, uint32_t budget)
{
	_cleanup_free_ uint64_t *weight = malloc(t->nnodes * sizeof(*weight));
	_cleanup_free_ uint32_t *moved = malloc(t->nnodes * sizeof(*moved));
	uint32_t before = t->nnodes;
	uint64_t least;
	int r;

	if (!weight || !moved)
		return -ENOMEM;
	subtree_weights(t, weight);
	r = threshold(t, weight, budget, &least);
	if (!r)
		r = move_nodes(t, weight, least, moved);
	return r ? r : move_values(t, moved, before);
}

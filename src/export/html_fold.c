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
	for (uint32_t i = t->nnodes; i-- > 1;) // a parent stands before its children
		weight[t->nodes[i].parent] += weight[i];
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

/* The weight that `rank` nodes are not lighter than: by its bytes, the highest first, so that nothing
 * is sorted and nothing is held. */
static uint64_t weight_of_rank(const uint64_t *weight, uint32_t n, uint32_t rank)
{
	uint64_t prefix = 0;

	for (int shift = 56; shift >= 0; shift -= 8) {
		uint32_t counts[256] = {0};
		unsigned byte = 255;

		for (uint32_t i = 0; i < n; i++)
			if (shift == 56 || weight[i] >> (shift + 8) == prefix)
				counts[weight[i] >> shift & 255]++;
		for (; byte && rank >= counts[byte]; byte--)
			rank -= counts[byte];
		prefix = prefix << 8 | byte;
	}
	return prefix;
}

static int threshold(
	const struct html_tree *t, const uint64_t *weight, uint32_t budget, uint64_t *ret_least)
{
	_cleanup_free_ uint8_t *seen = malloc(t->nnodes);
	uint32_t keep = budget;

	if (!seen)
		return -ENOMEM;
	do {
		keep -= keep / 8 + 1;
		*ret_least = weight_of_rank(weight, t->nnodes, keep) + 1;
	} while (keep > 8 && nodes_left(t, weight, *ret_least, seen) > budget);
	return 0;
}

/* Moves the kept nodes to the front, as they stand; moved[i]: where node i went, or what stands for
 * it. A parent stands before its children, so nothing is written over that is still to be read. */
static void move_nodes(struct html_tree *t, const uint64_t *weight, uint64_t least, uint32_t *moved)
{
	struct html_node *nodes = t->nodes;
	uint32_t n = 0;

	moved[0] = 0;
	for (uint32_t i = 0; i < t->nnodes; i++) {
		uint32_t parent = moved[nodes[i].parent];

		if (i && is_small(t, i, weight, least)) {
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
		nodes[n] = nodes[i];
		nodes[n].parent = parent;
		nodes[n].first = HTML_NONE;
		moved[i] = n++;
	}
	t->nnodes = n;
}

/* Of what were `before` nodes. Places are filled in ascending order, each first by what made it. */
static void move_values(struct html_tree *t, const uint32_t *moved, uint32_t before)
{
	unsigned ntypes = t->p->ntypes;
	uint32_t filled = 0;

	for (uint32_t i = 0; i < before; i++) {
		int64_t *to = t->self + (size_t)moved[i] * ntypes;
		const int64_t *from = t->self + (size_t)i * ntypes;

		for (unsigned v = 0; v < ntypes; v++)
			to[v] = moved[i] == filled ? from[v] : to[v] + from[v];
		filled += moved[i] == filled;
	}
	for (size_t s = 0; t->sample_node && s < t->p->samples.len; s++)
		t->sample_node[s] = moved[t->sample_node[s]];
}

/* Gives back what is behind the nodes; where there is no memory for that it stays. */
static void shrink(struct html_tree *t)
{
	void *nodes = realloc(t->nodes, t->nnodes * sizeof(*t->nodes));
	void *self = realloc(t->self, (size_t)t->nnodes * MAX(t->p->ntypes, 1u) * sizeof(*t->self));

	if (nodes)
		t->nodes = nodes;
	if (self)
		t->self = self;
	t->size = t->nnodes;
}

/* All in place: a tree that is folded is as large as trees get. */
int html_fold(struct html_tree *t, uint32_t budget)
{
	_cleanup_free_ uint64_t *weight = malloc(t->nnodes * sizeof(*weight));
	_cleanup_free_ uint32_t *moved = NULL;
	uint32_t before = t->nnodes;
	uint64_t least;
	int r;

	if (!weight)
		return -ENOMEM;
	subtree_weights(t, weight);
	r = threshold(t, weight, budget, &least);
	if (r)
		return r;
	moved = malloc(t->nnodes * sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	move_nodes(t, weight, least, moved);
	move_values(t, moved, before);
	shrink(t);
	return 0;
}

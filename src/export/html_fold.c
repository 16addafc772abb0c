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

static uint64_t threshold(const struct html_tree *t, const uint64_t *weight, uint64_t *sorted,
	uint8_t *seen, uint32_t budget)
{
	uint32_t keep = budget;
	uint64_t least;

	memcpy(sorted, weight, t->nnodes * sizeof(*sorted));
	qsort(sorted, t->nnodes, sizeof(*sorted), compare_weights);
	do {
		keep -= keep / 8 + 1;
		least = sorted[keep] + 1;
	} while (keep > 8 && nodes_left(t, weight, least, seen) > budget);
	return least;
}

/* Moves the kept nodes to the front, in preorder, and gathers the others. */
static int compact(struct html_tree *t, const uint64_t *weight, uint64_t least)
{
	unsigned ntypes = t->p->ntypes;
	_cleanup_free_ struct html_node *nodes = malloc(t->nnodes * sizeof(*nodes));
	_cleanup_free_ int64_t *self = calloc((size_t)t->nnodes * ntypes, sizeof(*self));
	_cleanup_free_ uint32_t *moved = malloc(t->nnodes * sizeof(*moved));
	_cleanup_free_ uint32_t *fold = malloc(t->nnodes * sizeof(*fold));
	uint32_t n = 0;

	if (!nodes || !self || !moved || !fold)
		return -ENOMEM;
	memset(fold, 0xff, t->nnodes * sizeof(*fold));
	moved[0] = 0;
	for (uint32_t at = 0; at < t->nnodes; at++) {
		uint32_t i = t->order[at];
		uint32_t parent = moved[t->nodes[i].parent];

		if (at && is_small(t, i, weight, least)) {
			t->folded++;
			// A parent that is itself a fold node takes its children in.
			if (nodes[parent].flags & HTML_NODE_FOLDED) {
				moved[i] = parent;
			} else {
				if (fold[parent] == HTML_NONE) {
					fold[parent] = n;
					nodes[n++] = (struct html_node){.parent = parent,
						.item = t->fold_fun,
						.flags = HTML_NODE_FOLDED};
				}
				moved[i] = fold[parent];
			}
		} else {
			nodes[n] = t->nodes[i];
			nodes[n].parent = at ? parent : 0;
			moved[i] = n++;
		}
		for (unsigned v = 0; v < ntypes; v++)
			self[(size_t)moved[i] * ntypes + v] += t->self[(size_t)i * ntypes + v];
	}
	for (size_t s = 0; t->sample_node && s < t->p->samples.len; s++)
		t->sample_node[s] = moved[t->sample_node[s]];
	free(t->nodes);
	free(t->self);
	t->nodes = steal_ptr(nodes);
	t->self = steal_ptr(self);
	t->size = t->nnodes;
	t->nnodes = n;
	return 0;
}

int html_fold(struct html_tree *t, uint32_t budget)
{
	_cleanup_free_ uint64_t *weight = malloc(t->nnodes * sizeof(*weight));
	_cleanup_free_ uint64_t *sorted = malloc(t->nnodes * sizeof(*sorted));
	_cleanup_free_ uint8_t *seen = malloc(t->nnodes);

	if (!weight || !sorted || !seen)
		return -ENOMEM;
	subtree_weights(t, weight);
	return compact(t, weight, threshold(t, weight, sorted, seen, budget));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* export/fold.h -- stacks of texts, counted within a fixed amount of memory.
 *
 * Texts are interned, stacks are leaves of a prefix tree. What does not fit goes, sorted, to an
 * unlinked file under $TMPDIR ("a run"), and everything starts anew; the end merges the runs. The
 * answer is the same as with endless memory: lines sorted bytewise by stack, equal stacks summed.
 *
 * A sample is fold_push() root first or leaf first, then fold_commit(). A text must hold neither
 * ';' nor newline. One thread. */
#ifndef GP_EXPORT_FOLD_H
#define GP_EXPORT_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"

#define FOLD_CAP_DEFAULT ((size_t)4 << 20)
#define FOLD_CAP_MIN ((size_t)64 << 10)
#define FOLD_RUNS_MAX 32 // open at once; then they become one

struct fold_node {
	uint32_t parent; // node id, 0 = root
	uint32_t text;
	uint64_t count; // of stacks that end here; FOLD_HAS_CHILD
};
#define FOLD_HAS_CHILD (1ull << 63)

VEC_DEFINE(fold_ids, uint32_t)

struct fold {
	struct intern texts;
	struct fold_node *nodes; // nodes[id - 1]
	uint32_t nnodes, max_nodes;
	uint32_t *slots; // 2 x max_nodes at least, a power of two; id or 0
	uint32_t nslots;
	struct fold_ids stack; // of the sample at hand
	/* the sample before it, root first: neighbours share most of their outer frames */
	struct fold_ids path_texts, path_nodes;
	bool root_first;
	struct buf scratch; // texts of the sample at hand while everything starts anew
	/* Changes whenever ids of texts die: a caller that keeps ids compares. */
	uint64_t generation;
	FILE *runs[FOLD_RUNS_MAX];
	unsigned nruns;
	uint64_t spills; // runs ever written
	uint64_t too_large; // samples that did not fit alone
	bool overflow; // the sample at hand does not
	bool run_failed; // the error that was returned came from a file under $TMPDIR
};

/* root_first: the order of fold_push(). Return 0, -ENOMEM. */
int fold_init(struct fold *f, size_t cap, bool root_first);
void fold_deinit(struct fold *f);

/* The id of a text until the generation changes. Return 0, -errno of a spill. */
int fold_text(struct fold *f, const char *s, size_t len, uint32_t *ret);
int fold_push(struct fold *f, uint32_t text);
/* Counts what was pushed; the leaf is the last one (root_first) or the first.
 * Return 0, -errno of a spill; a sample too large for the cap is counted in too_large. */
int fold_commit(struct fold *f, uint64_t weight);
void fold_drop(struct fold *f);

/* Writes "stack count" lines, sorted, to out; end_newline: after the last one too.
 * The fold is empty after it. Return 0 or -errno. */
int fold_write(struct fold *f, FILE *out, bool end_newline);

#endif

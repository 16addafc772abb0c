/* SPDX-License-Identifier: Apache-2.0 */
/* export/fold_sort.h -- a fold in order, and runs merged; inside export/ only.
 *
 * Order is bytewise by stack text, without the count. */
#ifndef GP_EXPORT_FOLD_SORT_H
#define GP_EXPORT_FOLD_SORT_H

#include <stdbool.h>
#include <stdio.h>

struct fold;

/* Writes the tree as sorted lines. Its hash table is used up: clear the fold after it.
 * Return 0, -ENOMEM; write errors stay in ferror(out). */
int fold_sort(struct fold *f, FILE *out, bool end_newline);

/* Merges sorted runs, each read from where it stands. Return 0, -errno. */
int fold_merge(FILE *const *runs, unsigned n, FILE *out, bool end_newline);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_fold.h -- keeps the tree of the page within its node budget.
 *
 * Subtrees under a threshold become one t->fold_fun child of their nearest kept ancestor, holding
 * their sum, so every sum above stays exact. t->folded counts the nodes that went. One thread. */
#ifndef GP_EXPORT_HTML_FOLD_H
#define GP_EXPORT_HTML_FOLD_H

#include "export/html_tree.h"

/* Nodes of t are in any order in which parents stand before their children, and are to be linked
 * afterwards.
 * Return 0, -ENOMEM. */
int html_fold(struct html_tree *t, uint32_t budget);

#endif

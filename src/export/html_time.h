/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_time.h -- when the samples of the page's nodes were taken: the TIME section.
 *
 * The profile's timeline by node of the tree instead of by sample. 8 bytes a count, which the
 * timeline bounds. One thread. */
#ifndef GP_EXPORT_HTML_TIME_H
#define GP_EXPORT_HTML_TIME_H

#include "export/html_tree.h"

struct html_time {
	uint64_t *counts; // position of the node in preorder << 32 | slot << 16 | count; ascending
	size_t ncounts;
};

/* t is linked. Return 0, -ENOMEM. */
int html_time_init(struct html_time *h, const struct html_tree *t);
void html_time_deinit(struct html_time *h);

static inline uint32_t html_time_node(uint64_t count)
{
	return (uint32_t)(count >> 32);
}
static inline uint32_t html_time_slot(uint64_t count)
{
	return (uint32_t)(count >> 16 & 0xffff);
}
static inline uint32_t html_time_samples(uint64_t count)
{
	return (uint32_t)(count & 0xffff);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "export/html_time.h"

#include <errno.h>
#include <stdlib.h>

static int compare_counts(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Counts of one node and slot become one, as far as 16 bits hold. */
static void join(struct html_time *h)
{
	size_t n = 0;

	for (size_t i = 0; i < h->ncounts; i++) {
		uint64_t c = h->counts[i];

		if (n && h->counts[n - 1] >> 16 == c >> 16 &&
			html_time_samples(h->counts[n - 1]) + html_time_samples(c) <= UINT16_MAX)
			h->counts[n - 1] += html_time_samples(c);
		else
			h->counts[n++] = c;
	}
	h->ncounts = n;
}

int html_time_init(struct html_time *h, const struct html_tree *t)
{
	const struct timeline *line = &t->p->timeline;
	_cleanup_free_ uint32_t *place = NULL;

	*h = (struct html_time){0};
	if (!t->sample_node || !line->counts.len)
		return 0;
	place = malloc(t->nnodes * sizeof(*place));
	h->counts = malloc(line->counts.len * sizeof(*h->counts));
	if (!place || !h->counts) {
		html_time_deinit(h);
		return -ENOMEM;
	}
	for (uint32_t at = 0; at < t->nnodes; at++)
		place[t->order[at]] = at;
	vec_foreach (c, &line->counts)
		h->counts[h->ncounts++] = (uint64_t)place[t->sample_node[c->sample - 1]] << 32 |
					  (uint64_t)c->slot << 16 | c->count;
	qsort(h->counts, h->ncounts, sizeof(*h->counts), compare_counts);
	join(h);
	return 0;
}

void html_time_deinit(struct html_time *h)
{
	free(h->counts);
	*h = (struct html_time){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/pack.h -- profile text into uploads that the server takes.
 *
 * Text of the .col form is escaped, compressed and held to the rules a line must keep
 * (gprofiler-studio.md 1.12, 4 and 5). What comes out too large is made again: first without the
 * page, then in several parts, each with the header line and whole processes; only a process that
 * is too large by itself is cut between its lines. Memory: the compressed parts, never the text.
 * One thread. */
#ifndef GP_DELIVERY_PACK_H
#define GP_DELIVERY_PACK_H

#include <stdio.h>

#include "delivery/upload.h"

/* Writes the text of a profile to f; called again with the same result when it must be packed
 * another way. page: with the flame graph page in its header, if there is one. */
typedef int (*pack_text_fn)(FILE *f, bool page, void *arg);
/* Takes a finished upload; what it returns is forwarded. */
typedef int (*pack_sink_fn)(struct upload *u, void *arg);

struct pack_job {
	struct upload_origin origin; // borrowed
	const char *fields; // of upload_fields()
	size_t preferred; // bytes of one upload
	bool page; // try with the page first
	pack_text_fn text;
	void *text_arg;
	pack_sink_fn sink;
	void *sink_arg;
};

struct pack_stats {
	unsigned parts;
	bool page_dropped; // it was asked for and did not fit
	uint64_t lines, lines_refused; // refused: the server would choke on them
	uint64_t samples; // of the lines
};

/* Return 0, -EFBIG when it cannot be cut small enough, or what a callback returned. */
int pack_profile(const struct pack_job *job, struct pack_stats *ret);

/* Makes an upload that was too large for the server (413) smaller: without its page, in
 * smaller parts; u is unchanged.
 * Return as pack_profile(); -EINVAL when u is damaged. */
int pack_again(const struct upload *u, pack_sink_fn sink, void *arg);

#endif

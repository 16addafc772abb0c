/* SPDX-License-Identifier: Apache-2.0 */
/* export/export.h -- a profile on its way out. Each writer streams to a FILE and returns 0 or
 * -errno (ferror included); none of them changes the profile. */
#ifndef GP_EXPORT_EXPORT_H
#define GP_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "profile/profile.h"

struct export_collapsed_options {
	bool header; // "# {json}" first line, from profile.header
	bool contexts; // index and container columns (gprofiler-agent.md 3.3)
	bool insert_dso_name;
	bool line_numbers;
};
/* The .col form: gprofiler-agent.md 3.2, 3.3, 3.5. */
int export_collapsed(
	FILE *f, const struct profile *p, const struct export_collapsed_options *options);
/* Its first line alone, without a newline. */
int export_collapsed_header(FILE *f, const struct profile *p);
struct export_flamegraph_options {
	bool pid, tid; // after the comm
};
/* FlameGraph's form of collapsed text. */
int export_flamegraph(
	FILE *f, const struct profile *p, const struct export_flamegraph_options *options);
/* The text of one frame as collapsed output shows it, suffix included. */
int export_frame_text(struct buf *out, const struct profile *p, uint32_t frame,
	const struct export_collapsed_options *options);

/* pprof's profile.proto, gzip (runtime-and-memory-anchors.md C3). */
int export_pprof(FILE *f, const struct profile *p);
/* speedscope's JSON (C4). */
int export_speedscope(FILE *f, const struct profile *p);
/* The flame graph page (ui-anchors.md): one file that works offline. */
int export_html(FILE *f, const struct profile *p);

#endif

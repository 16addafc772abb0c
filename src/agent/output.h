/* SPDX-License-Identifier: Apache-2.0 */
/* agent/output.h -- the files of one finished profile (gprofiler-agent.md 3.1).
 *
 * `profile_<end time>[.<event>].col` (and .html, .pb.gz, .speedscope.json), each written whole or not
 * at all, with the symlinks last_profile.col and last_flamegraph.html (and last_profile.<ext>) put on
 * the newest. --rotating-output removes what the symlink pointed at before,
 * --keep-output the oldest results (retention.h). */
#ifndef GP_AGENT_OUTPUT_H
#define GP_AGENT_OUTPUT_H

#include "profile/profile.h"

enum output_format {
	OUTPUT_COLLAPSED,
	OUTPUT_HTML,
	OUTPUT_PPROF,
	OUTPUT_SPEEDSCOPE,
	OUTPUT_FORMATS,
};

struct output_config {
	const char *dir;
	unsigned formats; // bit set of 1 << enum output_format
	bool rotating;
	uint64_t keep_bytes; // most that results take, the oldest go first; 0 no limit
	bool insert_dso_name;
	bool line_numbers;
	bool contexts; // index and container columns of the .col
};

/* The format of a name ("collapsed", "html", "pprof", "speedscope"), or OUTPUT_FORMATS. */
enum output_format output_format_parse(const char *name);

/* Makes the directory. Return 0 or -errno. */
int output_prepare(const struct output_config *config);

/* Writes every wanted file of one profile; a file that fails is logged, and the others are still
 * written. event is NULL when the only one. ret_collapsed: the .col file, open to be read and the
 * caller's, or -1 if there is none; NULL: nobody reads it. Return 0, or the first error. */
int output_write(const struct output_config *config, const struct profile *p, const char *event,
	int *ret_collapsed);

#endif

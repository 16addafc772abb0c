/* SPDX-License-Identifier: Apache-2.0 */
/* export/import.h -- profiles of other programs, and our own, read back.
 *
 * Each fills an initialised, empty profile. What cannot be read is complained about with its line
 * and left out; everything else is kept. One thread. */
#ifndef GP_EXPORT_IMPORT_H
#define GP_EXPORT_IMPORT_H

#include "export/perf_script.h"
#include "export/text_reader.h"
#include "profile/profile.h"

/* What the first bytes of a stream look like. */
enum import_format {
	IMPORT_PERF_SCRIPT,
	IMPORT_COLLAPSED,
	IMPORT_PPROF,
	IMPORT_UNKNOWN,
};
enum import_format import_guess(const char *data, size_t len);

struct import_stats {
	uint64_t samples; // taken
	uint64_t bad; // left out, complained about
	uint64_t full; // left out at the profile's cap
	struct perf_script_stats script;
};

struct import_perf_options {
	const char *event; // NULL: all
	bool addresses; // frames keep their program counters
};

/* `perf script` text: values are samples and what the periods sum up to, if any were printed.
 * Return 0, -errno. */
int import_perf_script(struct text_reader *reader, const struct import_perf_options *options,
	struct profile *p, struct text_complaints *complaints, struct import_stats *ret);

/* Collapsed text: FlameGraph's "a;b;c 1", the many-process form "comm-pid/tid;a;b 1", and .col files
 * with their header and columns (gprofiler-agent.md 3.2, 3.3, 3.10). A line is at most
 * IMPORT_LINE_MAX bytes. Suffixes and "(path)" become kinds. Return 0, -errno. */
#define IMPORT_LINE_MAX ((size_t)32 << 20)
int import_collapsed(struct text_reader *reader, struct profile *p,
	struct text_complaints *complaints, struct import_stats *ret);

/* pprof's profile.proto, gzip or not. Return 0, -EINVAL malformed, -ENOSPC too large, -ENOMEM. */
int import_pprof(const void *data, size_t len, struct profile *p,
	struct text_complaints *complaints, struct import_stats *ret);

#endif

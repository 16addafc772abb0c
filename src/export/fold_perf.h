/* SPDX-License-Identifier: Apache-2.0 */
/* export/fold_perf.h -- `perf script` text straight to collapsed text, in bounded memory.
 *
 * Two dialects. Ours is gprofiler-agent.md 3.9: `comm;root;...;leaf samples`; a sample without
 * frames and one with a line that cannot be read are left out and counted. FlameGraph's is
 * runtime-and-memory-anchors.md C1.3: weights are periods, one event only, samples without frames
 * count for their comm, what can be read of a broken sample is kept. Where the two programs known
 * for it differ: quotes are deleted, a last sample without a blank line after it counts, only
 * "vmlinux" at the very end is the kernel, only perf maps are JIT, '(' cuts whatever encloses it,
 * and a sample in one line is understood. */
#ifndef GP_EXPORT_FOLD_PERF_H
#define GP_EXPORT_FOLD_PERF_H

#include "export/perf_script.h"

struct fold_perf_options {
	bool flamegraph;
	bool pid, tid; // FlameGraph: after the comm
	bool kernel, jit; // FlameGraph: "_[k]", "_[j]"
	bool addrs; // FlameGraph: "[module <pc>]" where there is no symbol
	bool inlines; // ours: "a->b" is two frames too; always so in FlameGraph's
	bool insert_dso_name; // ours: " (dso)" on user frames
	const char *event; // NULL: FlameGraph the first seen, ours all
	size_t cap; // bytes of the aggregate, 0 = FOLD_CAP_DEFAULT
};

struct fold_perf_stats {
	struct perf_script_stats script;
	uint64_t counted; // samples in the output
	uint64_t malformed, empty, too_large; // samples left out
	uint64_t spills; // runs written to $TMPDIR
	bool run_failed; // the error returned is of one of those
};

/* Return 0 or -errno. */
int fold_perf_script(struct text_reader *reader, FILE *out, const struct fold_perf_options *options,
	struct text_complaints *complaints, struct fold_perf_stats *ret_stats);

#endif

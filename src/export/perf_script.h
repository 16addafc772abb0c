/* SPDX-License-Identifier: Apache-2.0 */
/* export/perf_script.h -- the text of `perf script`, as a stream of samples.
 *
 * Grammar: runtime-and-memory-anchors.md C1.3 and gprofiler-agent.md 3.9. Nothing is held but the
 * line at hand: a sample is told by begin(), a frame() for each of its lines, leaf first, and end().
 * Slices die when the callback returns. One thread. */
#ifndef GP_EXPORT_PERF_SCRIPT_H
#define GP_EXPORT_PERF_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/text_reader.h"

struct text_slice {
	const char *s;
	size_t len;
};

struct perf_script_header {
	struct text_slice comm; // may contain spaces
	int64_t pid; // PERF_SCRIPT_NO_PID when only the tid is printed
	int64_t tid;
	uint64_t time_ns;
	uint64_t period; // 1 when not printed
	bool has_time;
	struct text_slice
		event; // without its last ':'; may have modifiers, "cycles:u"; may be empty
};
#define PERF_SCRIPT_NO_PID INT64_MIN

struct perf_script_frame {
	struct text_slice pc; // hexadecimal digits
	struct text_slice symbol; // without "+0x12"; "[unknown]"; may be empty
	struct text_slice dso; // without the parentheses
	bool offset; // "+0x12" was there
};

/* Return of begin(): 0 the frames are wanted, PERF_SCRIPT_SKIP they are not, negative stops. */
#define PERF_SCRIPT_SKIP 1

struct perf_script_sink {
	int (*begin)(void *arg, const struct perf_script_header *header);
	int (*frame)(void *arg, const struct perf_script_frame *frame);
	/* malformed: a line of this sample could not be read and is missing. */
	int (*end)(void *arg, bool malformed);
	void *arg;
};

struct perf_script_options {
	/* comm ends before the first number, whatever follows it (FlameGraph's rule); else before the
	 * first that a cpu, a time or an event follows. */
	bool first_number;
	const char *event; // only this event, with or without its modifiers; NULL: see below
	bool first_event; // only the first event seen
};

struct perf_script_stats {
	uint64_t samples; // told to the sink
	uint64_t other_events; // left out
	uint64_t events; // distinct names seen, saturating at 2
};

/* Reads to the end. Return 0, -errno of the reader, or what a callback returned. */
int perf_script_read(struct text_reader *reader, const struct perf_script_options *options,
	const struct perf_script_sink *sink, struct text_complaints *complaints,
	struct perf_script_stats *ret_stats);

/* Parts, for tests and for telling what a file is. */
bool perf_script_parse_header(const char *s, size_t len, bool first_number,
	struct perf_script_header *ret, struct text_slice *ret_rest);
bool perf_script_parse_frame(const char *s, size_t len, struct perf_script_frame *ret);
uint64_t perf_script_pc(const struct perf_script_frame *frame);

#endif

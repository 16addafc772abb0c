/* SPDX-License-Identifier: Apache-2.0 */
/* agent/top.h -- a short profile as a screen: processes by CPU, functions by samples, the losses.
 *
 * A view takes what it shows out of a profile and is shown as often as asked, in any order and size,
 * until it takes the next one. Text comes from targets: control bytes never reach a terminal.
 * One thread. */
#ifndef GP_AGENT_TOP_H
#define GP_AGENT_TOP_H

#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/vec.h"
#include "profile/profile.h"

/* Rows are {process, function}; the value of option top_sort. */
enum top_order {
	TOP_BY_SELF, // samples in which it runs itself
	TOP_BY_TOTAL, // samples in which it is on the stack
	TOP_BY_PROCESS, // busiest process first, its functions by self
	TOP_BY_FUNCTION, // hottest function first, over all processes
};

struct top_process {
	uint32_t pid;
	uint32_t comm, container; // texts
	uint64_t samples;
	uint64_t cpu_ns;
};
VEC_DEFINE(top_process_vec, struct top_process)

struct top_row {
	uint32_t process; // id of uids
	uint32_t text; // of the function
	uint32_t last; // sample that counted it last: recursion counts once
	uint32_t pad;
	uint64_t self, total;
	uint64_t group; // samples of what the order puts together
};
VEC_DEFINE(top_row_vec, struct top_row)

struct top_view {
	struct intern texts;
	struct intern uids; // process uid -> processes[id - 1]
	struct intern keys; // {process id, text}
	struct top_process_vec processes;
	struct top_row_vec rows;
	uint64_t samples, cpu_ns;
	struct profile_meta meta; // its texts are in event and source
	char event[64], source[32];
};

void top_view_init(struct top_view *v);
void top_view_deinit(struct top_view *v);
/* Replaces what v held by what p says; p may go. Return 0, -ENOMEM, -ENOSPC (v is then partial). */
int top_view_take(struct top_view *v, const struct profile *p);

struct top_screen {
	enum top_order order;
	unsigned columns; // longer lines are cut; 0: whole lines
	unsigned lines; // of the terminal; 0: functions of them, and processes
	unsigned functions; // most rows, when there is no terminal
	unsigned ncpus;
	double own_cpu; // of this program, of one CPU
	unsigned skipped; // windows since the last picture that were not shown
	bool keys; // the line that names the keys
};

/* Appends the lines, each ended by '\n', the rows in screen's order. What does not fit is counted
 * in the last line. Return 0, -ENOMEM. */
int top_view_show(struct top_view *v, const struct top_screen *screen, struct buf *out);

#endif

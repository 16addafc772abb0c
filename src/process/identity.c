/* SPDX-License-Identifier: Apache-2.0 */
#include "process/identity.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "process/table.h"

#define STAT_MAX 4096
/* A fork record is stamped a little after the start time, which /proc rounds down to a tick. */
#define START_TIME_SLACK_NS (50 * NSEC_PER_MSEC)

int process_identity_read(uint32_t pid, struct process_identity *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(STAT_MAX);
	struct process_stat st;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	r = fs_read_file(path, &text);
	if (r)
		return r == -ENOENT ? -ESRCH : r;
	if (!process_stat_parse(buf_str(&text), text.len, &st))
		return -EINVAL;
	if ((st.state == 'Z' || st.state == 'X') && st.nthreads <= 1)
		return -ESRCH;
	*ret = (struct process_identity){
		.pid = pid,
		.start_time = st.start_time,
		.kernel_thread = st.kernel_thread,
	};
	return 0;
}

bool process_identity_lives(const struct process_identity *id)
{
	struct process_identity now;
	int r = process_identity_read(id->pid, &now);

	return r ? r != -ESRCH : now.start_time == id->start_time;
}

bool process_identity_matches(const struct process_identity *id, uint64_t start_time)
{
	uint64_t a = id->start_time;
	uint64_t diff = a > start_time ? a - start_time : start_time - a;

	return !start_time || !a || diff <= START_TIME_SLACK_NS;
}

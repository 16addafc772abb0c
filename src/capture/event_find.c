/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/event_find.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static const struct capture_perf_event named[] = {
	{"cycles", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES},
	{"instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS},
	{"cache-references", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_REFERENCES},
	{"cache-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES},
	{"branch-instructions", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_INSTRUCTIONS},
	{"branch-misses", PERF_TYPE_HARDWARE, PERF_COUNT_HW_BRANCH_MISSES},
	{"stalled-cycles-frontend", PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_FRONTEND},
	{"stalled-cycles-backend", PERF_TYPE_HARDWARE, PERF_COUNT_HW_STALLED_CYCLES_BACKEND},
	{"cpu-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK},
	{"task-clock", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_TASK_CLOCK},
	{"page-faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS},
	{"context-switches", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES},
};

int event_find_named(const char *name, struct capture_perf_event *ret)
{
	if (!strcmp(name, "cpu-cycles"))
		name = "cycles";
	for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
		if (!strcmp(named[i].name, name)) {
			*ret = named[i];
			return 0;
		}
	}
	return -ENOENT;
}

int event_find_clock(unsigned n, struct capture_perf_event *ret)
{
	static const char *const clocks[] = {"cycles", "cpu-clock", "task-clock"};

	return n < ARRAY_SIZE(clocks) ? event_find_named(clocks[n], ret) : -ENOENT;
}

int event_probe(const char *name)
{
	struct perf_event_attr attr = {.size = sizeof(attr), .disabled = 1, .exclude_kernel = 1};
	struct capture_perf_event event;
	_cleanup_close_ int fd = -1;
	int r = event_find_named(name, &event);

	if (r)
		return r;
	attr.type = event.perf_type;
	attr.config = event.perf_config;
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : 0;
}

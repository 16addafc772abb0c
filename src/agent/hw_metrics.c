/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/hw_metrics.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define LOGGER "gprofiler.hwmetrics"

static const uint64_t events[PROFILE_HW_MAX] = {
	[PROFILE_HW_CYCLES] = PERF_COUNT_HW_CPU_CYCLES,
	[PROFILE_HW_INSTRUCTIONS] = PERF_COUNT_HW_INSTRUCTIONS,
	[PROFILE_HW_CACHE_REFERENCES] = PERF_COUNT_HW_CACHE_REFERENCES,
	[PROFILE_HW_CACHE_MISSES] = PERF_COUNT_HW_CACHE_MISSES,
	[PROFILE_HW_BRANCHES] = PERF_COUNT_HW_BRANCH_INSTRUCTIONS,
	[PROFILE_HW_BRANCH_MISSES] = PERF_COUNT_HW_BRANCH_MISSES,
};

static int open_counter(unsigned event, unsigned cpu)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = events[event],
		.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING,
	};
	long fd = syscall(
		SYS_perf_event_open, &attr, -1, (int)cpu, -1, (unsigned long)PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

int hw_metrics_open(struct hw_metrics *m)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);
	bool any = false;
	int r = 0;

	*m = (struct hw_metrics){0};
	if (n <= 0)
		return -EINVAL;
	m->counters = calloc((size_t)n * PROFILE_HW_MAX, sizeof(*m->counters));
	if (!m->counters)
		return -ENOMEM;
	m->ncpus = (unsigned)n;
	for (unsigned i = 0; i < m->ncpus * PROFILE_HW_MAX; i++) {
		int fd = open_counter(i % PROFILE_HW_MAX, i / PROFILE_HW_MAX);

		m->counters[i].fd = fd;
		any = any || fd >= 0;
		// The first CPU is there; a later one may be off.
		r = r ? r : MIN(fd, 0);
	}
	if (any)
		return 0;
	hw_metrics_close(m);
	// EOPNOTSUPP: there is hardware, but not for events that only count.
	if (r == -ENOENT || r == -EOPNOTSUPP || r == -ENODEV)
		log_once(LOG_LEVEL_INFO, LOGGER,
			"This machine has no hardware counters: hwmetrics are null in its profiles");
	else
		log_once(LOG_LEVEL_WARNING, LOGGER,
			"Hardware counters cannot be had: %s. hwmetrics are null; counting the "
			"whole machine takes CAP_PERFMON",
			strerror(-r));
	return r;
}

void hw_metrics_close(struct hw_metrics *m)
{
	for (unsigned i = 0; m->counters && i < m->ncpus * PROFILE_HW_MAX; i++)
		if (m->counters[i].fd >= 0)
			close(m->counters[i].fd);
	free(m->counters);
	*m = (struct hw_metrics){0};
}

uint64_t hw_metrics_scale(const struct hw_reading *from, const struct hw_reading *to)
{
	uint64_t value = to->value - from->value;
	uint64_t enabled = to->enabled_ns - from->enabled_ns;
	uint64_t running = to->running_ns - from->running_ns;

	if (!running)
		return 0;
	return enabled == running ? value
				  : (uint64_t)((double)value * (double)enabled / (double)running);
}

bool hw_metrics_window(struct hw_metrics *m, struct profile_hw *ret)
{
	if (!m->counters)
		return false;
	*ret = (struct profile_hw){0};
	for (unsigned i = 0; i < m->ncpus * PROFILE_HW_MAX; i++) {
		struct hw_counter *c = &m->counters[i];
		struct hw_reading now;

		if (c->fd < 0 || read(c->fd, &now, sizeof(now)) != sizeof(now))
			continue;
		ret->counts[i % PROFILE_HW_MAX] += hw_metrics_scale(&c->last, &now);
		c->last = now;
	}
	return true;
}

static void add(json_t *o, const char *name, double part, double whole)
{
	char text[64];

	if (whole <= 0)
		return;
	snprintf(text, sizeof(text), "%.6g", part / whole);
	json_object_set_new(o, name, json_string(text));
}

json_t *hw_metrics_json(const struct profile_hw *hw, uint64_t duration_ns)
{
	double v[PROFILE_HW_MAX];
	json_t *o;

	if (!hw->counts[PROFILE_HW_CYCLES] || !hw->counts[PROFILE_HW_INSTRUCTIONS])
		return json_null();
	for (unsigned i = 0; i < PROFILE_HW_MAX; i++)
		v[i] = (double)hw->counts[i];
	o = json_object();
	add(o, "cycles per second (in billions)", v[PROFILE_HW_CYCLES], (double)duration_ns);
	add(o, "instructions per second (in billions)", v[PROFILE_HW_INSTRUCTIONS],
		(double)duration_ns);
	add(o, "CPI", v[PROFILE_HW_CYCLES], v[PROFILE_HW_INSTRUCTIONS]);
	add(o, "IPC", v[PROFILE_HW_INSTRUCTIONS], v[PROFILE_HW_CYCLES]);
	add(o, "cache miss ratio", v[PROFILE_HW_CACHE_MISSES], v[PROFILE_HW_CACHE_REFERENCES]);
	add(o, "branch misprediction ratio", v[PROFILE_HW_BRANCH_MISSES], v[PROFILE_HW_BRANCHES]);
	return o;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t clock_read(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t clock_mono_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_real_ns(void)
{
	return clock_read(CLOCK_REALTIME);
}

uint64_t clock_cpu_ns(void)
{
	return clock_read(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_sleep_ns(uint64_t ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(ns / NSEC_PER_SEC),
		.tv_nsec = (long)(ns % NSEC_PER_SEC),
	};

	nanosleep(&ts, NULL);
}

void clock_iso_utc(uint64_t real_ns, char *ret)
{
	time_t secs = (time_t)(real_ns / NSEC_PER_SEC);
	struct tm tm;

	gmtime_r(&secs, &tm);
	strftime(ret, 32, "%Y-%m-%dT%H:%M:%S", &tm);
}

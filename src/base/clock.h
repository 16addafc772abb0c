/* SPDX-License-Identifier: Apache-2.0 */
/* base/clock.h -- time, in nanoseconds. All records are stamped CLOCK_MONOTONIC. Any thread. */
#ifndef GP_BASE_CLOCK_H
#define GP_BASE_CLOCK_H

#include <stdint.h>

#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull

uint64_t clock_mono_ns(void);
uint64_t clock_real_ns(void);
/* CPU time of this process, user + system. */
uint64_t clock_cpu_ns(void);
void clock_sleep_ns(uint64_t ns);

/* "YYYY-MM-DDTHH:MM:SS" in UTC of a real-time stamp; ret holds at least 32 bytes. */
void clock_iso_utc(uint64_t real_ns, char *ret);

#endif

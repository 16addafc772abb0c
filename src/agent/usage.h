/* SPDX-License-Identifier: Apache-2.0 */
/* agent/usage.h -- how busy the machine was in a window: average CPU and memory, in percent
 * (gprofiler-agent.md 5.4). CPU is of all CPUs together, between two readings; memory the mean of
 * readings that are made now and then. One thread. */
#ifndef GP_AGENT_USAGE_H
#define GP_AGENT_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct usage {
	uint64_t busy, total; // ticks, at the last window's end
	uint64_t sampled_ns; // time of the last reading of memory
	double memory_sum;
	unsigned memory_count;
};

/* Averages of a window; negative: not known. */
struct usage_averages {
	double cpu, memory;
};

void usage_init(struct usage *u);
/* Reads memory, if the last reading is five seconds old. */
void usage_sample(struct usage *u, uint64_t now);
/* The window ends: its averages; the next one begins. */
struct usage_averages usage_window(struct usage *u);

/* Parts of it. Busy and all ticks of the line "cpu" of /proc/stat; percent of memory that is not
 * available, from /proc/meminfo. Return false if the text says nothing. */
bool usage_parse_stat(const char *text, uint64_t *ret_busy, uint64_t *ret_total);
bool usage_parse_meminfo(const char *text, double *ret);

#endif

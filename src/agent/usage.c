/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/usage.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"

#define SAMPLE_NS (5 * NSEC_PER_SEC)
#define FILE_MAX ((size_t)1 << 20)
#define FIELDS 8 // user nice system idle iowait irq softirq steal; guests are in user and nice

bool usage_parse_stat(const char *text, uint64_t *ret_busy, uint64_t *ret_total)
{
	uint64_t value[FIELDS], total = 0;
	char *end;

	if (strncmp(text, "cpu ", 4) != 0)
		return false;
	text += 4;
	for (unsigned i = 0; i < FIELDS; i++) {
		value[i] = strtoull(text, &end, 10);
		if (end == text)
			return false;
		text = end;
		total += value[i];
	}
	*ret_total = total;
	*ret_busy = total - MIN(total, value[3] + value[4]);
	return true;
}

static bool kilobytes(const char *text, const char *key, uint64_t *ret)
{
	const char *at = strstr(text, key);

	if (!at)
		return false;
	*ret = strtoull(at + strlen(key), NULL, 10);
	return true;
}

bool usage_parse_meminfo(const char *text, double *ret)
{
	uint64_t total, available;

	if (!kilobytes(text, "MemTotal:", &total) ||
		!kilobytes(text, "MemAvailable:", &available) || !total)
		return false;
	*ret = 100.0 * (double)(total - MIN(available, total)) / (double)total;
	return true;
}

static bool read_stat(uint64_t *ret_busy, uint64_t *ret_total)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);

	fs_read_file("/proc/stat", &text);
	return usage_parse_stat(buf_str(&text), ret_busy, ret_total);
}

void usage_init(struct usage *u)
{
	*u = (struct usage){0};
	if (!read_stat(&u->busy, &u->total))
		u->total = 0;
	usage_sample(u, clock_mono_ns());
}

void usage_sample(struct usage *u, uint64_t now)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	double percent;

	if (u->sampled_ns && now < u->sampled_ns + SAMPLE_NS)
		return;
	u->sampled_ns = now;
	fs_read_file("/proc/meminfo", &text);
	if (!usage_parse_meminfo(buf_str(&text), &percent))
		return;
	u->memory_sum += percent;
	u->memory_count++;
}

struct usage_averages usage_window(struct usage *u)
{
	struct usage_averages a = {.cpu = -1, .memory = -1};
	uint64_t busy, total;

	// A window shorter than the gap between readings has one of its own.
	if (!u->memory_count)
		u->sampled_ns = 0;
	usage_sample(u, clock_mono_ns());
	if (u->memory_count)
		a.memory = u->memory_sum / u->memory_count;
	u->memory_sum = 0;
	u->memory_count = 0;
	if (!read_stat(&busy, &total))
		return a;
	if (u->total && total > u->total)
		a.cpu = 100.0 * (double)(busy - MIN(busy, u->busy)) / (double)(total - u->total);
	u->busy = busy;
	u->total = total;
	return a;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/governor.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define FILE_MAX (1u << 16)
#define SETTLE_NS (10 * NSEC_PER_SEC) // starting costs more than going on
#define STEP_NS (5 * NSEC_PER_SEC) // a step is given this long to show
#define EASE_NS (10 * NSEC_PER_SEC)
#define EASE_AT 0.8 // of a limit
#define CPU_SMOOTH (1.0 / 15.0) // weight of a second
#define OWN_LIMIT_SHARE 0.8 // of our cgroup's memory limit
#define UNLIMITED (1ull << 60)
#define PRESSURE_MAX 10.0 // percent

static const char *const level_names[GOVERNOR_LEVELS] = {
	[GOVERNOR_FULL] = "full",
	[GOVERNOR_SHED] = "caches dropped",
	[GOVERNOR_HALF] = "half the rate",
	[GOVERNOR_QUARTER] = "a quarter of the rate",
	[GOVERNOR_EIGHTH] = "an eighth of the rate",
	[GOVERNOR_PAUSED] = "paused",
};

/* A number after `key` in a file; 0 if either is absent, or it says "max". */
static uint64_t number_in(const char *path, const char *key)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	const char *at;

	fs_read_file(path, &text);
	at = strstr(buf_str(&text), key);
	return at ? strtoull(at + strlen(key), NULL, 10) : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* The least limit of a group and those above it: a pod's or a slice's holds all that is in it. A path of
 * the host's that is not there in a container's view ends at its mount point, which is the own group then. */
static uint64_t limit_in(const char *root, const char *group, int len, const char *name)
{
	uint64_t least = 0;

	for (; len >= 0; len--) {
		char path[PATH_MAX];
		uint64_t limit;

		if (len && group[len] != '/' && group[len] != '\n' && group[len])
			continue;
		snprintf(path, sizeof(path), "%s%.*s/%s", root, len, group, name);
		limit = number_in(path, "");
		// v1 says "none" by the largest number of whole pages.
		least = less(least, limit < UNLIMITED ? limit : 0);
	}
	return least;
}

/* Takes the file where it is there: the root of v2 has none, and a name that is too long is none. */
static void set_events(char ret[static GOVERNOR_PATH], const char *root, const char *group, int len,
	const char *name)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s%.*s/%s", root, len, group, name);

	if (n > 0 && (size_t)n < GOVERNOR_PATH && access(path, R_OK) == 0)
		memcpy(ret, path, (size_t)n + 1);
}

uint64_t governor_cgroup_limit(
	const char *membership, const char *root, char ret_events[static GOVERNOR_PATH])
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	char v1[GOVERNOR_PATH];
	uint64_t least = 0;

	snprintf(v1, sizeof(v1), "%s/memory", root);
	fs_read_file(membership, &text);
	for (const char *line = text.data; line && *line; line += strcspn(line, "\n")) {
		const char *path;
		int len;

		line += *line == '\n';
		path = strchr(line, '/');
		if (!path)
			break;
		len = (int)strcspn(path, "\n");
		if (!strncmp(line, "0::", 3)) {
			least = less(least, limit_in(root, path, len, "memory.max"));
			least = less(least, limit_in(root, path, len, "memory.high"));
			set_events(ret_events, root, path, len, "memory.events");
		} else if (memmem(line, (size_t)(path - line), ":memory:", 8)) {
			least = less(least, limit_in(v1, path, len, "memory.limit_in_bytes"));
			set_events(ret_events, v1, path, len, "memory.failcnt");
		}
	}
	return least;
}

void governor_set_limits(struct governor *g, const struct options *o)
{
	g->max_memory = o->max_memory;
	// A single run is short: most of it is the work of its beginning and end.
	g->max_cpu = o->continuous || o->heartbeat_server ? (double)o->max_cpu : 0;
	if (g->own_limit && (!g->max_memory || g->own_limit < g->max_memory))
		g->max_memory = g->own_limit;
}

void governor_init(struct governor *g, const struct options *o)
{
	*g = (struct governor){
		.may_shed = o->memory_management,
		.pressure = "/proc/pressure/memory",
	};
	g->own_limit = (uint64_t)((double)governor_cgroup_limit(
					  "/proc/self/cgroup", "/sys/fs/cgroup", g->events) *
				  OWN_LIMIT_SHARE);
	governor_set_limits(g, o);
	if (g->own_limit && g->max_memory == g->own_limit)
		log_info(LOGGER, "The limit of our own cgroup counts: %llu MB of memory",
			(unsigned long long)g->own_limit >> 20);
}

/* Of memory.events the times that it was throttled or reclaimed from; memory.failcnt is one number. */
static uint64_t times_squeezed(const char *path)
{
	size_t n = strlen(path);

	if (!n)
		return 0;
	if (n > 8 && !strcmp(path + n - 8, ".failcnt"))
		return number_in(path, "");
	return number_in(path, "high ") + number_in(path, "max ");
}

void governor_read(const struct governor *g, struct governor_reading *ret, uint64_t bpf)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	const char *at;

	*ret = (struct governor_reading){
		.now = clock_mono_ns(),
		.cpu_ns = clock_cpu_ns(),
		.bpf = bpf,
		.resident = number_in("/proc/self/status", "VmRSS:") << 10,
		.anon = (number_in("/proc/self/status", "RssAnon:") +
				number_in("/proc/self/status", "RssShmem:"))
			<< 10,
		.squeezed = times_squeezed(g->events),
	};
	if (g->pressure)
		fs_read_file(g->pressure, &text);
	at = strstr(buf_str(&text), "full avg10=");
	if (at)
		ret->pressure = strtod(at + strlen("full avg10="), NULL);
}

const char *governor_level_name(enum governor_level level)
{
	return level_names[level];
}

unsigned governor_divisor(enum governor_level level)
{
	static const unsigned divisors[GOVERNOR_LEVELS] = {
		[GOVERNOR_FULL] = 1,
		[GOVERNOR_SHED] = 1,
		[GOVERNOR_HALF] = 2,
		[GOVERNOR_QUARTER] = 4,
		[GOVERNOR_EIGHTH] = 8,
		[GOVERNOR_PAUSED] = 0,
	};

	return divisors[level];
}

static void mark(struct governor *g, enum governor_level to)
{
	g->steps[to]++;
	if (to < g->level)
		g->marks.eased++;
	else if (to == GOVERNOR_SHED)
		g->marks.shed++;
	else if (to == GOVERNOR_PAUSED)
		g->marks.paused++;
	else
		g->marks.slowed++;
	g->marks.worst = MAX(g->marks.worst, to);
}

static void step(struct governor *g, const struct governor_reading *r, enum governor_level to)
{
	enum log_level how = to > g->level ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
	uint32_t *said = to > g->level ? &g->said_up : &g->said_down;

	mark(g, to);
	// Each direction is said once for each level; a limit that is hit all day fills no log.
	if (*said & 1u << to)
		how = LOG_LEVEL_DEBUG;
	*said |= 1u << to;
	log_line(how, LOGGER,
		"Sampling goes on at another level: %s (own memory %llu MB of %llu, own CPU %.1f %% "
		"of %.0f, memory pressure %.1f %%, own cgroup at its limit %llu times)",
		level_names[to], (unsigned long long)(r->anon + r->bpf) >> 20,
		(unsigned long long)g->max_memory >> 20, g->cpu, g->max_cpu, r->pressure,
		(unsigned long long)r->squeezed);
	g->level = to;
	g->stepped = r->now;
}

static void measure(struct governor *g, const struct governor_reading *now)
{
	double gap = (double)(now->now - g->last.now), cpu;

	if (g->last.now && gap > 0) {
		cpu = 100.0 * (double)(now->cpu_ns - g->last.cpu_ns) / gap;
		// Starting costs more than going on: the mean begins after it.
		if (now->now - g->first >= SETTLE_NS)
			g->cpu += (cpu - g->cpu) * MIN(1.0, CPU_SMOOTH * gap / NSEC_PER_SEC);
	}
	if (!g->first)
		g->first = now->now;
	if (!g->window_start.now)
		g->window_start = *now;
	g->last = *now;
}

enum governor_level governor_decide(struct governor *g, const struct governor_reading *now)
{
	uint64_t memory = now->anon + now->bpf;
	bool over_memory = g->max_memory && memory > g->max_memory;
	bool squeezed = g->last.now && now->squeezed > g->last.squeezed;
	bool scarce = now->pressure >= PRESSURE_MAX || squeezed;
	bool over_cpu, room;
	enum governor_level next = g->level;

	measure(g, now);
	over_cpu = g->max_cpu > 0 && g->cpu > g->max_cpu;
	room = (!g->max_memory || (double)memory < EASE_AT * (double)g->max_memory) &&
	       (g->max_cpu <= 0 || g->cpu < EASE_AT * g->max_cpu) && !scarce;
	if ((over_memory || over_cpu) && now->now - g->stepped >= STEP_NS) {
		// Dropped caches save no CPU.
		next = over_cpu					  ? MAX(g->level + 1, GOVERNOR_HALF)
		       : !g->may_shed && g->level < GOVERNOR_SHED ? GOVERNOR_HALF
								  : g->level + 1;
	} else if (scarce && g->may_shed && g->level == GOVERNOR_FULL) {
		next = GOVERNOR_SHED; // the machine's need, or our neighbours' in the cgroup, not ours
	} else if (room && g->level && now->now - g->stepped >= EASE_NS) {
		next = g->level - 1;
	}
	next = MIN(next, GOVERNOR_PAUSED);
	if (next != g->level)
		step(g, now, next);
	return g->level;
}

struct governor_marks governor_window(struct governor *g)
{
	struct governor_marks marks = g->marks;
	double gap = (double)(g->last.now - g->window_start.now);

	marks.end = g->last;
	if (gap > 0)
		marks.cpu_percent = 100.0 * (double)(g->last.cpu_ns - g->window_start.cpu_ns) / gap;
	g->window_start = g->last;
	g->marks = (struct governor_marks){.worst = g->level};
	return marks;
}

json_t *governor_json(const struct governor_marks *m)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:i}", "level", level_names[m->worst], "shed",
		(int)m->shed, "slowed", (int)m->slowed, "paused", (int)m->paused, "eased",
		(int)m->eased);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/vitals.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#define FILE_MAX (1u << 16)

struct part {
	vitals_fn fn;
	void *arg;
};

struct vitals {
	pthread_mutex_t lock; // guards shared
	struct vitals_report shared;
	pthread_mutex_t parts_lock; // held while parts are called
	struct part parts[VITALS_PARTS_MAX];
	unsigned nparts;
};

int vitals_new(uint64_t spawn_real_ns, struct vitals **ret)
{
	struct vitals *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->parts_lock, NULL);
	v->shared.values.start_time = (double)spawn_real_ns / NSEC_PER_SEC;
	v->shared.values.coverage = 1;
	v->shared.seen_ns = clock_mono_ns();
	snprintf(v->shared.words.state, sizeof(v->shared.words.state), "starting");
	*ret = v;
	return 0;
}

void vitals_free(struct vitals *v)
{
	if (!v)
		return;
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->parts_lock);
	free(v);
}

int vitals_add_part(struct vitals *v, vitals_fn fn, void *arg)
{
	int r = 0;

	if (!arg)
		return 0;
	pthread_mutex_lock(&v->parts_lock);
	if (v->nparts < VITALS_PARTS_MAX)
		v->parts[v->nparts++] = (struct part){fn, arg};
	else
		r = -ENOSPC;
	pthread_mutex_unlock(&v->parts_lock);
	return r;
}

void vitals_remove_part(struct vitals *v, vitals_fn fn, void *arg)
{
	pthread_mutex_lock(&v->parts_lock);
	for (unsigned i = 0; i < v->nparts; i++) {
		if (v->parts[i].fn != fn || v->parts[i].arg != arg)
			continue;
		v->parts[i] = v->parts[--v->nparts];
		break;
	}
	pthread_mutex_unlock(&v->parts_lock);
}

struct vitals_report *vitals_begin(struct vitals *v)
{
	pthread_mutex_lock(&v->lock);
	return &v->shared;
}

void vitals_end(struct vitals *v)
{
	struct metric_values *m = &v->shared.values;

	m->memory_peak = MAX(m->memory_peak, m->memory_anonymous);
	v->shared.seen_ns = clock_mono_ns();
	pthread_mutex_unlock(&v->lock);
}

double vitals_coverage(const struct profile_ledger *l)
{
	double lost = (double)(l->lost_ring + l->aggregation_full + l->not_delivered);
	double whole = (double)MAX(l->expected, l->entries + l->idle_silent + l->not_delivered);

	// A window in which nothing was due has lost nothing.
	return whole > 0 ? 1.0 - MIN(lost, whole) / whole : 1.0;
}

void vitals_window(struct vitals *v, const struct profile_meta *meta)
{
	static const size_t offsets[COUNTER_COUNT] = {
#define LEDGER(field, ...) [COUNTER_LEDGER_##field] = offsetof(struct profile_ledger, field),
#define CAPTURE(...)
#include "config/counters.def"
#undef LEDGER
#undef CAPTURE
	};
	struct vitals_report *r = vitals_begin(v);

	counter_each(id, COUNTER_GROUP_LEDGER)
	{
		r->ledger[id] += counter_get(&meta->ledger, offsets, id);
	}
	r->values.windows++;
	r->values.window_samples = (double)meta->ledger.entries;
	r->values.coverage = vitals_coverage(&meta->ledger);
	r->values.last_window =
		(double)(meta->start_real_ns + meta->duration_ns) / (double)NSEC_PER_SEC;
	vitals_end(v);
}

/* A number behind `key` in a file of /proc/self; 0 if there is none. */
static double number_of(const struct buf *text, const char *key)
{
	const char *at = strstr(buf_str(text), key);

	return at ? (double)strtoull(at + strlen(key), NULL, 10) : 0;
}

static void count_descriptors(struct metric_values *m)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	struct dirent *d;
	char target[64];

	m->descriptors = m->pipes = 0;
	while (dir && (d = readdir(dir))) {
		long fd = strtol(d->d_name, NULL, 10);
		ssize_t n;

		if (d->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		m->descriptors++;
		n = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);
		target[MAX(n, 0)] = 0;
		if (fd > STDERR_FILENO && !strncmp(target, "pipe:", 5))
			m->pipes++;
	}
}

/* The kernel lists children by the thread that started them (CONFIG_PROC_CHILDREN). */
static double count_children(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/task");
	struct dirent *d;
	double n = 0;

	while (dir && (d = readdir(dir))) {
		_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
		char path[64];

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", d->d_name);
		fs_read_file(path, &text);
		for (const char *p = buf_str(&text); *p; p++)
			n += *p == ' ';
	}
	return n;
}

static void read_process(struct metric_values *m)
{
	_cleanup_buf_ struct buf status = BUF_INIT(FILE_MAX);
	_cleanup_buf_ struct buf io = BUF_INIT(FILE_MAX);

	fs_read_file("/proc/self/status", &status);
	fs_read_file("/proc/self/io", &io);
	m->memory_anonymous =
		1024 * (number_of(&status, "RssAnon:") + number_of(&status, "RssShmem:"));
	m->memory_resident = 1024 * number_of(&status, "VmRSS:");
	m->threads = number_of(&status, "Threads:");
	m->disk_written = number_of(&io, "\nwrite_bytes: ");
	m->cpu_seconds = (double)clock_cpu_ns() / NSEC_PER_SEC;
	m->memory_peak = MAX(m->memory_peak, m->memory_anonymous);
	m->log_errors = (double)log_count(LOG_LEVEL_ERROR);
	m->log_warnings = (double)log_count(LOG_LEVEL_WARNING) - m->log_errors;
	m->child_processes = count_children();
	count_descriptors(m);
}

void vitals_collect(struct vitals *v, struct vitals_report *ret)
{
	pthread_mutex_lock(&v->lock);
	*ret = v->shared;
	pthread_mutex_unlock(&v->lock);
	read_process(&ret->values);
	pthread_mutex_lock(&v->parts_lock);
	for (unsigned i = 0; i < v->nparts; i++)
		v->parts[i].fn(v->parts[i].arg, &ret->values);
	pthread_mutex_unlock(&v->parts_lock);
	pthread_mutex_lock(&v->lock);
	v->shared.values.memory_peak = MAX(v->shared.values.memory_peak, ret->values.memory_peak);
	pthread_mutex_unlock(&v->lock);
}

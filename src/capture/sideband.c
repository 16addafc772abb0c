/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/sideband.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "capture/source.h"

/* struct sample_id at the end of every record, for the sample_type below. */
#define SAMPLE_ID_BYTES 24

struct sideband {
	struct ring_set rings;
	struct order *order; // of the drain that is under way
	uint64_t records, lost, throttled, malformed;
};

void sideband_attr(struct perf_event_attr *attr, bool own_only)
{
	*attr = (struct perf_event_attr){
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(*attr),
		.config = PERF_COUNT_SW_DUMMY,
		.sample_type = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU,
		.sample_id_all = 1,
		.mmap = 1, // executable ones; mmap_data would give the others
		.mmap2 = 1,
		.comm = 1,
		.comm_exec = 1,
		.task = 1,
		.build_id = 1,
		.cgroup = 1,
		.ksymbol = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		// Without it even a dummy event is refused to an ordinary user.
		.exclude_kernel = own_only,
	};
}

int sideband_new(const struct sideband_config *config, struct sideband **ret, char *why)
{
	struct buf text = BUF_INIT(CAPTURE_WHY - 1);
	unsigned pages = config->own_only ? SIDEBAND_OWN_PAGES : SIDEBAND_PAGES;
	struct ring_set_config rc = {
		.pages = config->pages ? config->pages : pages,
		.memory_max = config->memory_max ? config->memory_max : SIDEBAND_MEMORY_MAX,
		.pids = config->own_only ? config->pids : NULL,
		.npids = config->own_only ? config->npids : 0,
		.sharers = config->sharers,
		.sys = config->sys,
		.cpu_path = config->cpu_path,
	};
	struct sideband *s;
	int r;

	why[0] = '\0';
	if (config->own_only && !config->npids) {
		snprintf(why, CAPTURE_WHY,
			"side band: without privileges the processes must be named: --pids");
		return -EINVAL;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	sideband_attr(&rc.attr, config->own_only);
	r = ring_set_open(&s->rings, &rc);
	if (r) {
		free(s);
		return ring_set_explain(r, "side band", config->own_only, why, CAPTURE_WHY);
	}
	ring_set_describe(&s->rings, "side band", &text);
	snprintf(why, CAPTURE_WHY, "%s", buf_str(&text));
	buf_deinit(&text);
	*ret = s;
	return 0;
}

void sideband_free(struct sideband *s)
{
	if (!s)
		return;
	ring_set_close(&s->rings);
	free(s);
}

int sideband_start(struct sideband *s)
{
	ring_set_enable(&s->rings);
	return 0;
}

void sideband_stop(struct sideband *s)
{
	ring_set_disable(&s->rings);
}

int sideband_fd(const struct sideband *s)
{
	return s->rings.epoll_fd;
}

static void decode_mmap(
	struct cursor *c, const struct perf_event_header *h, struct capture_event *ret)
{
	struct capture_mmap *m = &ret->mmap;

	ret->type = CAPTURE_MMAP;
	ret->pid = cursor_u32(c);
	ret->tid = cursor_u32(c);
	m->start = cursor_u64(c);
	m->len = cursor_u64(c);
	m->pgoff = cursor_u64(c);
	m->prot = PROT_READ | PROT_EXEC;
	if (h->type == PERF_RECORD_MMAP2) {
		struct cursor id = cursor_sub(c, 24);

		// The two forms share their bytes; which it is can differ between two mappings of
		// one file, since the kernel reads the build id only from the page cache.
		if (h->misc & PERF_RECORD_MISC_MMAP_BUILD_ID) {
			m->build_id_len = MIN(cursor_u8(&id), CAPTURE_BUILD_ID_MAX);
			cursor_skip(&id, 3);
			cursor_copy(&id, m->build_id, sizeof(m->build_id));
		} else {
			m->maj = cursor_u32(&id);
			m->min = cursor_u32(&id);
			m->ino = cursor_u64(&id);
			m->ino_generation = cursor_u64(&id);
		}
		m->prot = cursor_u32(c);
		m->flags = cursor_u32(c);
	}
	m->path = cursor_cstr(c);
}

static void decode_task(struct cursor *c, enum capture_event_type type, struct capture_event *ret)
{
	ret->type = type;
	ret->pid = cursor_u32(c);
	ret->fork.ppid = cursor_u32(c);
	ret->tid = cursor_u32(c);
	ret->fork.ptid = cursor_u32(c);
}

static void decode_ksymbol(struct cursor *c, struct capture_event *ret)
{
	ret->type = CAPTURE_KSYMBOL;
	ret->ksymbol.addr = cursor_u64(c);
	ret->ksymbol.len = cursor_u32(c);
	cursor_u16(c); // type: BPF program or out of line
	ret->ksymbol.gone = cursor_u16(c) & PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER;
	ret->ksymbol.name = cursor_cstr(c);
}

int sideband_decode(const struct perf_event_header *h, uint32_t cpu, struct capture_event *ret)
{
	struct cursor c = cursor_make(h + 1, h->size - sizeof(*h));
	struct cursor id;
	struct capture_event e = {.cpu = cpu};

	if (cursor_left(&c) < SAMPLE_ID_BYTES)
		return -EINVAL;
	c = cursor_sub(&c, cursor_left(&c) - SAMPLE_ID_BYTES);
	id = cursor_make(c.end, SAMPLE_ID_BYTES);
	e.pid = cursor_u32(&id);
	e.tid = cursor_u32(&id);
	e.time = cursor_u64(&id);
	switch (h->type) {
	case PERF_RECORD_MMAP:
	case PERF_RECORD_MMAP2:
		decode_mmap(&c, h, &e);
		break;
	case PERF_RECORD_COMM:
		e.type = CAPTURE_COMM;
		e.pid = cursor_u32(&c);
		e.tid = cursor_u32(&c);
		e.comm.text = cursor_cstr(&c);
		e.comm.exec = h->misc & PERF_RECORD_MISC_COMM_EXEC;
		break;
	case PERF_RECORD_FORK:
		decode_task(&c, CAPTURE_FORK, &e);
		break;
	case PERF_RECORD_EXIT:
		decode_task(&c, CAPTURE_EXIT, &e);
		break;
	case PERF_RECORD_CGROUP:
		e.type = CAPTURE_CGROUP;
		e.cgroup.id = cursor_u64(&c);
		e.cgroup.path = cursor_cstr(&c);
		break;
	case PERF_RECORD_KSYMBOL:
		decode_ksymbol(&c, &e);
		break;
	case PERF_RECORD_LOST:
		e.type = CAPTURE_LOST;
		cursor_skip(&c, 8); // id of the event
		e.lost.count = cursor_u64(&c);
		break;
	case PERF_RECORD_LOST_SAMPLES:
		e.type = CAPTURE_LOST;
		e.lost.count = cursor_u64(&c);
		break;
	case PERF_RECORD_THROTTLE:
	case PERF_RECORD_UNTHROTTLE:
		e.type = CAPTURE_THROTTLE;
		e.throttle.on = h->type == PERF_RECORD_THROTTLE;
		break;
	default:
		return 1;
	}
	if (c.bad)
		return -EINVAL;
	*ret = e;
	return 0;
}

static int take_record(void *arg, uint32_t cpu, const struct perf_event_header *h)
{
	struct sideband *s = arg;
	struct capture_event e;
	int r = sideband_decode(h, cpu, &e);

	if (r) {
		s->malformed += r < 0;
		return 0;
	}
	if (e.type == CAPTURE_LOST)
		s->lost += e.lost.count;
	if (e.type == CAPTURE_THROTTLE)
		s->throttled++;
	s->records++;
	return order_push(s->order, &e);
}

int sideband_drain(struct sideband *s, struct order *o)
{
	s->order = o;
	return ring_set_drain(&s->rings, take_record, s);
}

static int cpu_changed(void *arg, uint32_t cpu, bool came)
{
	struct sideband *s = arg;
	struct capture_event e = {
		.type = CAPTURE_LOST,
		.cpu = cpu,
		.time = clock_mono_ns(),
	};

	// What happened on it between its coming and our event is not known.
	return came ? order_push(s->order, &e) : 0;
}

int sideband_recheck(struct sideband *s, struct order *o, uint64_t now)
{
	s->order = o;
	return ring_set_recheck(&s->rings, now, take_record, cpu_changed, s);
}

void sideband_get_stats(const struct sideband *s, struct sideband_stats *ret)
{
	*ret = (struct sideband_stats){
		.records = s->records,
		.lost = s->lost,
		.throttled = s->throttled,
		.malformed = s->malformed + ring_set_malformed(&s->rings),
		.memory = ring_set_memory(&s->rings),
		.ncpus = (unsigned)s->rings.cpus.len,
		.nevents = ring_set_fds(&s->rings),
		.cpus_failed = s->rings.cpus_failed,
		.threads_failed = s->rings.threads_failed,
		.pages = s->rings.pages,
		.features_lost = s->rings.features_lost,
	};
}

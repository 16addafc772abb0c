/* SPDX-License-Identifier: Apache-2.0 */
/* The rung without BPF: perf's own samples, with registers and a copy of the stack, or the kernel's
 * callchain. */
#include "capture/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "capture/comm_map.h"
#include "capture/event_find.h"
#include "capture/order.h"
#include "capture/ring_set.h"
#include "capture/sample_decode.h"
#include "capture/sideband.h"
#include "capture/source_ring.h"
#include "capture/tables.h"

#define LOGGER "gprofiler.capture"
#define SAMPLE_HEAD_BYTES 2048 // of a record: header, registers, a long callchain
#define STACK_BYTES_DEFAULT 8192
#define STACK_BYTES_MIN 1024
#define RING_PAGES_MIN 32
#define RING_PAGES_MAX 512
#define RING_MEMORY_MAX (16u << 20) // of all sample rings
#define ORDER_ARENA (64u << 20) // address space; used only while a drain lasts
#define COMMS_MAX 65536

struct source_ring {
	struct capture_source base;
	struct ring_set sets[CAPTURE_EVENTS_MAX];
	struct sample_format formats[CAPTURE_EVENTS_MAX];
	unsigned nsets;
	const struct perf_sys *sys;
	struct sideband *sideband;
	struct order order;
	struct comm_map comms;
	struct map chosen; // pids, if given
	bool filter;
	struct sample_parts parts;
	struct rec_counters counters[CAPTURE_EVENTS_MAX];
	uint64_t samples, records, lost_noticed, throttled, malformed;
	unsigned draining; // index of the set whose ring is read
	capture_event_fn fn;
	void *arg;
};

static struct source_ring *ring_of(struct capture_source *s)
{
	return (struct source_ring *)s;
}

static void ring_free(struct capture_source *s)
{
	struct source_ring *r = ring_of(s);

	if (!s)
		return;
	for (unsigned i = 0; i < r->nsets; i++)
		ring_set_close(&r->sets[i]);
	sideband_free(r->sideband);
	order_deinit(&r->order);
	comm_map_deinit(&r->comms);
	map_deinit(&r->chosen);
	capture_tables_unmap(&s->tables);
	if (s->poll_fd >= 0)
		close(s->poll_fd);
	free(r);
}

static int ring_start(struct capture_source *s)
{
	struct source_ring *r = ring_of(s);
	int err = sideband_start(r->sideband);

	for (unsigned i = 0; i < r->nsets && !err; i++)
		ring_set_enable(&r->sets[i]);
	return err;
}

static void ring_stop(struct capture_source *s)
{
	struct source_ring *r = ring_of(s);

	for (unsigned i = 0; i < r->nsets; i++)
		ring_set_disable(&r->sets[i]);
	sideband_stop(r->sideband);
}

static int take_other(struct source_ring *r, const struct perf_event_header *h, uint32_t cpu)
{
	struct capture_event e;
	int err = sideband_decode(h, cpu, &e);

	if (err < 0)
		r->malformed++;
	if (err)
		return 0;
	if (e.type == CAPTURE_LOST) {
		e.lost.samples = true;
		r->lost_noticed += e.lost.count;
	} else if (e.type == CAPTURE_THROTTLE) {
		r->throttled += e.throttle.on;
	}
	return order_push(&r->order, &e);
}

static int take_record(void *arg, uint32_t cpu, const struct perf_event_header *h)
{
	struct source_ring *r = arg;
	struct rec_sample *rec = &r->parts.rec;
	struct rec_counters *counters = &r->counters[r->draining];
	struct capture_event e;

	if (h->type != PERF_RECORD_SAMPLE)
		return take_other(r, h, cpu);
	if (sample_decode(&r->formats[r->draining], h, cpu, &r->parts, &e)) {
		r->malformed++;
		return 0;
	}
	// A child that inherited the event where the kernel cannot leave children out, or any
	// process where there were too few descriptors for events by thread.
	if (r->filter && rec->outcome != REC_OUT_IDLE && !map_get(&r->chosen, rec->pid))
		rec->outcome = REC_OUT_FILTERED;
	counters->outcomes[rec->outcome]++;
	if (rec->outcome == REC_OUT_FILTERED)
		return 0;
	if (rec->outcome == REC_OUT_HANDOFF || rec->outcome == REC_OUT_BROKEN)
		counters->reasons[rec->reason]++;
	counters->user_frames += rec->user_words;
	return order_push(&r->order, &e);
}

/* In order: names are learned, and put into the samples that follow. */
static int deliver(void *arg, const struct capture_event *event)
{
	struct source_ring *r = arg;
	struct capture_event e = *event;
	struct rec_sample rec;

	if (e.type != CAPTURE_SAMPLE) {
		comm_map_apply(&r->comms, &e);
		r->records++;
		return r->fn(r->arg, &e);
	}
	rec = *e.sample.rec;
	if (rec.tid)
		comm_map_get(&r->comms, rec.pid, rec.tid, rec.comm);
	e.sample.rec = &rec;
	r->samples++;
	return r->fn(r->arg, &e);
}

static int cpu_changed(void *arg, uint32_t cpu, bool came)
{
	(void)arg, (void)cpu, (void)came;
	return 0; // the side band says so
}

static int drain_set(struct source_ring *r, unsigned i, uint64_t now)
{
	int err;

	r->draining = i;
	err = ring_set_recheck(&r->sets[i], now, take_record, cpu_changed, r);
	return err ? err : ring_set_drain(&r->sets[i], take_record, r);
}

static int ring_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	struct source_ring *r = ring_of(s);
	uint64_t now = clock_mono_ns();
	struct epoll_event dummy[1 + CAPTURE_EVENTS_MAX];
	int err;

	r->fn = fn;
	r->arg = arg;
	order_begin(&r->order, deliver, r);
	epoll_wait(s->poll_fd, dummy, (int)ARRAY_SIZE(dummy), 0);
	err = sideband_recheck(r->sideband, &r->order, now);
	if (!err)
		err = sideband_drain(r->sideband, &r->order);
	for (unsigned i = 0; i < r->nsets && !err; i++)
		err = drain_set(r, i, now);
	return err ? err : order_finish(&r->order, order_horizon(now, until));
}

/* Entries are what their outcomes sum to. */
static void add_counters(struct rec_counters *of, struct rec_counters *sum)
{
	for (unsigned i = 0; i < REC_OUT_MAX; i++) {
		of->entries += of->outcomes[i];
		sum->outcomes[i] += of->outcomes[i];
	}
	for (unsigned i = 0; i < REC_WHY_MAX; i++)
		sum->reasons[i] += of->reasons[i];
	sum->entries += of->entries;
	sum->user_frames += of->user_frames;
}

static void ring_stats(struct capture_source *s, struct capture_stats *ret)
{
	struct source_ring *r = ring_of(s);
	uint64_t lost = 0, malformed = r->malformed, lost_of[CAPTURE_EVENTS_MAX] = {0};
	struct sideband_stats sb;

	sideband_get_stats(r->sideband, &sb);
	*ret = (struct capture_stats){
		.samples = r->samples,
		.records = r->records,
		.lost_records = sb.lost,
		.throttled = r->throttled,
		.bpf_memory = sb.memory,
	};
	for (unsigned i = 0; i < r->nsets; i++) {
		lost_of[i] = ring_set_read_lost(&r->sets[i]);
		lost += lost_of[i];
		malformed += ring_set_malformed(&r->sets[i]);
		ret->bpf_memory += ring_set_memory(&r->sets[i]);
	}
	// Notices come late, and the last of them never; the descriptors know (Linux 6.0).
	ret->lost_samples = MAX(lost, r->lost_noticed) + malformed + r->order.stats.malformed;
	// What no descriptor tells of is the first event's.
	lost_of[0] += ret->lost_samples - lost;
	for (unsigned i = 0; i < r->nsets; i++) {
		ret->events[i] = r->counters[i];
		ret->events[i].outcomes[REC_OUT_LOST_RING] = lost_of[i];
		add_counters(&ret->events[i], &ret->kernel);
	}
}

static const struct capture_source_ops ring_ops = {
	.name = "ring",
	.start = ring_start,
	.stop = ring_stop,
	.drain = ring_drain,
	.stats = ring_stats,
	.free = ring_free,
};

/* What is being opened. */
struct opening {
	struct source_ring *r;
	const struct capture_config *config;
	unsigned stack_bytes;
	unsigned nevents; // that share the memory
	bool by_thread;
};

static void sample_attr(struct perf_event_attr *attr, const struct opening *o,
	const struct capture_perf_event *event)
{
	*attr = (struct perf_event_attr){
		.type = event->perf_type,
		.config = event->perf_config,
		.freq = 1,
		.sample_freq = o->r->base.frequency,
		.read_format = 1u << 4, // PERF_FORMAT_LOST
		.sample_id_all = 1,
		.use_clockid = 1,
		.clockid = CLOCK_MONOTONIC,
		.exclude_idle = !o->config->include_idle,
		.exclude_kernel = o->config->own_only,
		.exclude_hv = o->config->own_only,
	};
}

/* A second of samples: what a caller may take over the end of a window without losing any. */
static unsigned ring_pages(size_t wanted)
{
	unsigned pages = RING_PAGES_MIN;

	while (pages < wanted && pages < RING_PAGES_MAX)
		pages *= 2;
	return pages;
}

/* Opens one event with a stack copy of o->stack_bytes; halves that if the rings that the memory
 * limits leave could not hold a few samples. */
static int open_set(struct opening *o, const struct capture_perf_event *event)
{
	struct source_ring *r = o->r;
	struct sample_format *f = &r->formats[r->nsets];
	struct ring_set *set = &r->sets[r->nsets];
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (;;) {
		size_t record = o->stack_bytes + SAMPLE_HEAD_BYTES;
		struct ring_set_config rc = {
			.pages = ring_pages(r->base.frequency * record / page),
			.memory_max = RING_MEMORY_MAX / o->nevents,
			.pids = o->by_thread ? o->config->pids : NULL,
			.npids = o->by_thread ? o->config->npids : 0,
			.sharers = o->nevents - r->nsets,
			.sys = r->sys,
		};
		int err;

		*f = (struct sample_format){
			.mode = o->config->mode,
			.kernel_stacks = o->config->kernel_stacks && !o->config->own_only,
			.event = (uint8_t)r->nsets,
			.max_frames = o->config->max_frames,
		};
		sample_attr(&rc.attr, o, event);
		sample_format_make(f, &rc.attr, o->stack_bytes);
		err = ring_set_open(set, &rc);
		if (err)
			return err;
		if (set->pages * page >= 4 * record || o->stack_bytes <= STACK_BYTES_MIN)
			break;
		ring_set_close(set);
		o->stack_bytes = o->stack_bytes / 2 & ~7u;
	}
	f->sample_type = set->attr.sample_type;
	r->base.events[r->nsets++] = *event;
	return 0;
}

/* One event after the other, as asked for, or the first that this machine has. */
static int open_sets(struct opening *o)
{
	const struct capture_config *c = o->config;
	struct capture_perf_event clock;
	int err = -ENOENT;

	for (unsigned i = 0; i < c->nevents; i++) {
		err = open_set(o, &c->events[i]);
		if (err)
			return err;
	}
	for (unsigned i = 0; !c->nevents && err && !event_find_clock(i, &clock); i++) {
		err = open_set(o, &clock);
		if (err == -EACCES || err == -EPERM || err == -ENOBUFS || err == -ESRCH)
			return err;
	}
	return err;
}

static void close_sets(struct source_ring *r)
{
	while (r->nsets)
		ring_set_close(&r->sets[--r->nsets]);
}

static unsigned threads_left_out(const struct source_ring *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->nsets; i++)
		n = MAX(n, r->sets[i].threads_failed);
	return n;
}

/* Samples a second that the kernel allows; it lowers that itself when interrupts take too long. */
static unsigned allowed_frequency(unsigned wanted)
{
	_cleanup_buf_ struct buf b = BUF_INIT(64);
	unsigned long max;

	if (fs_read_file("/proc/sys/kernel/perf_event_max_sample_rate", &b))
		return wanted;
	max = strtoul(buf_str(&b), NULL, 10);
	return max && max < wanted ? (unsigned)max : wanted;
}

static int open_sampling(struct source_ring *r, const struct capture_config *c, struct buf *notes)
{
	bool copies = c->mode == BPF_UNWIND_TABLE || c->mode == BPF_UNWIND_SMART;
	unsigned stack_bytes = c->stack_bytes ? c->stack_bytes : STACK_BYTES_DEFAULT;
	struct opening o = {
		.r = r,
		.config = c,
		.stack_bytes = copies ? MIN(stack_bytes, SAMPLE_STACK_MAX) : 0,
		.nevents = MAX(c->nevents, 1u),
		.by_thread = c->npids,
	};
	unsigned wanted = o.stack_bytes;
	int err;

	r->base.frequency = allowed_frequency(c->frequency);
	err = open_sets(&o);
	// With privileges there is a way that needs fewer descriptors: everything, then a filter.
	if (o.by_thread && !c->own_only && (err == -EMFILE || (!err && threads_left_out(r)))) {
		close_sets(r);
		o.by_thread = false;
		o.stack_bytes = wanted;
		err = open_sets(&o);
	}
	if (err)
		return err;
	if (r->base.frequency < c->frequency)
		buf_printf(notes,
			"sampling: %u Hz instead of %u, the kernel's limit: raise "
			"/proc/sys/kernel/perf_event_max_sample_rate",
			r->base.frequency, c->frequency);
	if (o.stack_bytes < wanted)
		buf_printf(notes,
			"%ssampling: %u bytes of stack a sample instead of %u, for lack of locked "
			"memory: raise /proc/sys/kernel/perf_event_mlock_kb or ulimit -l",
			notes->len ? ". " : "", o.stack_bytes, wanted);
	ring_set_describe(&r->sets[0], "sampling", notes);
	return 0;
}

static int watch(struct source_ring *r, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(r->base.poll_fd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

static int init_parts(struct source_ring *r, const struct capture_config *c)
{
	int err;

	comm_map_init(&r->comms, COMMS_MAX);
	map_init(&r->chosen, MAX(c->npids, (size_t)1));
	r->filter = c->npids;
	for (size_t i = 0; i < c->npids; i++) {
		err = map_set(&r->chosen, c->pids[i], 1);
		if (err)
			return err;
	}
	err = order_init(&r->order, ORDER_ARENA);
	if (!err)
		err = capture_tables_map(&r->base.tables);
	r->base.poll_fd = epoll_create1(EPOLL_CLOEXEC);
	return err ? err : r->base.poll_fd < 0 ? -errno : 0;
}

/* Side band first: its rings are small, and without it no stack can be named. */
static int build(struct source_ring *r, const struct capture_config *c, char *why)
{
	struct sideband_config sc = {.own_only = c->own_only,
		.pids = c->pids,
		.npids = c->npids,
		.sharers = 1 + MAX(c->nevents, 1u),
		.sys = r->sys};
	_cleanup_buf_ struct buf notes = BUF_INIT(CAPTURE_WHY - 1);
	int err = init_parts(r, c);

	if (err) {
		snprintf(why, CAPTURE_WHY, "ring: %s", strerror(-err));
		return err;
	}
	err = sideband_new(&sc, &r->sideband, why);
	if (err)
		return err;
	buf_append_str(&notes, why);
	err = open_sampling(r, c, &notes);
	if (err)
		return ring_set_explain(err, "sampling", c->own_only, why, CAPTURE_WHY);
	err = watch(r, sideband_fd(r->sideband));
	for (unsigned i = 0; i < r->nsets && !err; i++)
		err = watch(r, r->sets[i].epoll_fd);
	if (err) {
		snprintf(why, CAPTURE_WHY, "ring: epoll: %s", strerror(-err));
		return err;
	}
	if (notes.len)
		log_warning(LOGGER, "%s", buf_str(&notes));
	why[0] = '\0';
	r->base.nevents = r->nsets;
	r->base.ncpus = (unsigned)r->sets[0].cpus.len;
	return 0;
}

int source_ring_new(const struct capture_config *config, const struct perf_sys *sys,
	struct capture_source **ret, char *why)
{
	struct source_ring *r;
	int err;

	why[0] = '\0';
	if (config->own_only && !config->npids) {
		snprintf(why, CAPTURE_WHY,
			"sampling: without privileges the processes must be named: --pids");
		return -EPERM;
	}
	if (!config->frequency || config->nevents > CAPTURE_EVENTS_MAX)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->base.ops = &ring_ops;
	r->base.poll_fd = -1;
	r->sys = sys;
	err = build(r, config, why);
	if (err) {
		ring_free(&r->base);
		return err;
	}
	*ret = &r->base;
	return 0;
}

int capture_source_ring_new(
	const struct capture_config *config, struct capture_source **ret, char *why)
{
	return source_ring_new(config, NULL, ret, why);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The best rung: the in-kernel walker on a perf event of every CPU, and the side band. */
#include "capture/source.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "capture/bpf_object.h"
#include "capture/cpu_list.h"
#include "capture/event_find.h"
#include "capture/order.h"
#include "capture/sideband.h"

#define LOGGER "gprofiler.capture"
#define RING_BYTES_PER_CPU (1u << 20) // 60 handed-over stacks, or half a minute of whole ones
#define RING_BYTES_MIN (1u << 20)
#define RING_BYTES_MAX (16u << 20)
#define ORDER_ARENA (32u << 20) // address space; used only while a drain lasts
#define QUARANTINE_NS (100 * NSEC_PER_MSEC)
#define RECHECK_NS (5 * NSEC_PER_SEC)

/* One perf event: an event of the list on one CPU. */
struct ticker {
	int fd;
	uint32_t cpu;
	uint8_t event;
};
VEC_DEFINE(ticker_vec, struct ticker)

struct source_bpf {
	struct capture_source base;
	struct bpf_sampler *sampler;
	struct sideband *sideband;
	struct order order;
	struct ticker_vec tickers;
	struct cpu_vec cpus; // online at the last look
	bool prepared; // the side band is on
	unsigned hz; // now; 0: paused
	bool running;
	uint64_t checked; // time of the last look at the CPUs
	uint64_t samples, records;
	capture_event_fn fn;
	void *arg;
};

static struct source_bpf *bpf_of(struct capture_source *s)
{
	return (struct source_bpf *)s;
}

static void bpf_free(struct capture_source *s)
{
	struct source_bpf *b = bpf_of(s);

	if (!s)
		return;
	vec_foreach (t, &b->tickers)
		close(t->fd);
	ticker_vec_deinit(&b->tickers);
	cpu_vec_deinit(&b->cpus);
	bpf_sampler_close(b->sampler);
	sideband_free(b->sideband);
	order_deinit(&b->order);
	if (s->poll_fd >= 0)
		close(s->poll_fd);
	free(b);
}

static void tick_all(struct source_bpf *b, unsigned long request)
{
	vec_foreach (t, &b->tickers)
		ioctl(t->fd, request, 0);
}

static int bpf_prepare(struct capture_source *s)
{
	struct source_bpf *b = bpf_of(s);
	int r = b->prepared ? 0 : sideband_start(b->sideband);

	b->prepared = !r;
	return r;
}

static int bpf_start(struct capture_source *s)
{
	struct source_bpf *b = bpf_of(s);
	int r = bpf_prepare(s);

	if (r)
		return r;
	b->running = true;
	tick_all(b, PERF_EVENT_IOC_ENABLE);
	return 0;
}

static void bpf_stop(struct capture_source *s)
{
	struct source_bpf *b = bpf_of(s);

	b->running = b->prepared = false;
	tick_all(b, PERF_EVENT_IOC_DISABLE);
	sideband_stop(b->sideband);
}

/* Ticks of the idle task are let through even if nobody wants them (the program is left after a few
 * instructions): only so every tick of the clock is accounted for. With exclude_idle they would look
 * like ticks that the kernel failed to deliver. */
static int open_event(const struct source_bpf *b, const struct capture_perf_event *e, uint32_t cpu)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = e->perf_type,
		.config = e->perf_config,
		.freq = 1,
		.sample_freq = b->hz ? b->hz : b->base.frequency,
		.disabled = 1,
		// Idle ticks are let in and counted: the ledger then adds up against the clock.
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* One CPU of one event. A CPU that went offline between the list and here is no failure. */
static int add_ticker(struct source_bpf *b, uint8_t event, uint32_t cpu)
{
	struct ticker t = {.cpu = cpu, .event = event};
	int r;

	t.fd = open_event(b, &b->base.events[event], cpu);
	if (t.fd < 0)
		return t.fd == -ENODEV ? 0 : t.fd;
	r = bpf_sampler_attach(b->sampler, t.fd, event);
	if (!r)
		r = ticker_vec_push(&b->tickers, t);
	if (r)
		close(t.fd);
	else if (b->running && b->hz)
		ioctl(t.fd, PERF_EVENT_IOC_ENABLE, 0);
	return r;
}

static void drop_tickers(struct source_bpf *b, size_t from)
{
	while (b->tickers.len > from)
		close(b->tickers.data[--b->tickers.len].fd);
}

static int add_event(struct source_bpf *b, const struct capture_perf_event *e)
{
	uint8_t event = (uint8_t)b->base.nevents;
	size_t before = b->tickers.len;
	int r = 0;

	b->base.events[event] = *e;
	for (size_t i = 0; i < b->cpus.len && !r; i++)
		r = add_ticker(b, event, b->cpus.data[i]);
	if (!r && b->tickers.len == before)
		r = -ENODEV;
	if (r) {
		drop_tickers(b, before);
		return r;
	}
	b->base.nevents++;
	return 0;
}

/* kernel.perf_event_max_sample_rate, which the kernel lowers by itself when interrupts take long;
 * above it an event is refused with EINVAL. */
static unsigned allowed_frequency(unsigned wanted)
{
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	unsigned long max = 0;

	if (!fs_read_file("/proc/sys/kernel/perf_event_max_sample_rate", &text))
		max = strtoul(buf_str(&text), NULL, 10);
	return max && max < wanted ? (unsigned)max : wanted;
}

static int open_events(struct source_bpf *b, const struct capture_config *c, char *why)
{
	struct capture_perf_event e;
	int r = -ENOENT;

	for (unsigned i = 0; i < c->nevents; i++) {
		r = add_event(b, &c->events[i]);
		// What the reference calls "cycles" is the best clock there is.
		if (r == -ENOENT && !strcmp(c->events[i].name, "cycles")) {
			event_find_named("cpu-clock", &e);
			r = add_event(b, &e);
		}
		if (r) {
			snprintf(why, CAPTURE_WHY,
				"the event %s cannot be sampled on this machine (%s): leave it out of "
				"--perf-events",
				c->events[i].name, strerror(-r));
			return r;
		}
	}
	for (unsigned n = 0; !c->nevents && r && !event_find_clock(n, &e); n++)
		r = add_event(b, &e);
	if (r)
		snprintf(why, CAPTURE_WHY,
			"no clock event could be opened on the CPUs (%s): `gprofiler check` says what "
			"this machine allows",
			strerror(-r));
	return r;
}

static bool listed(const struct cpu_vec *cpus, uint32_t cpu)
{
	for (size_t i = 0; i < cpus->len; i++)
		if (cpus->data[i] == cpu)
			return true;
	return false;
}

/* CPUs come and go: the event of one that went is let go, one that came gets its own. */
static void recheck_cpus(struct source_bpf *b, uint64_t now)
{
	struct cpu_vec online;

	if (now - b->checked < RECHECK_NS)
		return;
	b->checked = now;
	cpu_vec_init(&online, CPU_LIST_MAX);
	if (cpu_list_read(CPU_LIST_ONLINE, &online)) {
		cpu_vec_deinit(&online);
		return;
	}
	for (size_t i = b->tickers.len; i > 0; i--) {
		if (listed(&online, b->tickers.data[i - 1].cpu))
			continue;
		close(b->tickers.data[i - 1].fd);
		ticker_vec_remove(&b->tickers, i - 1, 1);
	}
	vec_foreach (cpu, &online) {
		if (listed(&b->cpus, *cpu))
			continue;
		log_debug(LOGGER, "CPU %u came online", *cpu);
		for (unsigned e = 0; e < b->base.nevents; e++)
			add_ticker(b, (uint8_t)e, *cpu);
	}
	cpu_vec_deinit(&b->cpus);
	b->cpus = online;
	b->base.ncpus = (unsigned)online.len;
}

static int take_record(void *arg, void *data, size_t len)
{
	struct source_bpf *b = arg;

	return order_push_record(&b->order, data, len);
}

static int deliver(void *arg, const struct capture_event *event)
{
	struct source_bpf *b = arg;

	if (event->type == CAPTURE_SAMPLE)
		b->samples++;
	else
		b->records++;
	return b->fn(b->arg, event);
}

static int bpf_drain(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg)
{
	struct source_bpf *b = bpf_of(s);
	uint64_t now = clock_mono_ns();
	int r;

	b->fn = fn;
	b->arg = arg;
	order_begin(&b->order, deliver, b);
	if (b->running)
		recheck_cpus(b, now);
	r = sideband_recheck(b->sideband, &b->order, now);
	if (!r)
		r = sideband_drain(b->sideband, &b->order);
	if (!r)
		r = bpf_sampler_drain(b->sampler, take_record, b);
	return r ? r : order_finish(&b->order, order_horizon(now, until));
}

static void bpf_stats(struct capture_source *s, struct capture_stats *ret)
{
	struct source_bpf *b = bpf_of(s);
	struct bpf_object_info info;
	struct sideband_stats sb;

	sideband_get_stats(b->sideband, &sb);
	bpf_sampler_info(b->sampler, &info);
	*ret = (struct capture_stats){
		.samples = b->samples,
		.records = b->records,
		.lost_records = sb.lost,
		.throttled = sb.throttled,
		.bpf_run_ns = info.run_ns,
		.bpf_memory = info.memory + sb.memory,
	};
	for (unsigned i = 0; i < b->base.nevents; i++) {
		const uint64_t *from = (const uint64_t *)&ret->events[i];
		uint64_t *to = (uint64_t *)&ret->kernel;

		bpf_sampler_counters(b->sampler, i, &ret->events[i]);
		for (size_t k = 0; k < sizeof(ret->kernel) / sizeof(*to); k++)
			to[k] += from[k];
	}
	ret->lost_samples = ret->kernel.outcomes[REC_OUT_LOST_RING] + b->order.stats.malformed;
}

static int bpf_set_process(struct capture_source *s, uint32_t pid, const struct uw_process *p)
{
	return bpf_sampler_set_process(bpf_of(s)->sampler, pid, p);
}

static int bpf_remove_process(struct capture_source *s, uint32_t pid)
{
	return bpf_sampler_remove_process(bpf_of(s)->sampler, pid);
}

static int bpf_set_runtime(
	struct capture_source *s, uint8_t kind, uint32_t pid, const void *process)
{
	return bpf_sampler_set_runtime(bpf_of(s)->sampler, kind, pid, process);
}

static int bpf_set_layout(
	struct capture_source *s, uint8_t kind, uint32_t index, const void *layout)
{
	return bpf_sampler_set_layout(bpf_of(s)->sampler, kind, index, layout);
}

static int bpf_set_groups(struct capture_source *s, const struct capture_groups *groups)
{
	return bpf_sampler_set_groups(bpf_of(s)->sampler, groups);
}

static int bpf_add_group(struct capture_source *s, uint64_t id, uint32_t pid)
{
	return bpf_sampler_add_group(bpf_of(s)->sampler, id, pid);
}

/* MEMBARRIER_CMD_GLOBAL is synchronize_rcu() in the kernel (kernel/sched/membarrier.c), and a
 * perf_event program runs with interrupts off inside an RCU read-side section: when the call
 * returns, every run that could see the old tables is over. Where it is refused (nohz_full), a run
 * being far shorter than the quarantine does. */
static void bpf_synchronize(struct capture_source *s)
{
	(void)s;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
		clock_sleep_ns(QUARANTINE_NS);
}

/* The timers of the clock events have no frequency, whatever they were opened with: the kernel made a
 * period of it (perf_swevent_init_hrtimer()). */
static int set_ticker_rate(const struct source_bpf *b, const struct ticker *t, unsigned hz)
{
	const struct capture_perf_event *e = &b->base.events[t->event];
	bool timer = e->perf_type == PERF_TYPE_SOFTWARE &&
		     (e->perf_config == PERF_COUNT_SW_CPU_CLOCK ||
			     e->perf_config == PERF_COUNT_SW_TASK_CLOCK);
	uint64_t value = timer ? NSEC_PER_SEC / hz : hz;

	return ioctl(t->fd, PERF_EVENT_IOC_PERIOD, &value) < 0 ? -errno : 0;
}

static int bpf_set_rate(struct capture_source *s, unsigned hz)
{
	struct source_bpf *b = bpf_of(s);
	int first = 0;

	vec_foreach (t, &b->tickers) {
		int r = hz ? set_ticker_rate(b, t, hz) : 0;

		first = first ? first : r;
	}
	if (b->running && !hz != !b->hz)
		tick_all(b, hz ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE);
	b->hz = hz;
	return first;
}

static const struct capture_source_ops bpf_ops = {
	.name = "bpf",
	.prepare = bpf_prepare,
	.set_rate = bpf_set_rate,
	.start = bpf_start,
	.stop = bpf_stop,
	.drain = bpf_drain,
	.stats = bpf_stats,
	.free = bpf_free,
	.set_process = bpf_set_process,
	.remove_process = bpf_remove_process,
	.synchronize = bpf_synchronize,
	.set_runtime = bpf_set_runtime,
	.set_runtime_layout = bpf_set_layout,
	.set_groups = bpf_set_groups,
	.add_group = bpf_add_group,
};

static uint32_t ring_bytes(size_t ncpus)
{
	uint32_t n = RING_BYTES_MIN;

	while (n < RING_BYTES_MAX && n < ncpus * RING_BYTES_PER_CPU)
		n *= 2;
	return n;
}

static int open_sampler(struct source_bpf *b, const struct capture_config *c, char *why)
{
	struct bpf_object_config config = {
		.bpf =
			{
				.mode = c->mode,
				.filter_pids = c->npids > 0,
				.kernel_stacks = c->kernel_stacks,
				.include_idle = c->include_idle,
				.max_frames = c->max_frames ? MIN(c->max_frames, REC_USER_WORDS_MAX)
							    : REC_USER_WORDS_MAX,
				.stop_at_sample = c->stop_at_sample,
				.stack_bytes = REC_STACK_MAX,
				.runtimes = c->python ? 1u << REC_FRAME_PYTHON : 0,
				.events = MAX(c->nevents, 1u),
			},
		.groups = c->groups,
		.ring_bytes = ring_bytes(b->cpus.len),
	};
	int r = bpf_sampler_open(&config, &b->sampler, why);

	for (size_t i = 0; i < c->npids && !r; i++)
		r = bpf_sampler_choose(b->sampler, c->pids[i]);
	if (!r)
		bpf_sampler_tables(b->sampler, &b->base.tables);
	return r;
}

static int watch(struct source_bpf *b)
{
	struct epoll_event e = {.events = EPOLLIN};

	b->base.poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (b->base.poll_fd < 0)
		return -errno;
	if (epoll_ctl(b->base.poll_fd, EPOLL_CTL_ADD, bpf_sampler_fd(b->sampler), &e) ||
		epoll_ctl(b->base.poll_fd, EPOLL_CTL_ADD, sideband_fd(b->sideband), &e))
		return -errno;
	return 0;
}

static int open_all(struct source_bpf *b, const struct capture_config *config, char *why)
{
	struct sideband_config side = {0};
	char lost[CAPTURE_WHY] = "";
	int r = order_init(&b->order, ORDER_ARENA);

	if (!r)
		r = cpu_list_read(CPU_LIST_ONLINE, &b->cpus);
	if (!r)
		r = open_sampler(b, config, why);
	if (!r)
		r = open_events(b, config, why);
	if (!r) {
		r = sideband_new(&side, &b->sideband, lost);
		if (r)
			snprintf(why, CAPTURE_WHY, "%s", lost);
		else if (lost[0])
			log_warning(LOGGER, "%s", lost);
	}
	return r ? r : watch(b);
}

int capture_source_bpf_new(
	const struct capture_config *config, struct capture_source **ret, char *why)
{
	struct source_bpf *b = calloc(1, sizeof(*b));
	int r;

	snprintf(why, CAPTURE_WHY, "out of memory");
	if (!b)
		return -ENOMEM;
	b->base.ops = &bpf_ops;
	b->base.poll_fd = -1;
	b->base.frequency = b->hz = allowed_frequency(config->frequency);
	cpu_vec_init(&b->cpus, CPU_LIST_MAX);
	ticker_vec_init(&b->tickers, CPU_LIST_MAX * CAPTURE_EVENTS_MAX);
	r = open_all(b, config, why);
	if (r) {
		bpf_free(&b->base);
		return r;
	}
	b->base.ncpus = (unsigned)b->cpus.len;
	*ret = &b->base;
	return 0;
}

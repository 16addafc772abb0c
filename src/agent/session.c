/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/frames.h"
#include "agent/hw_metrics.h"
#include "agent/ledger.h"
#include "agent/reading.h"
#include "agent/rung.h"
#include "agent/usage.h"
#include "base/clock.h"
#include "base/log.h"
#include "capture/order.h"
#include "capture/record_file.h"
#include "process/process.h"
#include "profile/naming.h"
#include "profile/window.h"
#include "unwind/unwind.h"

#define LOGGER "gprofiler"
#define MODULES_MAX 16384
#define MODULE_FDS_MAX 512
#define NOFILE_WANTED 8192
#define SAMPLES_MAX 65536
#define RUNTIME_FRAMES_MAX (1u << 20)
#define POLL_NS (25 * NSEC_PER_MSEC) // new processes are known to the kernel walker within this
/* Unwind tables are made ahead for so long, so often: at most a twentieth of a CPU. */
#define IDLE_NS NSEC_PER_MSEC
#define IDLE_EVERY_NS (20 * NSEC_PER_MSEC)
#define DRAIN_GAP_NS (5 * NSEC_PER_MSEC) // batches wake-ups under a storm of records
// No /proc of this machine says anything about recorded processes.
#define REPLAY_PROC "/nonexistent"
#define SLOW_DRAIN_NS (50 * NSEC_PER_MSEC) // worth a line in the log
#define SETTLE_NS (300 * NSEC_PER_MSEC) // for who the last processes are
#define PROGRESS_NS (500 * NSEC_PER_MSEC)
#define PUMP_NS (20 * NSEC_PER_MSEC) // the rings are emptied this often while a window is named
#define ANCESTORS_MAX 64 // of a process, looked at where no record tells of forks
#define CLOCK_STEP_NS (10 * NSEC_PER_MSEC) // of the real-time clock: larger ones are followed

/* The window that ended. */
struct ended_window {
	uint64_t from, to; // CLOCK_MONOTONIC ns
	uint64_t real_to; // CLOCK_REALTIME ns
	unsigned frequency; // asked for
	struct ledger_window counts[CAPTURE_EVENTS_MAX];
};

struct session {
	struct session_config config;
	struct module_table modules;
	struct process_table processes;
	struct capture_source *source;
	const char *source_name; // of the rung, also while it is recorded
	struct unwind *unwind;
	struct resolver resolver;
	struct window windows[CAPTURE_EVENTS_MAX];
	struct runtimes runtimes;
	struct identities *identities; // NULL: not asked for
	struct hw_metrics hw;
	struct profile_hw counted; // in the window that ended
	bool has_counted;
	struct usage usage; // of the machine, in the running window
	struct usage_averages averages; // in the window that ended
	struct frames frames;
	struct reading reading;
	struct unwind_result *result; // scratch of one sample
	uint64_t start_mono;
	uint64_t idle_ns; // of all CPUs, when the running window began
	unsigned hz; // now; 0: paused
	unsigned divisor; // of the rate that is asked for; 0: paused
	uint64_t hz_since; // CLOCK_MONOTONIC ns
	uint64_t tick_ns; // ticks of the running window until then, in parts of 10^9
	uint64_t real_offset; // CLOCK_REALTIME - CLOCK_MONOTONIC, ns
	uint64_t boundary; // end of the running window, 0 none
	uint64_t drained; // every record up to then has been taken
	uint64_t shown; // time of the last progress
	uint64_t idled; // time of the last tables made ahead
	uint64_t pumped; // time of the last emptying of the rings while naming
	uint64_t recorded_from, recorded_to; // times of a replayed recording, ns
	struct ledger ledgers[CAPTURE_EVENTS_MAX];
	struct ledger_base bases[CAPTURE_EVENTS_MAX];
	struct ended_window ended;
	uint64_t overflow_records; // process records dropped while naming
	bool started, processes_built, resolver_built, seen;
	bool no_records; // nothing but /proc tells what processes do
};

static void raise_nofile(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= NOFILE_WANTED)
		return;
	limit.rlim_cur = MIN((rlim_t)NOFILE_WANTED, limit.rlim_max);
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Is it, or was it born of, the process that was asked for? Birth is taken from fork records, so a
 * child that outlives its parent stays wanted. */
static bool wanted(const struct session *s, const struct process *p)
{
	return !s->config.root_pid || p->wanted || p->pid == s->config.root_pid ||
	       p->ppid == s->config.root_pid;
}

/* The same for the reader, which may have to do without records. */
static bool may_be_read(void *arg, const struct process *p, bool *ret_asked_for)
{
	const struct session *s = arg;
	const struct process *at = p;

	*ret_asked_for =
		!s->config.reading.min_age_given && (s->config.root_pid || s->config.capture.npids);
	for (unsigned i = 0; s->no_records && at && !wanted(s, at) && i < ANCESTORS_MAX; i++)
		at = process_table_find(&s->processes, at->ppid);
	return at && wanted(s, at) &&
	       (!s->config.selection || selection_has(s->config.selection, p));
}

static int build_reading(struct session *s, bool in_kernel)
{
	const struct session_config *c = &s->config;
	const struct reading_config config = {
		.options = c->reading,
		.frames = &s->frames,
		.identities = s->identities,
		.frequency = s->source->frequency,
		.max_samples = c->max_samples ? c->max_samples : SAMPLES_MAX,
		.only_listed = in_kernel,
		.no_records = s->no_records,
		.wanted = may_be_read,
		.arg = s,
	};

	if (!s->runtimes.set || c->replay ||
		(in_kernel ? !c->reading.npids : !(c->reading.always || c->reading.fallback)))
		return 0;
	return reading_init(&s->reading, &config);
}

static int build_runtimes(struct session *s)
{
	bool in_kernel = !s->config.reading.always && s->source->ops->set_runtime;
	struct runtime_config config = {
		.source = in_kernel ? s->source : NULL,
		.processes = &s->processes,
		.python = s->config.python,
		.python_versions = s->config.python_versions,
	};
	int r = runtimes_init(&s->runtimes, &config, RUNTIME_FRAMES_MAX);

	s->runtimes.only = s->config.capture.mode == BPF_UNWIND_OFF;
	return r ? r : build_reading(s, in_kernel);
}

/* Whose event it is. */
static unsigned event_of(const struct session *s, const struct rec_sample *rec)
{
	return rec->event < s->source->nevents ? rec->event : 0;
}

/* What comes while a window is named, and fits in no memory, is gone: the tables must stand still. */
static int on_overflow(void *arg, const struct capture_event *event)
{
	struct session *s = arg;

	if (event->type == CAPTURE_SAMPLE)
		ledger_overflow(&s->ledgers[event_of(s, event->sample.rec)], event->sample.rec);
	else
		s->overflow_records++;
	return 0;
}

/* Naming may take longer than the rings can wait. */
static void pump(void *arg)
{
	struct session *s = arg;
	uint64_t now = clock_mono_ns();

	if (!s->boundary || now - s->pumped < PUMP_NS)
		return;
	s->pumped = now;
	// Up to the beginning of time: everything is taken from the rings and kept.
	s->source->ops->drain(s->source, 1, on_overflow, s);
}

int session_new(const struct session_config *config, struct session **ret, char *why)
{
	struct session *s = calloc(1, sizeof(*s));
	int r;

	snprintf(why, CAPTURE_WHY, "out of memory");
	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.resolver.pause = pump;
	s->config.resolver.pause_arg = s;
	raise_nofile();
	module_table_init(&s->modules, MODULES_MAX, MODULE_FDS_MAX);
	for (unsigned i = 0; i < CAPTURE_EVENTS_MAX; i++)
		window_init(
			&s->windows[i], config->max_samples ? config->max_samples : SAMPLES_MAX);
	s->result = malloc(sizeof(*s->result));
	r = s->result ? process_table_init(
				&s->processes, &s->modules, config->replay ? REPLAY_PROC : "/proc")
		      : -ENOMEM;
	s->processes_built = !r;
	if (!r) {
		r = resolver_init(&s->resolver, &s->modules, &s->processes, &s->config.resolver);
		s->resolver_built = !r;
	}
	if (!r)
		r = rung_open(&s->config, &s->source, why);
	if (!r && config->replay) {
		s->processes.recorded = true;
		s->processes.vdso = s->source->vdso;
		s->processes.vdso_len = s->source->vdso_len;
	}
	if (!r) {
		s->source_name = s->source->ops->name;
		s->no_records = !strcmp(s->source_name, "reader");
	}
	if (!r && config->record)
		r = capture_source_record_new(
			steal_ptr(s->source), config->record, &s->source, why);
	if (!r)
		r = unwind_new(s->source, &s->processes, config->capture.mode, &s->unwind);
	if (!r)
		r = frames_init(&s->frames, &s->processes, &s->runtimes, config->capture.mode);
	if (!r && config->identities && config->rung != SESSION_RUNG_REPLAY)
		r = identities_new(config->identities, &s->identities);
	if (!r)
		r = build_runtimes(s);
	if (r) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->source)
		s->source->ops->stop(s->source);
	identities_free(s->identities);
	hw_metrics_close(&s->hw);
	reading_deinit(&s->reading);
	runtimes_deinit(&s->runtimes);
	unwind_free(s->unwind);
	if (s->source)
		s->source->ops->free(s->source);
	for (unsigned i = 0; i < CAPTURE_EVENTS_MAX; i++)
		window_deinit(&s->windows[i]);
	if (s->resolver_built)
		resolver_deinit(&s->resolver);
	if (s->processes_built)
		process_table_deinit(&s->processes);
	module_table_deinit(&s->modules);
	free(s->result);
	free(s);
}

static int publish(void *arg, struct process *p)
{
	struct session *s = arg;
	int r = unwind_update_process(s->unwind, p);

	if (r && r != -ENOSPC)
		return r;
	return runtimes_changed(&s->runtimes, p);
}

static int start_source(struct session *s)
{
	s->idle_ns = ledger_idle_ns();
	s->hz = s->source->frequency;
	s->divisor = 1;
	s->hz_since = clock_mono_ns();
	if (s->config.hw_metrics)
		hw_metrics_open(&s->hw); // where there are none the profile is without
	if (s->config.usage)
		usage_init(&s->usage);
	s->start_mono = s->ended.to = clock_mono_ns();
	s->real_offset = clock_real_ns() - s->start_mono;
	if (s->config.window_ns && !s->config.replay)
		s->boundary = s->start_mono + s->config.window_ns;
	return s->source->ops->start(s->source);
}

int session_select(struct session *s)
{
	const struct capture_source_ops *ops = s->source->ops;
	_cleanup_free_ uint64_t *ids = NULL;
	_cleanup_free_ uint32_t *pids = NULL;
	struct capture_groups groups;
	int r;

	if (!s->config.selection || !ops->set_groups)
		return 0;
	r = selection_groups(s->config.selection, &groups, &ids, &pids);
	if (r < 0)
		return r;
	// More groups than fit: samples are looked at one by one, as on the other rungs.
	r = ops->set_groups(s->source, r ? &groups : NULL);
	return r == -ENOSPC ? 0 : r;
}

int session_start(struct session *s)
{
	const struct capture_source_ops *ops = s->source->ops;
	bool early = ops->prepare != NULL;
	int r;

	// Records first, then /proc: what starts between the two is in both, and in neither never. Then
	// the walkers are told, and only then comes the first sample, if the source can wait.
	r = early ? ops->prepare(s->source) : start_source(s);
	if (!r && s->config.rung != SESSION_RUNG_REPLAY)
		r = process_table_scan(&s->processes);
	if (!r)
		r = process_table_take_dirty(&s->processes, publish, s);
	if (!r)
		r = session_select(s);
	if (!r && early)
		r = start_source(s);
	s->started = !r;
	return r ? r : reading_begin(&s->reading);
}

/* A process record; `wanted` is handed from parent to child and kept over exec. */
static int on_process(struct session *s, const struct capture_event *event)
{
	bool fork = event->type == CAPTURE_FORK;
	struct process *from =
		process_table_find(&s->processes, fork ? event->fork.ppid : event->pid);
	bool inherits = s->config.root_pid && from && wanted(s, from);
	struct process *p;
	int r;

	if (event->type == CAPTURE_COMM && event->comm.exec && from)
		runtimes_forget(&s->runtimes, from);
	r = process_table_apply(&s->processes, event);
	if (!r && fork && from && event->tid == event->pid) {
		p = process_table_find(&s->processes, event->pid);
		if (p)
			r = runtimes_fork(&s->runtimes, from, p);
	}
	if (r || !inherits || (!fork && event->type != CAPTURE_COMM))
		return r;
	p = process_table_find(&s->processes, event->pid);
	if (p)
		p->wanted = true;
	return 0;
}

/* Code that lies in no file is named by what its writer leaves in /tmp, which may go with it. A writer
 * may begin after its first sample, so a process is asked about again, but not more than once a second. */
static void note_jit(struct session *s, struct process *p, uint64_t now)
{
	uint32_t second = (uint32_t)(now / NSEC_PER_SEC) + 1;

	if (!p || p->symbol_slot == second)
		return;
	for (size_t i = 0; i < s->frames.count; i++) {
		if (s->frames.frames[i].space != SYMBOL_PROCESS)
			continue;
		p->symbol_slot = second;
		resolver_note_jit(&s->resolver, p);
		return;
	}
}

static int on_sample(struct session *s, const struct capture_event *event)
{
	const struct capture_sample *sample = &event->sample;
	const struct rec_sample *rec = sample->rec;
	struct window *w = &s->windows[event_of(s, rec)];
	struct ledger *ledger = &s->ledgers[event_of(s, rec)];
	struct window_context context = {.tid = rec->tid};
	struct frames_stack stack = {.sample = sample, .now = event->time};
	int r;

	ledger_delivered(ledger, rec);
	if (!s->seen) {
		s->seen = true;
		log_debug(LOGGER, "First sample (ms_since_start=%llu)",
			(unsigned long long)(event->time - s->start_mono) / NSEC_PER_MSEC);
	}
	if (rec->pid) {
		stack.process = process_table_ensure(&s->processes, rec->pid, rec->comm);
		if (!stack.process)
			return 0;
		if (!wanted(s, stack.process) ||
			(s->config.selection &&
				!selection_wants(s->config.selection, stack.process, rec))) {
			ledger_not_wanted(ledger, rec);
			return 0;
		}
		stack.process->sampled = true;
		context.uid = stack.process->uid;
		identities_see(s->identities, stack.process,
			intern_str(&s->processes.strings, stack.process->container));
	}
	if (sample->handoff && stack.process) {
		r = unwind_finish(s->unwind, stack.process, sample, event->time, s->result);
		if (r)
			return r;
		stack.words = s->result->words;
		stack.nwords = s->result->nwords;
		stack.outcome = s->result->outcome;
		stack.reason = s->result->reason;
		stack.late = s->result->late;
	} else {
		stack.words = sample->user;
		stack.nwords = rec->user_words;
		stack.outcome = rec->outcome;
		stack.reason = rec->reason;
	}
	ledger_sample(ledger, rec, &stack);
	if (s->runtimes.only && stack.process) {
		r = runtimes_meet_all(&s->runtimes, stack.process);
		if (!r && !rec->runtime_words)
			ledger_not_wanted(ledger, rec);
		if (r || !rec->runtime_words)
			return r;
	}
	r = frames_build(&s->frames, &stack);
	if (r)
		return r;
	note_jit(s, stack.process, event->time);
	context.thread_comm = window_comm(w, rec->comm);
	w->now = event->time;
	r = window_add(w, &context, s->frames.frames, s->frames.count, rec->weight);
	return r == -ENOSPC ? 0 : r;
}

static int on_event(void *arg, const struct capture_event *event)
{
	struct session *s = arg;

	if (!s->recorded_from)
		s->recorded_from = event->time;
	s->recorded_to = event->time;
	if (s->config.selection && event->type != CAPTURE_SAMPLE &&
		selection_event(s->config.selection, event) && s->source->ops->add_group)
		s->source->ops->add_group(s->source,
			event->type == CAPTURE_CGROUP ? event->cgroup.id : 0, event->pid);
	switch (event->type) {
	case CAPTURE_SAMPLE:
		return on_sample(s, event);
	case CAPTURE_KSYMBOL:
		return resolver_ksymbol(&s->resolver, event);
	default:
		return on_process(s, event);
	}
}

static int drain(struct session *s, uint64_t until)
{
	uint64_t begin = clock_mono_ns(), cpu = clock_cpu_ns(), taken;
	int r;

	// What is younger than the end of the running window is the next one's.
	if (s->boundary && (!until || until > s->boundary))
		until = s->boundary;
	r = s->source->ops->drain(s->source, until, on_event, s);
	s->drained = MAX(s->drained, until);
	if (!r)
		r = process_table_take_dirty(&s->processes, publish, s);
	// While one drain lasts nobody empties the rings: this is where samples would be lost.
	taken = clock_mono_ns() - begin;
	if (taken > SLOW_DRAIN_NS)
		log_debug(LOGGER, "A drain took long (ms=%llu, cpu_ms=%llu)",
			(unsigned long long)(taken / NSEC_PER_MSEC),
			(unsigned long long)((clock_cpu_ns() - cpu) / NSEC_PER_MSEC));
	return r;
}

static void show_progress(const struct session *s, uint64_t now)
{
	uint64_t samples = 0;

	for (unsigned i = 0; i < s->source->nevents; i++)
		samples += s->windows[i].samples;
	if (s->config.progress_ns)
		fprintf(stderr, "\r%5.1f of %.0f s, %llu samples ",
			(double)(now - s->start_mono) / 1e9, (double)s->config.progress_ns / 1e9,
			(unsigned long long)samples);
	else
		fprintf(stderr, "\r%5.1f s, %llu samples ", (double)(now - s->start_mono) / 1e9,
			(unsigned long long)samples);
}

/* Waits for records, the deadline (0: none) or the reader's next turn. Return whether there are records. */
static bool await(const struct session *s, uint64_t now, uint64_t deadline)
{
	struct pollfd fd = {.fd = s->source->poll_fd, .events = POLLIN};
	uint64_t until = MIN(now + POLL_NS, reading_next(&s->reading));
	struct timespec wait;

	if (deadline)
		until = MIN(until, deadline);
	until = MAX(until, now) - now;
	wait = (struct timespec){
		.tv_sec = (time_t)(until / NSEC_PER_SEC), .tv_nsec = (long)(until % NSEC_PER_SEC)};
	return ppoll(&fd, 1, &wait, NULL) > 0 && fd.revents;
}

int session_run(struct session *s, uint64_t deadline, const volatile sig_atomic_t *stop)
{
	uint64_t now;
	int r = 0;

	while (!r && !*stop) {
		bool records;

		now = clock_mono_ns();
		if (deadline && now >= deadline)
			break;
		records = await(s, now, deadline);
		if (s->config.rung == SESSION_RUNG_REPLAY)
			return drain(s, 0);
		now = clock_mono_ns();
		r = drain(s, now);
		if (!r)
			r = reading_turn(&s->reading);
		if (now - s->idled >= IDLE_EVERY_NS) {
			s->idled = now;
			unwind_idle(s->unwind, IDLE_NS);
		}
		if (s->config.usage)
			usage_sample(&s->usage, now);
		if (s->config.progress && now - s->shown > PROGRESS_NS) {
			show_progress(s, now);
			s->shown = now;
		}
		if (records)
			clock_sleep_ns(DRAIN_GAP_NS);
	}
	return r;
}

uint64_t session_begun(const struct session *s)
{
	return s->start_mono;
}

uint64_t session_boundary(const struct session *s)
{
	return s->boundary;
}

void session_set_boundary(struct session *s, uint64_t at)
{
	if (s->config.replay)
		return;
	s->boundary = at ? MAX(at, s->drained) : 0;
}

/* Counts the ticks up to a time that is not before the last one. */
static void count_ticks(struct session *s, uint64_t to)
{
	if (to > s->hz_since)
		s->tick_ns += (to - s->hz_since) * s->hz;
	s->hz_since = to;
}

int session_set_divisor(struct session *s, unsigned divisor)
{
	unsigned hz = divisor ? MAX(s->source->frequency / divisor, 1u) : 0;
	int r;

	if (!s->source->ops->set_rate)
		return -EOPNOTSUPP;
	s->divisor = divisor;
	if (hz == s->hz)
		return 0;
	r = s->source->ops->set_rate(s->source, hz);
	count_ticks(s, clock_mono_ns());
	s->hz = hz;
	reading_set_divisor(&s->reading, divisor);
	for (unsigned i = 0; hz && i < s->source->nevents; i++)
		s->windows[i].times = divisor;
	return r;
}

int session_set_frequency(struct session *s, unsigned hz)
{
	if (hz == s->source->frequency)
		return 0;
	if (!s->source->ops->set_rate)
		return -EOPNOTSUPP;
	s->source->frequency = hz;
	for (unsigned i = 0; i < s->source->nevents; i++)
		ledger_new_rate(&s->bases[i]);
	return session_set_divisor(s, s->divisor);
}

unsigned session_frequency(const struct session *s)
{
	return s->source->frequency;
}

bool session_can_change(const struct session *s)
{
	// What is read counts by the rate it was begun with.
	return s->source->ops->set_rate && !s->reading.reader;
}

void session_set_selection(struct session *s, struct selection *selection)
{
	s->config.selection = selection;
}

void session_shed(struct session *s)
{
	resolver_shed(&s->resolver);
	for (unsigned i = 0; i < s->source->nevents; i++) {
		unsigned times = s->windows[i].times;

		if (s->windows[i].samples)
			continue;
		window_deinit(&s->windows[i]);
		window_init(&s->windows[i],
			s->config.max_samples ? s->config.max_samples : SAMPLES_MAX);
		s->windows[i].times = times;
	}
}

uint64_t session_capture_memory(struct session *s)
{
	struct capture_stats stats = {0};

	s->source->ops->stats(s->source, &stats);
	return stats.bpf_memory;
}

static void end_window(struct session *s, uint64_t end, bool last)
{
	uint64_t offset = clock_real_ns() - clock_mono_ns();
	uint64_t idle = ledger_idle_ns();
	struct ledger_cut cut = {
		.idle_ns = idle > s->idle_ns ? idle - s->idle_ns : 0,
		.frequency = s->source->frequency,
		.ncpus = s->source->ncpus,
		.last = last,
	};

	s->has_counted = hw_metrics_window(&s->hw, &s->counted);
	if (s->config.usage)
		s->averages = usage_window(&s->usage);
	count_ticks(s, end);
	cut.ticks = s->tick_ns / NSEC_PER_SEC;
	s->tick_ns %= NSEC_PER_SEC;
	// Reading two clocks jitters, which would make windows of a second end in the same one.
	if (offset - s->real_offset + CLOCK_STEP_NS > 2 * CLOCK_STEP_NS)
		s->real_offset = offset;
	s->idle_ns = idle;
	s->ended.from = s->ended.to;
	s->ended.to = end;
	s->ended.real_to = end + s->real_offset;
	reading_cut(&s->reading);
	s->ended.frequency = s->source->frequency;
	s->source->ops->stats(s->source, &cut.stats);
	for (unsigned i = 0; i < s->source->nevents; i++) {
		cut.kernel = &cut.stats.events[i];
		ledger_cut(&s->bases[i], &s->ledgers[i], &cut, &s->ended.counts[i]);
		s->ledgers[i] = (struct ledger){0};
	}
}

int session_cut(struct session *s)
{
	uint64_t in = s->boundary + ORDER_SLACK_NS + 1, now;
	int r;

	while ((now = clock_mono_ns()) <= in)
		clock_sleep_ns(in - now + 1);
	r = drain(s, s->boundary);
	end_window(s, s->boundary, false);
	s->boundary = s->config.window_ns ? s->boundary + s->config.window_ns : 0;
	return r;
}

static bool drop_module(void *arg, struct module *m)
{
	return unwind_forget_module(arg, m);
}

int session_window_done(struct session *s)
{
	struct capture_event lost = {.type = CAPTURE_LOST, .lost.count = s->overflow_records};
	int r = 0;

	for (unsigned i = 0; i < s->source->nevents; i++) {
		window_clear(&s->windows[i]);
		s->ledgers[i].overflow_records += s->overflow_records;
	}
	reading_clear(&s->reading);
	if (s->overflow_records)
		r = process_table_apply(&s->processes, &lost);
	s->overflow_records = 0;
	runtime_frames_clear(&s->runtimes.frames);
	process_table_sweep(&s->processes);
	identities_sweep(s->identities, &s->processes);
	if (!r)
		r = process_table_sweep_modules(&s->processes, drop_module, s->unwind);
	return r ? r : reading_begin(&s->reading);
}

int session_stop(struct session *s)
{
	uint64_t end;
	int r;

	s->source->ops->stop(s->source);
	end = clock_mono_ns();
	if (s->config.progress)
		fprintf(stderr, "\r\033[K");
	s->boundary = 0;
	r = s->started ? drain(s, 0) : 0;
	end_window(s, end, true);
	return r;
}

unsigned session_events(const struct session *s)
{
	return s->source->nevents;
}

const char *session_event_name(const struct session *s, unsigned event)
{
	return s->source->events[event].name;
}

const struct capture_perf_event *session_event(const struct session *s, unsigned event)
{
	return &s->source->events[event];
}

const char *session_source(const struct session *s)
{
	return s->source_name;
}

/* Who came last may still be read. */
static void settle(struct session *s)
{
	uint64_t deadline = clock_mono_ns() + SETTLE_NS;

	while (!identities_settle(s->identities, PUMP_NS) && clock_mono_ns() < deadline)
		pump(s);
}

struct identify {
	struct session *s;
	struct identity_texts texts;
};

/* What somebody else says of a process is laid over what was read. */
static int merge_external(
	const struct external_metadata *external, uint32_t pid, struct buf *metadata)
{
	const json_t *more = external_metadata_of(external, pid);
	_cleanup_json_ json_t *o = NULL;
	_cleanup_free_ char *text = NULL;

	if (!more)
		return 0;
	o = metadata->len ? json_loads(buf_str(metadata), 0, NULL) : json_object();
	if (!o || json_object_update(o, (json_t *)more) < 0)
		return -ENOMEM;
	text = json_dumps(o, JSON_COMPACT);
	if (!text)
		return -ENOMEM;
	if (strlen(text) > metadata->cap)
		return 0;
	buf_clear(metadata);
	return buf_append_str(metadata, text);
}

static int identify(void *arg, const struct process *p, struct naming_identity *ret)
{
	struct identify *i = arg;
	const struct identities_config *config = i->s->config.identities;
	int r = identities_get(i->s->identities, p->uid, &i->texts);

	if (!r && config->external && config->options->application_metadata)
		r = merge_external(config->external, p->pid, &i->texts.metadata);

	ret->appid = buf_str(&i->texts.appid);
	ret->metadata = buf_str(&i->texts.metadata);
	ret->container = i->texts.container;
	return r;
}

int session_profile(struct session *s, unsigned event, struct profile *ret)
{
	const char *name = session_event_name(s, event);
	struct naming naming = {
		.resolver = &s->resolver,
		.processes = &s->processes,
		.modules = &s->modules,
		.runtime = &s->runtimes.frames,
		.event = name,
		.weight_is_ns = !strcmp(name, "cpu-clock") || !strcmp(name, "task-clock"),
		.identify = s->identities ? identify : NULL,
		.no_containers = s->config.no_containers,
	};
	struct identify who = {.s = s};
	// Events of chosen threads tick only while those run: the clock says nothing then.
	bool by_thread = s->config.capture.npids && !strcmp(session_source(s), "ring");
	bool replay = s->config.replay != NULL;
	uint64_t elapsed = replay ? s->recorded_to - s->recorded_from : s->ended.to - s->ended.from;
	struct ledger_inputs inputs = {
		.counts = &s->ended.counts[event],
		.window = &s->windows[event],
		.naming = &naming,
		.no_clock = by_thread || replay,
	};
	int r;

	if (event == 0 && s->identities && s->config.identities->external)
		external_metadata_refresh(s->config.identities->external);
	identity_texts_init(&who.texts);
	naming.identify_arg = &who;
	settle(s);
	// What is read goes with the first event: it is time of the CPU like that.
	r = event ? naming_run(&naming, &s->windows[event], ret)
		  : reading_name(&s->reading, &naming, &s->windows[event], ret);
	identity_texts_deinit(&who.texts);
	if (r)
		return r;
	ret->meta.start_real_ns = s->ended.real_to - (s->ended.to - s->ended.from);
	ret->meta.duration_ns = elapsed;
	ret->meta.has_hw = s->has_counted;
	ret->meta.hw = s->counted;
	ret->meta.has_usage = s->config.usage;
	ret->meta.cpu_avg = s->averages.cpu;
	ret->meta.mem_avg = s->averages.memory;
	// Times of the profile's timeline are from its start.
	ret->timeline.base -= MIN(ret->timeline.base, replay ? s->recorded_from : s->ended.from);
	ret->meta.frequency = s->ended.frequency;
	if (s->ended.frequency && naming.weight_is_ns)
		ret->meta.period = NSEC_PER_SEC / s->ended.frequency;
	r = profile_string(ret, name, &ret->meta.event);
	if (!r)
		r = profile_string(ret, session_source(s), &ret->meta.source);
	if (!r)
		ledger_fill(&inputs, &ret->meta);
	if (!r && !event)
		reading_fill(&s->reading, &ret->meta.ledger);
	return r;
}

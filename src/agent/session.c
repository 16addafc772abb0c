/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session_state.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/rung.h"
#include "base/log.h"
#include "capture/order.h"
#include "capture/record_file.h"

#define MODULES_MAX 16384
#define MODULE_FDS_MAX ((rlim_t)512)
#define MODULE_FDS_MIN ((rlim_t)4)
#define NOFILE_WANTED 8192
#define RUNTIME_FRAMES_MAX (1u << 20)
/* How long the rings are left alone while nobody calls: from the one, doubling, to the other. The sampler calls
 * for what cannot wait, the side band when a quarter of a ring is full. */
#define PAUSE_MIN_NS (25 * NSEC_PER_MSEC)
#define PAUSE_MAX_NS (250 * NSEC_PER_MSEC)
/* Unwind tables are made ahead for so long, so often: at most a twentieth of a CPU. */
#define IDLE_NS NSEC_PER_MSEC
#define IDLE_EVERY_NS (20 * NSEC_PER_MSEC)
#define CALLED_NS (ORDER_SLACK_NS + 2 * NSEC_PER_MSEC) // then what was called for is in order
#define DRAIN_GAP_NS (5 * NSEC_PER_MSEC) // batches calls of rings that are emptied at once
// No /proc of this machine says anything about recorded processes.
#define REPLAY_PROC "/nonexistent"
#define PROGRESS_NS (500 * NSEC_PER_MSEC)

/* Asks for as many descriptors as may be had. Return how many modules may keep one of them: rings, sockets and
 * what is opened for a moment need the others. */
static unsigned share_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return (unsigned)MODULE_FDS_MAX;
	if (limit.rlim_cur < NOFILE_WANTED) {
		limit.rlim_cur = MIN((rlim_t)NOFILE_WANTED, limit.rlim_max);
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	return (unsigned)MAX(MIN(limit.rlim_cur / 4, MODULE_FDS_MAX), MODULE_FDS_MIN);
}

static int build_reading(struct session *s, bool in_kernel)
{
	const struct session_config *c = &s->config;
	const struct reading_config config = {
		.options = c->reading,
		.frames = &s->frames,
		.identities = s->identities,
		.frequency = s->source->frequency,
		.max_samples = c->max_samples ? c->max_samples : SESSION_SAMPLES_MAX,
		.only_listed = in_kernel,
		.no_records = s->no_records,
		.alone = s->no_records || s->runtimes.only,
		.wanted = session_may_be_read,
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
	if (s->source->ops->keep) {
		s->runtimes.frames.named = session_keep_name;
		s->runtimes.frames.named_arg = s;
	}
	return r ? r : build_reading(s, in_kernel);
}

int session_new(const struct session_config *config, struct session **ret, char *why)
{
	struct session *s = calloc(1, sizeof(*s));
	int r;

	snprintf(why, CAPTURE_WHY, "out of memory");
	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.resolver.pause = session_pump;
	s->config.resolver.pause_arg = s;
	module_table_init(&s->modules, MODULES_MAX, share_descriptors());
	for (unsigned i = 0; i < CAPTURE_EVENTS_MAX; i++)
		window_init(&s->windows[i],
			config->max_samples ? config->max_samples : SESSION_SAMPLES_MAX);
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
		r = process_table_take_dirty(&s->processes, session_publish, s);
	if (!r)
		r = session_select(s);
	if (!r && early)
		r = start_source(s);
	s->started = !r;
	return r ? r : reading_begin(&s->reading);
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

/* Waits for a call, the next look at the rings, the deadline (0: none) or the reader's next turn. Return whether
 * somebody called. */
static bool await(const struct session *s, uint64_t now, uint64_t deadline)
{
	struct pollfd fd = {.fd = s->source->poll_fd, .events = POLLIN};
	uint64_t until = MIN(s->look_at, reading_next(&s->reading));
	struct timespec wait;

	if (deadline)
		until = MIN(until, deadline);
	until = MAX(until, now) - now;
	wait = (struct timespec){
		.tv_sec = (time_t)(until / NSEC_PER_SEC), .tv_nsec = (long)(until % NSEC_PER_SEC)};
	return ppoll(&fd, 1, &wait, NULL) > 0 && fd.revents;
}

/* The longest that the rings may be left alone. Walkers of user space read stacks that change meanwhile; where
 * only interpreters are sampled nobody calls for a new one; and to whom a cgroup of the first version extends
 * is told by us. */
static uint64_t longest_pause(const struct session *s)
{
	const struct selection *chosen = s->config.selection;

	return s->source->ops->set_process && s->config.capture.mode != BPF_UNWIND_OFF &&
			       !(chosen && chosen->native == SELECTION_CGROUPS)
		       ? PAUSE_MAX_NS
		       : PAUSE_MIN_NS;
}

/* What was called for can be put in order a little later, and more of it comes meanwhile. Rings of stacks, though, are
 * full soon. */
static void gather(const struct session *s)
{
	uint64_t now = clock_mono_ns(), next = s->look_at - s->pause + PAUSE_MIN_NS;

	if (!s->source->ops->set_process)
		return;
	clock_sleep_ns(MAX(CALLED_NS, next > now ? next - now : 0));
}

/* Takes what is in the rings, and says when they are looked at next: soon after a call, since a process that is
 * just being loaded goes on to change; and while interpreters show code that was not seen before, since it can only be
 * named while it is there. */
static int look(struct session *s, bool called)
{
	uint32_t known = s->runtimes.frames.keys.len;
	uint64_t now = clock_mono_ns();
	bool busy;
	int r = session_drain(s, now);

	s->looks[called]++;
	busy = called || s->runtimes.frames.keys.len != known;
	if (now - s->idled >= IDLE_EVERY_NS) {
		s->idled = now;
		busy |= unwind_idle(s->unwind, IDLE_NS);
	}
	s->pause = busy ? PAUSE_MIN_NS : MIN(2 * MAX(s->pause, PAUSE_MIN_NS), longest_pause(s));
	s->look_at = clock_mono_ns() + s->pause;
	return r;
}

int session_run(struct session *s, uint64_t deadline, const volatile sig_atomic_t *stop)
{
	uint64_t now;
	int r = 0;

	while (!r && !*stop) {
		bool called;

		now = clock_mono_ns();
		if (deadline && now >= deadline)
			break;
		called = await(s, now, deadline);
		if (s->config.rung == SESSION_RUNG_REPLAY)
			return session_drain(s, 0);
		if (called)
			gather(s);
		now = clock_mono_ns();
		if (called || now >= MIN(s->look_at, reading_next(&s->reading)))
			r = look(s, called);
		if (!r)
			r = reading_turn(&s->reading);
		if (s->config.usage)
			usage_sample(&s->usage, now);
		if (s->config.progress && now - s->shown > PROGRESS_NS) {
			show_progress(s, now);
			s->shown = now;
		}
		if (called && !s->source->ops->set_process)
			clock_sleep_ns(DRAIN_GAP_NS);
	}
	return r;
}

void session_get_work(const struct session *s, struct session_work *ret)
{
	*ret = (struct session_work){
		.called = s->looks[true],
		.timed = s->looks[false],
		.processes_read = s->processes.stats.reads,
	};
}

void session_set_companion(struct session *s, struct session *other)
{
	s->companion = other;
}

uint64_t session_begun(const struct session *s)
{
	return s->start_mono;
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
			s->config.max_samples ? s->config.max_samples : SESSION_SAMPLES_MAX);
		s->windows[i].times = times;
	}
}

uint64_t session_capture_memory(struct session *s)
{
	struct capture_stats stats = {0};

	s->source->ops->stats(s->source, &stats);
	return stats.bpf_memory;
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
	r = s->started ? session_drain(s, 0) : 0;
	session_end_window(s, end, true);
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

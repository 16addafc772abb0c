/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sampler.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/event_find.h"

#define LOGGER "gprofiler"
#define STRINGS_MAX (128u << 20)

void sampler_init(struct sampler *m, const struct options *options)
{
	*m = (struct sampler){.base = options};
	governor_init(&m->governor, options);
}

static void merged_free(struct sampler_merged *g)
{
	if (!g)
		return;
	selection_deinit(&g->selection);
	options_deinit(&g->options);
	free(g);
}

/* The session's choice is now what is wanted. */
static void use_wanted(struct sampler *m)
{
	if (m->used != m->merged)
		merged_free(m->used);
	m->used = m->merged;
}

void sampler_deinit(struct sampler *m)
{
	sampler_close(m);
	use_wanted(m);
	merged_free(m->used);
}

static bool wants_python(const struct options *o)
{
	return o->python_mode != OPTION_PYTHON_DISABLED;
}

static bool native_off(const struct sampler *m)
{
	return m->selection && m->selection->native == SELECTION_NONE;
}

int sampler_check(const struct options *o)
{
	struct capture_perf_event event;

	if (!job_names_events(o))
		return 0;
	vec_foreach (name, &o->perf_events) {
		int r = (size_t)(name - o->perf_events.data) < CAPTURE_EVENTS_MAX
				? event_find_named(*name, &event)
				: -E2BIG;

		if (r) {
			log_error(LOGGER, "Event %s: %s", *name, strerror(-r));
			return r;
		}
	}
	return 0;
}

static int add_event(struct capture_config *c, const struct capture_perf_event *event)
{
	for (unsigned i = 0; i < c->nevents; i++)
		if (!strcmp(c->events[i].name, event->name))
			return 0;
	if (c->nevents == CAPTURE_EVENTS_MAX)
		return -E2BIG;
	c->events[c->nevents++] = *event;
	return 0;
}

/* The clock first, if any job wants it: by itself it is found by the source; beside named events it is the
 * one that was found before, or the one that every kernel has. */
static int configure_events(const struct sampler *m, struct capture_config *c)
{
	const struct options *o = m->options;
	struct capture_perf_event event;
	bool named = job_names_events(o);
	int r = 0;

	c->nevents = 0;
	if (!named)
		return 0;
	if (m->merged && m->merged->clock) {
		if (m->s)
			event = m->events[0];
		else
			r = event_find_named("cpu-clock", &event);
		if (!r)
			r = add_event(c, &event);
	}
	vec_foreach (name, &o->perf_events) {
		if (!r)
			r = event_find_named(*name, &event);
		if (!r)
			r = add_event(c, &event);
	}
	return r;
}

static int configure(const struct sampler *m, struct session_config *ret)
{
	static const enum bpf_unwind_mode modes[] = {
		[OPTION_PERF_FP] = BPF_UNWIND_FP,
		[OPTION_PERF_DWARF] = BPF_UNWIND_TABLE,
		[OPTION_PERF_SMART] = BPF_UNWIND_SMART,
		[OPTION_PERF_DISABLED] = BPF_UNWIND_OFF,
	};
	const struct options *o = m->options;
	bool reads = o->python_mode == OPTION_PYTHON_PYSPY ||
		     (m->selection && m->selection->read_python);
	bool open_end = o->continuous || (o->command && !options_given(o, OPTION_duration));

	*ret = (struct session_config){
		.reading =
			{
				.always = reads,
				.fallback = o->python_mode == OPTION_PYTHON_AUTO,
				.spawned = o->profile_spawned,
				.lock_only = o->python_lock_only,
				.min_age_given = options_given(o, OPTION_min_duration) ||
						 options_given(o, OPTION_min_duration_intel),
				.max = (unsigned)o->max_processes_runtime,
				.min_age_ns = o->min_duration * NSEC_PER_SEC,
			},
		.capture =
			{
				.frequency = (unsigned)o->frequency,
				.mode = native_off(m) ? BPF_UNWIND_OFF : modes[o->perf_mode],
				.kernel_stacks = o->kernel_stacks,
				.include_idle = o->include_idle,
				.stack_bytes = (unsigned)o->perf_dwarf_stack_size,
				.python = wants_python(o) && !reads,
				.groups = o->perf_use_cgroups,
			},
		.python = wants_python(o),
		.python_versions = o->python_add_versions,
		.replay = o->replay,
		.record = o->record,
		.rung = o->replay			    ? SESSION_RUNG_REPLAY
			: o->source == OPTION_SOURCE_BPF    ? SESSION_RUNG_BPF
			: o->source == OPTION_SOURCE_RING   ? SESSION_RUNG_RING
			: o->source == OPTION_SOURCE_READER ? SESSION_RUNG_READER
							    : SESSION_RUNG_AUTO,
		.selection = m->selection,
		.root_pid = m->root_pid,
		.resolver =
			{
				.lines = o->line_numbers,
				.inlines = o->inline_frames,
				.kallsyms = "/proc/kallsyms",
				.debug_dirs = "/usr/lib/debug",
				.strings_cap = STRINGS_MAX,
			},
		.no_containers = !m->base->container_names,
		.hw_metrics = o->collect_hw_metrics && !o->replay,
		.usage = m->base->collect_metrics && !o->replay,
		.progress = isatty(STDERR_FILENO),
		.progress_ns = open_end ? 0 : o->duration * NSEC_PER_SEC,
	};
	// Neither native stacks nor a walker in the kernel: nothing is left to sample.
	if (reads && ret->capture.mode == BPF_UNWIND_OFF && ret->rung == SESSION_RUNG_AUTO)
		ret->rung = SESSION_RUNG_READER;
	return configure_events(m, &ret->capture);
}

/* Text for an option of two jobs; empty if both want all. */
static int merge_pids(struct option_pids *to, const struct job *a, const struct job *b)
{
	const struct selection *s[] = {&a->selection, &b->selection};

	option_pids_clear(to);
	if (!job_options(a)->pids.len || !job_options(b)->pids.len)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		vec_foreach (pid, &s[i]->numbers) {
			bool there = false;

			vec_foreach (seen, to)
				there |= *seen == *pid;
			if (!there && option_pids_push(to, *pid))
				return -ENOMEM;
		}
	return 0;
}

/* 0 is no limit. */
static uint64_t looser(uint64_t a, uint64_t b)
{
	return a && b ? MAX(a, b) : 0;
}

static int merge_events(struct sampler_merged *g, const struct job *a, const struct job *b)
{
	const struct options *both[] = {job_options(a), job_options(b)};
	_cleanup_buf_ struct buf text = BUF_INIT(4096), why = BUF_INIT(4096);
	struct options *to = &g->options;

	for (unsigned i = 0; i < ARRAY_SIZE(both); i++) {
		if (!job_names_events(both[i])) {
			g->clock = true;
			continue;
		}
		vec_foreach (name, &both[i]->perf_events)
			buf_printf(&text, "%s%s", text.len ? "," : "", *name);
	}
	if (!text.len)
		return options_set(to, OPTION_perf_events, "cycles", &why) ? -ENOMEM : 0;
	return options_set(to, OPTION_perf_events, buf_str(&text), &why) ? -ENOMEM : 0;
}

static int merge(struct sampler *m, const struct job *a, const struct job *b)
{
	const struct options *x = job_options(a), *y = job_options(b);
	struct sampler_merged *g = calloc(1, sizeof(*g));
	struct options *o = g ? &g->options : NULL;
	int r = g ? options_copy(o, x) : -ENOMEM;

	if (r) {
		free(g);
		return r;
	}
	o->frequency = MAX(x->frequency, y->frequency);
	o->skip_system_above = looser(x->skip_system_above, y->skip_system_above);
	o->max_processes_runtime = looser(x->max_processes_runtime, y->max_processes_runtime);
	o->perf_max_containers = MAX(x->perf_max_containers, y->perf_max_containers);
	if (x->perf_mode == OPTION_PERF_DISABLED)
		o->perf_mode = y->perf_mode;
	if (!wants_python(x))
		o->python_mode = y->python_mode;
	o->collect_hw_metrics |= y->collect_hw_metrics;
	o->continuous = true;
	r = merge_pids(&o->pids, a, b);
	if (!r)
		r = merge_events(g, a, b);
	if (!r)
		r = selection_init(&g->selection, o);
	// All of them have ended by now: nobody is wanted, and not everybody.
	if (r == 1)
		r = 0;
	if (r) {
		merged_free(g);
		return r;
	}
	m->merged = g;
	return 0;
}

int sampler_want(struct sampler *m, struct job *const jobs[JOB_SLOTS])
{
	struct job *a = jobs[JOB_CONTINUOUS], *b = jobs[JOB_ONCE], *one = a ? a : b;
	int r = 0;

	if (m->merged != m->used)
		merged_free(m->merged);
	m->merged = NULL;
	m->options = NULL;
	m->selection = NULL;
	if (a && b) {
		r = merge(m, a, b);
		if (r)
			return r;
		m->options = &m->merged->options;
		m->selection = &m->merged->selection;
	} else if (one) {
		m->options = job_options(one);
		m->selection = &one->selection;
	}
	if (m->options && m->options->replay)
		m->selection = NULL;
	else if (m->selection)
		r = selection_choose(m->selection);
	if (m->options) {
		m->wanted = !m->options->replay;
		m->wanted_native = m->options->perf_mode != OPTION_PERF_DISABLED && !native_off(m);
	}
	return r;
}

bool sampler_nothing(const struct sampler *m)
{
	const struct options *o = m->options;

	return !o || ((native_off(m) || o->perf_mode == OPTION_PERF_DISABLED) && !wants_python(o));
}

static bool has_event(const struct sampler *m, const char *name)
{
	for (unsigned i = 0; i < session_events(m->s); i++)
		if (!strcmp(session_event_name(m->s, i), name))
			return true;
	return false;
}

static bool has_pids(const struct sampler *m)
{
	if (!m->npids)
		return true;
	if (!m->selection || !m->selection->numbers.len)
		return false;
	vec_foreach (pid, &m->selection->numbers) {
		bool there = false;

		for (size_t i = 0; i < m->npids; i++)
			there |= m->pids[i] == *pid;
		if (!there)
			return false;
	}
	return true;
}

bool sampler_covers(const struct sampler *m)
{
	struct session_config wanted;

	if (!m->s || sampler_nothing(m) || configure(m, &wanted))
		return false;
	if (m->built.capture.mode != wanted.capture.mode || (wanted.python && !m->built.python) ||
		(wanted.hw_metrics && !m->built.hw_metrics) || m->built.rung != wanted.rung ||
		m->built.reading.always != wanted.reading.always || !has_pids(m))
		return false;
	// A session of named events has no clock unless it was asked for; one of the clock is just that.
	if (!wanted.capture.nevents && m->built.capture.nevents)
		return false;
	for (unsigned i = 0; i < wanted.capture.nevents; i++)
		if (!has_event(m, wanted.capture.events[i].name))
			return false;
	return m->hz == wanted.capture.frequency || session_can_change(m->s);
}

bool sampler_retune(struct sampler *m)
{
	unsigned hz = (unsigned)m->options->frequency;

	return hz != m->hz && session_retune(m->s, hz) == 0;
}

int sampler_adapt(struct sampler *m)
{
	unsigned hz = (unsigned)m->options->frequency;
	int r;

	session_set_selection(m->s, m->selection);
	use_wanted(m);
	r = session_select(m->s);
	if (r)
		return r;
	if (hz == m->hz)
		return 0;
	r = session_set_frequency(m->s, hz);
	if (!r) {
		log_info(LOGGER, "Sampling at %u Hz from now on", hz);
		m->hz = hz;
	}
	return r;
}

static int remember_pids(struct sampler *m, struct session_config *config)
{
	struct capture_config *c = &config->capture;

	const struct option_pids *read = m->selection ? &m->selection->readers : NULL;

	free(m->pids);
	free(m->readers);
	m->pids = m->readers = NULL;
	m->npids = 0;
	if (read && read->len) {
		m->readers = malloc(read->len * sizeof(*m->readers));
		if (!m->readers)
			return -ENOMEM;
		memcpy(m->readers, read->data, read->len * sizeof(*m->readers));
		config->reading.pids = m->readers;
		config->reading.npids = read->len;
	}
	if (m->own_pid_only) {
		c->pids = &m->root_pid;
		c->npids = 1;
	} else if (m->selection && m->selection->numbers.len) {
		m->npids = m->selection->numbers.len;
		m->pids = malloc(m->npids * sizeof(*m->pids));
		if (!m->pids)
			return -ENOMEM;
		memcpy(m->pids, m->selection->numbers.data, m->npids * sizeof(*m->pids));
		c->pids = m->pids;
		c->npids = m->npids;
	}
	return 0;
}

/* Names and metadata are read beside the sampling; where nothing of it is wanted nothing is started. */
static int configure_identities(struct sampler *m, struct session_config *c)
{
	const struct options *o = m->base;
	int r = o->container_names && !m->containers ? containers_new("/proc", &m->containers) : 0;

	m->identities = (struct identities_config){
		.options = o,
		.proc = "/proc",
		.containers = m->containers,
		.external = m->external && m->external->path ? m->external : NULL,
	};
	if (o->container_names || o->collect_appids || o->application_metadata)
		c->identities = &m->identities;
	return r;
}

void sampler_failed(const struct sampler *m)
{
	struct metrics_error e = {.method = "GProfiler._snapshot"};
	bool native = m->wanted_native;

	// A recording that cannot be read is no profiler that fails.
	if (!m->wanted)
		return;
	e.category = native ? "system_profiler" : "profiler_Python";
	e.type = native ? "perf_failure" : "process_profiler_failure";
	e.severity = native ? "critical" : "error";
	if (!native) {
		e.extra_name = "profiler_name";
		e.extra = "Python";
	}
	metrics_error(m->metrics, &e);
}

/* A session, not started yet. */
static int build(struct sampler *m, char *why)
{
	struct session_config config;
	int r;

	snprintf(why, CAPTURE_WHY, "The sampler cannot be started");
	r = configure(m, &config);
	if (!r)
		r = remember_pids(m, &config);
	if (!r)
		r = configure_identities(m, &config);
	if (!r)
		r = session_new(&config, &m->s, why);
	if (r)
		return r;
	m->built = config;
	for (unsigned i = 0; i < session_events(m->s); i++)
		m->events[i] = *session_event(m->s, i);
	m->hz = config.capture.frequency;
	return 0;
}

static int start(struct sampler *m, char *why)
{
	const struct session_config config = m->built;
	int r;

	// Interpreters are read, and that is all this machine allows.
	if (m->wanted_native && config.rung == SESSION_RUNG_AUTO &&
		!strcmp(session_source(m->s), "reader"))
		sampler_failed(m);
	log_info(LOGGER, "Sampling %s at %u Hz through %s", session_event_name(m->s, 0),
		config.capture.frequency, session_source(m->s));
	r = session_start(m->s);
	if (r)
		snprintf(why, CAPTURE_WHY, "Sampling cannot be started: %s", strerror(-r));
	if (!r && m->governor.level > GOVERNOR_SHED)
		session_set_divisor(m->s, governor_divisor(m->governor.level));
	return r;
}

int sampler_open(struct sampler *m, char *why)
{
	int r = build(m, why);

	if (r) {
		log_error(LOGGER, "%s", why);
		return r;
	}
	use_wanted(m);
	return start(m, why);
}

int sampler_open_beside(struct sampler *m, struct sampler_former *ret_former, char *why)
{
	struct sampler before = *m;
	int r;

	m->s = NULL;
	m->pids = m->readers = NULL;
	r = build(m, why);
	// What two of them may not have together, one may: a lower rung is no reason to stay there.
	if (!r && m->built.rung == before.built.rung &&
		strcmp(session_source(m->s), session_source(before.s)) != 0) {
		snprintf(why, CAPTURE_WHY, "It would sample through %s", session_source(m->s));
		r = -EAGAIN;
	}
	if (!r)
		r = start(m, why);
	if (r) {
		session_free(m->s);
		free(m->pids);
		free(m->readers);
		before.containers = m->containers;
		*m = before;
		return r;
	}
	*ret_former = (struct sampler_former){before.s, before.pids, before.readers};
	return 0;
}

static void add_work(struct session_work *to, const struct session *s)
{
	struct session_work w;

	session_get_work(s, &w);
	to->called += w.called;
	to->timed += w.timed;
	to->processes_read += w.processes_read;
}

void sampler_get_work(const struct sampler *m, struct session_work *ret)
{
	*ret = m->ended;
	if (m->s)
		add_work(ret, m->s);
}

void sampler_drop(struct sampler *m, struct sampler_former *former)
{
	add_work(&m->ended, former->s);
	session_free(former->s);
	free(former->pids);
	free(former->readers);
	use_wanted(m);
}

void sampler_look(struct sampler *m)
{
	struct selection *s = m->selection;

	// Processes of the first cgroup version were looked for again.
	if (m->s && s && s->native == SELECTION_CGROUPS && s->cgroups.pids.len)
		session_select(m->s);
}

void sampler_close(struct sampler *m)
{
	if (m->s)
		add_work(&m->ended, m->s);
	session_free(m->s);
	m->s = NULL;
	containers_free(m->containers);
	m->containers = NULL;
	free(m->pids);
	free(m->readers);
	m->pids = m->readers = NULL;
	m->npids = 0;
}

void sampler_govern(struct sampler *m)
{
	enum governor_level before = m->governor.level, level;
	struct governor_reading now;
	int r;

	governor_read(&m->governor, &now, m->s ? session_capture_memory(m->s) : 0);
	level = governor_decide(&m->governor, &now);
	if (level == before || !m->s)
		return;
	r = session_set_divisor(m->s, governor_divisor(level));
	if (r)
		log_once(LOG_LEVEL_WARNING, LOGGER, "The rate stays as it is: %s", strerror(-r));
	if (level > before && m->governor.may_shed)
		malloc_trim(0);
}

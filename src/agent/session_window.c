/* SPDX-License-Identifier: Apache-2.0 */
/* Windows of a session: how they end, at what rate they are taken, and their names. */
#include "agent/session_state.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "capture/order.h"
#include "profile/naming.h"

#define SETTLE_NS (300 * NSEC_PER_MSEC) // for who the last processes are
#define CLOCK_STEP_NS (10 * NSEC_PER_MSEC) // of the real-time clock: larger ones are followed

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

static unsigned slowed(unsigned hz, unsigned divisor)
{
	return divisor ? MAX(hz / divisor, 1u) : 0;
}

static int tick_at(struct session *s, unsigned hz)
{
	int r = s->source->ops->set_rate(s->source, hz);

	count_ticks(s, clock_mono_ns());
	s->hz = hz;
	return r;
}

int session_set_divisor(struct session *s, unsigned divisor)
{
	unsigned hz = slowed(s->source->frequency, divisor);
	int r;

	if (!s->source->ops->set_rate)
		return -EOPNOTSUPP;
	s->divisor = divisor;
	if (hz == s->hz)
		return 0;
	r = tick_at(s, hz);
	reading_set_divisor(&s->reading, divisor);
	for (unsigned i = 0; hz && i < s->source->nevents; i++)
		s->windows[i].times = divisor;
	return r;
}

int session_retune(struct session *s, unsigned hz)
{
	return s->source->ops->set_rate ? tick_at(s, slowed(hz, s->divisor)) : -EOPNOTSUPP;
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

void session_end_window(struct session *s, uint64_t end, bool last)
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
	r = session_drain(s, s->boundary);
	session_end_window(s, s->boundary, false);
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
	runtimes_sweep(&s->runtimes);
	identities_sweep(s->identities, &s->processes);
	if (!r)
		r = process_table_sweep_modules(&s->processes, drop_module, s->unwind);
	return r ? r : reading_begin(&s->reading);
}

/* Who came last may still be read. */
static void settle(struct session *s)
{
	uint64_t deadline = clock_mono_ns() + SETTLE_NS;

	while (!identities_settle(s->identities, SESSION_PUMP_NS) && clock_mono_ns() < deadline)
		session_pump(s);
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

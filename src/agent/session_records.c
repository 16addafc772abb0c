/* SPDX-License-Identifier: Apache-2.0 */
/* What a session does with each record: it changes the process table, or becomes a stack in the running window. */
#include "agent/session_state.h"

#include <errno.h>

#include "base/log.h"

#define LOGGER "gprofiler"
#define SLOW_DRAIN_NS (50 * NSEC_PER_MSEC) // worth a line in the log
#define YOUNG_NS (50 * NSEC_PER_MSEC) // most programs are over by then
#define ANCESTORS_MAX 64 // of a process, looked at where no record tells of forks

/* Is it, or was it born of, the process that was asked for? Birth is taken from fork records, so a
 * child that outlives its parent stays wanted. */
static bool wanted(const struct session *s, const struct process *p)
{
	return !s->config.root_pid || p->wanted || p->pid == s->config.root_pid ||
	       p->ppid == s->config.root_pid;
}

/* The same for the reader, which may have to do without records. */
bool session_may_be_read(void *arg, const struct process *p, bool *ret_asked_for)
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
void session_pump(void *arg)
{
	struct session *s = arg;
	uint64_t now = clock_mono_ns();

	if (s->companion)
		session_pump(s->companion);
	if (!s->boundary || now - s->pumped < SESSION_PUMP_NS)
		return;
	s->pumped = now;
	// Up to the beginning of time: everything is taken from the rings and kept.
	s->source->ops->drain(s->source, 1, on_overflow, s);
}

/* The in-kernel walker is told of a process when it has been sampled, or has lived for a while: its first sample is
 * handed over anyway if it comes early, and most have none. */
int session_publish(void *arg, struct process *p)
{
	struct session *s = arg;
	int r;

	if (!p->exit_time && !p->sampled && p->born && s->source->ops->set_process &&
		s->drained < p->born + YOUNG_NS)
		return 1;
	r = unwind_update_process(s->unwind, p);

	if (r && r != -ENOSPC)
		return r;
	return runtimes_changed(&s->runtimes, p);
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
			runtimes_fork(&s->runtimes, from, p);
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
		identities_see(s->identities, &s->processes, stack.process);
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

/* A frame was named: for the recording. */
void session_keep_name(void *arg, const struct process *p, const uint64_t *words, unsigned nwords,
	const struct runtime_frame *frame)
{
	const struct session *s = arg;
	const struct runtime_set *set = s->runtimes.set;
	const struct capture_event event = {
		.type = CAPTURE_NAMED,
		.pid = p->pid,
		.tid = p->pid,
		.time = s->recorded_to,
		.named = {.words = words,
			.nwords = nwords,
			.line = frame->line,
			.start_line = frame->start_line,
			.stale = frame->stale,
			.comm = p->comm,
			.name = runtime_text(set, frame->name),
			.file = runtime_text(set, frame->file),
			.package = runtime_text(set, frame->package)},
	};

	s->source->ops->keep(s->source, &event);
}

/* Of a recording: what a frame was called. */
static int on_named(struct session *s, const struct capture_event *event)
{
	struct process *p =
		s->runtimes.set ? process_table_ensure(&s->processes, event->pid, event->named.comm)
				: NULL;
	int r = p ? runtime_frames_tell(&s->runtimes.frames, p, &event->named) : 0;

	return r == -EINVAL ? 0 : r;
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
	case CAPTURE_NAMED:
		return on_named(s, event);
	default:
		return on_process(s, event);
	}
}

int session_drain(struct session *s, uint64_t until)
{
	uint64_t begin = clock_mono_ns(), cpu = clock_cpu_ns(), taken;
	int r;

	// What is younger than the end of the running window is the next one's.
	if (s->boundary && (!until || until > s->boundary))
		until = s->boundary;
	r = s->source->ops->drain(s->source, until, on_event, s);
	s->drained = MAX(s->drained, until);
	if (!r)
		r = process_table_take_dirty(&s->processes, session_publish, s);
	// While one drain lasts nobody empties the rings: this is where samples would be lost.
	taken = clock_mono_ns() - begin;
	if (taken > SLOW_DRAIN_NS)
		log_debug(LOGGER, "A drain took long (ms=%llu, cpu_ms=%llu)",
			(unsigned long long)(taken / NSEC_PER_MSEC),
			(unsigned long long)((clock_cpu_ns() - cpu) / NSEC_PER_MSEC));
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "capture/event_find.h"

int job_new(const struct options *options, struct job **ret)
{
	struct job *job = calloc(1, sizeof(*job));
	int r = job ? finish_config_new(options, &job->finish) : -ENOMEM;

	if (!r)
		r = selection_init(&job->selection, &job->finish->options);
	if (r) {
		job_free(job);
		return r;
	}
	job->slot = options->continuous ? JOB_CONTINUOUS : JOB_ONCE;
	option_pids_init(&job->without, options->pids.cap);
	*ret = job;
	return 0;
}

static void drop_parts(struct job *job)
{
	for (unsigned i = 0; i < CAPTURE_EVENTS_MAX; i++) {
		finished_free(job->parts[i]);
		job->parts[i] = NULL;
	}
	job->nparts = 0;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	drop_parts(job);
	selection_deinit(&job->selection);
	option_pids_deinit(&job->without);
	json_decref(job->body);
	finish_config_unref(job->finish);
	free(job);
}

bool job_names_events(const struct options *o)
{
	// The reference's default, "cycles", means: the best clock there is, also when it is written out, is
	// all that is left of names nobody knows, or comes from the studio.
	return options_given(o, OPTION_perf_events) &&
	       (o->perf_events.len != 1 || strcmp(o->perf_events.data[0], "cycles") != 0);
}

void job_begin(struct job *job, uint64_t now)
{
	const struct options *o = job_options(job);
	bool to_the_end = o->command && !options_given(o, OPTION_duration) && !o->continuous;

	job->began = now;
	// A command is profiled to its end, unless a duration was asked for.
	job->boundary = to_the_end ? 0 : now + o->duration * NSEC_PER_SEC;
}

static bool is_wanted(void *arg, const struct profile_context *context)
{
	const struct job *job = arg;
	bool wanted = !job->selection.pids.len;

	vec_foreach (id, &job->selection.pids)
		wanted |= id->pid == context->pid;
	vec_foreach (pid, &job->without)
		wanted &= *pid != context->pid;
	return wanted;
}

/* One of those that "cycles" may have become. */
static bool is_clock(const char *name)
{
	struct capture_perf_event clock;

	for (unsigned n = 0; event_find_clock(n, &clock) == 0; n++)
		if (!strcmp(clock.name, name))
			return true;
	return false;
}

/* Index of the event among the job's, or CAPTURE_EVENTS_MAX. */
static unsigned event_index(const struct job *job, const struct finished *slice)
{
	const struct options *o = job_options(job);

	// Of a recording, every event that was recorded.
	for (unsigned i = 0; o->replay && i < CAPTURE_EVENTS_MAX; i++)
		if (!job->parts[i] || !strcmp(job->parts[i]->event, slice->event))
			return i;
	if (!job_names_events(o))
		return slice->clock ? 0 : CAPTURE_EVENTS_MAX;
	for (unsigned i = 0; i < o->perf_events.len && i < CAPTURE_EVENTS_MAX; i++)
		if (!strcmp(o->perf_events.data[i], slice->event))
			return i;
	for (unsigned i = 0; i < o->perf_events.len && i < CAPTURE_EVENTS_MAX; i++)
		if (!strcmp(o->perf_events.data[i], "cycles") && is_clock(slice->event))
			return i;
	return CAPTURE_EVENTS_MAX;
}

/* Of a recording every sample is wanted, at whatever rate it was taken. The sampler may be slower than
 * was asked for, too: what the kernel allows, said when it began. */
static unsigned frequency_of(const struct job *job, const struct finished *slice)
{
	unsigned taken = slice->profile.meta.frequency;

	return job_options(job)->replay ? taken : MIN((unsigned)job_options(job)->frequency, taken);
}

static void add_marks(struct finished *to, const struct finished *from)
{
	double before = (double)to->profile.meta.duration_ns;
	double slice = (double)from->profile.meta.duration_ns;
	struct governor_marks *m = &to->marks;

	// The slice's length is not added yet.
	if (before + slice > 0)
		m->cpu_percent = (m->cpu_percent * before + from->marks.cpu_percent * slice) /
				 (before + slice);
	m->worst = MAX(m->worst, from->marks.worst);
	m->shed += from->marks.shed;
	m->slowed += from->marks.slowed;
	m->paused += from->marks.paused;
	m->eased += from->marks.eased;
	m->end = from->marks.end;
}

static int merge(struct job *job, unsigned i, const struct finished *slice)
{
	unsigned taken = slice->profile.meta.frequency;
	struct profile_merge *how = &job->thinning[i];
	struct finished *part = job->parts[i];

	how->wanted = job->selection.pids.len || job->without.len ? is_wanted : NULL;
	how->arg = job;
	if (how->of != taken)
		how->carried = 0;
	how->keep = frequency_of(job, slice);
	how->of = taken;
	add_marks(part, slice);
	return profile_merge(&part->profile, &slice->profile, how);
}

int job_take(struct job *job, struct finished **slice, bool alone)
{
	unsigned i = event_index(job, *slice), hz = frequency_of(job, *slice);
	int r;

	if (i == CAPTURE_EVENTS_MAX)
		return 0;
	if (!job->parts[i])
		job->nparts++;
	if (!job->parts[i] && alone && !job->without.len &&
		(*slice)->profile.meta.frequency == hz) {
		finish_config_unref((*slice)->config);
		(*slice)->config = finish_config_ref(job->finish);
		job->parts[i] = *slice;
		*slice = NULL;
		return 0;
	}
	r = job->parts[i] ? 0 : finished_new(job->finish, (*slice)->event, &job->parts[i]);
	if (!r)
		r = merge(job, i, *slice);
	if (!r)
		job->parts[i]->profile.meta.frequency = hz;
	return r;
}

int job_give(struct job *job, struct worker *worker)
{
	unsigned left = job->nparts;
	int first = left ? 0 : -ENODATA;

	for (unsigned i = 0; i < CAPTURE_EVENTS_MAX; i++) {
		struct finished *f = job->parts[i];

		if (!f)
			continue;
		f->several = job->nparts > 1;
		// Whoever waits is told when all events are out.
		if (--left == 0) {
			f->receipt = job->receipt;
			job->receipt.fn = NULL;
		}
		if (worker) {
			worker_put(worker, f);
		} else {
			int r = finished_write(f);

			finished_free(f);
			first = first ? first : r;
		}
		job->parts[i] = NULL;
	}
	job->windows += job->nparts > 0;
	job->nparts = 0;
	if (job->boundary)
		job->boundary += job_options(job)->duration * NSEC_PER_SEC;
	return first;
}

bool job_leave_out(struct job *job, const struct option_pids *pids)
{
	struct selection *s = &job->selection;
	bool chosen = s->pids.len > 0;

	vec_foreach (out, pids) {
		for (size_t i = 0; chosen && i < s->pids.len; i++) {
			if (s->pids.data[i].pid != *out)
				continue;
			selection_ids_remove(&s->pids, i, 1);
			option_pids_remove(&s->numbers, i, 1);
			break;
		}
		if (!chosen)
			option_pids_push(&job->without, *out);
	}
	return chosen && !s->pids.len;
}

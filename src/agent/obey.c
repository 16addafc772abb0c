/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the studio become jobs of the loop, and the other way round (docs/notes/0023). */
#include <errno.h>
#include <string.h>

#include "agent/windows_run.h"
#include "base/clock.h"
#include "base/log.h"
#include "capture/event_find.h"

#define LOGGER "gprofiler.heartbeat"

static void fail(struct windows *w, const char *id, const char *why)
{
	const struct command_outcome outcome = {.failed = true, .error = why};

	log_warning(LOGGER, "Command %s failed: %s", id, why);
	control_finish(w->config->control, id, &outcome);
}

/* On the writer's thread. */
static void on_written(void *arg, const struct finish_receipt *receipt, int r)
{
	struct command_outcome outcome = {.seconds = receipt->seconds, .error = receipt->error};

	outcome.failed = r || receipt->error;
	if (r && !outcome.error)
		outcome.error = r == -ECANCELED ? "The profile was lost: writing is too slow"
						: strerror(-r);
	// A continuous one has more windows to come.
	if (r && !receipt->last)
		return;
	control_finish(arg, receipt->id, &outcome);
}

void obey_window(struct windows *w, struct job *job, bool ending)
{
	struct control *control = w->config->control;
	uint64_t took = clock_mono_ns() - job->began;

	if (!control || !job->id[0] || control_is_finished(control, job->id))
		return;
	if (!job->nparts) {
		if (ending)
			fail(w, job->id, "Nothing could be sampled");
		return;
	}
	job->receipt = (struct finish_receipt){
		.fn = on_written,
		.arg = control,
		.seconds = (took + NSEC_PER_SEC / 2) / NSEC_PER_SEC,
		.last = ending,
	};
	if (w->ending && job->slot == JOB_ONCE)
		job->receipt.error =
			"The agent ended before the profile did; what there was is sent";
	snprintf(job->receipt.id, sizeof(job->receipt.id), "%s", job->id);
}

/* What the machine lacks is found before anything that runs is ended for it. */
static int check_events(const struct options *o, struct buf *why)
{
	vec_foreach (name, &o->perf_events) {
		int r = job_names_events(o) && strcmp(*name, "cycles") != 0 ? event_probe(*name)
									    : 0;

		if (r && r != -EPERM && r != -EACCES) {
			buf_printf(why, "This machine does not count the perf event %s: %s", *name,
				strerror(-r));
			return 1;
		}
	}
	return 0;
}

static int make_job(struct windows *w, const struct remote_command *c, struct job **ret)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	const struct windows_config *config = w->config;
	struct options o;
	int r = remote_command_options(c, config->options, config->hostname, &o, &why);

	if (r) {
		fail(w, c->id,
			r < 0	  ? strerror(-r)
			: why.len ? buf_str(&why)
				  : "It cannot be read");
		return r;
	}
	r = check_events(&o, &why);
	if (r) {
		fail(w, c->id, buf_str(&why));
		options_deinit(&o);
		return r;
	}
	r = job_new(&o, ret);
	options_deinit(&o);
	if (r) {
		fail(w, c->id, r < 0 ? strerror(-r) : "None of its processes is alive");
		return r;
	}
	snprintf((*ret)->id, sizeof((*ret)->id), "%s", c->id);
	(*ret)->body = json_incref(c->body);
	(*ret)->finish->delivery = config->delivery;
	(*ret)->finish->machine = config->machine;
	(*ret)->finish->spawn_real_ns = config->spawn_real_ns;
	return 0;
}

/* A job that could not begin is taken out, and the others go on; r: why, 0 there was nothing to begin. */
static int take_out(struct windows *w, enum job_slot slot, int r, const char *why)
{
	struct job *job = w->jobs[slot];

	fail(w, job->id, why);
	if (r)
		sampler_failed(&w->sampler);
	w->jobs[slot] = NULL;
	job_free(job);
	return windows_turn(w, clock_mono_ns(), 0, 0, NULL);
}

static int start(struct windows *w, const struct remote_command *c)
{
	uint64_t began = clock_mono_ns();
	unsigned replaced;
	struct job *job;
	enum job_slot slot;
	int r;

	if (make_job(w, c, &job)) {
		job = w->jobs[JOB_CONTINUOUS];
		if (job && job->body)
			control_keep(w->config->control, job->id, job->body);
		return 0;
	}
	slot = job->slot;
	replaced = windows_running(w) & BIT(slot);
	w->why[0] = 0;
	r = windows_turn(w, began, replaced, replaced, job);
	if (r && w->jobs[slot] == job)
		return take_out(w, slot, r, w->why[0] ? w->why : strerror(-r));
	if (r) {
		fail(w, c->id, strerror(-r));
		return r;
	}
	if (!w->sampler.s && slot == JOB_ONCE)
		return take_out(w, slot, 0,
			"Nothing is left to sample: native stacks are off, and so are those of "
			"interpreters");
	log_info(LOGGER, "Command %s began: %llu s at %llu Hz%s (ms_to_start=%llu)", c->id,
		(unsigned long long)job_options(job)->duration,
		(unsigned long long)job_options(job)->frequency,
		slot == JOB_ONCE ? "" : ", again and again",
		(unsigned long long)((clock_mono_ns() - began) / NSEC_PER_MSEC));
	return 0;
}

/* Samples of these processes up to now stay, later ones are not taken. */
static int stop_processes(struct windows *w, const struct option_pids *pids)
{
	uint64_t now = clock_mono_ns();
	unsigned ending = 0;
	int r = windows_running(w) ? windows_turn(w, now, 0, 0, NULL) : 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++) {
		struct remote_command own = {.body = w->jobs[i] ? w->jobs[i]->body : NULL};

		if (w->jobs[i] && job_leave_out(w->jobs[i], pids))
			ending |= BIT(i);
		remote_command_leave_out(&own, pids);
	}
	if (!r && ending)
		r = windows_turn(w, clock_mono_ns(), ending, ending, NULL);
	control_leave_out(w->config->control, pids);
	return r;
}

static int stop(struct windows *w, const struct remote_command *c)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	unsigned all = windows_running(w);
	struct command_outcome outcome = {0};
	struct option_pids pids;
	int r = 0;

	if (!remote_command_is_partial(c)) {
		r = all ? windows_turn(w, clock_mono_ns(), all, all, NULL) : 0;
	} else {
		option_pids_init(&pids, w->config->options->pids.cap);
		r = remote_command_pids(c, &pids, &why);
		if (!r)
			r = stop_processes(w, &pids);
		option_pids_deinit(&pids);
	}
	outcome.failed = r != 0;
	outcome.error = !r ? NULL : r > 0 ? buf_str(&why) : strerror(-r);
	log_info(LOGGER, "Command %s: %s", c->id,
		r			  ? outcome.error
		: windows_running(w) == 0 ? "all is stopped"
					  : "its processes are left out from now on");
	control_finish(w->config->control, c->id, &outcome);
	return r > 0 ? 0 : r;
}

int obey(struct windows *w)
{
	struct remote_command c;
	int r = 0;

	while (!r) {
		unsigned kinds = COMMAND_ALL;

		if (w->jobs[JOB_ONCE])
			kinds &= ~COMMAND_BIT(REMOTE_ONCE);
		if (!control_next(w->config->control, kinds, &c))
			break;
		r = c.kind == REMOTE_STOP ? stop(w, &c) : start(w, &c);
		remote_command_deinit(&c);
	}
	return r;
}

bool obey_resume(struct windows *w)
{
	struct control *control = w->config->control;
	char id[REMOTE_ID_MAX + 1];
	struct remote_command c;
	int r;

	if (control_resume(control, &c)) {
		log_info(
			LOGGER, "Command %s is in force since before this start: it goes on", c.id);
		r = start(w, &c);
		remote_command_deinit(&c);
		if (r)
			obey_failure(w, r);
	} else if (control_is_stopped(control, id) && w->config->first) {
		log_info(LOGGER,
			"Command %s stopped profiling before this start: nothing is profiled until a "
			"start comes",
			id);
	} else {
		return false;
	}
	job_free(w->config->first);
	return true;
}

int obey_failure(struct windows *w, int r)
{
	bool own = false;

	log_error(LOGGER, "Profiling failed: %s", w->why[0] ? w->why : strerror(-r));
	for (unsigned i = 0; i < JOB_SLOTS; i++) {
		struct job *job = w->jobs[i];

		if (!job)
			continue;
		own |= !job->id[0];
		if (job->id[0]) {
			fail(w, job->id, w->why[0] ? w->why : strerror(-r));
			control_release(w->config->control, job->id);
		}
		job_free(job);
		w->jobs[i] = NULL;
	}
	// The run ends with its own job, and says it then.
	if (!own)
		sampler_failed(&w->sampler);
	sampler_close(&w->sampler);
	return own ? r : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/windows.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/windows_run.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/resident.h"

#define LOGGER "gprofiler"
#define TICK_NS NSEC_PER_SEC // how often the world is looked at
/* From the signal to the exit there are 5 s: naming has its share before this, uploads theirs (3 s)
 * after it. */
#define FINISH_NS (1800 * NSEC_PER_MSEC)

#define OBEY_NS (100 * NSEC_PER_MSEC) // how often it is asked for commands
#define CHANGED_MAX 4096
#define TRIMS 15 // times that memory is given back after sampling ended, one a second

static int write_now(void *arg, struct finished *f)
{
	(void)arg;
	return finished_write(f);
}

/* A new file is 0644 whatever the umask; one that exists keeps its mode. */
static void touch_heartbeat(const struct windows *w)
{
	const char *path = w->config->options->heartbeat_file;
	int fd;

	if (!path || !path[0])
		return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd >= 0)
		fchmod(fd, 0644);
	else if (errno == EEXIST)
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || futimens(fd, NULL) < 0)
		log_once(LOG_LEVEL_WARNING, LOGGER, "Heartbeat file %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void log_usage(const struct governor_marks *m)
{
	log_info(LOGGER,
		"Own usage: CPU %.2f %% of one, memory %.1f MB anonymous, %.1f MB resident, %.1f MB of "
		"BPF maps and rings",
		m->cpu_percent, (double)m->end.anon / (1 << 20),
		(double)m->end.resident / (1 << 20), (double)m->end.bpf / (1 << 20));
}

unsigned windows_running(const struct windows *w)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++)
		bits |= w->jobs[i] ? BIT(i) : 0;
	return bits;
}

static bool any(const struct windows *w)
{
	return windows_running(w) != 0;
}

/* Each job takes from one event's slice what is its own; the last one may have it whole. */
static int share_out(struct windows *w, struct finished **slice)
{
	bool alone = windows_running(w) != ALL_SLOTS;
	int first = 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++) {
		int r = w->jobs[i] && *slice ? job_take(w->jobs[i], slice, alone) : 0;

		first = first ? first : r;
	}
	finished_free(*slice);
	*slice = NULL;
	return first;
}

/* Names every event of the sampler's window that ended, and hands on what is due. A window whose naming
 * fails is lost (and was logged); the next one is not. */
static int give_out(struct windows *w, struct session *s, unsigned due, unsigned ending)
{
	struct governor_marks marks = governor_window(&w->sampler.governor);
	int first = 0, r;

	if (w->config->options->log_usage)
		log_usage(&marks);
	for (unsigned event = 0; s && event < session_events(s); event++) {
		struct job *any_job =
			w->jobs[JOB_CONTINUOUS] ? w->jobs[JOB_CONTINUOUS] : w->jobs[JOB_ONCE];
		struct finished *f;

		r = any_job ? finished_take(any_job->finish, s, event, &f) : -ENODATA;
		watch_window(w->config->watch, r ? NULL : &f->profile.meta);
		if (!r) {
			f->marks = marks;
			r = share_out(w, &f);
		}
		first = first ? first : r;
	}
	for (unsigned i = 0; i < JOB_SLOTS; i++) {
		if (w->jobs[i] && due & BIT(i))
			obey_window(w, w->jobs[i], ending & BIT(i));
		r = w->jobs[i] && due & BIT(i) ? job_give(w->jobs[i], w->worker) : 0;
		first = first || r == -ENODATA ? first : r;
	}
	w->number++;
	return first;
}

/* What the window that ended leaves behind. */
static void clean_up(struct windows *w)
{
	const struct options *o = w->config->options;
	const struct governor *g = &w->sampler.governor;

	if (!o->memory_management)
		return;
	if (g->level >= GOVERNOR_SHED || g->last.anon + g->last.bpf > o->memory_cleanup_mb << 20)
		session_shed(w->sampler.s);
	malloc_trim(0);
}

/* When the sampler's window is to be cut: the first boundary of a job, 0 none. */
static uint64_t next_boundary(const struct windows *w)
{
	uint64_t first = 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++)
		if (w->jobs[i] && w->jobs[i]->boundary && (!first || w->jobs[i]->boundary < first))
			first = w->jobs[i]->boundary;
	return first;
}

/* The reference's metric of a window that was lost: the next one is not (4.6). */
static void tell_lost(const struct windows *w)
{
	metrics_error(w->config->metrics, &(struct metrics_error){.category = "gprofiler_main",
						  .type = "profiling_run_failure",
						  .severity = "error",
						  .method = "GProfiler.run_continuous"});
}

/* Cuts the sampler's window, names it, and goes on with the same session. *at: when it ended. */
static int cut(struct windows *w, uint64_t *at, unsigned due, unsigned ending)
{
	struct session *s = w->sampler.s;
	int r;

	// All samples of a slice are of one rate: it changes where the slice ends, however late we are.
	if (sampler_retune(&w->sampler))
		*at = MAX(*at, clock_mono_ns());
	session_set_boundary(s, *at);
	r = session_cut(s);
	if (!r)
		r = sampler_adapt(&w->sampler);
	// While naming the rings are emptied into memory: what is younger has a window to wait for.
	session_set_boundary(s, UINT64_MAX);
	if (r)
		return r;
	if (give_out(w, s, due, ending))
		tell_lost(w);
	r = session_window_done(s);
	clean_up(w);
	return r;
}

/* Takes in what is left, gives it out, and ends the session. */
static int end_session(struct windows *w, unsigned due, unsigned ending)
{
	int r = w->sampler.s ? session_stop(w->sampler.s) : 0;

	if (!r && (w->sampler.s || due))
		r = give_out(w, w->sampler.s, due, ending);
	sampler_close(&w->sampler);
	return r;
}

/* Both sessions end a window at the same time: what the new one saw until then the old one saw, too. */
static int hand_over(struct windows *w, struct session *old, uint64_t at)
{
	struct session *s = w->sampler.s;
	int r;

	session_set_boundary(s, at);
	r = session_cut(s);
	if (!r)
		r = session_window_done(s);
	session_set_boundary(s, UINT64_MAX);
	session_set_companion(old, s);
	session_set_boundary(old, at);
	return r ? r : session_cut(old);
}

/* Another session is needed: it is built beside the one that is there, so that nothing falls between the two.
 * *ret_at: when the window ended. Return 0, 1: it cannot be built beside it, and nothing is changed; -errno. */
static int replace(struct windows *w, unsigned due, unsigned ending, uint64_t *ret_at)
{
	struct sampler_former old;
	uint64_t at;
	int r;

	// A recording is one file of one session.
	if (!w->sampler.s || sampler_nothing(&w->sampler) || w->sampler.built.record)
		return 1;
	if (sampler_open_beside(&w->sampler, &old, w->why)) {
		log_debug(LOGGER, "No second sampler beside the first: %s", w->why);
		return 1;
	}
	at = clock_mono_ns();
	r = hand_over(w, old.s, at);
	if (!r && give_out(w, old.s, due, ending))
		tell_lost(w);
	sampler_drop(&w->sampler, &old);
	*ret_at = at;
	return r;
}

/* The jobs after a turn. */
static void planned(struct windows *w, unsigned ending, struct job *fresh, struct job **ret)
{
	for (unsigned i = 0; i < JOB_SLOTS; i++)
		ret[i] = ending & BIT(i) ? NULL : w->jobs[i];
	if (fresh)
		ret[fresh->slot] = fresh;
}

/* The one way in which anything changes: at a time `at` the windows of the jobs in `due` end and are
 * given out, those in `ending` (which are due, too) end, and a fresh one begins in a slot that is free
 * then; its window and the next ones of the others begin where the old ones ended. */
int windows_turn(struct windows *w, uint64_t at, unsigned due, unsigned ending, struct job *fresh)
{
	uint64_t begin = clock_mono_ns(), number = w->number;
	struct job *next[JOB_SLOTS];
	bool covers, wanted = false;
	int r;

	planned(w, ending, fresh, next);
	for (unsigned i = 0; i < JOB_SLOTS; i++)
		wanted |= next[i] != NULL;
	if (wanted)
		touch_heartbeat(w);
	r = sampler_want(&w->sampler, next);
	if (r) {
		job_free(fresh);
		return r;
	}
	covers = sampler_covers(&w->sampler);
	r = covers ? cut(w, &at, due, ending) : replace(w, due, ending, &at);
	if (r == 1)
		r = end_session(w, due, ending);
	else if (!r)
		covers = true;
	for (unsigned i = 0; i < JOB_SLOTS; i++) {
		if (ending & BIT(i))
			job_free(w->jobs[i]);
		w->jobs[i] = next[i];
	}
	if (r)
		return r;
	if (!covers && !sampler_nothing(&w->sampler))
		r = sampler_open(&w->sampler, w->why);
	if (fresh)
		job_begin(fresh, covers || !w->sampler.s ? at : session_begun(w->sampler.s));
	if (w->sampler.s)
		session_set_boundary(w->sampler.s, next_boundary(w));
	if (w->number != number)
		log_debug(LOGGER, "Window %llu ended (ms_to_name=%llu)",
			(unsigned long long)w->number,
			(unsigned long long)((clock_mono_ns() - begin) / NSEC_PER_MSEC));
	return r;
}

/* Jobs whose window is over. */
static unsigned due_at(const struct windows *w, uint64_t now)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++)
		if (w->jobs[i] && w->jobs[i]->boundary && w->jobs[i]->boundary <= now)
			bits |= BIT(i);
	return bits;
}

/* For those who look at us. */
static void show(struct windows *w)
{
	const struct sampler *m = &w->sampler;
	struct watch_now now = {
		.governor = &m->governor,
		.selection = m->selection,
		.worker = w->worker,
		.rung = m->s ? session_source(m->s) : NULL,
		.event = m->s ? session_event_name(m->s, 0) : NULL,
		.frequency = m->hz,
		.runtimes_only = m->s && m->built.capture.mode == BPF_UNWIND_OFF,
	};

	sampler_get_work(m, &now.work);
	watch_look(w->config->watch, &now);
}

/* Files may say other things by now. What cannot be read leaves all as it is. */
static void reload(struct windows *w)
{
	_cleanup_buf_ struct buf changed = BUF_INIT(CHANGED_MAX), why = BUF_INIT(CHANGED_MAX);
	int r = options_reload(&w->live, &changed, &why);

	if (r) {
		log_warning(LOGGER, "Options stay as they are: %s",
			r < 0 ? strerror(-r) : buf_str(&why));
		return;
	}
	if (changed.len)
		log_info(LOGGER, "Options are others from now on: %s", buf_str(&changed));
	log_set_verbose(w->live.verbose);
	governor_set_limits(&w->sampler.governor, &w->live);
}

/* Once a second. True: the run ends. */
static bool look_around(struct windows *w)
{
	const struct windows_config *c = w->config;

	if (c->signals->hangup) {
		c->signals->hangup = 0;
		if (log_reopen())
			log_warning(LOGGER, "The log file could not be reopened");
		else
			log_info(LOGGER, "Log file reopened");
		reload(w);
		watch_reloaded(c->watch);
	}
	if (c->controller && !process_identity_lives(c->controller)) {
		log_info(LOGGER, "Controller process %u has exited; gProfiler stopping...",
			c->controller->pid);
		return true;
	}
	return false;
}

/* One profile of chosen processes is over with them; a continuous one waits for its end. */
static unsigned without_processes(struct windows *w)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < JOB_SLOTS; i++)
		if (w->jobs[i] && selection_look(&w->jobs[i]->selection))
			bits |= BIT(i);
	sampler_look(&w->sampler);
	return bits & BIT(JOB_ONCE);
}

static bool signalled(struct windows *w)
{
	struct windows_signals *signals = w->config->signals;

	if (signals->stop != SIGCHLD)
		return signals->stop != 0;
	if (command_ended(w->config->command))
		return true;
	signals->stop = 0;
	return false;
}

/* Samples, or sleeps, for a second at most. */
static int pass_time(struct windows *w, uint64_t now)
{
	struct control *control = w->config->control;
	uint64_t until = now + (control ? OBEY_NS : TICK_NS), boundary = next_boundary(w);
	struct pollfd fd = {.fd = -1, .events = POLLIN};

	if (boundary && boundary < until)
		until = boundary;
	if (w->sampler.s)
		return session_run(w->sampler.s, until, &w->config->signals->stop);
	if (control) {
		// A command wakes us, and so does a signal.
		fd.fd = control_fd(control);
		poll(&fd, 1, TICK_NS / NSEC_PER_MSEC);
	} else if (until > now) {
		clock_sleep_ns(until - now);
	}
	return 0;
}

/* Without a job nothing is needed that was taken: the worker and the senders end theirs a little later. */
static void give_back(struct windows *w)
{
	if (w->config->control)
		delivery_set_idle(w->config->delivery, !any(w));
	if (any(w))
		w->trims = TRIMS;
	else if (w->trims && w->trims--)
		resident_empty_cache();
}

static int loop(struct windows *w)
{
	uint64_t now = clock_mono_ns(), looked = now;
	unsigned due;
	int r = 0;

	while (!r && !signalled(w) && (any(w) || w->config->control)) {
		r = pass_time(w, now);
		if (w->config->options->replay)
			break; // all of it, at once
		now = clock_mono_ns();
		due = r ? 0 : due_at(w, now);
		if (due)
			r = windows_turn(w, next_boundary(w), due, due & BIT(JOB_ONCE), NULL);
		if (w->config->control && !r)
			r = obey(w);
		if (w->config->control && r)
			r = obey_failure(w, r);
		if (now - looked >= TICK_NS) {
			looked = now;
			if (any(w))
				sampler_govern(&w->sampler);
			give_back(w);
			show(w);
			if (look_around(w))
				break;
			due = r ? 0 : without_processes(w);
			if (due)
				r = windows_turn(w, now, due, due, NULL);
		}
	}
	return r;
}

/* What the thread has not written in time is lost: it must not keep the program from ending. */
static bool end_worker(struct windows *w)
{
	struct worker_stats stats;
	bool done;

	if (!w->worker)
		return true;
	done = worker_finish(w->worker, FINISH_NS, &stats);
	log_info(LOGGER,
		"%llu profiles written, %llu of them without their page, %llu failed, %llu lost",
		(unsigned long long)stats.done, (unsigned long long)stats.brief,
		(unsigned long long)stats.failed, (unsigned long long)stats.dropped);
	if (done)
		worker_free(w->worker);
	else
		log_error(LOGGER, "Writing the last profile takes too long: it is given up");
	return done;
}

/* What the command line asks for. */
static int begin(struct windows *w)
{
	struct job *first = w->config->first;
	int r;

	if (w->config->control && obey_resume(w))
		return 0;
	if (!first)
		return 0;
	r = windows_turn(w, clock_mono_ns(), 0, 0, first);
	if (!r && !w->sampler.s && first->slot == JOB_ONCE) {
		log_error(LOGGER,
			"Nothing is left to sample: native stacks are off, as said above, and so are "
			"those of interpreters");
		return -ENODATA;
	}
	return r;
}

int windows_run(const struct windows_config *config, bool *ret_abandoned)
{
	const struct options *o = config->options;
	struct windows w = {.config = config};
	int r = 0;

	*ret_abandoned = false;
	r = options_copy(&w.live, o);
	if (r) {
		job_free(config->first);
		return r;
	}
	sampler_init(&w.sampler, o);
	if (config->machine)
		w.sampler.external = &config->machine->external;
	w.sampler.metrics = config->metrics;
	w.sampler.root_pid = (uint32_t)config->command->pid;
	w.sampler.own_pid_only = geteuid() != 0 && config->command->pid;
	if (o->continuous || config->control)
		r = worker_new(write_now, NULL, &w.worker);
	if (r) {
		job_free(config->first);
		options_deinit(&w.live);
		return r;
	}
	r = begin(&w);
	command_go(config->command);
	if (!r) {
		show(&w);
		watch_ready(config->watch);
		r = loop(&w);
	}
	watch_stopping(config->watch);
	if (!r && any(&w)) {
		unsigned all = windows_running(&w);

		w.ending = true;
		r = windows_turn(&w, clock_mono_ns(), all, all, NULL);
	}
	if (r && r != -ENODATA) {
		log_error(LOGGER, "Profiling failed: %s", strerror(-r));
		sampler_failed(&w.sampler);
	}
	for (unsigned i = 0; i < JOB_SLOTS; i++)
		job_free(w.jobs[i]);
	sampler_deinit(&w.sampler);
	options_deinit(&w.live);
	*ret_abandoned = !end_worker(&w);
	return r;
}

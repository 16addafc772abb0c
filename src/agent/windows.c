/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/windows.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/worker.h"
#include "base/clock.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define TICK_NS NSEC_PER_SEC // how often the world is looked at
/* From the signal to the exit there are 5 s: naming has its share before this, uploads theirs (3 s)
 * after it. */
#define FINISH_NS (1800 * NSEC_PER_MSEC)

struct windows {
	const struct windows_config *config;
	struct session *s; // NULL while nothing may be sampled
	struct worker *worker; // NULL in a single run
	uint64_t deadline; // of a single run, 0 none
	uint64_t number; // of windows ended
	uint64_t idle_until; // without a session: when the guard rails are asked again
	bool built_off; // the session has no native stacks
	bool built_reading; // and reads Python from outside
	struct governor governor;
};

static int write_now(void *arg, struct finished *f)
{
	return finished_write(arg, f);
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

/* Names every event of the window that ended, and hands it on. */
static int give_out(struct windows *w)
{
	const struct finish_config *finish = w->config->finish;
	struct governor_marks marks = governor_window(&w->governor);
	int first = 0;

	if (w->config->options->log_usage)
		log_usage(&marks);
	for (unsigned event = 0; event < session_events(w->s); event++) {
		struct finished *f;
		int r = finished_new(finish, w->s, event, &f);

		watch_window(w->config->watch, r ? NULL : &f->profile.meta);
		if (!r)
			f->marks = marks;
		if (!r && w->worker) {
			worker_put(w->worker, f);
		} else if (!r) {
			r = finished_write(finish, f);
			finished_free(f);
		}
		first = first ? first : r;
	}
	w->number++;
	return first;
}

static bool native_off(const struct windows *w)
{
	return w->config->selection->native == SELECTION_NONE;
}

static bool reads_python(const struct windows *w)
{
	return w->config->session->reading.always || w->config->selection->read_python;
}

/* With native stacks off only interpreters are left. */
static bool nothing_to_sample(const struct windows *w)
{
	return native_off(w) && !w->config->session->python;
}

/* Builds and starts a session as the guard rails allow it now. */
static int open_session(struct windows *w)
{
	struct session_config config = *w->config->session;
	char why[CAPTURE_WHY];
	int r;

	w->built_off = native_off(w);
	w->built_reading = reads_python(w);
	if (w->built_off)
		config.capture.mode = BPF_UNWIND_OFF;
	if (w->built_reading) {
		config.reading.always = true;
		config.capture.python = false;
	}
	// Neither native stacks nor a walker in the kernel: nothing is left to sample.
	if (w->built_reading && config.capture.mode == BPF_UNWIND_OFF &&
		config.rung == SESSION_RUNG_AUTO)
		config.rung = SESSION_RUNG_READER;
	r = session_new(&config, &w->s, why);
	if (r) {
		log_error(LOGGER, "%s", why);
		return r;
	}
	log_info(LOGGER, "Sampling %s at %u Hz through %s", session_event_name(w->s, 0),
		config.capture.frequency, session_source(w->s));
	r = session_start(w->s);
	if (!r && w->governor.level > GOVERNOR_SHED)
		session_set_divisor(w->s, governor_divisor(w->governor.level));
	return r;
}

/* Takes in what is left, and gives it out as a window of its own. */
static int end_session(struct windows *w)
{
	int r = w->s ? session_stop(w->s) : 0;

	if (w->s && !r)
		r = give_out(w);
	session_free(w->s);
	w->s = NULL;
	return r;
}

/* What the window that ended leaves behind. */
static void clean_up(struct windows *w)
{
	const struct options *o = w->config->options;
	uint64_t threshold = o->memory_cleanup_mb << 20;

	if (!o->memory_management)
		return;
	if (w->governor.level >= GOVERNOR_SHED ||
		w->governor.last.anon + w->governor.last.bpf > threshold)
		session_shed(w->s);
	malloc_trim(0);
}

/* Our own budget, once a second. */
static void govern(struct windows *w)
{
	enum governor_level before = w->governor.level, level;
	struct governor_reading now;
	int r;

	governor_read(&now, w->s ? session_capture_memory(w->s) : 0);
	level = governor_decide(&w->governor, &now);
	if (level == before || !w->s)
		return;
	r = session_set_divisor(w->s, governor_divisor(level));
	if (r)
		log_once(LOG_LEVEL_WARNING, LOGGER, "The rate stays as it is: %s", strerror(-r));
	if (level > before && w->config->options->memory_management)
		malloc_trim(0);
}

/* For those who look at us. */
static void show(struct windows *w)
{
	const struct watch_now now = {
		.governor = &w->governor,
		.selection = w->config->selection,
		.worker = w->worker,
		.rung = w->s ? session_source(w->s) : NULL,
		.event = w->s ? session_event_name(w->s, 0) : NULL,
		.frequency = w->config->session->capture.frequency,
		.runtimes_only = w->built_off,
	};

	watch_look(w->config->watch, &now);
}

/* A window whose naming fails is lost (and was logged); the next one is not. */
static int next_window(struct windows *w)
{
	uint64_t begin = clock_mono_ns();
	int r = selection_choose(w->config->selection);

	touch_heartbeat(w);
	if (!r && (native_off(w) != w->built_off || reads_python(w) != w->built_reading)) {
		r = end_session(w);
		return r || nothing_to_sample(w) ? r : open_session(w);
	}
	if (!r)
		r = session_cut(w->s);
	if (!r)
		r = session_select(w->s);
	if (r)
		return r;
	give_out(w);
	r = session_window_done(w->s);
	clean_up(w);
	log_debug(LOGGER, "Window %llu ended (ms_to_name=%llu)", (unsigned long long)w->number,
		(unsigned long long)((clock_mono_ns() - begin) / NSEC_PER_MSEC));
	return r;
}

/* Without a session: sleeps for a window, and asks again. */
static int idle_window(struct windows *w, uint64_t now)
{
	int r;

	if (now < w->idle_until) {
		clock_sleep_ns(MIN(w->idle_until - now, TICK_NS));
		return 0;
	}
	w->idle_until = now + w->config->options->duration * NSEC_PER_SEC;
	r = selection_choose(w->config->selection);
	touch_heartbeat(w);
	return r || nothing_to_sample(w) ? r : open_session(w);
}

/* Once a second. True: the run ends. */
static bool look_around(struct windows *w)
{
	const struct windows_config *c = w->config;
	bool all_ended;

	if (c->signals->hangup) {
		c->signals->hangup = 0;
		if (log_reopen())
			log_warning(LOGGER, "The log file could not be reopened");
		else
			log_info(LOGGER, "Log file reopened");
		watch_reloaded(c->watch);
	}
	if (c->controller && !process_identity_lives(c->controller)) {
		log_info(LOGGER, "Controller process %u has exited; gProfiler stopping...",
			c->controller->pid);
		return true;
	}
	all_ended = selection_look(c->selection);
	// Processes of the first cgroup version were looked for again.
	if (w->s && c->selection->native == SELECTION_CGROUPS && c->selection->cgroups.pids.len)
		session_select(w->s);
	// A run over chosen processes is over with them; a continuous one waits for its end.
	return all_ended && !c->options->continuous;
}

/* When the sampling loop is to come back. */
static uint64_t next_stop(const struct windows *w, uint64_t now)
{
	uint64_t at = now + TICK_NS, boundary = session_boundary(w->s);

	if (boundary && boundary < at)
		at = boundary;
	if (w->deadline && w->deadline < at)
		at = w->deadline;
	return at;
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

static int loop(struct windows *w)
{
	uint64_t now = clock_mono_ns(), looked = now;
	int r = 0;

	while (!r && !signalled(w) && (!w->deadline || now < w->deadline)) {
		if (w->s)
			r = session_run(w->s, next_stop(w, now), &w->config->signals->stop);
		else
			r = idle_window(w, now);
		if (w->config->options->replay)
			break; // all of it, at once
		now = clock_mono_ns();
		if (!r && w->s && session_boundary(w->s) && now >= session_boundary(w->s))
			r = next_window(w);
		if (now - looked >= TICK_NS) {
			looked = now;
			govern(w);
			show(w);
			if (look_around(w))
				break;
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

int windows_run(const struct windows_config *config, bool *ret_abandoned)
{
	const struct options *o = config->options;
	struct windows w = {.config = config};
	int r = 0;

	*ret_abandoned = false;
	governor_init(&w.governor, o);
	if (nothing_to_sample(&w) && !o->continuous) {
		log_error(LOGGER,
			"Nothing is left to sample: native stacks are off, as said above, and so are "
			"those of interpreters");
		return -ENODATA;
	}
	if (o->continuous)
		r = worker_new(write_now, (void *)config->finish, &w.worker);
	if (r)
		return r;
	touch_heartbeat(&w);
	w.idle_until = clock_mono_ns() + o->duration * NSEC_PER_SEC;
	if (!nothing_to_sample(&w))
		r = open_session(&w);
	// A command is profiled to its end, unless a duration was asked for.
	if (!o->continuous && (!o->command || options_given(o, OPTION_duration)))
		w.deadline = clock_mono_ns() + o->duration * NSEC_PER_SEC;
	command_go(config->command);
	if (!r) {
		show(&w);
		watch_ready(config->watch);
	}
	if (!r)
		r = loop(&w);
	watch_stopping(config->watch);
	if (!r)
		r = end_session(&w);
	else
		log_error(LOGGER, "Profiling failed: %s", strerror(-r));
	session_free(w.s);
	*ret_abandoned = !end_worker(&w);
	return r;
}

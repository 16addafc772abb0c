/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/command.h"
#include "agent/containers.h"
#include "agent/finish.h"
#include "agent/metadata.h"
#include "agent/output.h"
#include "agent/preconditions.h"
#include "agent/session.h"
#include "agent/watch.h"
#include "agent/windows.h"
#include "base/clock.h"
#include "base/log.h"
#include "capture/event_find.h"
#include "delivery/delivery.h"

#define LOGGER "gprofiler"
#define AGENT_NICE (-10)
#define STRINGS_MAX (128u << 20)

struct run {
	const struct options *options;
	struct session_config session_config;
	struct finish_config finish;
	struct watch *watch;
	struct selection selection;
	struct command command;
	struct process_identity controller; // pid 0: none
	int lock;
	struct delivery_texts texts;
	struct identities_config identities;
	struct containers *containers; // NULL: their names are not asked for
	char hostname[65];
	bool abandoned; // a thread hangs in a write
};

/* The only way a handler can speak to the loop. */
static struct windows_signals *signals(void)
{
	static struct windows_signals flags;

	return &flags;
}

static void on_signal(int sig)
{
	struct windows_signals *s = signals();

	if (sig == SIGHUP)
		s->hangup = 1;
	else if (sig != SIGCHLD || !s->stop)
		s->stop = sig;
}

static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigfillset(&action.sa_mask);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGCHLD, &action, NULL);
}

/* What must hold before this machine is sampled; a recording needs none of it. */
static int preconditions(struct run *run)
{
	const struct options *o = run->options;
	int r = precondition_root(o->rootless);

	if (!r && o->pid_ns_check && !o->rootless)
		r = precondition_pid_namespace();
	return r ? r : precondition_lock(o->lock_name, &run->lock);
}

static bool python(const struct options *o)
{
	return o->python_mode != OPTION_PYTHON_DISABLED;
}

/* Return 0, or the exit status + 1. */
static int start_delivery(struct run *run)
{
	struct delivery_config config;

	if (!run->options->upload_results)
		return 0;
	metadata_hostname(run->hostname, sizeof(run->hostname));
	if (delivery_configure(&config, run->options, run->hostname, &run->texts))
		return 1 + 1;
	config.spawn_real_ns = run->finish.spawn_real_ns;
	if (delivery_start(&config, &run->finish.delivery))
		return 1 + 1;
	watch_delivery(run->watch, run->finish.delivery);
	return 0;
}

/* clean: what was asked for was done. */
static void end_delivery(struct run *run, bool clean)
{
	volatile sig_atomic_t *stop = &signals()->stop;
	struct delivery *d = run->finish.delivery;

	if (*stop == SIGCHLD)
		*stop = 0;
	delivery_finish(d, (unsigned)run->options->server_upload_timeout * 1000, stop);
	watch_ended(run->watch, clean);
	watch_free(run->watch);
	// A thread that hangs in a write may come back to it.
	if (run->abandoned)
		return;
	delivery_free(d);
	delivery_texts_deinit(&run->texts);
}

/* On a busy machine the rings fill while we wait for a CPU. Our share of it is small either way, so
 * being let in soon costs nobody anything. */
static void ask_for_latency(void)
{
	if (setpriority(PRIO_PROCESS, 0, AGENT_NICE) < 0)
		log_debug(LOGGER, "Priority stays as it is: %s", strerror(errno));
}

static int choose_controller(struct run *run)
{
	uint32_t pid = (uint32_t)run->options->controller_pid;
	int r = pid ? process_identity_read(pid, &run->controller) : 0;

	if (r)
		log_error(LOGGER, "Controller process %u: %s. Give the pid of a living process",
			pid, strerror(-r));
	return r ? 1 + 1 : 0;
}

static int prepare(struct run *run)
{
	const struct options *o = run->options;
	const struct log_config log = {
		.verbose = o->verbose,
		.file = o->log_file,
		.rotate_size = o->log_rotate_max_size,
		.rotate_count = (unsigned)o->log_rotate_backup_count,
		.console_stderr = o->command != NULL,
	};
	int r = o->replay ? 0 : preconditions(run);

	if (r)
		return r;
	if (o->disable_core_files)
		core_files_disable();
	r = log_open(&log);
	if (r)
		log_warning(LOGGER,
			"No log file: %s: %s. Give another place with --log-file, or an empty one for none",
			o->log_file, strerror(-r));
	vec_foreach (warning, &o->warnings)
		log_warning(LOGGER, "%s", *warning);
	if ((o->perf_mode == OPTION_PERF_DISABLED && !python(o)) || o->mode == OPTION_MODE_NONE) {
		log_error(LOGGER,
			"All profilers are disabled: native stacks are off, and those of every "
			"runtime. Leave out --no-perf, --no-python or --mode none");
		return 1 + 1;
	}
	r = selection_init(&run->selection, o);
	if (!r)
		r = selection_choose(&run->selection);
	if (r)
		return 1 + 1;
	r = choose_controller(run);
	if (r)
		return r;
	r = o->output_dir ? output_prepare(&run->finish.output) : 0;
	if (r) {
		log_error(LOGGER, "Output directory %s: %s. Choose another with --output-dir",
			o->output_dir, strerror(-r));
		return 1 + 1;
	}
	if (o->pid_file && o->pid_file[0]) {
		r = pid_file_write(o->pid_file);
		if (r)
			log_warning(LOGGER, "Pid file %s: %s", o->pid_file, strerror(-r));
	}
	if (watch_new(o, run->finish.spawn_real_ns, run->lock, &run->watch))
		return 1 + 1;
	return start_delivery(run);
}

static int configure_events(struct run *run)
{
	struct capture_config *c = &run->session_config.capture;
	const struct options *o = run->options;

	// The reference's default, "cycles", means: the best clock there is.
	if (!options_given(o, OPTION_perf_events))
		return 0;
	vec_foreach (name, &o->perf_events) {
		int r = c->nevents < CAPTURE_EVENTS_MAX
				? event_find_named(*name, &c->events[c->nevents])
				: -E2BIG;

		if (r) {
			log_error(LOGGER, "Event %s: %s", *name, strerror(-r));
			return r;
		}
		c->nevents++;
	}
	return 0;
}

static int configure(struct run *run)
{
	static const enum bpf_unwind_mode modes[] = {
		[OPTION_PERF_FP] = BPF_UNWIND_FP,
		[OPTION_PERF_DWARF] = BPF_UNWIND_TABLE,
		[OPTION_PERF_SMART] = BPF_UNWIND_SMART,
		[OPTION_PERF_DISABLED] = BPF_UNWIND_OFF,
	};
	const struct options *o = run->options;

	run->finish.options = o;
	run->finish.output = (struct output_config){
		.dir = o->output_dir,
		// enum output_format and enum option_format are one order
		.formats = o->output_dir ? o->format : 0,
		.rotating = o->rotating_output,
		.keep_bytes = o->keep_output,
		.insert_dso_name = o->insert_dso_name,
		.line_numbers = o->line_numbers,
		.contexts = true,
	};
	run->session_config = (struct session_config){
		.reading =
			{
				.always = o->python_mode == OPTION_PYTHON_PYSPY,
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
				.mode = modes[o->perf_mode],
				.kernel_stacks = o->kernel_stacks,
				.include_idle = o->include_idle,
				.stack_bytes = (unsigned)o->perf_dwarf_stack_size,
				.python = python(o),
				.groups = o->perf_use_cgroups,
			},
		.python = python(o),
		.python_versions = o->python_add_versions,
		.replay = o->replay,
		.record = o->record,
		.rung = o->replay			    ? SESSION_RUNG_REPLAY
			: o->source == OPTION_SOURCE_BPF    ? SESSION_RUNG_BPF
			: o->source == OPTION_SOURCE_RING   ? SESSION_RUNG_RING
			: o->source == OPTION_SOURCE_READER ? SESSION_RUNG_READER
							    : SESSION_RUNG_AUTO,
		.resolver =
			{
				.lines = o->line_numbers,
				.inlines = o->inline_frames,
				.kallsyms = "/proc/kallsyms",
				.debug_dirs = "/usr/lib/debug",
				.strings_cap = STRINGS_MAX,
			},
		.no_containers = !o->container_names,
		.window_ns = o->continuous ? o->duration * NSEC_PER_SEC : 0,
		.progress = isatty(STDERR_FILENO),
		.progress_ns = o->continuous || (o->command && !options_given(o, OPTION_duration))
				       ? 0
				       : o->duration * NSEC_PER_SEC,
	};
	return configure_events(run);
}

/* Names and metadata are read beside the sampling; where nothing of it is wanted nothing is started. */
static int configure_identities(struct run *run)
{
	const struct options *o = run->options;
	int r = o->container_names ? containers_new("/proc", &run->containers) : 0;

	run->identities = (struct identities_config){
		.options = o, .proc = "/proc", .containers = run->containers};
	if (o->container_names || o->collect_appids || o->application_metadata)
		run->session_config.identities = &run->identities;
	return r;
}

static int run_session(struct run *run)
{
	struct session_config *c = &run->session_config;
	const struct windows_config windows = {
		.options = run->options,
		.finish = &run->finish,
		.signals = signals(),
		.command = &run->command,
		.controller = run->controller.pid ? &run->controller : NULL,
		.session = c,
		.selection = &run->selection,
		.watch = run->watch,
	};
	uint32_t child = (uint32_t)run->command.pid;

	if (run->selection.numbers.len) {
		c->capture.pids = run->selection.numbers.data;
		c->capture.npids = run->selection.numbers.len;
	}
	c->selection = run->options->replay ? NULL : &run->selection;
	c->reading.pids = run->selection.readers.data;
	c->reading.npids = run->selection.readers.len;
	c->root_pid = child;
	if (geteuid() != 0 && child) {
		c->capture.pids = &child;
		c->capture.npids = 1;
	}
	return windows_run(&windows, &run->abandoned);
}

int run_profile(const struct options *options)
{
	struct run run = {
		.options = options,
		.lock = -1,
		.finish.spawn_real_ns = clock_real_ns(),
		.command = {.gate = -1},
	};
	int status, r = configure(&run);

	status = r ? 1 + 1 : prepare(&run);
	if (status) {
		watch_free(run.watch);
		delivery_texts_deinit(&run.texts);
		selection_deinit(&run.selection);
		return status - 1;
	}
	log_info(LOGGER, "Running gProfiler (version=%s)", GP_VERSION);
	catch_signals();
	if (options->command)
		r = command_start(&run.command, options->command);
	ask_for_latency(); // after the fork: the command runs as it would alone
	if (!r)
		r = configure_identities(&run);
	if (!r)
		r = run_session(&run);
	end_delivery(&run, !r);
	command_deinit(&run.command);
	status = r ? 1 : run.command.ended ? run.command.status : 0;
	selection_deinit(&run.selection);
	containers_free(run.containers);
	if (run.lock >= 0)
		close(run.lock);
	log_close();
	// What the thread uses is not ours to free, and it must not keep us.
	if (run.abandoned)
		_exit(status);
	return status;
}

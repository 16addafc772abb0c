/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/run.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/command.h"
#include "agent/control.h"
#include "agent/job.h"
#include "agent/machine.h"
#include "agent/metadata.h"
#include "agent/output.h"
#include "agent/preconditions.h"
#include "agent/sampler.h"
#include "agent/watch.h"
#include "agent/windows.h"
#include "base/clock.h"
#include "base/log.h"
#include "delivery/delivery.h"
#include "delivery/metrics.h"

#define LOGGER "gprofiler"
#define AGENT_NICE (-10)
#define LARGE_BLOCK (256 << 10) // bytes, from which memory is pages of its own

struct run {
	const struct options *options;
	struct job *job; // what the command line asks for
	struct watch *watch;
	struct control *control; // NULL: no heartbeats
	struct delivery *delivery; // NULL: nothing is uploaded
	uint64_t spawn_real_ns;
	struct command command;
	struct process_identity controller; // pid 0: none
	int lock;
	struct delivery_texts texts;
	struct machine machine;
	struct metrics *metrics; // NULL: not published
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

/* Return 0 or -errno, logged. */
static int start_metrics(struct run *run)
{
	const struct options *o = run->options;
	const struct metrics_config config = {
		.server = o->metrics_server_url,
		.service = o->service_name,
		.hostname = run->hostname,
		.sli_uuid = o->sli_metric_uuid,
	};
	int r;

	if (!o->publish_metrics)
		return 0;
	metadata_hostname(run->hostname, sizeof(run->hostname));
	r = metrics_start(&config, &run->metrics);
	if (r)
		log_error(LOGGER, "--metrics-server-url %s: %s", o->metrics_server_url,
			r == -EINVAL ? "not of the form tcp://host[:port]" : strerror(-r));
	return r;
}

/* The rows of the metrics that are about heartbeats. Any thread. */
static void fill_vitals(void *arg, struct metric_values *m)
{
	struct control_stats s;

	control_get_stats(arg, &s);
	m->heartbeats_sent = (double)s.sent;
	m->heartbeats_failed = m->errors_heartbeat = (double)s.failed;
	m->last_heartbeat = (double)s.answered_real_ns / NSEC_PER_SEC;
	m->commands_received = (double)s.received;
	m->commands_completed = (double)s.completed;
	m->commands_failed = (double)s.failed_commands;
	m->command_history = (double)s.history;
}

/* Return 0, or the exit status + 1. */
static int start_control(struct run *run, const struct delivery_config *delivery)
{
	const struct options *o = run->options;
	const struct control_config config = {
		.heartbeat =
			{
				.http = delivery->studio.http,
				.server = o->api_server,
				.token = o->token,
			},
		.hostname = run->hostname,
		.service = delivery->studio.service,
		.state_dir = o->state_dir,
		.interval_s = (unsigned)o->heartbeat_interval,
		.metrics = run->metrics,
	};
	int r = control_start(&config, &run->control);

	if (r) {
		log_error(LOGGER, "Heartbeats cannot be sent: %s", strerror(-r));
		return 1 + 1;
	}
	log_info(LOGGER, "Heartbeats go out each %u s: %s", config.interval_s,
		o->continuous ? "profiling until told otherwise" : "idle until told to profile");
	vitals_add_part(watch_vitals(run->watch), fill_vitals, run->control);
	return 0;
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
	config.spawn_real_ns = run->spawn_real_ns;
	config.metrics = run->metrics;
	if (delivery_start(&config, &run->delivery))
		return 1 + 1;
	watch_delivery(run->watch, run->delivery);
	return run->options->heartbeat_server ? start_control(run, &config) : 0;
}

/* clean: what was asked for was done. */
static void end_delivery(struct run *run, bool clean)
{
	volatile sig_atomic_t *stop = &signals()->stop;
	struct delivery *d = run->delivery;

	if (*stop == SIGCHLD)
		*stop = 0;
	// Both have a few seconds, at the same time.
	control_close(run->control);
	delivery_finish(d, (unsigned)run->options->server_upload_timeout * 1000, stop);
	watch_ended(run->watch, clean);
	if (run->control)
		vitals_remove_part(watch_vitals(run->watch), fill_vitals, run->control);
	watch_free(run->watch);
	// A thread that hangs in a write may come back to it.
	if (run->abandoned)
		return;
	control_free(run->control);
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
	const struct output_config output = {.dir = o->output_dir};
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
	// With heartbeats nothing is looked for before somebody asks.
	if ((o->continuous || !o->heartbeat_server) && job_new(o, &run->job))
		return 1 + 1;
	r = choose_controller(run);
	if (r)
		return r;
	r = o->output_dir ? output_prepare(&output) : 0;
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
	if (watch_new(o, run->spawn_real_ns, run->lock, &run->watch))
		return 1 + 1;
	if (machine_init(&run->machine, o, run->spawn_real_ns) || start_metrics(run))
		return 1 + 1;
	return start_delivery(run);
}

static int run_windows(struct run *run)
{
	const struct windows_config windows = {
		.options = run->options,
		.signals = signals(),
		.command = &run->command,
		.controller = run->controller.pid ? &run->controller : NULL,
		.first = steal_ptr(run->job),
		.watch = run->watch,
		.control = run->control,
		.delivery = run->delivery,
		.machine = &run->machine,
		.metrics = run->metrics,
		.spawn_real_ns = run->spawn_real_ns,
		.hostname = run->hostname,
	};

	if (windows.first) {
		windows.first->finish->delivery = run->delivery;
		windows.first->finish->machine = &run->machine;
		windows.first->finish->spawn_real_ns = run->spawn_real_ns;
	}
	return windows_run(&windows, &run->abandoned);
}

int run_profile(const struct options *options)
{
	struct run run = {
		.options = options,
		.lock = -1,
		.spawn_real_ns = clock_real_ns(),
		.command = {.gate = -1},
	};
	int status, r = sampler_check(options);

	// Else glibc raises it to the largest block that was freed (malloc(3), M_MMAP_THRESHOLD), and the
	// tables of a large window grow inside the heap: by copies that leave holes behind.
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	// One arena can be given back whole when profiling stops; each thread's own keeps its share.
	if (options->heartbeat_server)
		mallopt(M_ARENA_MAX, 1);

	status = r ? 1 + 1 : prepare(&run);
	if (status) {
		watch_free(run.watch);
		delivery_texts_deinit(&run.texts);
		job_free(run.job);
		return status - 1;
	}
	log_info(LOGGER, "Running gProfiler (version=%s)", GP_VERSION);
	catch_signals();
	if (options->command)
		r = command_start(&run.command, options->command);
	ask_for_latency(); // after the fork: the command runs as it would alone
	if (!r)
		r = run_windows(&run);
	if (r)
		metrics_error(run.metrics, &(struct metrics_error){.category = "gprofiler_main",
						   .type = "profiling_run_failure",
						   .severity = "error",
						   .method = "run_profile"});
	end_delivery(&run, !r);
	command_deinit(&run.command);
	status = r ? 1 : run.command.ended ? run.command.status : 0;
	job_free(run.job);
	run.abandoned = !machine_deinit(&run.machine) || run.abandoned;
	run.abandoned = !metrics_stop(run.metrics) || run.abandoned;
	// A thread that is left alone may still have a line for it.
	if (!run.abandoned)
		metrics_free(run.metrics);
	if (run.lock >= 0)
		close(run.lock);
	log_close();
	// What the thread uses is not ours to free, and it must not keep us.
	if (run.abandoned)
		_exit(status);
	return status;
}

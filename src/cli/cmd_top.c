/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler top: what runs now, on the terminal or as text, a window at a time. Takes no lock and writes
 * no file. Exit status: see the help (config/table.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/session.h"
#include "agent/top.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "config/options.h"
#include "process/identity.h"

#define EXIT_USAGE 2
#define FREQUENCY 99 // the profiler's default gives too few samples a second
#define AGENT_NICE (-10)
#define KEYS_NS (100 * NSEC_PER_MSEC) // how often keys are looked at
#define LATE_DELAYS 3 // without a picture, after which one is shown even if late
#define STRINGS_MAX (64u << 20)
#define SAMPLES_MAX (1u << 16)
#define PROFILE_BYTES_MAX (64u << 20)
#define TEXT_MAX (4u << 20)

struct top {
	const struct options *options;
	struct session *s;
	struct terminal_signals *signals;
	struct top_view view;
	struct top_screen screen;
	struct buf text;
	uint64_t shown; // windows
	uint64_t mono, cpu; // at the last picture, ns
	struct process_identity *targets; // of the processes that were asked for
	uint32_t *pids; // the same
	size_t ntargets;
	bool live;
	bool taken; // view holds a window
	bool quit;
};

static int paint(struct top *t)
{
	int r;

	if (t->live)
		terminal_size(&t->screen.columns, &t->screen.lines);
	buf_clear(&t->text);
	r = top_view_show(&t->view, &t->screen, &t->text);
	if (r)
		return r;
	if (t->live)
		return terminal_paint(&t->text);
	if (t->shown > 1)
		putchar('\n');
	fwrite(t->text.data, 1, t->text.len, stdout);
	return fflush(stdout) ? -errno : 0;
}

static void measure_self(struct top *t)
{
	uint64_t mono = clock_mono_ns(), cpu = clock_cpu_ns();

	t->screen.own_cpu = 100.0 * (double)(cpu - t->cpu) / (double)MAX(mono - t->mono, 1u);
	t->mono = mono;
	t->cpu = cpu;
}

/* Several windows are over at once after a stop of this program, or when it gets no CPU: the last one
 * is what anybody wants to see, but not never. */
static bool behind(const struct top *t)
{
	uint64_t now = clock_mono_ns(), delay = t->options->top_delay * NSEC_PER_SEC;

	return session_boundary(t->s) < now && now - t->mono < LATE_DELAYS * delay;
}

/* The window that is over is named and shown. */
static int next_window(struct top *t)
{
	struct profile profile;
	int r = session_cut(t->s), done;

	if (r)
		return r;
	if (behind(t)) {
		t->screen.skipped++;
		return session_window_done(t->s);
	}
	profile_init(&profile, SAMPLES_MAX, PROFILE_BYTES_MAX);
	r = session_profile(t->s, 0, &profile);
	if (!r)
		r = top_view_take(&t->view, &profile);
	profile_deinit(&profile);
	done = session_window_done(t->s);
	if (r || done)
		return r ? r : done;
	t->taken = true;
	t->shown++;
	measure_self(t);
	r = paint(t);
	t->screen.skipped = 0;
	return r;
}

static int on_key(struct top *t, char key)
{
	static const struct {
		char key;
		enum top_order order;
	} orders[] = {
		{'s', TOP_BY_SELF},
		{'t', TOP_BY_TOTAL},
		{'p', TOP_BY_PROCESS},
		{'f', TOP_BY_FUNCTION},
	};

	if (key == 'q' || key == 'Q')
		t->quit = true;
	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		if (orders[i].key != key)
			continue;
		t->screen.order = orders[i].order;
		return t->taken ? paint(t) : 0;
	}
	return 0;
}

static int look_at_terminal(struct top *t)
{
	int r = 0;
	char key;

	while (!r && !t->quit && (key = terminal_key()))
		r = on_key(t, key);
	if (!r && t->signals->suspend)
		r = terminal_suspend();
	if (!r && t->signals->resized && t->taken)
		r = paint(t);
	t->signals->resized = 0;
	return r;
}

/* False when every process that was asked for has ended. */
static bool targets_live(const struct top *t)
{
	bool any = t->options->top_pids.len == 0;

	for (size_t i = 0; i < t->ntargets && !any; i++)
		any = process_identity_lives(&t->targets[i]);
	return any;
}

/* Those that run; the session is not asked for others. */
static int find_targets(struct top *t)
{
	const struct option_pids *pids = &t->options->top_pids;

	t->targets = calloc(pids->len + 1, sizeof(*t->targets));
	t->pids = calloc(pids->len + 1, sizeof(*t->pids));
	if (!t->targets || !t->pids)
		return -ENOMEM;
	vec_foreach (pid, pids) {
		int r = process_identity_read(*pid, &t->targets[t->ntargets]);

		if (r)
			fprintf(stderr, "gprofiler top: process %u: %s\n", *pid, strerror(-r));
		else
			t->pids[t->ntargets++] = *pid;
	}
	return pids->len && !t->ntargets ? -ESRCH : 0;
}

static int loop(struct top *t)
{
	uint64_t iterations = t->options->top_iterations;
	bool last = false;
	int r = session_start(t->s);

	measure_self(t);
	while (!r && !t->signals->stop && !t->quit && !last) {
		uint64_t until = MIN(session_boundary(t->s), clock_mono_ns() + KEYS_NS);

		r = session_run(t->s, until, &t->signals->stop);
		if (!r && t->live)
			r = look_at_terminal(t);
		if (r || t->signals->stop || t->quit || clock_mono_ns() < session_boundary(t->s))
			continue;
		r = next_window(t);
		last = (iterations && t->shown >= iterations) || !targets_live(t);
	}
	return r;
}

static int start_session(struct top *t, char *why)
{
	const struct options *o = t->options;
	struct session_config config = {
		.capture =
			{
				.frequency = options_given(o, OPTION_frequency)
						     ? (unsigned)o->frequency
						     : FREQUENCY,
				.mode = BPF_UNWIND_SMART,
				.kernel_stacks = true,
				.stack_bytes = (unsigned)o->perf_dwarf_stack_size,
				.pids = t->ntargets ? t->pids : NULL,
				.npids = t->ntargets,
				.python = true,
			},
		.rung = o->source == OPTION_SOURCE_BPF	  ? SESSION_RUNG_BPF
			: o->source == OPTION_SOURCE_RING ? SESSION_RUNG_RING
							  : SESSION_RUNG_AUTO,
		.python = true,
		.resolver =
			{
				.kallsyms = "/proc/kallsyms",
				.debug_dirs = "/usr/lib/debug",
				.strings_cap = STRINGS_MAX,
			},
		.window_ns = o->top_delay * NSEC_PER_SEC,
	};

	return session_new(&config, &t->s, why);
}

static int run(struct top *t)
{
	char why[CAPTURE_WHY];
	int r = start_session(t, why);

	if (r) {
		fprintf(stderr, "gprofiler top: error: %s (see gprofiler check)\n", why);
		return 1;
	}
	// As in a profile: let in soon, so that rings do not fill.
	setpriority(PRIO_PROCESS, 0, AGENT_NICE);
	if (t->live)
		r = terminal_enter();
	if (!r)
		r = loop(t);
	terminal_leave();
	session_free(t->s);
	// A terminal or a reader that went away, or a signal in the midst of a picture.
	if (r == -EIO || r == -EPIPE || t->signals->stop)
		r = 0;
	if (r)
		fprintf(stderr, "gprofiler top: error: %s\n", strerror(-r));
	else if (!targets_live(t))
		fprintf(stderr, "gprofiler top: the process has ended\n");
	return r ? 1 : 0;
}

static int refuse(const char *what, const char *arg)
{
	fprintf(stderr, "gprofiler top: error: %s%.64s (see gprofiler top --help)\n", what, arg);
	return EXIT_USAGE;
}

int cli_top(const struct options *options, int argc, char **argv)
{
	struct log_config log = {.console_stderr = true, .verbose = options->verbose};
	struct top t = {
		.options = options,
		.screen = {.order = (enum top_order)options->top_sort,
			.functions = (unsigned)options->top_rows,
			.ncpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)},
		.live = !options->top_batch && terminal_possible(),
		.text = BUF_INIT(TEXT_MAX),
	};
	int status;

	if (argc > 1)
		return refuse("unrecognized arguments: ", argv[1]);
	if (find_targets(&t)) {
		fprintf(stderr, "gprofiler top: error: there is no such process\n");
		free(t.targets);
		free(t.pids);
		return 1;
	}
	log_open(&log);
	t.screen.keys = t.live;
	t.signals = terminal_catch(t.live);
	top_view_init(&t.view);
	status = run(&t);
	top_view_deinit(&t.view);
	free(t.targets);
	free(t.pids);
	buf_deinit(&t.text);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler status: the running agent says how it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/governor.h"
#include "agent/status.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "config/options.h"

#define ANSWER_MAX ((size_t)1 << 20)
#define TEXT_MAX ((size_t)64 << 10)
#define EXIT_CANNOT 1
#define EXIT_NOT_RUNNING 3 // as init scripts have it
#define MB (1024.0 * 1024.0)

struct answer {
	json_t *all;
	struct metric_values m;
	uint64_t ledger[COUNTER_COUNT];
};

static const char *text_of(const struct answer *a, const char *key)
{
	const char *text = json_string_value(json_object_get(a->all, key));

	return text && *text ? text : "-";
}

/* What an agent of another version does not say is 0. */
static void take_numbers(struct answer *a)
{
	const json_t *numbers = json_object_get(a->all, "numbers");
	const json_t *ledger = json_object_get(a->all, "ledger");

	for (unsigned id = 0; id < METRIC_COUNT; id++)
		((double *)&a->m)[id] =
			json_number_value(json_object_get(numbers, metric_rows[id].field));
	counter_each(id, COUNTER_GROUP_LEDGER)
	{
		a->ledger[id] = (uint64_t)json_integer_value(
			json_object_get(ledger, counter_rows[id].name));
	}
}

/* "3 h 12 min ago" of a time in seconds since 1970. */
static void append_ago(struct buf *out, double when)
{
	double s = (double)clock_real_ns() / NSEC_PER_SEC - when;

	if (when <= 0)
		buf_append_str(out, "never");
	else if (s < 120)
		buf_printf(out, "%.0f s ago", MAX(s, 0.0));
	else if (s < 7200)
		buf_printf(out, "%.0f min ago", s / 60);
	else if (s < 172800)
		buf_printf(out, "%.0f h %.0f min ago", (double)(long)(s / 3600),
			(double)((long)(s / 60) % 60));
	else
		buf_printf(out, "%.0f days ago", s / 86400);
}

static void label(struct buf *out, const char *name)
{
	buf_printf(out, "%-16s", name);
}

static void print_what(struct buf *out, const struct answer *a)
{
	const struct metric_values *m = &a->m;

	buf_printf(out, "gprofiler %s, pid %lld, started ", text_of(a, "version"),
		(long long)json_integer_value(json_object_get(a->all, "pid")));
	append_ago(out, m->start_time);
	buf_append_char(out, '\n');
	label(out, "State");
	buf_printf(out, "%s", text_of(a, "state"));
	if (m->sampling > 0)
		buf_printf(out, ": %s through rung %s, %s at %.0f Hz", text_of(a, "scope"),
			text_of(a, "rung"), text_of(a, "event"), m->frequency);
	if (m->chosen_pids > 0)
		buf_printf(out, ", %.0f processes", m->chosen_pids);
	if (m->chosen_cgroups > 0)
		buf_printf(out, ", %.0f cgroups", m->chosen_cgroups);
	buf_append_char(out, '\n');
	label(out, "Windows");
	buf_printf(out, "%.0f named, %.0f lost, the last ", m->windows, m->windows_failed);
	append_ago(out, m->last_window);
	buf_printf(out, "; %.0f profiles wait to be written\n", m->writer_queue);
}

static void print_cost(struct buf *out, const struct answer *a)
{
	const struct metric_values *m = &a->m;
	double up = (double)clock_real_ns() / NSEC_PER_SEC - m->start_time;
	unsigned level = m->governor_level < GOVERNOR_LEVELS ? (unsigned)m->governor_level : 0;

	label(out, "Memory");
	buf_printf(out, "%.1f MB anonymous (most %.1f), %.1f resident, %.1f of BPF and rings",
		m->memory_anonymous / MB, m->memory_peak / MB, m->memory_resident / MB,
		m->memory_bpf / MB);
	if (m->memory_limit > 0)
		buf_printf(out, "; limit %.0f MB", m->memory_limit / MB);
	buf_append_char(out, '\n');
	label(out, "CPU");
	buf_printf(out, "%.1f s, %.2f %% of one on average\n", m->cpu_seconds,
		up > 0 ? 100 * m->cpu_seconds / up : 0.0);
	label(out, "Governor");
	buf_printf(out, "%s; %.0f steps down, %.0f pauses\n", governor_level_name(level),
		m->governor_shed + m->governor_half + m->governor_quarter + m->governor_eighth +
			m->governor_paused,
		m->governor_paused);
	label(out, "Holds");
	buf_printf(out, "%.0f descriptors, %.0f of them pipes, %.0f threads, %.0f children\n",
		m->descriptors, m->pipes, m->threads, m->child_processes);
}

static void print_losses(struct buf *out, const struct answer *a)
{
	uint64_t entries = a->ledger[COUNTER_LEDGER_entries];
	const char *separator = "";

	label(out, "Samples");
	buf_printf(out, "%llu, coverage of the last window %.2f %%\n", (unsigned long long)entries,
		100 * a->m.coverage);
	label(out, "Losses");
	counter_each(id, COUNTER_GROUP_LEDGER)
	{
		if (counter_rows[id].kind != COUNTER_LOSS || !a->ledger[id])
			continue;
		buf_printf(out, "%s%s %llu %s", separator, counter_rows[id].name,
			(unsigned long long)a->ledger[id], counter_rows[id].unit);
		separator = ", ";
	}
	buf_printf(out, "%s\n", *separator ? "" : "none");
}

static void print_delivery(struct buf *out, const struct answer *a)
{
	const struct metric_values *m = &a->m;

	label(out, "Uploads");
	buf_printf(out, "%.0f sent, %.0f tries failed, %.0f refused, the last ", m->uploads_sent,
		m->uploads_failed, m->uploads_refused);
	append_ago(out, m->last_upload);
	buf_append_char(out, '\n');
	label(out, "Spool");
	buf_printf(out, "%.0f profiles, %.1f MB; lost %.0f\n", m->spool_items, m->spool_bytes / MB,
		m->spool_lost_size + m->spool_lost_age + m->spool_lost_damaged);
	label(out, "Heartbeats");
	buf_printf(out, "%.0f answered, %.0f failed, the last ", m->heartbeats_sent,
		m->heartbeats_failed);
	append_ago(out, m->last_heartbeat);
	buf_printf(out, "; %.0f commands received, %.0f remembered\n", m->commands_received,
		m->command_history);
	label(out, "Log");
	buf_printf(out, "%.0f errors, %.0f warnings\n", m->log_errors, m->log_warnings);
	label(out, "Earlier runs");
	buf_printf(out,
		"%.0f ended clean, %.0f failed, %.0f crashed, %.0f killed, %.0f out of memory, %.0f "
		"with the machine\n",
		m->ended_clean, m->ended_failed, m->ended_crash, m->ended_killed, m->ended_oom,
		m->ended_reboot);
}

static int show(const struct buf *answer, bool as_json)
{
	_cleanup_buf_ struct buf out = BUF_INIT(TEXT_MAX);
	_cleanup_json_ json_t *all = json_loadb(answer->data, answer->len, 0, NULL);
	struct answer a = {.all = all};

	if (!json_is_object(all)) {
		fputs("gprofiler status: error: the agent's answer cannot be read\n", stderr);
		return EXIT_CANNOT;
	}
	if (as_json) {
		printf("%s\n", buf_str(answer));
		return 0;
	}
	take_numbers(&a);
	print_what(&out, &a);
	print_cost(&out, &a);
	print_losses(&out, &a);
	print_delivery(&out, &a);
	fputs(buf_str(&out), stdout);
	return 0;
}

int cli_status(const struct options *options, int argc, char **argv)
{
	static const char *const why[] = {
		[STATUS_NOBODY] = "no agent runs on this machine",
		[STATUS_OTHER] = "an agent runs that does not answer: the Python agent, or an old "
				 "version of this one",
		[STATUS_DENIED] = "an agent runs, and it is another user's: ask as root",
		[STATUS_SILENT] =
			"an agent runs, and it did not answer in time; its log may say why",
	};
	_cleanup_buf_ struct buf answer = BUF_INIT(ANSWER_MAX);
	int r;

	if (argc > 1) {
		fprintf(stderr,
			"usage: gprofiler status [--json]\n"
			"gprofiler status: error: unrecognized arguments: %.64s\n",
			argv[1]);
		return 2;
	}
	r = status_ask(options->lock_name, &answer);
	if (!r)
		return show(&answer, options->status_json);
	fprintf(stderr, "gprofiler status: %s\n", r > 0 ? why[r] : strerror(-r));
	return r == STATUS_NOBODY ? EXIT_NOT_RUNNING : EXIT_CANNOT;
}

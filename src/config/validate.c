/* SPDX-License-Identifier: Apache-2.0 */
/* Rules between options (gprofiler-agent.md 1.4), and what this version refuses by name. */
#include "config/table.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define TOP_AT_TERMINAL 20
#define ALLOC_INTERVAL (2u << 20)
#define NAMES_MAX 2048

/* The verbs of the reference that have no counterpart yet. */
static const char *const verbs_not_yet[] = {"extract-resources"};

/* The spelling of an ENUM's value, and its marks. False for a row of another type. */
static bool enum_value(
	const struct options *o, const struct option_row *row, struct option_value_walk *w)
{
	if (row->type != OPTION_TYPE_ENUM)
		return false;
	*w = (struct option_value_walk){.pos = row->values};
	while (option_values_next(w))
		if (w->index == (unsigned)*(const int *)((const char *)o + row->offset))
			return true;
	return false;
}

/* A value that asks for what does not exist is refused; one that asks for nothing passes. */
static int refuse_not_yet(const struct options *o, struct buf *why)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		struct option_value_walk w;

		if (row->target != i || !options_given(o, i))
			continue;
		// What a pod's environment or a file says of the agent does not keep `check` from
		// running there.
		if (o->verb && o->origin[i] != OPTION_FROM_COMMAND_LINE)
			continue;
		if (enum_value(o, row, &w) && w.not_yet) {
			buf_printf(why, "--%s %s is not in this version (leave it out)", row->name,
				w.text);
			return 1;
		}
		if (row->flags & OPTION_NOT_YET && !option_is_default(o, i)) {
			if (row->letter)
				buf_printf(why, "-%c/", row->letter);
			buf_printf(why, "--%s is not in this version (leave it out)", row->name);
			return 1;
		}
	}
	return 0;
}

int options_check(const struct options *o, struct buf *why)
{
	return refuse_not_yet(o, why);
}

/* What uploading needs (1.4); `upload-file` implies -u. */
static const char *validate_upload(const struct options *o, bool file)
{
	if (file && (!o->upload_file_path || !o->upload_file_path[0]))
		return "the following arguments are required: --file-path";
	if (!file && !o->upload_results)
		return NULL;
	if (!o->token || !o->token[0])
		return "Must provide --token when --upload-results is passed";
	if (!o->service_name || !o->service_name[0])
		return "Must provide --service-name when --upload-results is passed";
	return NULL;
}

/* What the studio can command needs somebody to send results to, and to be told apart (1.4). */
static const char *validate_heartbeat(const struct options *o)
{
	if (!o->heartbeat_server)
		return NULL;
	if (!o->upload_results)
		return "--enable-heartbeat-server requires --upload-results to be enabled";
	if (!o->token || !o->token[0])
		return "--enable-heartbeat-server requires --token to be provided";
	if (!o->service_name || !o->service_name[0])
		return "--enable-heartbeat-server requires --service-name to be provided";
	if (o->command)
		return "--enable-heartbeat-server is not allowed with -- COMMAND (leave one out)";
	if (o->replay || o->record)
		return "--enable-heartbeat-server is not allowed with --record or --replay";
	return NULL;
}

static int validate_together(const struct options *o, struct buf *why)
{
	bool file = o->verb && strcmp(o->verb, "upload-file") == 0;
	const char *text = validate_upload(o, file);

	if (o->verb) {
		if (file && text) {
			buf_append_str(why, text);
			return 1;
		}
		return 0;
	}
	if (!text)
		text = validate_heartbeat(o);
	if (text)
		; // said already
	else if (options_given(o, OPTION_alloc_interval) && o->mode != OPTION_MODE_ALLOCATION)
		text = "--alloc-interval is only allowed with --mode allocation";
	else if (options_given(o, OPTION_frequency) && o->mode != OPTION_MODE_CPU)
		text = "-f/--profiling-frequency is only allowed with --mode cpu";
	else if (!option_is_default(o, OPTION_nodejs_mode) && o->perf_mode != OPTION_PERF_FP &&
		 o->perf_mode != OPTION_PERF_SMART)
		text = "--nodejs-mode perf and attach-maps need --perf-mode fp or smart";
	else if (o->publish_metrics && (!o->metrics_server_url || !o->metrics_server_url[0]))
		text = "--enable-publish-metrics requires --metrics-server-url (tcp://host[:port])";
	else if (o->pids.len && o->profile_spawned)
		text = "--pids is not allowed with --profile-spawned-processes (leave one out)";
	else if (o->command && !o->command_argc)
		text = "a command is missing after -- (gprofiler -- COMMAND [ARGUMENT...])";
	else if (o->command && o->pids.len)
		text = "--pids is not allowed with -- COMMAND (leave one out)";
	else if (!o->output_dir && !o->upload_results && !o->command && !o->pids.len)
		text = "Must pass at least one output method (--upload-results / --output-dir): "
		       "add -o DIR, or name what to profile: -p PID, or -- COMMAND";
	if (!text)
		return 0;
	buf_append_str(why, text);
	return 1;
}

/* What was named at a terminal needs no directory: results go where the person stands. */
static int fill_in(struct options *o)
{
	if (!o->verb && !o->output_dir && !o->upload_results) {
		o->output_dir = strdup(".");
		if (!o->output_dir)
			return -ENOMEM;
		if (!options_given(o, OPTION_top))
			o->top = TOP_AT_TERMINAL;
	}
	if (!options_given(o, OPTION_format)) {
		o->format = OPTION_FORMAT_BIT(OPTION_FORMAT_COLLAPSED);
		if (o->flamegraph)
			o->format |= OPTION_FORMAT_BIT(OPTION_FORMAT_HTML);
	}
	if (!o->alloc_interval)
		o->alloc_interval = ALLOC_INTERVAL;
	return 0;
}

/* What asks for a runtime that is not there yet stops no fleet; it is named once, in one line. */
static int warn_of_later(struct options *o)
{
	_cleanup_buf_ struct buf names = BUF_INIT(NAMES_MAX);

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		struct option_value_walk w;

		if (row->target != i || option_is_default(o, i))
			continue;
		if (row->flags & OPTION_LATER)
			buf_printf(&names, "%s--%s", names.len ? ", " : "", row->name);
		else if (enum_value(o, row, &w) && w.later)
			buf_printf(&names, "%s--%s %s", names.len ? ", " : "", row->name, w.text);
	}
	return names.len
		       ? option_warn(o,
				 "No effect yet in this version: %s. These runtimes are profiled "
				 "by their native stacks, and by perf maps and jitdumps that exist",
				 buf_str(&names))
		       : 0;
}

static int warn_about(struct options *o)
{
	static const enum option_id gone[] = {OPTION_spark_sample_period,
		OPTION_collect_spark_metrics, OPTION_databricks_job_name};
	int r = 0;

	for (size_t i = 0; !r && i < ARRAY_SIZE(gone); i++)
		if (!option_is_default(o, gone[i]))
			r = option_warn(
				o, "--%s has no effect any more", option_rows[gone[i]].name);
	return r ? r : warn_of_later(o);
}

int option_validate(struct options *o, struct buf *why)
{
	int r;

	for (size_t i = 0; o->verb && i < ARRAY_SIZE(verbs_not_yet); i++) {
		if (strcmp(o->verb, verbs_not_yet[i]) == 0) {
			buf_printf(why, "%s is not in this version", o->verb);
			return 1;
		}
	}
	r = refuse_not_yet(o, why);
	if (!r)
		r = validate_together(o, why);
	if (!r)
		r = fill_in(o);
	return r ? r : warn_about(o);
}

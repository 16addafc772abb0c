/* SPDX-License-Identifier: Apache-2.0 */
/* The layers, weakest first: defaults, system file, --config, environment, command line. */
#include "config/options.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "config/table.h"

#define FILE_MAX (1 << 20)
#define GIVEN_MAX 65536

/* "profiling-frequency" -> "GPROFILER_PROFILING_FREQUENCY" */
static void env_name(const struct option_row *row, char *ret, size_t size)
{
	size_t n = (size_t)snprintf(ret, size, "GPROFILER_%s", row->name);

	for (size_t i = 0; i < n && i < size; i++)
		ret[i] = ret[i] == '-' ? '_' : (char)toupper((unsigned char)ret[i]);
}

static const char *env_get(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

static int apply_env(struct options *o, char *const *env, struct buf *why)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		const char *text;
		char name[96];
		bool on;
		int r;

		if (row->flags & OPTION_CLI)
			continue;
		env_name(row, name, sizeof(name));
		text = env_get(env, name);
		if (!text)
			continue;
		if (!row->constant && !option_is_flag(&option_rows[row->target])) {
			r = option_assign(o, i, text, OPTION_FROM_ENVIRONMENT, why);
		} else if (option_parse_bool(text, &on)) {
			buf_printf(why,
				"Unexpected value for %s: '%s'. Expecting 'true', 'false', 'yes', "
				"'no', 'on', 'off', '1' or '0'",
				name, text);
			return 1;
		} else {
			r = on ? option_assign(o, i, NULL, OPTION_FROM_ENVIRONMENT, why) : 0;
		}
		if (r) {
			if (r > 0)
				buf_printf(why, " (from the environment, %s)", name);
			return r;
		}
	}
	return 0;
}

/* optional: a file that is absent or that we may not read is passed over. */
static int apply_file(struct options *o, const char *path, bool optional, struct buf *why)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	_cleanup_buf_ struct buf reason = BUF_INIT(8192);
	int r = fs_read_file(path, &text);

	if (r == -ENOMEM)
		return r;
	if (r && optional && r == -EACCES)
		return option_warn(o, "%s is not readable for this user; it is passed over", path);
	if (r && optional && (r == -ENOENT || r == -ENOTDIR))
		return 0;
	if (r) {
		buf_printf(why, "Unable to open config file: %s. Error: %s", path, strerror(-r));
		return 1;
	}
	r = option_file_parse(o, buf_str(&text), text.len,
		optional ? OPTION_FROM_SYSTEM_FILE : OPTION_FROM_FILE, &reason);
	if (r > 0)
		buf_printf(why, "%s: %s", path, buf_str(&reason));
	return r;
}

/* The --config that counts: the command line's last, else the environment's. */
static const char *config_path(const struct option_givens *given, char *const *env)
{
	const char *path = NULL;

	vec_foreach (g, given)
		if (g->id == OPTION_config)
			path = g->text;
	return path ? path : env_get(env, "GPROFILER_CONFIG");
}

/* On Fargate there are no perf events and no initial pid namespace to be had: as the reference, it asks for
 * neither, whatever it was told (gprofiler-agent.md 1.4). */
static int apply_platform(struct options *o, char *const *env, struct buf *why)
{
	const char *platform = env_get(env, "AWS_EXECUTION_ENV");
	int r;

	if (!platform || strcmp(platform, "AWS_ECS_FARGATE") != 0)
		return 0;
	o->pid_ns_check = false;
	if (o->perf_mode == OPTION_PERF_DISABLED)
		return 0;
	r = options_set(o, OPTION_perf_mode, "disabled", why);
	return r ? r
		 : option_warn(o, "AWS Fargate has no perf events: native stacks are off, as with "
				  "--no-perf");
}

static bool was_given(const struct option_givens *given, enum option_id id)
{
	vec_foreach (g, given)
		if (g->id == id)
			return true;
	return false;
}

int options_reload(struct options *o, struct buf *changed, struct buf *why)
{
	_cleanup_options_ struct options now;
	int r = option_defaults(&now, why);

	if (!r && o->system_file && *o->system_file)
		r = apply_file(&now, o->system_file, true, why);
	if (!r && o->config && *o->config)
		r = apply_file(&now, o->config, false, why);
	for (unsigned i = 0; !r && i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->target == i && row->flags & OPTION_LIVE &&
			o->origin[i] <= OPTION_FROM_FILE)
			option_take(o, &now, i, changed);
	}
	return r;
}

static int apply_layers(struct options *o, const struct option_givens *given,
	const struct options_input *in, struct buf *why)
{
	const char *config = config_path(given, in->env);
	int r = 0;

	if (in->system_file && *in->system_file)
		r = apply_file(o, in->system_file, true, why);
	if (!r && config && *config)
		r = apply_file(o, config, false, why);
	if (!r)
		r = apply_env(o, in->env, why);
	vec_foreach (g, given) {
		if (r)
			break;
		r = option_assign(o, g->id, g->text, OPTION_FROM_COMMAND_LINE, why);
	}
	return r;
}

/* Process listings show argv: what is secret is overwritten once it is copied. */
static void hide_secrets(const struct option_givens *given)
{
	vec_foreach (g, given)
		if (g->text && option_rows[option_rows[g->id].target].flags & OPTION_SECRET)
			memset((char *)(uintptr_t)g->text, '*', strlen(g->text));
}

static int parse(struct options *o, struct option_givens *given, const struct options_input *in,
	struct buf *why)
{
	int r = apply_layers(o, given, in, why);

	hide_secrets(given);
	if (!r)
		r = option_validate(o, why);
	return r ? r : apply_platform(o, in->env, why);
}

int options_parse(
	struct options *o, int argc, char **argv, const struct options_input *in, struct buf *text)
{
	_cleanup_buf_ struct buf why = BUF_INIT(16384);
	struct option_givens given;
	int r;

	option_givens_init(&given, GIVEN_MAX);
	r = option_defaults(o, &why);
	o->system_file = in->system_file;
	if (!r)
		r = option_cmdline_scan(o, argc, argv, &given, &why);
	if (!r && (was_given(&given, OPTION_help) || was_given(&given, OPTION_version) ||
			  was_given(&given, OPTION_help_man))) {
		if (was_given(&given, OPTION_help_man))
			option_man(text);
		else if (was_given(&given, OPTION_help))
			option_help(text, o->verb);
		else
			buf_printf(text, "%s\n", GP_VERSION);
		r = OPTIONS_SHOWN;
	} else if (!r) {
		r = parse(o, &given, in, &why);
		r = r > 0 ? OPTIONS_REFUSED : r;
	} else if (r > 0) {
		hide_secrets(&given);
		r = OPTIONS_REFUSED;
	}
	if (r == OPTIONS_REFUSED) {
		option_usage(text, o->verb);
		buf_printf(text, "gprofiler: error: %s\n", buf_str(&why));
	}
	option_givens_deinit(&given);
	return r == -ENOSPC ? -ENOMEM : r;
}

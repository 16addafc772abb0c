/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/remote_command.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "capture/event_find.h"

#define PID_MAX 4194304
#define EVENTS_MAX CAPTURE_EVENTS_MAX
/* "missing => 10" (gprofiler-studio.md A.1). */
#define MAX_PROCESSES_DEFAULT 10
#define PYPERF_SKIP_ABOVE "1500"
#define TEXT_MAX ((size_t)64 << 10)

/* What all readers of a config have at hand. */
struct reading {
	const json_t *config; // NULL: empty
	struct options *o;
	const struct options *base;
	struct buf *why;
};

void remote_command_deinit(struct remote_command *c)
{
	json_decref(c->body);
	c->body = NULL;
}

bool remote_id_good(const char *id)
{
	size_t n = strlen(id);

	for (size_t i = 0; i < n; i++)
		if (id[i] <= 0x20 || id[i] >= 0x7f || id[i] == '"' || id[i] == '\\')
			return false;
	return n > 0 && n <= REMOTE_ID_MAX;
}

bool remote_id_is_uuid(const char *id)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	size_t i = 0;

	while (form[i] && (form[i] == '-' ? id[i] == '-' : isxdigit((unsigned char)id[i])))
		i++;
	return !form[i] && !id[i];
}

/* The member, NULL if it is absent or null. */
static const json_t *member(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_null(v) ? NULL : v;
}

static const json_t *config_of(const struct remote_command *c)
{
	return member(c->body, "combined_config");
}

static int wrong(struct buf *why, const char *key, const char *expected)
{
	buf_printf(why, "%s: expected %s", key, expected);
	return 1;
}

/* As it is kept: a level below the file's root. What could not be written would come again after a
 * restart, and so would everything else that the file remembers. Return 0; 1: it cannot; -ENOMEM. */
static int check_kept(const json_t *body)
{
	_cleanup_buf_ struct buf text = BUF_INIT(REMOTE_BODY_MAX);
	_cleanup_json_ json_t *root = json_array();

	// Room for all there may be: from here on nothing fails for want of memory.
	if (json_array_append(root, (json_t *)(uintptr_t)body) ||
		buf_reserve(&text, REMOTE_BODY_MAX))
		return -ENOMEM;
	return json_append(&text, root) ? 1 : 0;
}

int remote_command_read(
	struct remote_command *ret, const char *id, const json_t *body, struct buf *why)
{
	const json_t *type = member(body, "command_type"),
		     *config = member(body, "combined_config");
	const json_t *continuous = member(config, "continuous");
	const char *text = type ? json_string_value(type) : "start";
	int r;

	*ret = (struct remote_command){.kind = REMOTE_ONCE};
	snprintf(ret->id, sizeof(ret->id), "%s", id);
	if (!json_is_object(body))
		return wrong(why, "profiling_command", "an object");
	if (config && !json_is_object(config))
		return wrong(why, "combined_config", "an object");
	if (!text || (strcmp(text, "start") != 0 && strcmp(text, "stop") != 0)) {
		buf_printf(why, "Unknown command type: %.64s", text ? text : "(no text)");
		return 1;
	}
	if (continuous && !json_is_boolean(continuous))
		return wrong(why, "continuous", "true or false");
	r = check_kept(body);
	if (r)
		return r < 0 ? r
			     : wrong(why, "profiling_command",
				       "less than 64 KiB, and no deep nesting");
	ret->kind = !strcmp(text, "stop")      ? REMOTE_STOP
		    : json_is_true(continuous) ? REMOTE_CONTINUOUS
					       : REMOTE_ONCE;
	ret->body = json_deep_copy(body);
	return ret->body ? 0 : -ENOMEM;
}

int remote_command_pids(const struct remote_command *c, struct option_pids *ret, struct buf *why)
{
	const json_t *pids = member(config_of(c), "pids"), *pid;
	size_t i;

	if (!pids)
		return 0;
	if (!json_is_array(pids))
		return wrong(why, "pids", "a list of numbers");
	json_array_foreach (pids, i, pid) {
		json_int_t n = json_integer_value(pid);
		bool there = false;

		if (!json_is_integer(pid) || n < 1 || n > PID_MAX)
			return wrong(why, "pids", "a list of numbers from 1 to 4194304");
		vec_foreach (seen, ret)
			there |= *seen == (uint32_t)n;
		if (there)
			continue;
		switch (option_pids_push(ret, (uint32_t)n)) {
		case 0:
			break;
		case -ENOSPC:
			return wrong(why, "pids", "fewer processes");
		default:
			return -ENOMEM;
		}
	}
	return 0;
}

bool remote_command_is_partial(const struct remote_command *c)
{
	const json_t *config = config_of(c), *level = member(config, "stop_level");

	// The studio says "host" when it means everything, and then names no process.
	if (json_is_string(level) && !strcmp(json_string_value(level), "host"))
		return false;
	return json_array_size(member(config, "pids")) > 0;
}

bool remote_command_leave_out(struct remote_command *c, const struct option_pids *pids)
{
	json_t *list = json_object_get(json_object_get(c->body, "combined_config"), "pids");
	size_t i = 0;

	if (!json_array_size(list))
		return false;
	while (i < json_array_size(list)) {
		json_int_t n = json_integer_value(json_array_get(list, i));
		bool out = false;

		vec_foreach (pid, pids)
			out |= (json_int_t)*pid == n;
		if (out)
			json_array_remove(list, i);
		else
			i++;
	}
	return !json_array_size(list);
}

static int set(struct reading *r, enum option_id id, const char *text)
{
	return options_set(r->o, id, text, r->why);
}

static int set_number(struct reading *r, enum option_id id, const char *key)
{
	const json_t *v = member(r->config, key);
	char text[32];

	if (!v)
		return 0;
	if (!json_is_integer(v))
		return wrong(r->why, key, "a whole number");
	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	return set(r, id, text);
}

static int set_limit(struct reading *r, enum option_id id, uint64_t n)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return set(r, id, text);
}

/* `cpu/cycles/` and cpu-cycles are cycles. Return false if it is no event we know. */
static bool normalise(const char *event, char ret[64])
{
	struct capture_perf_event found;
	size_t n = strlen(event);

	if (n > 5 && strncmp(event, "cpu/", 4) == 0 && event[n - 1] == '/') {
		event += 4;
		n -= 5;
	}
	if (n >= 64)
		return false;
	memcpy(ret, event, n);
	ret[n] = 0;
	if (strcmp(ret, "cpu-cycles") == 0)
		memcpy(ret, "cycles", sizeof("cycles"));
	return event_find_named(ret, &found) == 0;
}

static int set_events(struct reading *r, const json_t *events)
{
	_cleanup_buf_ struct buf list = BUF_INIT(TEXT_MAX);
	const json_t *event;
	char name[64];
	size_t i;

	if (!events)
		return set(r, OPTION_perf_events, "cycles");
	if (!json_is_array(events) || json_array_size(events) > EVENTS_MAX)
		return wrong(r->why, "perf.events", "a list of at most 8 events");
	json_array_foreach (events, i, event) {
		if (!json_is_string(event))
			return wrong(r->why, "perf.events", "a list of names");
		if (!normalise(json_string_value(event), name)) {
			buf_printf(r->why, "Unknown perf event: %.64s", json_string_value(event));
			return 1;
		}
		buf_printf(&list, "%s%s", i ? "," : "", name);
	}
	return set(r, OPTION_perf_events, list.len ? buf_str(&list) : "cycles");
}

/* {mode, events} or just the mode. */
static int read_perf(struct reading *r, const json_t *perf)
{
	const json_t *mode = json_is_object(perf) ? member(perf, "mode") : perf;
	const char *text = mode ? json_string_value(mode) : "enabled_restricted";
	const struct options *b = r->base;
	int e;

	if (!text)
		return wrong(r->why, "perf", "a mode, or an object with one");
	if (!strcmp(text, "disabled"))
		return set(r, OPTION_perf_mode, "disabled");
	if (!strcmp(text, "enabled_restricted")) {
		e = set_limit(r, OPTION_skip_system_above, b->heartbeat_restricted_processes);
		if (!e)
			e = set_limit(
				r, OPTION_perf_max_containers, b->heartbeat_restricted_containers);
	} else if (!strcmp(text, "enabled_aggressive")) {
		e = set_limit(r, OPTION_skip_system_above, b->heartbeat_aggressive_processes);
		if (!e)
			e = set_limit(
				r, OPTION_perf_max_containers, b->heartbeat_aggressive_containers);
	} else {
		buf_printf(r->why, "perf: unknown mode %.64s", text);
		return 1;
	}
	return e ? e : set_events(r, json_is_object(perf) ? member(perf, "events") : NULL);
}

/* A mode as text; *ret is the default if there is none. */
static int read_text(struct reading *r, const json_t *configs, const char *key, const char *none,
	const char **ret)
{
	const json_t *v = member(configs, key);

	*ret = v ? json_string_value(v) : none;
	return *ret ? 0 : wrong(r->why, key, "a text");
}

/* pyperf alone, with reading from outside to fall back to, only that, or neither. What the studio leaves
 * unsaid does not bring back what it turned off. */
static int read_python(struct reading *r, const json_t *configs)
{
	const char *pyperf, *pyspy, *mode;
	int e = read_text(r, configs, "pyperf", "enabled", &pyperf);
	bool on;

	if (e)
		return e;
	on = strcmp(pyperf, "disabled") != 0;
	e = read_text(r, configs, "pyspy", on ? "enabled_fallback" : "disabled", &pyspy);
	if (e)
		return e;
	if (!strcmp(pyspy, "enabled_fallback"))
		mode = "auto";
	else if (!strcmp(pyspy, "enabled"))
		mode = options_has_value(OPTION_python_mode, OPTION_PYTHON_PYSPY) ? "pyspy"
										  : "auto";
	else
		mode = on ? "pyperf" : "disabled";
	e = set(r, OPTION_python_mode, mode);
	if (!e && on)
		e = set(r, OPTION_pyperf_skip_above, PYPERF_SKIP_ABOVE);
	return e;
}

static bool is_one_of(const char *text, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(text, *list))
			return true;
	return false;
}

static int read_java(struct reading *r, const json_t *java)
{
	static const char *const times[] = {"cpu", "itimer", "wall", "auto", "alloc", NULL};
	const json_t *time = member(java, "time"), *enabled = member(java, "enabled");
	const char *text = json_is_string(java) ? json_string_value(java) : "cpu";

	if (!java)
		return 0;
	if (json_is_object(java)) {
		if (enabled && !json_is_boolean(enabled))
			return wrong(r->why, "async_profiler.enabled", "true or false");
		if (json_is_false(enabled))
			return set(r, OPTION_java_mode, "disabled");
		if (time && !json_is_string(time))
			return wrong(r->why, "async_profiler.time", "a text");
		text = time ? json_string_value(time) : "cpu";
		if (!is_one_of(text, times)) {
			buf_printf(r->why, "async_profiler: unknown time %.64s", text);
			return 1;
		}
	} else if (!json_is_string(java)) {
		return wrong(r->why, "async_profiler", "an object or a text");
	}
	if (!strcmp(text, "disabled"))
		return set(r, OPTION_java_mode, "disabled");
	// For all of the session the reference would then sample allocations, and nothing else.
	if (!strcmp(text, "alloc") || !strcmp(text, "enabled_alloc"))
		return set(r, OPTION_mode, "allocation");
	return 0;
}

/* Only "disabled" acts (4.5): nothing is turned on that the command line has off. */
static int read_others(struct reading *r, const json_t *configs)
{
	static const struct {
		const char *key;
		enum option_id id;
	} others[] = {
		{"rbspy", OPTION_ruby_mode},
		{"phpspy", OPTION_php_mode},
		{"dotnet_trace", OPTION_dotnet_mode},
		{"nodejs_perf", OPTION_nodejs_mode},
	};
	const char *text;
	int e = 0;

	for (size_t i = 0; !e && i < ARRAY_SIZE(others); i++) {
		e = read_text(r, configs, others[i].key, "enabled", &text);
		if (!e && !strcmp(text, "disabled"))
			e = set(r, others[i].id, "disabled");
	}
	return e;
}

/* An empty object means what the command line says, and so does none. */
static int read_profilers(struct reading *r)
{
	const json_t *configs = member(r->config, "profiler_configs");
	int e;

	if (!configs || (json_is_object(configs) && !json_object_size(configs)))
		return 0;
	if (!json_is_object(configs))
		return wrong(r->why, "profiler_configs", "an object");
	e = read_perf(r, member(configs, "perf"));
	if (!e)
		e = read_python(r, configs);
	if (!e)
		e = read_java(r, member(configs, "async_profiler"));
	return e ? e : read_others(r, configs);
}

static int check_host(struct reading *r, const char *hostname)
{
	const json_t *hosts = member(r->config, "target_hostnames"), *host;
	size_t i;

	if (!hosts)
		return 0;
	if (!json_is_array(hosts))
		return wrong(r->why, "target_hostnames", "a list");
	json_array_foreach (hosts, i, host)
		if (json_is_string(host) && !strcmp(json_string_value(host), hostname))
			return 0;
	buf_printf(r->why, "This host, %s, is not among target_hostnames", hostname);
	return 1;
}

static int read_pids(struct reading *r, const struct remote_command *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	struct option_pids pids;
	int e;

	option_pids_init(&pids, r->o->pids.cap);
	e = remote_command_pids(c, &pids, r->why);
	vec_foreach (pid, &pids)
		buf_printf(&text, "%s%u", text.len ? "," : "", *pid);
	option_pids_deinit(&pids);
	return e || !text.len ? e : set(r, OPTION_pids, buf_str(&text));
}

static int read_mode(struct reading *r)
{
	const json_t *mode = member(r->config, "profiling_mode");

	if (!mode)
		return 0;
	if (!json_is_string(mode))
		return wrong(r->why, "profiling_mode", "a text");
	return set(r, OPTION_mode, json_string_value(mode));
}

static int read_all(struct reading *r, const struct remote_command *c, const char *hostname)
{
	const json_t *perfspect = member(r->config, "enable_perfspect");
	const json_t *limit = member(r->config, "max_processes");
	bool continuous = c->kind == REMOTE_CONTINUOUS;
	int e = check_host(r, hostname);

	if (!e)
		e = set_number(r, OPTION_duration, "duration");
	if (!e)
		e = set_number(r, OPTION_frequency, "frequency");
	if (!e)
		e = read_mode(r);
	if (!e)
		e = read_pids(r, c);
	if (!e)
		e = set_limit(r, OPTION_max_processes_runtime, MAX_PROCESSES_DEFAULT);
	// 0 is what the command line has no word for: no limit.
	if (!e && json_is_integer(limit) && json_integer_value(limit) == 0)
		r->o->max_processes_runtime = 0;
	else if (!e)
		e = set_number(r, OPTION_max_processes_runtime, "max_processes");
	if (!e)
		e = read_profilers(r);
	if (!e)
		e = set(r, OPTION_continuous, continuous ? "true" : "false");
	if (!e && !continuous && !options_given(r->base, OPTION_flamegraph))
		e = set(r, OPTION_flamegraph, "true");
	if (!e && perfspect && !json_is_boolean(perfspect))
		return wrong(r->why, "enable_perfspect", "true or false");
	if (!e && json_is_true(perfspect))
		e = set(r, OPTION_collect_hw_metrics, "true");
	return e;
}

int remote_command_options(const struct remote_command *c, const struct options *base,
	const char *hostname, struct options *ret, struct buf *why)
{
	struct reading r = {.config = config_of(c), .o = ret, .base = base, .why = why};
	int e = options_copy(ret, base);

	if (e)
		return e;
	ret->command = NULL;
	ret->command_argc = 0;
	e = read_all(&r, c, hostname);
	if (!e)
		e = options_check(ret, why);
	if (!e && ret->mode == OPTION_MODE_NONE) {
		buf_append_str(why, "All profilers are disabled: profiling_mode is none");
		e = 1;
	}
	if (!e && ret->perf_mode == OPTION_PERF_DISABLED &&
		ret->python_mode == OPTION_PYTHON_DISABLED) {
		buf_append_str(why, "All profilers are disabled: native stacks, and those of every "
				    "runtime there is");
		e = 1;
	}
	if (e)
		options_deinit(ret);
	return e;
}

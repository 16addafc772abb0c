/* SPDX-License-Identifier: Apache-2.0 */
/* What the studio says, and what we kept of it, of any bytes: the input is read as the body of an answer to
 * a heartbeat and as a file of commands. What is taken can be kept, and what was kept reads the same. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "agent/command_history.h"
#include "agent/command_queue.h"
#include "base/log.h"
#include "delivery/heartbeat.h"

#define ID "0f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a11"
#define ID_2 "1f9c1c3e-7d0b-4f36-9d34-5d5f0f3b2a22"

static const struct options *base(void)
{
	static char words[][24] = {"gprofiler", "-u", "--token", "t", "--service-name", "s"};
	static struct options o;
	static bool parsed;
	const struct log_config quiet = {.console_stderr = true};
	char *argv[ARRAY_SIZE(words) + 1] = {0};
	const struct options_input none = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(4096);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		argv[i] = words[i];
	if (!parsed)
		log_open(&quiet);
	if (!parsed && options_parse(&o, ARRAY_SIZE(words), argv, &none, &text) != OPTIONS_RUN)
		abort();
	parsed = true;
	return &o;
}

/* Written, read and written again it is the same text. */
static void same_again(const struct command_history *h)
{
	_cleanup_buf_ struct buf once = BUF_INIT(COMMAND_FILE_MAX);
	_cleanup_buf_ struct buf again = BUF_INIT(COMMAND_FILE_MAX);
	struct command_history copy;

	command_history_init(&copy);
	if (command_history_encode(h, &once) ||
		command_history_decode(&copy, buf_str(&once), once.len) ||
		command_history_encode(&copy, &again))
		abort();
	if (once.len != again.len || memcmp(once.data, again.data, once.len) != 0)
		abort();
	command_history_deinit(&copy);
}

static void plan(const struct remote_command *c)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	struct option_pids pids;
	struct options o;
	int r = remote_command_options(c, base(), "host", &o, &why);

	if (!r) {
		if (!o.frequency || o.frequency > 1000 || !o.duration || o.mode != OPTION_MODE_CPU)
			abort();
		if (o.continuous != (c->kind == REMOTE_CONTINUOUS))
			abort();
		options_deinit(&o);
	}
	option_pids_init(&pids, 64);
	if (!remote_command_pids(c, &pids, &why)) {
		vec_foreach (pid, &pids)
			if (!*pid || *pid > 4194304)
				abort();
	}
	option_pids_deinit(&pids);
}

static void obey(struct remote_command *c)
{
	struct command_history h;
	struct command_queue q;

	command_history_init(&h);
	command_queue_init(&q);
	if (command_history_receive(&h, c) || command_history_receive(&h, c) != 1)
		abort();
	same_again(&h);
	plan(c);
	if (command_queue_put(&q, c, NULL, NULL) || command_queue_len(&q) != 1)
		abort();
	command_queue_deinit(&q);
	command_history_deinit(&h);
}

static void as_answer(long status, const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	struct heartbeat_answer a;
	struct remote_command c;

	heartbeat_judge(status, (const char *)data, len, &a);
	if (a.command &&
		(!remote_id_good(a.id) || a.said.verdict != STUDIO_DONE || status / 100 != 2))
		abort();
	for (const char *s = a.said.message; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			abort();
	if (a.command && !remote_command_read(&c, a.id, a.command, &why))
		obey(&c);
	heartbeat_answer_deinit(&a);
}

static void as_file(const uint8_t *data, size_t len)
{
	struct command_history h;

	command_history_init(&h);
	if (!command_history_decode(&h, data, len)) {
		if (h.entries.len > COMMAND_HISTORY_MAX ||
			(h.force.body && h.force.kind != REMOTE_CONTINUOUS))
			abort();
		same_again(&h);
		if (command_history_interrupted(&h))
			abort();
		vec_foreach (e, &h.entries)
			if (!e->executed && !(h.force.body && !strcmp(e->id, h.force.id)))
				abort();
		same_again(&h);
	} else if (h.entries.len || h.force.body || h.stopped) {
		abort();
	}
	command_history_deinit(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	as_answer(200, data, len);
	as_answer(len ? 100 + data[0] * 4 : 0, data, len);
	as_file(data, len);
	return 0;
}

/* An answer whose command is nested n deep. */
static int nested(struct buf *out, unsigned n)
{
	buf_append_str(out, "{\"success\":true,\"command_id\":\"" ID
			    "\",\"profiling_command\":{\"combined_config\":"
			    "{\"continuous\":true,\"x\":");
	for (unsigned i = 0; i < n; i++)
		buf_append_char(out, '[');
	for (unsigned i = 0; i < n; i++)
		buf_append_char(out, ']');
	return buf_append_str(out, "}}}");
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"{\"success\": true, \"message\": \"Heartbeat received\", \"profiling_command\": null, "
		"\"command_id\": null}",
		"{\"success\": true, \"command_id\": \"" ID "\", \"profiling_command\": "
		"{\"command_type\": \"start\", \"combined_config\": {\"continuous\": true, "
		"\"duration\": 60, \"frequency\": 11, \"profiling_mode\": \"cpu\", \"pids\": [1, 2, "
		"4194304], \"max_processes\": 0, \"enable_perfspect\": true, \"target_hostnames\": "
		"[\"host\"], \"profiler_configs\": {\"perf\": {\"mode\": \"enabled_aggressive\", "
		"\"events\": [\"cpu-cycles\", \"cpu/cache-misses/\"]}, \"pyperf\": \"enabled\", "
		"\"pyspy\": \"enabled_fallback\", \"async_profiler\": {\"enabled\": true, \"time\": "
		"\"cpu\", \"alloc_interval\": \"2MB\"}, \"rbspy\": \"disabled\", \"phpspy\": "
		"\"disabled\", \"dotnet_trace\": \"disabled\", \"nodejs_perf\": \"disabled\"}}}}",
		"{\"success\": true, \"command_id\": \"" ID "\", \"profiling_command\": "
		"{\"command_type\": \"stop\", \"combined_config\": {\"stop_level\": \"process\", "
		"\"pids\": [1]}}}",
		"{\"success\": true, \"command_id\": \"x y\", \"profiling_command\": {}}",
		"{\"success\": false, \"message\": \"\\u001b[31mred\\ud83d\\ude00\"}",
		"{\"version\": 1, \"stopped\": null, \"in_force\": \"" ID "\", \"command\": "
		"{\"command_type\": \"start\", \"combined_config\": {\"continuous\": true, \"pids\": "
		"[7], \"x\": 1.5e-7}}, \"commands\": [{\"id\": \"" ID_2 "\", \"kind\": 1, "
		"\"executed\": true, \"failed\": true, \"seconds\": 12, \"error\": "
		"\"\\u00e9\"}, {\"id\": \"" ID "\", \"kind\": 2, \"executed\": false}]}",
		"{\"version\": 1, \"stopped\": \"" ID "\", \"in_force\": null, \"command\": null, "
		"\"commands\": [{\"id\": \"" ID "\", \"kind\": 0, \"executed\": true}]}",
		"{\"version\": 2, \"commands\": []}",
	};
	static const unsigned depths[] = {59, 60, 61, 62, 63, 64, 1000};

	if (n < ARRAY_SIZE(seeds))
		return buf_append_str(out, seeds[n]);
	n -= ARRAY_SIZE(seeds);
	return n < ARRAY_SIZE(depths) ? nested(out, depths[n]) : -1;
}

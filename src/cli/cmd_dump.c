/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler dump -p PID: every thread of a process and its runtime stack, now. Takes no lock, stops
 * nothing. Exit status: see the help (config/table.c). */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "config/options.h"
#include "process/table.h"
#include "runtime/runtime.h"

#define EXIT_USAGE 2
#define THREADS_MAX 65536
#define OUTPUT_MAX ((size_t)64 << 20)
#define MODULES_MAX 65536
#define FDS_MAX 64

struct dump {
	struct module_table modules;
	struct process_table processes;
	struct runtime_set *runtimes;
	struct process *p;
	json_t *threads; // objects: tid, name, state, frames
};

static void dump_deinit(struct dump *d)
{
	runtime_set_free(d->runtimes);
	process_table_deinit(&d->processes);
	module_table_deinit(&d->modules);
	json_decref(d->threads);
}

static const char *state_text(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "in uninterruptible sleep";
	case 'T':
		return "stopped";
	case 't':
		return "stopped by a tracer";
	case 'I':
		return "idle";
	default:
		return "ended";
	}
}

/* Lists the threads as they are before they are read: what reads them must not wake them. */
static int list_threads(struct dump *d, uint32_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *e;
	char path[96];

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((e = readdir(dir)) && json_array_size(d->threads) < THREADS_MAX) {
		_cleanup_buf_ struct buf b = BUF_INIT(4096);
		struct process_stat st;
		json_t *t;

		snprintf(path, sizeof(path), "/proc/%u/task/%.20s/stat", pid, e->d_name);
		if (e->d_name[0] == '.' || fs_read_file(path, &b) ||
			!process_stat_parse(buf_str(&b), b.len, &st))
			continue;
		t = json_pack("{s:I, s:o, s:s}", "tid", (json_int_t)strtoul(e->d_name, NULL, 10),
			"name", json_text(st.comm), "state", state_text(st.state));
		if (!t || json_array_append_new(d->threads, t))
			return -ENOMEM;
	}
	return 0;
}

/* The entry of a thread that has no stack yet. A thread that is in several interpreters, one called
 * from the other, has an entry for each. */
static json_t *find_thread(struct dump *d, uint32_t tid)
{
	json_t *t, *other = NULL;
	size_t i;

	json_array_foreach (d->threads, i, t) {
		if (!tid || json_integer_value(json_object_get(t, "tid")) != tid)
			continue;
		if (!json_object_get(t, "frames"))
			return t;
		other = t;
	}
	if (other)
		t = json_pack("{s:I, s:O, s:O}", "tid", (json_int_t)tid, "name",
			json_object_get(other, "name"), "state", json_object_get(other, "state"));
	else // new, or it cannot be told by its number
		t = json_pack(
			"{s:I, s:s, s:s}", "tid", (json_int_t)tid, "name", "", "state", "unknown");
	return t && json_array_append_new(d->threads, t) == 0 ? t : NULL;
}

static int add_frame(struct dump *d, json_t *frames, const uint64_t *words)
{
	struct runtime_frame f;
	int r = runtime_name_frame(d->runtimes, d->p, words, &f);
	json_t *j;

	if (r)
		return r;
	j = json_pack("{s:o, s:o, s:i, s:i, s:o}", "name",
		json_text(runtime_text(d->runtimes, f.name)), "file",
		json_text(f.file ? runtime_text(d->runtimes, f.file) : NULL), "line", (int)f.line,
		"first_line", (int)f.start_line, "package",
		json_text(f.package ? runtime_text(d->runtimes, f.package) : NULL));
	return json_array_append_new(frames, j) ? -ENOMEM : 0;
}

static int add_stack(void *arg, const struct runtime_thread *t)
{
	struct dump *d = arg;
	json_t *j = find_thread(d, t->tid), *frames = json_array();
	int r = j && frames ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < t->nwords;) {
		r = add_frame(d, frames, t->words + i);
		i += runtime_frame_words((uint8_t)REC_FRAME_KIND(t->words[i]));
	}
	if (!r && json_object_set(j, "frames", frames))
		r = -ENOMEM;
	if (!r && t->torn && json_object_set_new(j, "torn", json_true()))
		r = -ENOMEM;
	if (!r && t->interpreter &&
		json_object_set_new(j, "interpreter", json_integer((json_int_t)t->interpreter)))
		r = -ENOMEM;
	json_decref(frames);
	return r;
}

static void print_frame(struct buf *out, json_t *f)
{
	const char *file = json_string_value(json_object_get(f, "file"));
	const char *package = json_string_value(json_object_get(f, "package"));
	json_int_t line = json_integer_value(json_object_get(f, "line"));

	buf_printf(out, "    %s", json_string_value(json_object_get(f, "name")));
	if (file && line)
		buf_printf(out, " (%s:%lld", file, (long long)line);
	else if (file)
		buf_printf(out, " (%s", file);
	if (file)
		buf_printf(out, "%s%s)", package ? " " : "", package ? package : "");
	buf_append_char(out, '\n');
}

static void print_thread(struct buf *out, json_t *t)
{
	json_t *frames = json_object_get(t, "frames"), *f;
	json_t *interpreter = json_object_get(t, "interpreter");
	size_t i;

	buf_printf(out, "\nThread %lld \"%s\": %s", json_integer_value(json_object_get(t, "tid")),
		json_string_value(json_object_get(t, "name")),
		json_string_value(json_object_get(t, "state")));
	if (interpreter)
		buf_printf(out, ", interpreter %lld", json_integer_value(interpreter));
	if (json_object_get(t, "torn"))
		buf_append_str(out, ", torn: it moved while it was read");
	buf_append_char(out, '\n');
	if (!json_array_size(frames))
		buf_append_str(out, "    (no Python frames)\n");
	json_array_foreach (frames, i, f)
		print_frame(out, f);
}

static int print(struct dump *d, bool as_json)
{
	_cleanup_buf_ struct buf out = BUF_INIT(OUTPUT_MAX);
	char runtime[64];
	size_t i;
	json_t *t;

	runtime_describe(d->runtimes, d->p, runtime, sizeof(runtime));
	if (as_json) {
		_cleanup_json_ json_t *all = json_pack("{s:I, s:o, s:o, s:O}", "pid",
			(json_int_t)d->p->pid, "name", json_text(d->p->comm), "runtime",
			json_text(runtime[0] ? runtime : NULL), "threads", d->threads);

		if (!all || json_append(&out, all) || buf_append_char(&out, '\n'))
			return -ENOMEM;
	} else {
		buf_printf(&out, "Process %u \"%s\": %s\n", d->p->pid, d->p->comm,
			runtime[0] ? runtime : "no Python interpreter that is known");
		json_array_foreach (d->threads, i, t)
			print_thread(&out, t);
	}
	if (out.bad)
		return -ENOMEM;
	fwrite(out.data, 1, out.len, stdout);
	return 0;
}

static int run(struct dump *d, uint32_t pid, bool as_json)
{
	const struct runtime_config config = {
		.processes = &d->processes, .python = true, .python_versions = true};
	int r = list_threads(d, pid);

	if (!r)
		r = process_table_scan_pid(&d->processes, pid);
	if (!r)
		r = runtime_set_new(&config, &d->runtimes);
	if (r)
		return r;
	d->p = process_table_find(&d->processes, pid);
	if (!d->p)
		return -ESRCH;
	r = runtime_read_threads(
		d->runtimes, d->p, &(struct runtime_visitor){.fn = add_stack, .arg = d});
	// No interpreter, or one that is not up yet: its threads are still shown.
	if (r && r != -ENOENT && r != -EAGAIN)
		return r;
	if (r && d->processes.stats.denied)
		return -EPERM;
	return print(d, as_json);
}

int cli_dump(const struct options *options, int argc, char **argv)
{
	uint32_t pid = (uint32_t)options->dump_pid;
	struct log_config log = {.console_stderr = true, .verbose = options->verbose};
	struct dump d = {.threads = json_array()};
	int r;

	if (!pid || argc > 1) {
		fprintf(stderr, "gprofiler dump: error: %s%.64s (see gprofiler dump --help)\n",
			pid ? "unrecognized arguments: " : "which process? give it by -p PID",
			pid ? argv[1] : "");
		json_decref(d.threads);
		return EXIT_USAGE;
	}
	log_open(&log);
	module_table_init(&d.modules, MODULES_MAX, FDS_MAX);
	r = process_table_init(&d.processes, &d.modules, "/proc");
	if (!r)
		r = d.threads ? run(&d, pid, options->dump_json) : -ENOMEM;
	if (r == -ENOENT || r == -ESRCH)
		fprintf(stderr, "gprofiler dump: error: there is no process %u\n", pid);
	else if (r == -EINVAL)
		fprintf(stderr,
			"gprofiler dump: error: the structures of the interpreter of process %u are "
			"not those of its version\n",
			pid);
	else if (r)
		fprintf(stderr, "gprofiler dump: error: reading process %u: %s%s\n", pid,
			strerror(-r),
			r == -EPERM || r == -EACCES
				? " (it takes its user's rights, or CAP_SYS_PTRACE)"
				: "");
	dump_deinit(&d);
	return r ? 1 : 0;
}

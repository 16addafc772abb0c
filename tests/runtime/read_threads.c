/* SPDX-License-Identifier: Apache-2.0 */
/* The stacks of a process, read again and again: one JSON line a thread and reading.
 * Usage: read_threads PID COUNT INTERVAL_MS [quiet|running]
 * quiet: without names, which are asked for once a frame; running: quiet, and only threads that run */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"
#include "bpf/abi/python.h"
#include "process/table.h"
#include "runtime/runtime.h"

struct show {
	struct runtime_set *set;
	struct process *p;
	bool quiet, running;
};

static void put_text(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
	putchar('"');
}

static bool runs(void *arg, uint32_t tid)
{
	const struct show *s = arg;
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	struct process_stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/task/%u/stat", s->p->pid, tid);
	return !fs_read_file(path, &b) && process_stat_parse(buf_str(&b), b.len, &st) &&
	       st.state == 'R';
}

static int show(void *arg, const struct runtime_thread *t)
{
	struct show *s = arg;

	if (s->quiet)
		return 0;
	printf("{\"tid\": %u, \"interpreter\": %lu, \"torn\": %s, \"frames\": [", t->tid,
		(unsigned long)t->interpreter, t->torn ? "true" : "false");
	for (size_t i = 0; i < t->nwords; i += PY_FRAME_WORDS) {
		struct runtime_frame f;
		int r = runtime_name_frame(s->set, s->p, t->words + i, &f);

		if (r)
			return r;
		printf("%s[", i ? ", " : "");
		put_text(runtime_text(s->set, f.name));
		printf(", ");
		put_text(runtime_text(s->set, f.file));
		printf(", %u, %u, ", f.start_line, f.line);
		put_text(runtime_text(s->set, f.package));
		printf(", %s]", f.stale ? "true" : "false");
	}
	puts("]}");
	return 0;
}

static int loop(struct show *s, unsigned count, unsigned ms)
{
	struct timespec nap = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	int r = 0;

	for (unsigned i = 0; i < count && !r; i++) {
		r = runtime_read_threads(s->set, s->p,
			&(struct runtime_visitor){
				.want = s->running ? runs : NULL, .fn = show, .arg = s});
		if (r == -EAGAIN)
			r = 0;
		fflush(stdout);
		nanosleep(&nap, NULL);
	}
	return r;
}

int main(int argc, char **argv)
{
	uint32_t pid = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 0;
	struct module_table modules;
	struct process_table processes;
	struct runtime_config config = {
		.processes = &processes, .python = true, .python_versions = true};
	struct show s = {.quiet = argc > 4, .running = argc > 4 && strcmp(argv[4], "running") == 0};
	struct log_config log = {.verbose = getenv("VERBOSE"), .console_stderr = true};
	int r;

	if (argc < 4)
		return 2;
	log_open(&log);
	module_table_init(&modules, 4096, 64);
	r = process_table_init(&processes, &modules, "/proc");
	if (!r)
		r = process_table_scan_pid(&processes, pid);
	if (!r)
		r = runtime_set_new(&config, &s.set);
	s.p = r ? NULL : process_table_find(&processes, pid);
	if (s.p)
		r = loop(&s, (unsigned)strtoul(argv[2], NULL, 10),
			(unsigned)strtoul(argv[3], NULL, 10));
	else
		r = r ? r : -ESRCH;
	runtime_set_free(s.set);
	process_table_deinit(&processes);
	module_table_deinit(&modules);
	if (r)
		fprintf(stderr, "read_threads: %s\n", strerror(-r));
	return r ? 1 : 0;
}

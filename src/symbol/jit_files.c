/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/jit_files.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "symbol/jitdump.h"
#include "symbol/perf_map.h"

#define STATUS_MAX 8192
#define NAME_BYTES_MAX 4096
/* File times are as coarse as a tick, and clocks are stepped. */
#define START_SLACK_NS (2 * NSEC_PER_SEC)

struct jit_file {
	struct perf_map map;
	struct jitdump dump;
};

struct jit_files {
	struct map by_uid; // process uid -> struct jit_file
};

struct jit_files *jit_files_new(void)
{
	struct jit_files *f = calloc(1, sizeof(*f));

	if (f)
		map_init(&f->by_uid, JIT_PROCESSES_MAX);
	return f;
}

static void file_free(struct jit_file *j)
{
	perf_map_deinit(&j->map);
	jitdump_deinit(&j->dump);
	free(j);
}

void jit_files_free(struct jit_files *f)
{
	if (!f)
		return;
	map_foreach (slot, &f->by_uid)
		file_free((struct jit_file *)(uintptr_t)slot->value);
	map_deinit(&f->by_uid);
	free(f);
}

void jit_files_sweep(struct jit_files *f, const struct process_table *t)
{
	uint64_t gone[JIT_PROCESSES_MAX];
	size_t n = 0;

	map_foreach (slot, &f->by_uid) {
		if (process_table_by_uid(t, (uint32_t)slot->key))
			continue;
		file_free((struct jit_file *)(uintptr_t)slot->value);
		gone[n++] = slot->key;
	}
	while (n)
		map_remove(&f->by_uid, gone[--n]);
}

/* What /proc/PID/status says: its user, and its pid in its own namespace. */
struct identity {
	bool known;
	uid_t uid;
	uint32_t ns_pid;
};

static uint64_t last_number(const char *s)
{
	uint64_t n = 0;

	while (*s && *s != '\n') {
		char *end;

		while (isblank((unsigned char)*s))
			s++;
		if (!isdigit((unsigned char)*s))
			break;
		n = strtoull(s, &end, 10);
		s = end;
	}
	return n;
}

static struct identity read_identity(const struct process_table *t, const struct process *p)
{
	_cleanup_buf_ struct buf text = BUF_INIT(STATUS_MAX);
	struct identity id = {.ns_pid = p->pid};
	const char *line;
	char path[128];

	snprintf(path, sizeof(path), "%s/%u/status", t->proc_root, p->pid);
	if (p->exit_time || fs_read_file(path, &text))
		return id;
	line = strstr(buf_str(&text), "\nUid:");
	if (line) {
		id.known = true;
		id.uid = (uid_t)strtoul(line + 5, NULL, 10);
	}
	line = strstr(buf_str(&text), "\nNSpid:");
	if (line)
		id.ns_pid = (uint32_t)last_number(line + 7);
	return id;
}

/* Written by this process, as far as owner and time can tell? */
static bool is_credible(int fd, const struct process *p, const struct identity *id)
{
	uint64_t real = clock_real_ns(), boot, written;
	struct timespec now;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (st.st_uid != 0 && !(id->known && st.st_uid == id->uid))
		return false;
	clock_gettime(CLOCK_BOOTTIME, &now);
	boot = (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
	written = (uint64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st.st_mtim.tv_nsec;
	return !p->start_time || p->start_time > boot ||
	       written + START_SLACK_NS >= real - (boot - p->start_time);
}

static int credible(int fd, const struct process *p, const struct identity *id)
{
	if (fd >= 0 && !is_credible(fd, p, id)) {
		close(fd);
		return -EACCES;
	}
	return fd;
}

static int open_perf_map(
	const struct process_table *t, const struct process *p, const struct identity *id)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%u.map", id->ns_pid);
	return credible(process_open_path(t, p, path), p, id);
}

/* Is the name of a mapped file jit-PID.dump? */
static bool is_jitdump_name(const char *path)
{
	const char *name = fs_basename(path), *end;

	if (strncmp(name, "jit-", 4) != 0)
		return false;
	for (end = name + 4; isdigit((unsigned char)*end); end++)
		;
	return end > name + 4 && strncmp(end, ".dump", 5) == 0;
}

static int open_jitdump(
	const struct process_table *t, const struct process *p, const struct identity *id)
{
	vec_foreach (m, &p->maps)
		if (m->kind == MAPPING_FILE && is_jitdump_name(intern_str(&t->strings, m->path)))
			return credible(process_open_mapped(t, p, m), p, id);
	return -ENOENT;
}

static struct jit_file *find(const struct jit_files *f, const struct process *p)
{
	uint64_t *value = map_get(&f->by_uid, p->uid);

	return value ? (struct jit_file *)(uintptr_t)*value : NULL;
}

int jit_files_note(struct jit_files *f, const struct process_table *t, const struct process *p)
{
	struct jit_file *j = find(f, p);
	struct identity id;
	int r;

	if (j && j->map.fd >= 0 && j->dump.fd >= 0)
		return 0;
	id = read_identity(t, p);
	if (!j) {
		int map = open_perf_map(t, p, &id), dump = open_jitdump(t, p, &id);

		if (map < 0 && dump < 0)
			return -ENOENT;
		j = calloc(1, sizeof(*j));
		r = j ? map_set(&f->by_uid, p->uid, (uintptr_t)j) : -ENOMEM;
		if (r) {
			free(j);
			if (map >= 0)
				close(map);
			if (dump >= 0)
				close(dump);
			return r;
		}
		perf_map_init(&j->map, map < 0 ? -1 : map);
		jitdump_init(&j->dump, dump < 0 ? -1 : dump);
		return 0;
	}
	if (j->map.fd < 0) {
		r = open_perf_map(t, p, &id);
		j->map.fd = r < 0 ? -1 : r;
	}
	if (j->dump.fd < 0) {
		r = open_jitdump(t, p, &id);
		j->dump.fd = r < 0 ? -1 : r;
	}
	return 0;
}

/* The files of a group's process, noted now if they were not before. */
static struct jit_file *group_files(const struct symbol_group *g)
{
	if (!g->process || !g->resolver->jit)
		return NULL;
	jit_files_note(g->resolver->jit, g->resolver->processes, g->process);
	return find(g->resolver->jit, g->process);
}

static int answer_line(struct symbol_group *g, struct symbol_query *q, const struct jitdump *d)
{
	struct jitdump_line line;
	int r;

	if (!g->resolver->config.lines || jitdump_line(d, symbol_lookup_addr(q), &line))
		return 0;
	r = symbol_text(g->resolver, line.file, strlen(line.file), &q->file);
	q->line = q->file ? line.line : 0;
	return r;
}

int symbol_source_jitdump(struct symbol_group *g)
{
	_cleanup_buf_ struct buf name = BUF_INIT(NAME_BYTES_MAX);
	struct jit_file *j = group_files(g);
	int r = 0;

	if (!j || j->dump.fd < 0)
		return 0;
	if (jitdump_update(&j->dump) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < g->n && !r; i++) {
		struct symbol_query *q = &g->queries[i];
		uint64_t start;

		if (q->name || jitdump_name(&j->dump, symbol_lookup_addr(q), &name, &start))
			continue;
		r = symbol_answer(g->resolver, q, buf_str(&name), SYMBOL_KIND_JIT);
		q->func_start = start;
		if (!r)
			r = answer_line(g, q, &j->dump);
	}
	return r;
}

int symbol_source_perf_map(struct symbol_group *g)
{
	_cleanup_buf_ struct buf name = BUF_INIT(NAME_BYTES_MAX);
	struct jit_file *j = group_files(g);
	int r = 0;

	if (!j || j->map.fd < 0)
		return 0;
	if (perf_map_update(&j->map) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < g->n && !r; i++) {
		struct symbol_query *q = &g->queries[i];
		uint64_t start;

		if (q->name || perf_map_name(&j->map, symbol_lookup_addr(q), &name, &start))
			continue;
		r = symbol_answer(g->resolver, q, buf_str(&name), SYMBOL_KIND_JIT);
		q->func_start = start;
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/proc_snapshot.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "base/fs.h"

#define MAPS_MAX (16u << 20) // bytes of /proc/PID/maps

struct snapshot {
	const char *proc;
	uint64_t time;
	capture_event_fn fn;
	void *arg;
	struct buf text;
	uint32_t pid;
};

/* Reads /proc/PID/<name> into s->text. */
static int read_text(struct snapshot *s, uint32_t tid, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%u/task/%u/%s", s->proc, s->pid, tid, name);
	buf_clear(&s->text);
	return fs_read_file(path, &s->text);
}

/* The parent: the second field after the name, which is in parentheses and may hold any. */
static uint32_t parent(struct snapshot *s)
{
	const char *p;

	if (read_text(s, s->pid, "stat"))
		return 0;
	p = strrchr(buf_str(&s->text), ')');
	return p && strlen(p) > 4 ? (uint32_t)strtoul(p + 4, NULL, 10) : 0;
}

static int emit_thread(struct snapshot *s, uint32_t tid)
{
	bool leader = tid == s->pid;
	struct capture_event e = {.type = CAPTURE_FORK, .pid = s->pid, .tid = tid, .time = s->time};
	char *end;
	int r;

	e.fork.ppid = e.fork.ptid = leader ? parent(s) : s->pid;
	r = s->fn(s->arg, &e);
	if (r || read_text(s, tid, "comm"))
		return r;
	end = strchr(s->text.data, '\n');
	if (end)
		*end = '\0';
	e.type = CAPTURE_COMM;
	e.comm.text = buf_str(&s->text);
	e.comm.exec = leader;
	return s->fn(s->arg, &e);
}

/* The number at *p in that base, and the one character after it. */
static uint64_t number(const char **p, int base)
{
	char *end;
	uint64_t v = strtoull(*p, &end, base);

	*p = *end ? end + 1 : end;
	return v;
}

/* A line of maps: start-end perms offset maj:min inode path (proc(5)). */
static int emit_mapping(struct snapshot *s, const char *line)
{
	struct capture_event e = {
		.type = CAPTURE_MMAP, .pid = s->pid, .tid = s->pid, .time = s->time};
	struct capture_mmap *m = &e.mmap;
	const char *perms;

	m->start = number(&line, 16);
	m->len = number(&line, 16) - m->start;
	perms = line;
	// No record tells of [vsyscall], which lies in the kernel's half and breaks signed searches.
	if (strnlen(perms, 5) < 5 || perms[2] != 'x' || m->start >> 63)
		return 0;
	line += 5;
	m->prot =
		PROT_EXEC | (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0);
	m->flags = perms[3] == 's' ? MAP_SHARED : MAP_PRIVATE;
	m->pgoff = number(&line, 16);
	m->maj = (uint32_t)number(&line, 16);
	m->min = (uint32_t)number(&line, 16);
	m->ino = number(&line, 10);
	while (*line == ' ')
		line++;
	m->path = *line ? line : "//anon";
	return s->fn(s->arg, &e);
}

static int emit_mappings(struct snapshot *s)
{
	char *line, *end;
	int r = 0;

	if (read_text(s, s->pid, "maps") || !s->text.len)
		return 0;
	for (line = s->text.data; *line && !r; line = end + 1) {
		end = strchr(line, '\n');
		if (!end)
			break;
		*end = '\0';
		r = emit_mapping(s, line);
	}
	return r;
}

static int emit_threads(struct snapshot *s)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	char path[256];
	int r = 0;

	snprintf(path, sizeof(path), "%s/%u/task", s->proc, s->pid);
	dir = opendir(path);
	while (dir && !r && (d = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(d->d_name, NULL, 10);

		if (tid && tid != s->pid)
			r = emit_thread(s, tid);
	}
	return r;
}

int proc_snapshot(const char *proc, uint64_t time, capture_event_fn fn, void *arg)
{
	struct snapshot s = {
		.proc = proc, .time = time, .fn = fn, .arg = arg, .text = BUF_INIT(MAPS_MAX)};
	_cleanup_closedir_ DIR *dir = opendir(proc);
	struct dirent *d;
	int r = 0;

	if (!dir)
		return -errno;
	while (!r && (d = readdir(dir))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		s.pid = (uint32_t)strtoul(d->d_name, NULL, 10);
		r = emit_thread(&s, s.pid);
		if (!r)
			r = emit_mappings(&s);
		if (!r)
			r = emit_threads(&s);
	}
	buf_deinit(&s.text);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* /proc -> process table: all processes once at start, single ones when records were lost or a sample
 * finds no mapping. A process that goes away while it is read is counted, never an error. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "process/container.h"
#include "process/table.h"

#define STAT_MAX 4096
#define CGROUP_MAX 65536
#define PF_KTHREAD 0x00200000 // include/linux/sched.h

/* A fork record is stamped a little after the start time, which /proc rounds down to a tick. */
#define START_TIME_SLACK_NS (50 * NSEC_PER_MSEC)

static bool same_start(uint64_t a, uint64_t b)
{
	uint64_t diff = a > b ? a - b : b - a;

	return a == 0 || b == 0 || diff <= START_TIME_SLACK_NS;
}

/* Field n, counted from 3 = the state right after the name; see proc_pid_stat(5). */
static bool stat_field(const char *text, const char *end, unsigned n, uint64_t *ret)
{
	for (unsigned i = 3; i < n; i++) {
		text = memchr(text, ' ', (size_t)(end - text));
		if (!text)
			return false;
		text++;
	}
	*ret = 0;
	if (text >= end || !isdigit((unsigned char)*text))
		return false;
	for (; text < end && isdigit((unsigned char)*text); text++)
		*ret = *ret * 10 + (uint64_t)(*text - '0');
	return true;
}

bool process_stat_parse(const char *text, size_t len, struct process_stat *ret)
{
	const char *open = memchr(text, '(', len), *close = memrchr(text, ')', len);
	long hz = sysconf(_SC_CLK_TCK);
	uint64_t ppid, flags, utime, stime, nthreads, ticks;
	const char *end = text + len;
	size_t n;

	if (!open || !close || close <= open || end - close < 4 || hz <= 0)
		return false;
	if (!stat_field(close + 2, end, 4, &ppid) || !stat_field(close + 2, end, 9, &flags) ||
		!stat_field(close + 2, end, 14, &utime) ||
		!stat_field(close + 2, end, 15, &stime) ||
		!stat_field(close + 2, end, 20, &nthreads) ||
		!stat_field(close + 2, end, 22, &ticks))
		return false;
	*ret = (struct process_stat){
		.state = close[2],
		.ppid = (uint32_t)ppid,
		.nthreads = (uint32_t)nthreads,
		.kernel_thread = flags & PF_KTHREAD,
		.start_time = ticks * (NSEC_PER_SEC / (uint64_t)hz),
		.cpu_ns = (utime + stime) * (NSEC_PER_SEC / (uint64_t)hz),
	};
	n = MIN((size_t)(close - open - 1), sizeof(ret->comm) - 1);
	memcpy(ret->comm, open + 1, n);
	return true;
}

/* "running", or "NR ARG1 ... ARG6 SP PC", or "-1 SP PC" outside of system calls: the last two count. */
bool process_blocked_parse(const char *text, size_t len, struct process_blocked *ret)
{
	char line[256];
	struct process_blocked b = {.running = len >= 7 && !memcmp(text, "running", 7)};
	char *sp, *pc, *end;

	if (!b.running) {
		if (!len || len >= sizeof(line))
			return false;
		memcpy(line, text, len);
		line[len] = 0;
		line[strcspn(line, "\n")] = 0;
		pc = strrchr(line, ' ');
		if (!pc)
			return false;
		*pc++ = 0;
		sp = strrchr(line, ' ');
		if (!sp || strncmp(++sp, "0x", 2) || strncmp(pc, "0x", 2))
			return false;
		b.sp = strtoull(sp, &end, 16);
		if (*end)
			return false;
		b.pc = strtoull(pc, &end, 16);
		if (*end)
			return false;
	}
	*ret = b;
	return true;
}

static size_t hex_run(const char *s, const char *end)
{
	const char *p = s;

	while (p < end && (isdigit((unsigned char)*p) || (*p >= 'a' && *p <= 'f')))
		p++;
	return (size_t)(p - s);
}

/* The last group of exactly 64 hexadecimal digits in a line. */
static const char *last_container_id(const char *s, const char *end)
{
	const char *found = NULL;

	while (s < end) {
		size_t n = hex_run(s, end);

		if (n == CONTAINER_ID_LEN)
			found = s;
		s += n ? n : 1;
	}
	return found;
}

void process_cgroup_parse(const char *text, size_t len, struct cgroup_slices *ret)
{
	const char *end = text + len;

	*ret = (struct cgroup_slices){0};
	// "hierarchy:controllers:path"; on a hybrid host the v2 line (0) may say no more than "/".
	for (const char *line = text, *next; line < end; line = next) {
		const char *nl = memchr(line, '\n', (size_t)(end - line));
		const char *stop = nl ? nl : end;
		const char *path = memchr(line, ':', (size_t)(stop - line));
		const char *id;
		bool v2 = stop - line > 2 && line[0] == '0' && line[1] == ':';

		next = nl ? nl + 1 : end;
		path = path ? memchr(path + 1, ':', (size_t)(stop - path - 1)) : NULL;
		if (!path || ++path >= stop)
			continue;
		id = last_container_id(path, stop);
		if (id && !ret->container) {
			ret->container = id;
			ret->container_len = CONTAINER_ID_LEN;
		}
		if (!ret->path || ret->path_len <= 1 || (v2 && stop - path > 1)) {
			ret->path = path;
			ret->path_len = (size_t)(stop - path);
		}
	}
}

static int open_proc(const struct process_table *t, uint32_t pid, const char *name)
{
	char path[sizeof(t->proc_root) + 96];
	int fd;

	snprintf(path, sizeof(path), "%s/%u/%s", t->proc_root, pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

void process_read_cgroup(struct process_table *t, struct process *p)
{
	_cleanup_close_ int fd = open_proc(t, p->pid, "cgroup");
	_cleanup_free_ char *text = NULL;
	struct cgroup_slices slices;
	ssize_t n;

	t->stats.reads++;
	p->cgroup_stale = false;
	if (fd < 0)
		return;
	text = malloc(CGROUP_MAX);
	n = text ? read(fd, text, CGROUP_MAX) : -1;
	if (n <= 0)
		return;
	process_cgroup_parse(text, (size_t)n, &slices);
	p->cgroup_path = process_string(t, slices.path, slices.path_len);
	p->container = process_string(t, slices.container, slices.container_len);
}

static int read_stat(const struct process_table *t, uint32_t pid, struct process_stat *ret)
{
	_cleanup_close_ int fd = open_proc(t, pid, "stat");
	char text[STAT_MAX];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, text, sizeof(text));
	if (n < 0)
		return -errno;
	return process_stat_parse(text, (size_t)n, ret) ? 0 : -EINVAL;
}

bool process_alive(const struct process_table *t, uint32_t pid, uint64_t start_time)
{
	struct process_stat st;

	if (read_stat(t, pid, &st))
		return false;
	if ((st.state == 'Z' || st.state == 'X') && st.nthreads <= 1)
		return false;
	return same_start(st.start_time, start_time);
}

/* A leader that exited before its threads (state Z) shows no mappings; its threads do. */
static int open_maps(const struct process_table *t, uint32_t pid, char state)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	char name[64];
	int fd;

	if (state != 'Z')
		return open_proc(t, pid, "maps");
	fd = open_proc(t, pid, "task");
	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((d = readdir(dir))) {
		unsigned long tid = strtoul(d->d_name, NULL, 10);

		if (!tid || tid == pid)
			continue;
		snprintf(name, sizeof(name), "task/%lu/maps", tid);
		return open_proc(t, pid, name);
	}
	return -ESRCH;
}

int process_open_maps(const struct process_table *t, uint32_t pid)
{
	struct process_stat st;

	return open_maps(t, pid, read_stat(t, pid, &st) ? 0 : st.state);
}

struct scan {
	struct process_table *t;
	struct process *p;
	struct mapping_vec maps;
	size_t lines;
	bool bits32;
};

/* The module of the same stretch as known from a record, which may carry a build id instead of the
 * inode that /proc gives: keep it, and its tables with it. */
static void keep_module(const struct scan *s, struct mapping *m)
{
	const struct mapping *old = process_mapping(s->p, m->start);

	if (old && m->kind == MAPPING_FILE && old->kind == MAPPING_FILE && old->path == m->path &&
		old->start + m->pgoff == m->start + old->pgoff)
		m->module = old->module;
}

static int scan_line(void *arg, const struct maps_line *line)
{
	struct scan *s = arg;
	struct mapping_source source = {
		.start = line->start,
		.end = line->end,
		.pgoff = line->pgoff,
		.key = {.ino = line->ino},
		.path = line->path,
	};
	struct mapping m;
	int r;

	s->lines++;
	if (strcmp(line->path, "[vdso]") == 0)
		s->bits32 = line->end <= UINT32_MAX;
	if (!line->exec || strcmp(line->path, "[vsyscall]") == 0)
		return 0;
	if (line->maj || line->min)
		source.key.dev = makedev(line->maj, line->min);
	r = process_make_mapping(s->t, &source, &m);
	if (r)
		return r;
	keep_module(s, &m);
	r = mapping_vec_put(&s->maps, &m);
	if (r == -ENOSPC)
		s->t->stats.full++;
	return r == -ENOMEM ? r : 0;
}

/* True if some mapping of `a` is still where it was in `b`: else another program runs. */
static bool share_mapping(const struct mapping_vec *a, const struct mapping_vec *b)
{
	vec_foreach (m, a) {
		ssize_t i = mapping_vec_find(b, m->start);

		if (i >= 0 && b->data[i].module == m->module && b->data[i].path == m->path)
			return true;
	}
	return false;
}

static bool same_maps(const struct mapping_vec *a, const struct mapping_vec *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++)
		if (!mapping_equal(&a->data[i], &b->data[i]))
			return false;
	return true;
}

/* Takes over what was read. An exec whose record was lost ends the old process here; one whose record
 * is merely on its way will end it when it comes. */
static void install_maps(struct scan *s, const struct process_stat *st)
{
	struct process *p = s->p;
	bool other = p->maps.len && s->maps.len && !share_mapping(&p->maps, &s->maps);

	if (s->lines == 0 || (s->maps.len == 0 && p->maps.len))
		return; // on its way out
	if (other && p->epoch == s->t->lost_epoch)
		return;
	if (other) {
		p = process_exec(s->t, p, clock_mono_ns());
		if (!p)
			return;
		process_copy_comm(p->comm, st->comm);
		s->p = p;
	}
	p->bits32 = s->bits32;
	if (same_maps(&p->maps, &s->maps))
		return;
	mapping_vec_deinit(&p->maps);
	p->maps = s->maps;
	mapping_vec_init(&s->maps, 0);
	process_mark_dirty(s->t, p);
}

static int scan_maps(struct process_table *t, struct process **p, const struct process_stat *st)
{
	struct scan s = {.t = t, .p = *p};
	_cleanup_close_ int fd = open_maps(t, (*p)->pid, st->state);
	int r = fd < 0 ? fd : 0;

	mapping_vec_init(&s.maps, PROCESS_MAPPINGS_MAX);
	if (!r)
		r = maps_read_fd(fd, scan_line, &s);
	if (!r)
		install_maps(&s, st);
	mapping_vec_deinit(&s.maps);
	*p = s.p;
	if (r == -EACCES || r == -EPERM) {
		t->stats.denied++;
		r = 0;
	}
	return r;
}

int process_table_scan_pid(struct process_table *t, uint32_t pid)
{
	struct process *p = process_table_find(t, pid);
	uint64_t now = clock_mono_ns(); // before the read: records of what happens meanwhile count
	struct process_stat st;
	int r = read_stat(t, pid, &st);

	t->stats.reads++;
	if (!r && (st.state == 'Z' || st.state == 'X') && st.nthreads <= 1)
		r = -ESRCH; // exited, not yet reaped
	if (r) {
		t->stats.races++;
		return r == -ENOENT ? -ESRCH : r;
	}
	if (p && !same_start(p->start_time, st.start_time)) {
		process_end(t, p, clock_mono_ns());
		p = NULL;
	}
	if (!p)
		p = process_new(t, pid);
	if (!p)
		return -ENOSPC;
	if (!st.kernel_thread)
		r = scan_maps(t, &p, &st);
	if (!p->comm[0] || st.kernel_thread)
		process_copy_comm(p->comm, st.comm);
	p->ppid = st.ppid;
	p->kernel_thread = st.kernel_thread;
	if (!p->start_time)
		p->start_time = st.start_time;
	p->resync_time = now;
	p->nthreads = st.nthreads;
	p->leader_gone = st.state == 'Z' || st.state == 'X';
	p->nthreads -= p->leader_gone && p->nthreads > 0;
	p->unsure = false;
	process_read_cgroup(t, p);
	p->epoch = t->lost_epoch;
	if (r == -ESRCH || r == -ENOENT) {
		t->stats.races++;
		r = 0;
	}
	return r;
}

static int scan_all(struct process_table *t, bool known)
{
	_cleanup_closedir_ DIR *dir = opendir(t->proc_root);
	struct dirent *d;

	if (!dir)
		return -errno;
	while ((d = readdir(dir))) {
		char *end;
		unsigned long pid = strtoul(d->d_name, &end, 10);
		int r;

		if (!isdigit((unsigned char)d->d_name[0]) || *end || pid > INT32_MAX ||
			(!known && process_table_find(t, (uint32_t)pid)))
			continue;
		r = process_table_scan_pid(t, (uint32_t)pid);
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return r;
	}
	return 0;
}

int process_table_scan(struct process_table *t)
{
	return scan_all(t, true);
}

int process_table_scan_new(struct process_table *t)
{
	return scan_all(t, false);
}

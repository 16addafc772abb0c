/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/ring_set.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define THREAD_PASSES 4 // listings of a process's threads until one brings nothing new
#define EPOLL_BATCH 64
#define FDS_PER_CPU_MAX (1u << 20)

static void cpu_close(struct ring_set *s, struct ring_set_cpu *c)
{
	vec_foreach (fd, &c->fds)
		close(*fd);
	s->malformed += c->ring.malformed;
	perf_ring_unmap(&c->ring);
	fd_vec_deinit(&c->fds);
}

static void close_cpus(struct ring_set *s)
{
	vec_foreach (c, &s->cpus)
		cpu_close(s, c);
	ring_cpu_vec_clear(&s->cpus);
}

void ring_set_close(struct ring_set *s)
{
	close_cpus(s);
	ring_cpu_vec_deinit(&s->cpus);
	cpu_vec_deinit(&s->threads);
	if (s->epoll_fd > 0)
		close(s->epoll_fd);
	free(s->scratch);
	*s = (struct ring_set){.epoll_fd = -1};
}

static bool has_thread(const struct ring_set *s, uint32_t tid)
{
	vec_foreach (t, &s->threads)
		if (*t == tid)
			return true;
	return false;
}

/* Appends the threads of a process. Return how many were new, or -errno. */
static int list_threads(struct ring_set *s, uint32_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	char path[64];
	int added = 0;

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((d = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(d->d_name, NULL, 10);
		int r;

		if (!tid || has_thread(s, tid))
			continue;
		r = cpu_vec_push(&s->threads, tid);
		if (r == -ENOSPC) {
			s->threads_failed++;
			continue;
		}
		if (r)
			return r;
		added++;
	}
	return added;
}

static int open_fds(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	return n;
}

/* Threads that the descriptor limit allows on ncpus CPUs, at least one; the free descriptors are shared
 * with the sets that are still to come. */
static size_t threads_allowed(size_t ncpus, unsigned sharers)
{
	size_t limit = perf_open_raise_nofile();
	size_t taken = (size_t)open_fds() + RING_SET_FDS_KEPT;

	return limit > taken + ncpus * sharers ? (limit - taken) / sharers / ncpus : 1;
}

static int watch(struct ring_set *s, struct ring_set_cpu *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = c->cpu};

	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, c->fds.data[c->watched], &e) ? -errno : 0;
}

/* Takes back the youngest event of a CPU. */
static void cpu_remove_last(struct ring_set_cpu *c)
{
	close(c->fds.data[--c->fds.len]);
	if (!c->fds.len)
		perf_ring_unmap(&c->ring);
}

/* One more event on a CPU: the first one brings the ring, the others write into it. On failure the
 * CPU is as before. */
static int cpu_add(struct ring_set *s, struct ring_set_cpu *c, pid_t tid)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = perf_open(s->sys, &s->attr, tid, (int)c->cpu, &s->features_lost);
	if (fd < 0)
		return fd;
	r = fd_vec_reserve(&c->fds, 1);
	if (r)
		return r;
	if (c->fds.len) {
		if (ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, c->fds.data[0]))
			return -errno;
		return fd_vec_push(&c->fds, steal_fd(&fd));
	}
	r = perf_ring_map(s->sys, fd, s->pages, &c->ring);
	// ENOMEM and EINVAL: what a kernel says that has no pages left.
	if (r)
		return r == -EPERM || r == -ENOMEM || r == -EINVAL ? -ENOBUFS : r;
	fd_vec_push(&c->fds, steal_fd(&fd));
	r = watch(s, c);
	if (r)
		cpu_remove_last(c);
	return r;
}

/* Opens a thread on all CPUs, or on none. */
static int add_thread(struct ring_set *s, uint32_t tid)
{
	for (size_t i = 0; i < s->cpus.len; i++) {
		int r = cpu_add(s, &s->cpus.data[i], (pid_t)tid);

		if (!r)
			continue;
		while (i--)
			cpu_remove_last(&s->cpus.data[i]);
		return r;
	}
	return 0;
}

static int open_threads(struct ring_set *s, const struct cpu_vec *online)
{
	size_t allowed = threads_allowed(online->len, s->sharers);
	size_t opened = 0;
	int first = 0;

	vec_foreach (cpu, online) {
		struct ring_set_cpu c = {.cpu = *cpu, .fds = {.cap = FDS_PER_CPU_MAX}};
		int r = ring_cpu_vec_push(&s->cpus, c);

		if (r)
			return r;
	}
	vec_foreach (tid, &s->threads) {
		int r = opened < allowed ? add_thread(s, *tid) : -EMFILE;

		if (r == -ENOBUFS || r == -ENOMEM)
			return r;
		opened += !r;
		if (!r || r == -ESRCH)
			continue; // a thread that ended is no loss
		if (r == -EMFILE || r == -ENFILE)
			allowed = opened;
		s->threads_failed++;
		first = first ? first : r;
	}
	s->first_error = first;
	if (opened)
		return 0;
	return first ? first : -ESRCH;
}

static int open_machine(struct ring_set *s, const struct cpu_vec *online)
{
	int first = 0;

	vec_foreach (cpu, online) {
		struct ring_set_cpu c = {.cpu = *cpu, .fds = {.cap = 1}};
		int r = cpu_add(s, &c, -1);

		if (!r)
			r = ring_cpu_vec_push(&s->cpus, c);
		if (!r)
			continue;
		cpu_close(s, &c);
		if (r == -ENOBUFS || r == -ENOMEM)
			return r;
		if (r == -ENODEV || r == -ENXIO)
			continue; // went offline since it was listed
		s->cpus_failed++;
		first = first ? first : r;
	}
	s->first_error = first;
	if (s->cpus.len)
		return 0;
	return first ? first : -ENODEV;
}

/* The largest power of two that is not above n. */
static unsigned floor_power(size_t n)
{
	unsigned p = 1;

	while (n / 2 >= p && p < 1u << 16)
		p *= 2;
	return p;
}

static int open_all(struct ring_set *s, const struct cpu_vec *online)
{
	unsigned failed = s->threads_failed;
	int r;

	for (;; s->pages /= 2) {
		s->cpus_failed = 0;
		s->threads_failed = failed;
		s->attr.watermark = 1;
		// The ring keeps what the event said when it was mapped, so it is said anew for
		// each size.
		s->attr.wakeup_watermark = s->pages * (uint32_t)sysconf(_SC_PAGESIZE) / 4;
		r = s->by_thread ? open_threads(s, online) : open_machine(s, online);
		if (r != -ENOBUFS)
			return r;
		close_cpus(s);
		if (s->pages <= 1)
			return r;
	}
}

int ring_set_open(struct ring_set *s, const struct ring_set_config *config)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct cpu_vec online = {.cap = CPU_LIST_MAX};
	int r = 0;

	*s = (struct ring_set){.attr = config->attr, .by_thread = config->pids, .epoll_fd = -1};
	s->sharers = MAX(config->sharers, 1u);
	s->sys = config->sys ? config->sys : &perf_sys_kernel;
	snprintf(s->cpu_path, sizeof(s->cpu_path), "%s",
		config->cpu_path ? config->cpu_path : CPU_LIST_ONLINE);
	ring_cpu_vec_init(&s->cpus, CPU_LIST_MAX);
	cpu_vec_init(&s->threads, RING_SET_THREADS_MAX);
	s->attr.disabled = 1;
	perf_open_raise_nofile();
	if (s->by_thread)
		s->attr.inherit = s->attr.inherit_thread = 1;
	for (int pass = 0, added = 1; pass < THREAD_PASSES && added && r >= 0; pass++) {
		added = 0;
		for (size_t i = 0; i < config->npids && r >= 0; i++, added += r)
			r = list_threads(s, config->pids[i]);
	}
	if (r >= 0)
		r = cpu_list_read(s->cpu_path, &online);
	s->scratch = malloc(sizeof(*s->scratch));
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!r && (!s->scratch || !online.len))
		r = -ENOMEM;
	if (!r && s->epoll_fd < 0)
		r = -errno;
	if (!r) {
		size_t per_cpu = config->memory_max / online.len / page;

		s->pages = floor_power(MIN((size_t)config->pages, per_cpu > 1 ? per_cpu - 1 : 1));
		r = open_all(s, &online);
	}
	cpu_vec_deinit(&online);
	if (r) {
		unsigned cpus = s->cpus_failed, threads = s->threads_failed;

		ring_set_close(s);
		s->cpus_failed = cpus;
		s->threads_failed = threads;
	}
	return r;
}

static void switch_cpu(struct ring_set_cpu *c, bool on)
{
	vec_foreach (fd, &c->fds)
		ioctl(*fd, on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE, 0);
}

void ring_set_enable(struct ring_set *s)
{
	s->running = true;
	vec_foreach (c, &s->cpus)
		switch_cpu(c, true);
}

void ring_set_disable(struct ring_set *s)
{
	s->running = false;
	vec_foreach (c, &s->cpus)
		switch_cpu(c, false);
}

static struct ring_set_cpu *find_cpu(struct ring_set *s, uint32_t cpu)
{
	vec_foreach (c, &s->cpus)
		if (c->cpu == cpu)
			return c;
	return NULL;
}

/* An event whose thread ended, or whose CPU went, is readable for ever: another of the same ring is
 * watched in its place, or none. */
static void drop_hung_up(struct ring_set *s)
{
	struct epoll_event events[EPOLL_BATCH];
	int n = epoll_wait(s->epoll_fd, events, EPOLL_BATCH, 0);

	for (int i = 0; i < n; i++) {
		struct ring_set_cpu *c = find_cpu(s, events[i].data.u32);

		if (!c || !(events[i].events & (EPOLLHUP | EPOLLERR)))
			continue;
		epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->fds.data[c->watched], NULL);
		if (c->watched + 1 < c->fds.len) {
			c->watched++;
			watch(s, c);
		}
	}
}

static int drain_cpu(struct ring_set *s, struct ring_set_cpu *c, ring_record_fn fn, void *arg)
{
	const struct perf_event_header *h;
	int r = 0;

	perf_ring_begin(&c->ring);
	while (!r && (h = perf_ring_next(&c->ring, s->scratch)))
		r = fn(arg, c->cpu, h);
	perf_ring_end(&c->ring);
	return r;
}

int ring_set_drain(struct ring_set *s, ring_record_fn fn, void *arg)
{
	int r = 0;

	// Before the rings are read, so that what arrives afterwards is announced again.
	drop_hung_up(s);
	for (size_t i = 0; i < s->cpus.len && !r; i++)
		r = drain_cpu(s, &s->cpus.data[i], fn, arg);
	return r;
}

static uint64_t cpu_read_lost(const struct ring_set *s, const struct ring_set_cpu *c)
{
	uint64_t sum = 0;

	if (!s->attr.read_format)
		return 0;
	vec_foreach (fd, &c->fds) {
		uint64_t value[2]; // the count, then PERF_FORMAT_LOST

		if (read(*fd, value, sizeof(value)) == sizeof(value))
			sum += value[1];
	}
	return sum;
}

static int remove_cpu(
	struct ring_set *s, size_t at, ring_record_fn fn, ring_cpu_fn cpu_fn, void *arg)
{
	struct ring_set_cpu c = s->cpus.data[at];
	int r = drain_cpu(s, &c, fn, arg);

	if (!r)
		r = cpu_fn(arg, c.cpu, false);
	s->read_lost += cpu_read_lost(s, &c);
	cpu_close(s, &c);
	ring_cpu_vec_remove(&s->cpus, at, 1);
	return r;
}

/* Opens a CPU that came. Failure is counted, and tried again at the next recheck. */
static int add_cpu(struct ring_set *s, uint32_t cpu, ring_cpu_fn cpu_fn, void *arg)
{
	struct ring_set_cpu c = {.cpu = cpu, .fds = {.cap = s->by_thread ? FDS_PER_CPU_MAX : 1}};
	size_t n = s->by_thread ? s->threads.len : 1;
	int r = 0, first = 0;

	for (size_t i = 0; i < n; i++) {
		r = cpu_add(s, &c, s->by_thread ? (pid_t)s->threads.data[i] : -1);
		if (r && r != -ESRCH)
			first = first ? first : r;
	}
	r = c.fds.len ? ring_cpu_vec_push(&s->cpus, c) : -ENODEV;
	if (r) {
		cpu_close(s, &c);
		if (first && first != -ENODEV) {
			s->cpus_failed++;
			s->first_error = first;
		}
		return 0;
	}
	if (s->running)
		switch_cpu(&c, true);
	return cpu_fn(arg, cpu, true);
}

int ring_set_recheck(
	struct ring_set *s, uint64_t now, ring_record_fn fn, ring_cpu_fn cpu_fn, void *arg)
{
	struct cpu_vec online = {.cap = CPU_LIST_MAX};
	size_t i = 0;
	int r;

	if (!s->checked)
		s->checked = now;
	if (now - s->checked < RING_SET_RECHECK_NS)
		return 0;
	s->checked = now;
	r = cpu_list_read(s->cpu_path, &online);
	if (r || !online.len)
		goto out;
	while (i < s->cpus.len && !r) {
		bool here = false;

		vec_foreach (cpu, &online)
			here |= *cpu == s->cpus.data[i].cpu;
		if (here)
			i++;
		else
			r = remove_cpu(s, i, fn, cpu_fn, arg);
	}
	s->cpus_failed = 0;
	for (i = 0; i < online.len && !r; i++)
		if (!find_cpu(s, online.data[i]))
			r = add_cpu(s, online.data[i], cpu_fn, arg);
out:
	cpu_vec_deinit(&online);
	return r;
}

uint64_t ring_set_read_lost(const struct ring_set *s)
{
	uint64_t sum = s->read_lost;

	vec_foreach (c, &s->cpus)
		sum += cpu_read_lost(s, c);
	return sum;
}

size_t ring_set_memory(const struct ring_set *s)
{
	size_t sum = 0;

	vec_foreach (c, &s->cpus)
		sum += c->ring.map_len;
	return sum;
}

unsigned ring_set_fds(const struct ring_set *s)
{
	size_t sum = 0;

	vec_foreach (c, &s->cpus)
		sum += c->fds.len;
	return (unsigned)sum;
}

uint64_t ring_set_malformed(const struct ring_set *s)
{
	uint64_t sum = s->malformed;

	vec_foreach (c, &s->cpus)
		sum += c->ring.malformed;
	return sum;
}

void ring_set_describe(const struct ring_set *s, const char *what, struct buf *out)
{
	const char *sep = out->len ? ". " : "";

	if (s->cpus_failed) {
		buf_printf(out,
			"%s%s: no event on %u of %zu CPUs (%s), what runs there is not seen", sep,
			what, s->cpus_failed, s->cpus_failed + s->cpus.len,
			strerror(-s->first_error));
		sep = ". ";
	}
	if (s->threads_failed) {
		buf_printf(out, "%s%s: %u of %zu threads are not seen (%s)%s", sep, what,
			s->threads_failed, s->threads.len, strerror(-s->first_error),
			s->first_error == -EMFILE ? "; raise the limit of open files (ulimit -n)"
						  : "");
		sep = ". ";
	}
	if (s->features_lost & ~(uint32_t)PERF_FEATURE_BPF_EVENT) {
		buf_printf(out, "%s%s: ", sep, what);
		perf_open_describe_lost(out, s->features_lost);
	}
}

int ring_set_explain(int err, const char *what, bool by_thread, char *why, size_t size)
{
	int paranoid = perf_open_paranoid();

	switch (err) {
	case -EACCES:
	case -EPERM:
		if (by_thread)
			snprintf(why, size,
				"%s: the kernel does not let this user watch these processes "
				"(perf_event_paranoid is %d): they must be the user's own and "
				"perf_event_paranoid 2 or less, or run as root",
				what, paranoid);
		else
			snprintf(why, size,
				"%s: the kernel does not let this user watch the whole machine "
				"(perf_event_paranoid is %d): run as root or with CAP_PERFMON, or "
				"use --rootless --pids for processes of your own",
				what, paranoid);
		return err;
	case -ENOBUFS:
		snprintf(why, size,
			"%s: no locked memory for even one page of ring per CPU: raise "
			"/proc/sys/kernel/perf_event_mlock_kb or ulimit -l, or grant CAP_IPC_LOCK",
			what);
		return -EPERM;
	case -EMFILE:
	case -ENFILE:
		snprintf(why, size, "%s: too many open files: raise ulimit -n", what);
		return err;
	case -ESRCH:
		snprintf(why, size, "%s: none of the chosen processes is alive", what);
		return err;
	case -ENOSYS:
		snprintf(why, size,
			"%s: this kernel has no perf_event_open (or seccomp hides it): allow it in "
			"the container's seccomp profile",
			what);
		return err;
	default:
		snprintf(why, size, "%s: perf_event_open failed: %s", what, strerror(-err));
		return err;
	}
}

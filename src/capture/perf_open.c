/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/perf_open.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/fs.h"

/* In <linux/perf_event.h> since Linux 6.0. */
#define FORMAT_LOST (1u << 4)

static int kernel_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu)
{
	long fd = syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	(void)sys;
	return fd < 0 ? -errno : (int)fd;
}

static int kernel_map(const struct perf_sys *sys, int fd, size_t len, void **ret)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	(void)sys;
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

const struct perf_sys perf_sys_kernel = {.open = kernel_open, .map = kernel_map};

/* The features that attr asks for. */
static uint32_t features_of(const struct perf_event_attr *attr)
{
	uint32_t f = 0;

	f |= attr->read_format & FORMAT_LOST ? PERF_FEATURE_READ_LOST : 0;
	f |= attr->inherit_thread ? PERF_FEATURE_INHERIT_THREAD : 0;
	f |= attr->build_id ? PERF_FEATURE_BUILD_ID : 0;
	f |= attr->cgroup ? PERF_FEATURE_CGROUP : 0;
	f |= attr->sample_type & PERF_SAMPLE_CGROUP ? PERF_FEATURE_SAMPLE_CGROUP : 0;
	f |= attr->ksymbol ? PERF_FEATURE_KSYMBOL : 0;
	f |= attr->bpf_event ? PERF_FEATURE_BPF_EVENT : 0;
	f |= attr->comm_exec ? PERF_FEATURE_COMM_EXEC : 0;
	f |= attr->mmap2 ? PERF_FEATURE_MMAP2 : 0;
	f |= attr->exclude_idle ? PERF_FEATURE_EXCLUDE_IDLE : 0;
	return f;
}

void perf_open_without(struct perf_event_attr *attr, uint32_t lost)
{
	if (lost & PERF_FEATURE_READ_LOST)
		attr->read_format &= ~(uint64_t)FORMAT_LOST;
	if (lost & PERF_FEATURE_INHERIT_THREAD)
		attr->inherit_thread = 0;
	// A build id comes in an mmap2 record: without those the bit is refused as well.
	if (lost & (PERF_FEATURE_BUILD_ID | PERF_FEATURE_MMAP2))
		attr->build_id = 0;
	if (lost & PERF_FEATURE_CGROUP)
		attr->cgroup = 0;
	if (lost & PERF_FEATURE_SAMPLE_CGROUP)
		attr->sample_type &= ~(uint64_t)PERF_SAMPLE_CGROUP;
	if (lost & PERF_FEATURE_KSYMBOL)
		attr->ksymbol = 0;
	if (lost & PERF_FEATURE_BPF_EVENT)
		attr->bpf_event = 0;
	if (lost & PERF_FEATURE_COMM_EXEC)
		attr->comm_exec = 0;
	if (lost & PERF_FEATURE_MMAP2)
		attr->mmap2 = 0;
	if (lost & PERF_FEATURE_EXCLUDE_IDLE)
		attr->exclude_idle = 0;
}

static bool malformed(int err)
{
	return err == -EINVAL || err == -E2BIG || err == -EOPNOTSUPP;
}

struct attempt {
	const struct perf_sys *sys;
	struct perf_event_attr *attr;
	pid_t pid;
	int cpu;
	uint32_t wanted;
};

static int try_without(const struct attempt *a, uint32_t drop, uint32_t *lost)
{
	struct perf_event_attr attr = *a->attr;
	int fd;

	perf_open_without(&attr, drop);
	fd = a->sys->open(a->sys, &attr, a->pid, a->cpu);
	if (fd < 0)
		return fd;
	*a->attr = attr;
	*lost |= a->wanted & ~features_of(&attr);
	return fd;
}

int perf_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu,
	uint32_t *lost)
{
	struct attempt a = {sys ? sys : &perf_sys_kernel, attr, pid, cpu, features_of(attr)};
	uint32_t drop = 0;
	int first, fd;

	attr->size = sizeof(*attr);
	first = fd = try_without(&a, 0, lost);
	// One odd feature (a driver's), then an old kernel: everything newer than it goes.
	for (uint32_t f = 1; malformed(fd) && f < PERF_FEATURE_ALL; f <<= 1)
		if (a.wanted & f)
			fd = try_without(&a, f, lost);
	for (uint32_t f = 1; malformed(fd) && f < PERF_FEATURE_ALL; f <<= 1) {
		drop |= f;
		if (a.wanted & f)
			fd = try_without(&a, drop, lost);
	}
	return fd < 0 ? first : fd;
}

static const struct {
	uint32_t feature;
	const char *text;
} costs[] = {
	{PERF_FEATURE_READ_LOST,
		"samples lost after the last drain are not counted (needs Linux 6.0)"},
	{PERF_FEATURE_INHERIT_THREAD,
		"children of the chosen processes are sampled and thrown away (needs Linux 5.13)"},
	{PERF_FEATURE_BUILD_ID,
		"mappings carry device and inode, build ids are read from the files (needs "
		"Linux 5.12)"},
	{PERF_FEATURE_CGROUP,
		"new cgroups are found by reading /proc, not announced (needs Linux 5.7)"},
	{PERF_FEATURE_SAMPLE_CGROUP, "samples carry no cgroup (needs Linux 5.7)"},
	{PERF_FEATURE_KSYMBOL,
		"BPF programs loaded while profiling have no names (needs Linux 5.1)"},
	{PERF_FEATURE_BPF_EVENT, "BPF program loads are not announced (needs Linux 5.1)"},
	{PERF_FEATURE_COMM_EXEC, "an exec cannot be told from a renaming (needs Linux 3.16)"},
	{PERF_FEATURE_MMAP2, "mappings carry neither device nor protection (needs Linux 3.16)"},
	{PERF_FEATURE_EXCLUDE_IDLE, "the idle task is sampled and thrown away"},
};

void perf_open_describe_lost(struct buf *out, uint32_t lost)
{
	const char *sep = "";

	for (size_t i = 0; i < ARRAY_SIZE(costs); i++) {
		if (!(lost & costs[i].feature))
			continue;
		buf_printf(out, "%s%s", sep, costs[i].text);
		sep = "; ";
	}
}

size_t perf_open_raise_nofile(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return 1024;
	if (lim.rlim_cur < lim.rlim_max) {
		struct rlimit raised = {.rlim_cur = lim.rlim_max, .rlim_max = lim.rlim_max};

		if (!setrlimit(RLIMIT_NOFILE, &raised))
			lim = raised;
	}
	return (size_t)lim.rlim_cur;
}

int perf_open_paranoid(void)
{
	_cleanup_buf_ struct buf b = BUF_INIT(64);

	if (fs_read_file("/proc/sys/kernel/perf_event_paranoid", &b) || !b.len)
		return 2;
	return (int)strtol(buf_str(&b), NULL, 10);
}

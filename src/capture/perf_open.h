/* SPDX-License-Identifier: Apache-2.0 */
/* capture/perf_open.h -- perf_event_open(2) with fallbacks.
 *
 * A kernel that does not know one feature of an event answers EINVAL (or E2BIG) for the whole
 * event. The event is then opened without that feature, and what was lost is remembered as a set
 * of bits, so that one sentence can say it. Stateless; any thread.
 *
 * The two system calls go through struct perf_sys, so that tests can make the n-th one fail. */
#ifndef GP_CAPTURE_PERF_OPEN_H
#define GP_CAPTURE_PERF_OPEN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/perf_event.h>

#include "base/buf.h"

struct perf_sys {
	/* Like the system call, without a group, close-on-exec: a descriptor, or -errno. */
	int (*open)(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu);
	/* Maps a ring, readable, writable and shared. Return 0 or -errno. */
	int (*map)(const struct perf_sys *sys, int fd, size_t len, void **ret);
};

/* The kernel itself. */
extern const struct perf_sys perf_sys_kernel;

/* What an event may go without, newest feature first. (use_clockid, Linux 4.1, is not among them:
 * no order of records could be had without it, and the oldest kernel of the ladder is 4.18.) */
enum perf_feature {
	PERF_FEATURE_READ_LOST = 1 << 0, // Linux 6.0: read() tells lost samples
	PERF_FEATURE_INHERIT_THREAD = 1 << 1, // Linux 5.13: threads inherit, children do not
	PERF_FEATURE_BUILD_ID = 1 << 2, // Linux 5.12: mmap2 records with build ids
	PERF_FEATURE_CGROUP = 1 << 3, // Linux 5.7: cgroup records
	PERF_FEATURE_SAMPLE_CGROUP = 1 << 4, // Linux 5.7: cgroup ids in samples
	PERF_FEATURE_KSYMBOL = 1 << 5, // Linux 5.1: ksymbol records
	PERF_FEATURE_BPF_EVENT = 1 << 6, // Linux 5.1: BPF program records
	PERF_FEATURE_COMM_EXEC = 1 << 7, // Linux 3.16: a comm record says whether it is an exec
	PERF_FEATURE_MMAP2 = 1 << 8, // Linux 3.16: device, inode, protection
	PERF_FEATURE_EXCLUDE_IDLE = 1 << 9, // by driver
	PERF_FEATURE_ALL = (1 << 10) - 1,
};

/* Opens. Tries attr as given; if the kernel refuses it as malformed (EINVAL, E2BIG, EOPNOTSUPP),
 * without each one of the features it asks for, then without the newest, the two newest and so on.
 * attr is left as it was opened; *lost gains the bits of what it went without. sys may be NULL.
 * Return a descriptor or -errno (of the first attempt). */
int perf_open(const struct perf_sys *sys, struct perf_event_attr *attr, pid_t pid, int cpu,
	uint32_t *lost);

/* Clears the features of `lost` from attr: for the second and later CPUs. */
void perf_open_without(struct perf_event_attr *attr, uint32_t lost);

/* Appends what the lost features cost, one clause each; nothing if lost is 0. */
void perf_open_describe_lost(struct buf *out, uint32_t lost);

/* Raises the soft limit of open files to the hard one. Return the limit in force. */
size_t perf_open_raise_nofile(void);

/* /proc/sys/kernel/perf_event_paranoid, or 2 if it cannot be read. */
int perf_open_paranoid(void);

#endif

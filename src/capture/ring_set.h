/* SPDX-License-Identifier: Apache-2.0 */
/* capture/ring_set.h -- one kind of perf event on every CPU, a ring per CPU.
 *
 * Either the whole machine (one event a CPU), or given processes (one event a CPU and thread, all
 * of a CPU writing into one ring; threads that come later inherit it). Rings have the same size on
 * all CPUs: the largest that the locked-memory limits allow on every one of them, so that the first
 * CPUs do not starve the last.
 *
 * Descriptors: threads x CPUs of them may be needed. The soft limit is raised to the hard one;
 * what does not fit is left out by whole threads (a thread is seen on every CPU or on none), and
 * counted. Where several sets are opened for the same threads, each takes its share of what is left. Owned by the source's thread. */
#ifndef GP_CAPTURE_RING_SET_H
#define GP_CAPTURE_RING_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"
#include "capture/cpu_list.h"
#include "capture/perf_open.h"
#include "capture/perf_ring.h"

#define RING_SET_FDS_KEPT 128 // descriptors left for files, sockets and the rest of the program
#define RING_SET_THREADS_MAX 65536
#define RING_SET_RECHECK_NS 5000000000ull // how often online CPUs are looked at

VEC_DEFINE(fd_vec, int)

struct ring_set_cpu {
	uint32_t cpu;
	struct perf_ring ring; // of fds.data[0]
	struct fd_vec fds; // one a thread, or one
	size_t watched; // index of the descriptor that epoll watches
};

VEC_DEFINE(ring_cpu_vec, struct ring_set_cpu)

struct ring_set_config {
	struct perf_event_attr attr; // watermark, disabled and inherit are set here
	unsigned pages; // of data, per CPU
	size_t memory_max; // bytes of all rings; fewer pages on many CPUs, but at least one
	const uint32_t *pids; // NULL: whole machine; else borrowed for ring_set_open() only
	size_t npids;
	unsigned sharers; // sets by thread still to be opened, this one included; 0: it alone
	const struct perf_sys *sys; // NULL: the kernel
	const char *cpu_path; // NULL: CPU_LIST_ONLINE
};

struct ring_set {
	struct ring_cpu_vec cpus;
	struct cpu_vec threads; // tids, own processes
	struct perf_event_attr attr; // as the kernel took it
	const struct perf_sys *sys;
	char cpu_path[128];
	bool by_thread;
	unsigned sharers;
	bool running;
	int epoll_fd;
	unsigned pages; // per ring
	unsigned cpus_failed; // online, but without an event
	unsigned threads_failed; // left out
	int first_error; // of those
	uint32_t features_lost;
	uint64_t checked; // time of the last recheck
	uint64_t read_lost; // by read(), of descriptors that are closed
	uint64_t malformed; // rings' counts of closed CPUs
	struct perf_ring_scratch *scratch;
};

/* Opens and maps everything, disabled. Return 0, also if only a part could be had (cpus_failed,
 * threads_failed), or the first error: -EACCES, -EPERM (not allowed), -ENOBUFS (no memory for
 * rings), -ENOENT, -EOPNOTSUPP (no such event), -ESRCH (none of the threads lives), -EMFILE. */
int ring_set_open(struct ring_set *s, const struct ring_set_config *config);
void ring_set_close(struct ring_set *s);

void ring_set_enable(struct ring_set *s);
void ring_set_disable(struct ring_set *s);

/* cpu: of the ring. Return 0 or -errno, which ends the pass. */
typedef int (*ring_record_fn)(void *arg, uint32_t cpu, const struct perf_event_header *h);
/* Hands every record of every ring to fn. Return 0 or what fn returned. */
int ring_set_drain(struct ring_set *s, ring_record_fn fn, void *arg);

/* came: true after a CPU appeared and its event runs; false before one that went is let go, its
 * ring drained. Return 0 or -errno. */
typedef int (*ring_cpu_fn)(void *arg, uint32_t cpu, bool came);
/* Compares with the online CPUs, if RING_SET_RECHECK_NS have passed since the last time.
 * Return 0 or what a callback returned. */
int ring_set_recheck(
	struct ring_set *s, uint64_t now, ring_record_fn fn, ring_cpu_fn cpu_fn, void *arg);

/* Samples that the kernel says were lost, by descriptor (PERF_FORMAT_LOST); 0 if it cannot say. */
uint64_t ring_set_read_lost(const struct ring_set *s);
/* Bytes of all rings. */
size_t ring_set_memory(const struct ring_set *s);
unsigned ring_set_fds(const struct ring_set *s);
uint64_t ring_set_malformed(const struct ring_set *s);

/* A sentence on what could not be had, appended; nothing if all could. what: "side band" ... */
void ring_set_describe(const struct ring_set *s, const char *what, struct buf *out);
/* Why ring_set_open() failed with err and what to do about it, as one sentence into why (size
 * bytes). Return err as sources report it (-ENOBUFS becomes -EPERM: another rung may still work).
 * */
int ring_set_explain(int err, const char *what, bool by_thread, char *why, size_t size);

#endif

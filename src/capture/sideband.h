/* SPDX-License-Identifier: Apache-2.0 */
/* capture/sideband.h -- the kernel's own account of processes: executable mappings, comm, exec,
 * fork, exit, new cgroups, kernel symbols.
 *
 * One dummy software event per online CPU, each with a ring (ring_set.h). Whole machine by default,
 * whatever processes are sampled: a process that is chosen later, or a parent, is then known.
 * Without privileges (own_only) one event per CPU and thread of the given processes.
 *
 * cgroups that exist already are not announced by the kernel; nor is what already runs.
 * Owned by the source's thread. Sentences for people go to `why` (CAPTURE_WHY bytes). */
#ifndef GP_CAPTURE_SIDEBAND_H
#define GP_CAPTURE_SIDEBAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/order.h"
#include "capture/perf_open.h"
#include "capture/perf_ring.h"
#include "capture/ring_set.h"

#define SIDEBAND_PAGES 64 // of data, per CPU
#define SIDEBAND_MEMORY_MAX (16u << 20) // bytes of all rings together; fewer pages on many CPUs
#define SIDEBAND_OWN_PAGES 8 // the same for own processes: locked memory is scarce there

struct sideband_config {
	unsigned pages; // per CPU, 0: SIDEBAND_PAGES
	size_t memory_max; // 0: SIDEBAND_MEMORY_MAX
	bool own_only; // no privileges: only `pids`, user space only
	const uint32_t *pids; // read only if own_only; copied
	size_t npids;
	unsigned sharers; // as of ring_set_config
	const struct perf_sys *sys; // NULL: the kernel
	const char *cpu_path; // NULL: CPU_LIST_ONLINE
};

struct sideband_stats {
	uint64_t records; // pushed
	uint64_t lost; // by the kernel's count
	uint64_t throttled;
	uint64_t malformed; // records that could not be read
	uint64_t memory; // bytes of rings
	unsigned ncpus; // with a ring now
	unsigned nevents; // descriptors
	unsigned cpus_failed; // online but without an event: their processes are not seen
	unsigned threads_failed; // own_only: threads without an event on some CPU
	unsigned pages; // of the smallest ring
	uint32_t features_lost; // enum perf_feature
};

struct sideband;

/* Opens and maps everything, counting nothing yet. Return 0, or -errno with why. If only a part
 * could be had, 0 with why saying what is lost; else why is "". */
int sideband_new(const struct sideband_config *config, struct sideband **ret, char *why);
void sideband_free(struct sideband *s);
/* Return 0 or -errno. */
int sideband_start(struct sideband *s);
/* Rings stay readable. */
void sideband_stop(struct sideband *s);
/* Pushes everything in every ring. Return 0 or what order_push returned. */
int sideband_drain(struct sideband *s, struct order *o);
/* Opens CPUs that came and lets go of those that went (after draining them), every
 * RING_SET_RECHECK_NS. A CPU that came pushes a CAPTURE_LOST record with count 0: what happened on
 * it before is unknown. Call it in each drain. Return 0 or what order_push returned. */
int sideband_recheck(struct sideband *s, struct order *o, uint64_t now);
/* An epoll descriptor, readable when a ring is a quarter full. Owned by s. */
int sideband_fd(const struct sideband *s);
void sideband_get_stats(const struct sideband *s, struct sideband_stats *ret);

/* The event of the side band: for tests and for a source that lets its sampling events carry it. */
void sideband_attr(struct perf_event_attr *attr, bool own_only);

/* Reads one record of a side-band ring (attr as above) into ret, whose texts point into the record.
 * Return 0; 1 if it is of no interest; -EINVAL malformed. */
int sideband_decode(const struct perf_event_header *h, uint32_t cpu, struct capture_event *ret);

#endif

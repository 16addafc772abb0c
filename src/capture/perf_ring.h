/* SPDX-License-Identifier: Apache-2.0 */
/* capture/perf_ring.h -- one mmapped ring of a perf event, read record by record.
 *
 * Layout and the order of accesses: perf_event_open(2), "MMAP layout", and the comment above
 * struct perf_event_mmap_page's data_head in <linux/perf_event.h>. A ring belongs to the source's
 * thread. The same code reads rings that a test builds in ordinary memory. */
#ifndef GP_CAPTURE_PERF_RING_H
#define GP_CAPTURE_PERF_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/perf_open.h"

#define PERF_RING_RECORD_MAX 65536 // header.size is 16 bits

struct perf_ring {
	struct perf_event_mmap_page *page;
	const uint8_t *data;
	size_t size; // of data, a power of two
	size_t map_len; // 0: not ours to unmap
	uint64_t tail; // position of the next record
	uint64_t head; // as of perf_ring_begin()
	uint64_t malformed; // times the ring was given up because a record's size made no sense
};

/* Where a record that wraps is put together: one for all rings of a thread. */
struct perf_ring_scratch {
	uint64_t bytes[PERF_RING_RECORD_MAX / 8];
};

/* Maps the ring of an event; pages of data, a power of two. EPERM: the locked-memory limits
 * (perf_event_mlock_kb per user and CPU, then RLIMIT_MEMLOCK) do not allow it. sys may be NULL.
 * Return 0 or -errno. */
int perf_ring_map(const struct perf_sys *sys, int fd, unsigned pages, struct perf_ring *ret);
/* A ring over memory that is already there: page, then data. */
void perf_ring_attach(
	struct perf_ring *r, struct perf_event_mmap_page *page, const void *data, size_t size);
void perf_ring_unmap(struct perf_ring *r);

/* One pass: begin (reads the head), next until NULL, end (gives the space back to the kernel).
 * A record lives until the end of the pass, one that wrapped until the next `next`. A size that
 * makes no sense drops the rest of the pass and is counted. */
void perf_ring_begin(struct perf_ring *r);
const struct perf_event_header *perf_ring_next(
	struct perf_ring *r, struct perf_ring_scratch *scratch);
/* Gives back what was read so far; may be called within a pass, too. */
void perf_ring_end(struct perf_ring *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/perf_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int perf_ring_map(const struct perf_sys *sys, int fd, unsigned pages, struct perf_ring *ret)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	size_t size = page_size * pages;
	void *p;
	int r;

	if (!sys)
		sys = &perf_sys_kernel;
	r = sys->map(sys, fd, page_size + size, &p);
	if (r)
		return r;
	perf_ring_attach(ret, p, (const uint8_t *)p + page_size, size);
	ret->map_len = page_size + size;
	return 0;
}

void perf_ring_attach(
	struct perf_ring *r, struct perf_event_mmap_page *page, const void *data, size_t size)
{
	*r = (struct perf_ring){.page = page, .data = data, .size = size};
	r->tail = r->head = page->data_tail;
}

void perf_ring_unmap(struct perf_ring *r)
{
	if (r->map_len)
		munmap(r->page, r->map_len);
	*r = (struct perf_ring){0};
}

void perf_ring_begin(struct perf_ring *r)
{
	if (!r->page)
		return;
	// Pairs with the kernel's barrier between the bytes and data_head.
	r->head = __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE);
}

const struct perf_event_header *perf_ring_next(
	struct perf_ring *r, struct perf_ring_scratch *scratch)
{
	const struct perf_event_header *h;
	size_t at, size, first;

	if (r->tail == r->head)
		return NULL;
	at = (size_t)(r->tail & (r->size - 1));
	h = (const void *)(r->data + at);
	size = h->size;
	// Sizes are multiples of 8, so a header never wraps.
	if (r->head - r->tail > r->size || size < sizeof(*h) || size % 8 ||
		size > r->head - r->tail) {
		r->malformed++;
		r->tail = r->head;
		return NULL;
	}
	r->tail += size;
	if (at + size <= r->size)
		return h;
	first = r->size - at;
	memcpy(scratch->bytes, r->data + at, first);
	memcpy((uint8_t *)scratch->bytes + first, r->data, size - first);
	return (const void *)scratch->bytes;
}

void perf_ring_end(struct perf_ring *r)
{
	if (r->page)
		__atomic_store_n(&r->page->data_tail, r->tail, __ATOMIC_RELEASE);
}

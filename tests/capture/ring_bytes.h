/* SPDX-License-Identifier: Apache-2.0 */
/* Perf records and rings in ordinary memory, as the kernel would write them. */
#ifndef GP_TESTS_CAPTURE_RING_BYTES_H
#define GP_TESTS_CAPTURE_RING_BYTES_H

#include <stdint.h>
#include <string.h>

#include <linux/perf_event.h>

#include "base/buf.h"
#include "capture/perf_ring.h"

struct sample_id_bytes {
	uint32_t pid, tid;
	uint64_t time;
	uint32_t cpu, res;
};

struct fake_ring {
	struct perf_event_mmap_page page;
	uint8_t data[4096];
	struct perf_ring ring;
};

static inline void fake_ring_init(struct fake_ring *f, uint64_t start)
{
	memset(f, 0, sizeof(*f));
	f->page.data_head = f->page.data_tail = start;
	perf_ring_attach(&f->ring, &f->page, f->data, sizeof(f->data));
}

static inline void fake_ring_write(struct fake_ring *f, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		f->data[(f->page.data_head + i) % sizeof(f->data)] = p[i];
	f->page.data_head += len;
}

static inline void put(struct buf *b, const void *data, size_t len)
{
	buf_append(b, data, len);
}

static inline void put_u16(struct buf *b, uint16_t v)
{
	put(b, &v, sizeof(v));
}

static inline void put_u32(struct buf *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static inline void put_u64(struct buf *b, uint64_t v)
{
	put(b, &v, sizeof(v));
}

/* A text with its NUL, padded to 8 as the kernel does. */
static inline void put_text(struct buf *b, const char *s)
{
	put(b, s, strlen(s) + 1);
	while (b->len % 8)
		buf_append_char(b, 0);
}

static inline void record_begin(struct buf *b, uint32_t type, uint16_t misc)
{
	buf_clear(b);
	put_u32(b, type);
	put_u16(b, misc);
	put_u16(b, 0);
}

static inline const struct perf_event_header *record_end(
	struct buf *b, uint32_t pid, uint32_t tid, uint64_t time)
{
	struct sample_id_bytes id = {.pid = pid, .tid = tid, .time = time};

	put(b, &id, sizeof(id));
	((struct perf_event_header *)b->data)->size = (uint16_t)b->len;
	return (const struct perf_event_header *)b->data;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* capture/order.h -- records of many rings, delivered in the order in which they happened.
 *
 * Within one ring times never go backwards; across rings that are drained one after the other they
 * do (spike-kernel.md 3.1: 43 %). So a drain is:
 *
 *	t0 = clock_mono_ns();
 *	order_begin(o, fn, arg);
 *	... push every record of every ring, as deep as the ring is ...
 *	order_finish(o, order_horizon(t0, until));
 *
 * A record stamped before t0 - ORDER_SLACK_NS is in its ring by t0: it is stamped, then written,
 * with interrupts off. So what is delivered can only be overtaken by a CPU that stood still for
 * longer than the slack between the two (a stolen virtual CPU); such a record is delivered when it
 * comes, and counted. Records of one instant: fork, comm and exec, mmap, what else there is,
 * sample, exit.
 *
 * Everything pushed is copied into an arena whose size is given at birth (address space; pages are
 * taken when used and given back after a peak). When it is full, the older half is delivered early
 * and counted. Owned by the source's thread. */
#ifndef GP_CAPTURE_ORDER_H
#define GP_CAPTURE_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "capture/event.h"

#define ORDER_SLACK_NS 10000000ull // 10 ms
#define ORDER_ARENA_DEFAULT (16u << 20) // bytes

struct order_item {
	uint64_t time;
	uint32_t seq; // of arrival
	uint32_t off; // in the arena
	uint32_t len;
	uint8_t rank; // among records of one instant
	uint8_t type; // enum capture_event_type
};

struct order {
	uint8_t *arena;
	size_t size, used; // bytes
	size_t peak; // of used since pages were last given back
	struct order_item *items;
	size_t nitems, items_size;
	uint32_t seq;
	uint64_t delivered_until; // time of the youngest record delivered
	capture_event_fn fn;
	void *arg;
	struct order_stats {
		uint64_t delivered;
		uint64_t late; // delivered after a younger one
		uint64_t early; // delivered before the horizon because the arena was full
		uint64_t malformed; // samples whose lengths contradict each other: dropped
	} stats;
};

/* size: bytes of the arena, at least 256 KiB. Return 0 or -ENOMEM. */
int order_init(struct order *o, size_t size);
void order_deinit(struct order *o);

/* Who gets what a push delivers early and what finish delivers. */
void order_begin(struct order *o, capture_event_fn fn, void *arg);
/* Copies a record with its texts; samples (struct capture_sample) with words and stack. Return 0,
 * -ENOMEM, -E2BIG (larger than the arena), -EINVAL, or what fn returned. fn must not push. */
int order_push(struct order *o, const struct capture_event *event);
/* The same for a sample as the kernel side laid it out: struct rec_sample and what follows it
 * (abi/record.h), len bytes. Lengths are checked; one that contradicts itself is dropped and
 * counted (0 is returned). */
int order_push_record(struct order *o, const void *data, size_t len);
/* Delivers everything stamped up to `until`, in order; keeps the rest. Return 0 or what fn returned
 * (the record at which it failed counts as delivered). */
int order_finish(struct order *o, uint64_t until);

/* What a drain that began at t0 may deliver when it was asked for `until` (0: everything). */
static inline uint64_t order_horizon(uint64_t t0, uint64_t until)
{
	if (!until)
		return UINT64_MAX;
	return until < t0 - ORDER_SLACK_NS ? until : t0 - ORDER_SLACK_NS;
}

/* Bytes of a sample laid out as in abi/record.h. */
size_t order_sample_size(const struct capture_sample *s);
/* Lays it out at dst, aligned to 8. */
void order_write_sample(const struct capture_sample *s, void *dst);
/* Reads a sample laid out as in abi/record.h into ret, whose pointers then point into data.
 * data is aligned to 8. Return 0 or -EINVAL. */
int order_parse_sample(const void *data, size_t len, struct capture_sample *ret);

#endif

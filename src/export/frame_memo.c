/* SPDX-License-Identifier: Apache-2.0 */
#include "export/frame_memo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BYTES_PER_ENTRY 64 // of a symbol and its module, about

int frame_memo_init(struct frame_memo *m, size_t bytes)
{
	size_t each = sizeof(struct frame_memo_entry) + 4 * sizeof(uint32_t) + BYTES_PER_ENTRY;

	*m = (struct frame_memo){.nslots = 256};
	while (m->nslots * each <= bytes && m->nslots < (1u << 24))
		m->nslots *= 2;
	m->max_entries = m->nslots / 2;
	m->max_bytes = m->max_entries * BYTES_PER_ENTRY;
	m->max_ids = m->max_entries * 2;
	m->slots = calloc(m->nslots, sizeof(*m->slots));
	m->entries = calloc(m->max_entries, sizeof(*m->entries));
	m->bytes = malloc(m->max_bytes);
	m->ids = calloc(m->max_ids, sizeof(*m->ids));
	if (m->slots && m->entries && m->bytes && m->ids)
		return 0;
	frame_memo_deinit(m);
	return -ENOMEM;
}

void frame_memo_deinit(struct frame_memo *m)
{
	free(m->slots);
	free(m->entries);
	free(m->bytes);
	free(m->ids);
	*m = (struct frame_memo){0};
}

void frame_memo_clear(struct frame_memo *m)
{
	memset(m->slots, 0, m->nslots * sizeof(*m->slots));
	m->nentries = m->nbytes = m->nids = 0;
}

/* One multiplication of 64 x 64 -> 128 bits for 16 bytes: this runs for every line of the input,
 * where base's hash_bytes() would take a third of the whole time. */
static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 p = (unsigned __int128)a * b;

	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t load(const char *s, size_t n)
{
	uint64_t w = 0;

	memcpy(&w, s, n);
	return w;
}

static uint64_t hash_slice(uint64_t h, struct text_slice t)
{
	const char *s = t.s;
	size_t len = t.len;
	uint64_t a = 0, b = 0;

	for (; len > 16; len -= 16, s += 16)
		h = mix(load(s, 8) ^ 0xa0761d6478bd642full, load(s + 8, 8) ^ h);
	// Overlapping loads of fixed sizes: no byte loop, no call.
	if (len >= 8) {
		a = load(s, 8);
		b = load(s + len - 8, 8);
	} else if (len >= 4) {
		a = load(s, 4);
		b = load(s + len - 4, 4);
	} else if (len) {
		a = load(s, 1) | load(s + len / 2, 1) << 8;
		b = load(s + len - 1, 1);
	}
	return mix(a ^ 0xe7037ed1a0b428dbull, b ^ h ^ t.len);
}

uint64_t frame_memo_hash(const struct perf_script_frame *frame, uint32_t variant)
{
	return hash_slice(hash_slice(0x8ebc6af09c88c6e3ull + variant, frame->symbol), frame->dso);
}

const uint32_t *frame_memo_find(const struct frame_memo *m, const struct perf_script_frame *frame,
	uint32_t variant, uint64_t hash, uint32_t *ret_count)
{
	uint32_t mask = m->nslots - 1;

	for (uint32_t i = (uint32_t)hash & mask; m->slots[i]; i = (i + 1) & mask) {
		const struct frame_memo_entry *e = &m->entries[m->slots[i] - 1];

		if (e->hash != hash || e->variant != variant ||
			e->symbol_len != frame->symbol.len || e->dso_len != frame->dso.len)
			continue;
		if (memcmp(m->bytes + e->offset, frame->symbol.s, e->symbol_len) != 0 ||
			memcmp(m->bytes + e->offset + e->symbol_len, frame->dso.s, e->dso_len) != 0)
			continue;
		*ret_count = e->count;
		return m->ids + e->first;
	}
	return NULL;
}

void frame_memo_add(struct frame_memo *m, const struct perf_script_frame *frame, uint32_t variant,
	uint64_t hash, const struct frame_memo_texts *texts)
{
	size_t len = frame->symbol.len + frame->dso.len;
	uint32_t mask = m->nslots - 1, i;
	struct frame_memo_entry *e;

	if (len > m->max_bytes / 4 || texts->count > m->max_ids / 4)
		return;
	if (m->nentries == m->max_entries || len > m->max_bytes - m->nbytes ||
		texts->count > m->max_ids - m->nids)
		frame_memo_clear(m);
	e = &m->entries[m->nentries++];
	*e = (struct frame_memo_entry){
		.hash = hash,
		.offset = m->nbytes,
		.symbol_len = (uint32_t)frame->symbol.len,
		.dso_len = (uint32_t)frame->dso.len,
		.variant = variant,
		.first = m->nids,
		.count = texts->count,
	};
	memcpy(m->bytes + m->nbytes, frame->symbol.s, frame->symbol.len);
	memcpy(m->bytes + m->nbytes + frame->symbol.len, frame->dso.s, frame->dso.len);
	m->nbytes += (uint32_t)len;
	memcpy(m->ids + m->nids, texts->ids, texts->count * sizeof(*m->ids));
	m->nids += texts->count;
	for (i = (uint32_t)hash & mask; m->slots[i]; i = (i + 1) & mask)
		;
	m->slots[i] = m->nentries;
}

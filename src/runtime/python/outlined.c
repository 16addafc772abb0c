/* SPDX-License-Identifier: Apache-2.0 */
/* Compilers move what they think is rare out of the eval function, to ".cold" functions far away.
 * Where no symbol names them: jumps out of the function lead into an entry of .eh_frame_hdr that
 * belongs to it. Bytes that look like jumps are counted by the entry they lead to; noise does not
 * lead to the same small entry several times, at several addresses inside. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"
#include "runtime/python/locate.h"

#define EVAL_BYTES_MAX (512u << 10)
#define HDR_ENTRIES_MAX (1u << 20)
#define HDR_TABLE 12 // version, encodings, eh_frame pointer, count
#define HDR_ENC_TABLE 0x3b // DW_EH_PE_datarel | DW_EH_PE_sdata4
#define HDR_ENC_COUNT 0x03 // DW_EH_PE_udata4
#define PARTS_MAX 32
#define JUMPS_MIN 4

struct part {
	struct py_range range;
	uint64_t first; // a target inside
	unsigned jumps;
	bool several; // targets differ
};

struct outlined {
	const struct module *m;
	uint32_t nfde;
	struct part parts[PARTS_MAX];
	unsigned nparts;
};

static bool read_entry(const struct outlined *o, uint32_t i, uint64_t *ret)
{
	uint8_t raw[4];
	struct cursor c = cursor_make(raw, sizeof(raw));
	uint64_t off = o->m->eh_frame_hdr_off + HDR_TABLE + (uint64_t)i * 8;

	if (module_read(o->m, off, raw, sizeof(raw)) != sizeof(raw))
		return false;
	*ret = o->m->eh_frame_hdr_vaddr + (uint64_t)(int64_t)(int32_t)cursor_u32(&c);
	return true;
}

static bool open_table(struct outlined *o)
{
	uint8_t raw[HDR_TABLE];
	struct cursor c = cursor_make(raw, sizeof(raw));

	if (o->m->eh_frame_hdr_len < HDR_TABLE ||
		module_read(o->m, o->m->eh_frame_hdr_off, raw, sizeof(raw)) != sizeof(raw))
		return false;
	if (raw[0] != 1 || raw[2] != HDR_ENC_COUNT || raw[3] != HDR_ENC_TABLE)
		return false;
	cursor_seek(&c, 8);
	o->nfde = cursor_u32(&c);
	return o->nfde >= 2 && o->nfde <= HDR_ENTRIES_MAX &&
	       (uint64_t)o->nfde * 8 + HDR_TABLE <= o->m->eh_frame_hdr_len;
}

/* The entry that holds an address: it ends where the next one starts. */
static bool find_entry(const struct outlined *o, uint64_t vaddr, struct py_range *ret)
{
	uint32_t lo = 0, hi = o->nfde - 1;
	uint64_t at;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo + 1) / 2;

		if (!read_entry(o, mid, &at))
			return false;
		if (at <= vaddr)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo + 1 < o->nfde && read_entry(o, lo, &ret->start) &&
	       read_entry(o, lo + 1, &ret->end) && ret->start <= vaddr && vaddr < ret->end;
}

static bool executable(const struct module *m, uint64_t vaddr)
{
	for (unsigned i = 0; i < m->nsegments; i++)
		if ((m->segments[i].flags & PF_X) &&
			vaddr - m->segments[i].vaddr < m->segments[i].filesz)
			return true;
	return false;
}

static void count_jump(struct outlined *o, uint64_t to)
{
	struct py_range range;

	for (unsigned i = 0; i < o->nparts; i++) {
		struct part *p = &o->parts[i];

		if (to < p->range.start || to >= p->range.end)
			continue;
		p->jumps++;
		p->several |= to != p->first;
		return;
	}
	if (o->nparts < PARTS_MAX && find_entry(o, to, &range))
		o->parts[o->nparts++] = (struct part){.range = range, .first = to, .jumps = 1};
}

unsigned py_locate_outlined(const struct module *m, struct py_range *ranges, unsigned n)
{
	struct outlined o = {.m = m};
	const struct py_range eval = ranges[0];
	uint64_t len = MIN(eval.end - eval.start, (uint64_t)EVAL_BYTES_MAX), off;
	_cleanup_free_ uint8_t *code = malloc(len + 1);
	const struct part *best = NULL;
	ssize_t got;

	if (!code || !open_table(&o) || !module_vaddr_to_offset(m, eval.start, &off))
		return n;
	got = module_read(m, off, code, len);
	// jcc rel32 (0f 80..8f): calls and jumps to other functions are seldom conditional.
	for (ssize_t i = 0; i + 6 <= got; i++) {
		struct cursor c = cursor_make(code + i + 2, 4);
		uint64_t to;

		if (code[i] != 0x0f || (code[i + 1] & 0xf0) != 0x80)
			continue;
		to = eval.start + (uint64_t)i + 6 + (uint64_t)(int64_t)(int32_t)cursor_u32(&c);
		if ((to < eval.start || to >= eval.end) && executable(m, to))
			count_jump(&o, to);
	}
	for (unsigned i = 0; i < o.nparts; i++)
		if (o.parts[i].several && (!best || o.parts[i].jumps > best->jumps))
			best = &o.parts[i];
	if (best && best->jumps >= JUMPS_MIN && n < PY_EVAL_RANGES)
		ranges[n++] = best->range;
	return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/frames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/vec.h"

#define HDR_BYTES 12 // version, three encodings, pointer, count
#define HDR_PCREL_SDATA4 0x1b
#define HDR_UDATA4 0x03
#define HDR_DATAREL_SDATA4 0x3b
#define HEAD_BYTES 24 // enough for any head of an entry
#define SHT_NOBITS 8
#define SHF_COMPRESSED 0x800

void frames_scratch_init(struct frames_scratch *s)
{
	memset(s, 0, sizeof(*s));
}

void frames_scratch_deinit(struct frames_scratch *s)
{
	unwind_file_deinit(&s->table);
	unwind_file_deinit(&s->fde);
	unwind_file_deinit(&s->cie);
	frames_scratch_init(s);
}

void frames_scratch_drop(struct frames_scratch *s)
{
	unwind_file_drop(&s->table);
	unwind_file_drop(&s->fde);
	unwind_file_drop(&s->cie);
	for (unsigned i = 0; i < FRAMES_CIES; i++)
		s->cies[i].m = NULL;
}

int frames_scratch_take_error(struct frames_scratch *s)
{
	int table = unwind_file_take_error(&s->table), fde = unwind_file_take_error(&s->fde);
	int cie = unwind_file_take_error(&s->cie);

	return table ? table : fde ? fde : cie;
}

void frames_close(struct frames *f)
{
	free(f->items);
	*f = (struct frames){0};
}

/* The whole entry at an offset of the section. Return 0, -EINVAL, -ENODATA terminator. */
static int read_entry(const struct module *m, const struct frames *f, struct unwind_file *w,
	uint64_t off, struct cfi_entry *ret)
{
	size_t have = HEAD_BYTES;
	int r;

	if (off >= f->len)
		return -EINVAL;
	have = MIN(have, f->len - off);
	ret->data = unwind_file_get(w, m, f->off + off, have);
	if (!ret->data)
		return -EINVAL;
	r = cfi_parse_head(ret->data, have, &f->section, off, &ret->head);
	if (r)
		return r;
	if (!ret->head.size)
		return -ENODATA;
	if (ret->head.size > f->len - off || ret->head.size > FRAMES_ENTRY_MAX)
		return -EINVAL;
	ret->len = ret->head.size;
	ret->off = off;
	ret->data = unwind_file_get(w, m, f->off + off, ret->len);
	return ret->data ? 0 : -EINVAL;
}

static const struct cfi_cie *get_cie(
	const struct module *m, const struct frames *f, struct frames_scratch *s, uint64_t off)
{
	uint64_t at = f->off + off;
	struct frames_cie_slot *slot = &s->cies[(at >> 3 ^ at >> 7) % FRAMES_CIES];
	struct cfi_entry e;

	if (slot->m != m || slot->at != at) {
		slot->m = m;
		slot->at = at;
		slot->err = read_entry(m, f, &s->cie, off, &e);
		if (!slot->err)
			slot->err = cfi_parse_cie(&e, &f->section, &slot->cie);
		// What could not be read is tried again.
		if (slot->err && s->cie.error)
			slot->m = NULL;
	}
	return slot->err ? NULL : &slot->cie;
}

static const struct cfi_cie *get_fde(
	const struct frames_query *q, uint64_t off, struct cfi_fde *ret)
{
	const struct cfi_cie *cie;
	struct cfi_entry e;

	if (read_entry(q->m, q->f, &q->s->fde, off, &e) || e.head.is_cie)
		return NULL;
	cie = get_cie(q->m, q->f, q->s, e.head.cie);
	return cie && !cfi_parse_fde(&e, &q->f->section, cie, ret) ? cie : NULL;
}

static int compare_items(const void *a, const void *b)
{
	const struct frames_item *x = a, *y = b;

	return x->pc < y->pc ? -1 : x->pc > y->pc ? 1 : 0;
}

/* Scans a section entry by entry. Addresses are kept relative to the lowest one's 4 GiB. */
static int build_index(const struct module *m, struct frames_scratch *s, struct frames *f)
{
	uint64_t off = 0, limit = MIN(f->len, FRAMES_SCAN_MAX);
	size_t size = 0, n = 0;
	int r = 0;

	f->base = m->nsegments ? UINT64_MAX : 0;
	for (unsigned i = 0; i < m->nsegments; i++)
		f->base = MIN(f->base, m->segments[i].vaddr);
	while (off < limit && n < FRAMES_INDEX_MAX) {
		struct frames_query q = {.m = m, .f = f, .s = s};
		struct cfi_entry e;
		struct cfi_fde fde;

		r = read_entry(m, f, &s->table, off, &e);
		if (r == -ENODATA && f->section.eh) {
			// Linkers leave a terminator between the parts they joined.
			off += 4;
			continue;
		}
		if (r)
			break;
		if (!e.head.is_cie && off <= UINT32_MAX && get_fde(&q, off, &fde) &&
			fde.end > fde.start && fde.start >= f->base &&
			fde.start - f->base <= UINT32_MAX) {
			if (vec_grow((void **)&f->items, &size, n + 1, FRAMES_INDEX_MAX,
				    sizeof(*f->items)))
				return -ENOMEM;
			f->items[n++] = (struct frames_item){
				(uint32_t)(fde.start - f->base), (uint32_t)off};
		}
		off += e.head.size;
	}
	if (!n)
		return 0;
	qsort(f->items, n, sizeof(*f->items), compare_items);
	f->count = (uint32_t)n;
	f->kind = FRAMES_INDEX;
	return 0;
}

/* Uses the header's table if it has the one form that linkers write. */
static bool open_table(const struct module *m, struct frames_scratch *s, struct frames *f)
{
	const uint8_t *p;
	struct cursor c;
	int64_t rel;

	if (m->eh_frame_hdr_len < HDR_BYTES)
		return false;
	p = unwind_file_get(&s->table, m, m->eh_frame_hdr_off, HDR_BYTES);
	if (!p)
		return false;
	c = cursor_make(p, HDR_BYTES);
	uint8_t version = cursor_u8(&c), ptr = cursor_u8(&c), count = cursor_u8(&c);
	uint8_t table = cursor_u8(&c);

	rel = (int32_t)cursor_u32(&c);
	f->count = cursor_u32(&c);
	if (version != 1 || ptr != HDR_PCREL_SDATA4)
		return false;
	f->section.eh = true;
	f->section.vaddr = m->eh_frame_hdr_vaddr + 4 + (uint64_t)rel;
	if (!module_vaddr_to_offset(m, f->section.vaddr, &f->off) || f->off >= m->size)
		return false;
	f->len = m->size - f->off;
	f->hdr_vaddr = m->eh_frame_hdr_vaddr;
	f->table_off = m->eh_frame_hdr_off + HDR_BYTES;
	if (count != HDR_UDATA4 || table != HDR_DATAREL_SDATA4 || !f->count)
		return false;
	if (f->count > (m->eh_frame_hdr_len - HDR_BYTES) / 8)
		return false;
	f->kind = FRAMES_TABLE;
	return true;
}

static int open_section(
	const struct module *m, const char *name, struct frames_scratch *s, struct frames *f)
{
	struct module_section sec;
	int r = module_section(m, name, &sec);

	if (r || sec.type == SHT_NOBITS || (sec.flags & SHF_COMPRESSED) || sec.offset >= m->size)
		return unwind_file_is_failure(r) ? r : 0;
	f->off = sec.offset;
	f->len = MIN(sec.size, m->size - sec.offset);
	f->section.vaddr = sec.vaddr;
	return build_index(m, s, f);
}

/* An index that lacks what could not be read is none. */
static int opened(struct frames_scratch *s, int r, struct frames *f, struct frames *ret)
{
	int failed = frames_scratch_take_error(s);

	if (r || failed) {
		frames_close(f);
		return r ? r : failed;
	}
	*ret = *f;
	return 0;
}

int frames_open_eh(const struct module *m, struct frames_scratch *s, struct frames *ret)
{
	struct frames f = {0};
	int r = 0;

	if (!open_table(m, s, &f)) {
		bool found = f.off != 0;

		f.section.eh = true;
		f.count = 0;
		// The header may say where .eh_frame is although it has no table (ld -r, old lld).
		r = open_section(m, ".eh_frame", s, &f);
		if (!r && found && f.kind == FRAMES_NONE)
			r = build_index(m, s, &f);
	}
	return opened(s, r, &f, ret);
}

int frames_open_debug(const struct module *m, struct frames_scratch *s, struct frames *ret)
{
	struct frames f = {0};
	int r = open_section(m, ".debug_frame", s, &f);

	return opened(s, r, &f, ret);
}

/* Address and section offset of the i-th FDE. */
static bool item(const struct frames_query *q, uint32_t i, uint64_t *ret_pc, uint64_t *ret_fde)
{
	const struct frames *f = q->f;
	const uint8_t *p;
	struct cursor c;

	if (f->kind == FRAMES_INDEX) {
		*ret_pc = f->base + f->items[i].pc;
		*ret_fde = f->items[i].fde;
		return true;
	}
	p = unwind_file_get(&q->s->table, q->m, f->table_off + 8ull * i, 8);
	if (!p)
		return false;
	c = cursor_make(p, 8);
	*ret_pc = f->hdr_vaddr + (uint64_t)(int64_t)(int32_t)cursor_u32(&c);
	*ret_fde = f->hdr_vaddr + (uint64_t)(int64_t)(int32_t)cursor_u32(&c) - f->section.vaddr;
	return true;
}

/* The last FDE that starts at or before start, else the first. */
static uint32_t lower(const struct frames_query *q)
{
	uint32_t lo = 0, hi = q->f->count;
	uint64_t pc, fde;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (!item(q, mid, &pc, &fde))
			return q->f->count;
		if (pc <= q->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? lo - 1 : 0;
}

int frames_range(const struct frames_query *q, frames_fn fn, void *arg)
{
	const struct frames *f = q->f;
	uint64_t pc, off, next, next_off;
	struct cfi_fde fde;

	if (f->kind == FRAMES_NONE)
		return 0;
	uint32_t i = lower(q);

	if (i >= f->count || !item(q, i, &pc, &off))
		return 0;
	for (unsigned n = 0; n < FRAMES_PAGE_MAX && pc < q->end; n++) {
		bool more = i + 1 < f->count && item(q, i + 1, &next, &next_off);
		const struct cfi_cie *cie = get_fde(q, off, &fde);

		if (cie && fde.start == pc) {
			if (more && next > pc)
				fde.end = MIN(fde.end, next);
			if (fde.end > q->start && fde.end > fde.start) {
				int r = fn(arg, cie, &fde);

				if (r)
					return r;
			}
		}
		// A table that is not sorted is a lie: what follows is not looked at.
		if (!more || next < pc)
			break;
		pc = next;
		off = next_off;
		i++;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/build.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "unwind/pattern.h"
#include "unwind/rule.h"

#define EM_X86_64 62
#define PF_EXEC 1
#define ENTRY_BYTES 64 // code at the entry point that never returns
#define ENTRY_GAP_MAX 256 // a gap this small around it is all of that kind
#define PLT_ENTRY 16
#define OVERLAYS_MAX 128 // of a gap in a page

void builder_init(struct builder *b, struct tables *tables)
{
	memset(b, 0, sizeof(*b));
	b->tables = tables;
	frames_scratch_init(&b->frames);
	frames_scratch_init(&b->debug);
	go_scratch_init(&b->go);
	unwind_file_init(&b->text);
	page_rows_init(&b->rows);
	flow_init(&b->flow);
}

void builder_deinit(struct builder *b)
{
	frames_scratch_deinit(&b->frames);
	frames_scratch_deinit(&b->debug);
	go_scratch_deinit(&b->go);
	unwind_file_deinit(&b->text);
	page_rows_deinit(&b->rows);
	flow_deinit(&b->flow);
}

void builder_drop(struct builder *b)
{
	frames_scratch_drop(&b->frames);
	frames_scratch_drop(&b->debug);
	go_scratch_drop(&b->go);
	unwind_file_drop(&b->text);
}

static int find_inits(const struct module *m, struct build_module *bm)
{
	static const char *const names[BUILD_INITS] = {".init", ".fini"};
	struct module_section s;

	for (unsigned i = 0; i < BUILD_INITS; i++) {
		int r = module_section(m, names[i], &s);

		if (unwind_file_is_failure(r))
			return r;
		if (!r && s.vaddr + s.size >= s.vaddr)
			bm->inits[i] = (struct build_plt){s.vaddr, s.vaddr + s.size, false};
	}
	return 0;
}

static int find_plts(const struct module *m, struct build_module *bm)
{
	static const char *const names[BUILD_PLTS] = {".plt", ".plt.sec", ".plt.got"};
	struct module_section s;

	for (unsigned i = 0; i < BUILD_PLTS; i++) {
		int r = module_section(m, names[i], &s);

		if (unwind_file_is_failure(r))
			return r;
		if (!r && s.vaddr + s.size >= s.vaddr)
			bm->plts[i] = (struct build_plt){s.vaddr, s.vaddr + s.size, i == 0};
	}
	return 0;
}

/* Something could not be read since the last call: what was made meanwhile lacks it. */
static int take_error(struct builder *b)
{
	int eh = frames_scratch_take_error(&b->frames);
	int debug = frames_scratch_take_error(&b->debug);
	int go = go_scratch_take_error(&b->go), text = unwind_file_take_error(&b->text);
	int own = b->error;

	b->error = 0;
	return own ? own : eh ? eh : debug ? debug : go ? go : text;
}

static int open_sources(struct builder *b, const struct module *m, struct build_module *bm)
{
	int r = frames_open_eh(m, &b->frames, &bm->eh);

	if (r)
		return r;
	go_table_open(m, &b->go, &bm->go);
	r = go_scratch_take_error(&b->go);
	if (!r)
		r = find_plts(m, bm);
	if (!r)
		r = find_inits(m, bm);
	if (r)
		frames_close(&bm->eh);
	return r;
}

int build_open(struct builder *b, const struct module *m, struct build_module *bm)
{
	int r;

	if (bm->opened)
		return 0;
	r = m->machine == EM_X86_64 ? open_sources(b, m, bm) : 0;
	bm->opened = !r;
	return r;
}

void build_close(struct build_module *bm)
{
	frames_close(&bm->eh);
	frames_close(&bm->debug);
}

/* .debug_frame must be scanned as a whole, so only when something needs it. */
static const struct frames *debug_frames(
	struct builder *b, const struct module *m, struct build_module *bm)
{
	int r = bm->debug_tried ? 0 : frames_open_debug(m, &b->debug, &bm->debug);

	// Else it is tried again for the next page.
	bm->debug_tried = !r;
	b->error = r ? r : b->error;
	return &bm->debug;
}

static uint16_t rule_number(struct builder *b, const struct uw_rule *rule)
{
	struct build_rule_slot *slot =
		&b->cache[hash_bytes(rule, sizeof(*rule)) % BUILD_RULES_CACHED];

	if (!slot->used || memcmp(&slot->rule, rule, sizeof(*rule))) {
		slot->rule = *rule;
		slot->number = tables_rule(b->tables, rule);
		slot->used = true;
	}
	return slot->number;
}

/* One run over a piece of an executable segment that lies in the page. */
struct run {
	struct builder *b;
	const struct module *m;
	struct build_module *bm;
	uint64_t origin; // virtual address of the page's first byte
	uint64_t start, end; // of the piece
	uint64_t seg_start, seg_end; // of the segment
	uint64_t pos; // told up to here
	uint64_t entry; // virtual address, 0: none
	const struct cfi_cie *cie;
	bool whole_end; // the FDE holds the entry point
};

static int put(struct run *r, uint64_t start, uint64_t end, const struct uw_rule *rule)
{
	start = MAX(start, r->start);
	end = MIN(end, r->end);
	if (start >= end)
		return 0;
	if (start < r->pos)
		page_rows_cut(&r->b->rows, (uint32_t)(start - r->origin));
	r->pos = MAX(r->pos, end);
	return page_rows_add(&r->b->rows, (uint32_t)(start - r->origin), rule_number(r->b, rule));
}

/* A piece of a gap that is known otherwise than by its instructions. */
struct overlay {
	uint64_t start, end;
	struct uw_rule rule;
	bool weak; // unless the instructions tell
};

struct overlays {
	struct overlay v[OVERLAYS_MAX];
	unsigned n;
};

/* In ascending order; of two that overlap the first stands. Return it, or NULL. */
static struct overlay *overlay_add(
	struct overlays *o, uint64_t start, uint64_t end, const struct uw_rule *rule)
{
	unsigned i = o->n;

	if (start >= end || o->n == OVERLAYS_MAX)
		return NULL;
	while (i && o->v[i - 1].start > start)
		i--;
	memmove(&o->v[i + 1], &o->v[i], (o->n - i) * sizeof(*o->v));
	o->v[i] = (struct overlay){start, end, *rule, false};
	o->n++;
	return &o->v[i];
}

struct pattern_place {
	uint64_t start;
	struct overlays *overlays;
};

static void add_pattern(void *arg, size_t at, const struct pattern *found)
{
	const struct pattern_place *place = arg;
	const struct uw_rule rule = {.cfa = found->cfa};
	uint64_t start = place->start + at;
	struct overlay *added =
		overlay_add(place->overlays, start - found->before, start + found->len, &rule);

	if (added)
		added->weak = found->weak;
}

static void add_patterns(struct run *r, uint64_t start, uint64_t end, struct overlays *o)
{
	struct pattern_place place = {start, o};
	uint64_t off, len = end - start;
	const uint8_t *p;

	if (len < PATTERN_BYTES || !module_vaddr_to_offset(r->m, start, &off))
		return;
	p = unwind_file_get(&r->b->text, r->m, off, len);
	if (p)
		pattern_search(p, len, add_pattern, &place);
}

static void add_plt(const struct build_plt *plt, uint64_t start, uint64_t end, struct overlays *o)
{
	struct uw_rule rule = {.cfa = UW_CFA_REG, .reg = CFI_REG_SP, .cfa_off = 8};
	uint64_t head = plt->start + 6;

	start = MAX(start, plt->start);
	end = MIN(end, plt->end);
	if (!plt->lazy) {
		overlay_add(o, start, end, &rule);
		return;
	}
	// Entry 0 is entered with the number on the stack and pushes once more in its first
	// instruction; the others push after 11 bytes.
	rule.cfa_off = 16;
	overlay_add(o, start, MIN(end, head), &rule);
	rule.cfa_off = 24;
	overlay_add(o, MAX(start, head), MIN(end, plt->start + PLT_ENTRY), &rule);
	rule = (struct uw_rule){.cfa = UW_CFA_PLT, .aux = 11};
	overlay_add(o, MAX(start, plt->start + PLT_ENTRY), end, &rule);
}

/* Where the first of .init and .fini begins in [start, end), or end. */
static uint64_t init_after(const struct run *r, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < BUILD_INITS; i++)
		if (r->bm->inits[i].start >= start && r->bm->inits[i].start < end)
			end = r->bm->inits[i].start;
	return end;
}

/* Analyses the gap's code with what lies around it; the second gap of a page asks for the rest of it.
 * Return 0, 1: not now, or -ENOMEM; without code nothing is known. */
static int analyse(struct run *r, uint64_t start, uint64_t end)
{
	bool init = init_after(r, start, start + 1) == start;
	struct builder *b = r->b;
	const uint8_t *code;
	uint64_t off;

	// A page of it takes some ms, twenty times what a hand-off does that it might save.
	if (b->ahead)
		return 1;
	if (start >= b->flow_start && end <= b->flow_end && (!init || start == b->flow_start))
		return 0;
	if (b->flow_end > b->flow_start && !init)
		end = r->end;
	b->flow_start = start;
	// What fills the bytes before .fini is not to be decoded together with it.
	if (!init)
		b->flow_start -= MIN(start - r->seg_start, (uint64_t)FLOW_MARGIN);
	b->flow_end = end + MIN(r->seg_end - end, (uint64_t)FLOW_MARGIN);
	b->flow.count = 0;
	if (!module_vaddr_to_offset(r->m, b->flow_start, &off))
		return 0;
	code = unwind_file_get(&b->text, r->m, off, b->flow_end - b->flow_start);
	return code ? flow_run(&b->flow, code, b->flow_end - b->flow_start,
			      (unsigned)(b->flow_start % 16))
		    : 0;
}

/* Do the instructions tell the frame of the one at vaddr? */
static bool flow_knows(const struct run *r, uint64_t vaddr)
{
	const struct flow *f = &r->b->flow;
	uint64_t at = vaddr - r->b->flow_start;
	struct uw_rule rule;
	size_t i;

	if (!f->count || vaddr < r->b->flow_start || vaddr >= r->b->flow_end)
		return false;
	i = flow_find(f, (uint32_t)at);
	flow_rule(&f->insns[i], &rule);
	return f->insns[i].at == at && rule.cfa != UW_CFA_NONE;
}

/* Rules by the instructions. */
static int put_flow(struct run *r, uint64_t start, uint64_t end)
{
	const struct uw_rule none = {.cfa = UW_CFA_NONE};
	const struct flow *f = &r->b->flow;
	uint64_t origin = r->b->flow_start;
	int err = put(r, start, end, &none);

	if (start >= end || !f->count)
		return err;
	for (size_t i = flow_find(f, (uint32_t)(start - origin)); !err && i < f->count; i++) {
		uint64_t at = MAX(origin + f->insns[i].at, start);
		struct uw_rule rule;

		if (at >= end)
			break;
		flow_rule(&f->insns[i], &rule);
		r->pos = at;
		err = put(r, at, end, &rule);
	}
	return err;
}

/* Code without a source, to its end. */
static int put_bare(struct run *r, uint64_t start, uint64_t end)
{
	const struct uw_rule last = {.cfa = UW_CFA_END};
	bool entry = r->entry >= start && r->entry < end;
	struct overlays o = {.n = 0};
	int err;

	if (entry && end - start <= ENTRY_GAP_MAX)
		return put(r, start, end, &last);
	if (entry)
		overlay_add(&o, r->entry, MIN(end, r->entry + ENTRY_BYTES), &last);
	for (unsigned i = 0; i < BUILD_PLTS; i++)
		if (r->bm->plts[i].start < end && r->bm->plts[i].end > start)
			add_plt(&r->bm->plts[i], start, end, &o);
	add_patterns(r, start, end, &o);
	err = analyse(r, start, end);
	for (unsigned i = 0; !err && i < o.n; i++) {
		uint64_t from = MAX(start, o.v[i].start);

		if (o.v[i].weak && flow_knows(r, o.v[i].start))
			continue;
		err = put_flow(r, start, from);
		if (!err)
			err = put(r, from, o.v[i].end, &o.v[i].rule);
		start = MAX(start, MIN(o.v[i].end, end));
	}
	return err ? err : put_flow(r, start, end);
}

/* What no source covers. Shorter than any function it is padding, unless something is there by its
 * section. */
static int put_gap(struct run *r, uint64_t start, uint64_t end)
{
	bool entry = r->entry >= start && r->entry < end;
	uint64_t init = init_after(r, start, end);
	int err = 0;

	if (start < init && (init - start >= BUILD_GAP_MIN || entry || start <= r->start))
		err = put_bare(r, start, init);
	r->pos = MAX(r->pos, init);
	while (!err && init < end) {
		uint64_t next = init_after(r, init + 1, end);

		err = put_bare(r, init, next);
		init = next;
	}
	return err;
}

static int on_row(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	struct run *r = arg;
	struct uw_rule rule;

	if (end <= r->start)
		return 0;
	if (start >= r->end)
		return 1;
	if (r->whole_end)
		rule = (struct uw_rule){.cfa = UW_CFA_END};
	else
		rule_from_row(row, r->cie->signal, &rule);
	return put(r, start, end, &rule);
}

static int put_fde(struct run *r, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	const struct uw_rule none = {.cfa = UW_CFA_NONE};
	uint64_t from = MAX(fde->start, r->start), to = MIN(fde->end, r->end);
	int err;

	r->cie = cie;
	r->whole_end = r->entry >= fde->start && r->entry < fde->end;
	err = cfi_run(cie, fde, on_row, r);
	if (err == -EINVAL && r->pos < to) // what a broken program did not reach is unknown
		err = put(r, MAX(from, r->pos), to, &none);
	return err == 1 ? 0 : err;
}

static int on_debug_fde(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	struct run *r = arg;
	int err = 0;

	if (fde->start > r->pos)
		err = put_gap(r, r->pos, MIN(fde->start, r->end));
	return err ? err : put_fde(r, cie, fde);
}

/* From r->pos to end .eh_frame says nothing. */
static int put_uncovered(struct run *r, uint64_t end)
{
	const struct frames *debug;
	struct run sub = *r;
	int err;

	if (end - r->pos < BUILD_GAP_MIN)
		return put_gap(r, r->pos, end);
	debug = debug_frames(r->b, r->m, r->bm);
	if (debug->kind == FRAMES_NONE)
		return put_gap(r, r->pos, end);
	struct frames_query q = {r->m, debug, &r->b->debug, r->pos, end};

	sub.end = end;
	sub.start = r->pos;
	err = frames_range(&q, on_debug_fde, &sub);
	if (!err && sub.pos < end)
		err = put_gap(&sub, sub.pos, end);
	r->pos = end;
	return err;
}

static int on_fde(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	struct run *r = arg;
	int err = 0;

	if (fde->start > r->pos)
		err = put_uncovered(r, MIN(fde->start, r->end));
	return err ? err : put_fde(r, cie, fde);
}

static int on_go_row(void *arg, uint64_t start, uint64_t end, const struct uw_rule *rule)
{
	struct run *r = arg;

	return put(r, start, end, rule);
}

/* [from, to) by call frame information. */
static int run_frames(struct run *r, uint64_t from, uint64_t to)
{
	struct run sub = *r;
	struct frames_query q = {r->m, &r->bm->eh, &r->b->frames, from, to};
	int err;

	if (from >= to)
		return 0;
	sub.start = sub.pos = from;
	sub.end = to;
	err = frames_range(&q, on_fde, &sub);
	return !err && sub.pos < to ? put_uncovered(&sub, to) : err;
}

static int run_go(struct run *r, uint64_t from, uint64_t to)
{
	const struct uw_rule none = {.cfa = UW_CFA_NONE};
	struct run sub = *r;
	struct go_query q = {r->m, &r->bm->go, &r->b->go, from, to};
	int err;

	if (from >= to)
		return 0;
	sub.start = sub.pos = from;
	sub.end = to;
	err = put(&sub, from, to, &none);
	return err ? err : go_table_range(&q, on_go_row, &sub);
}

/* The part of one executable segment that lies in the page. */
static int run_piece(struct run *r)
{
	const struct go_table *g = &r->bm->go;
	uint64_t from, to;
	int err;

	if (!g->present)
		return run_frames(r, r->start, r->end);
	from = MIN(MAX(g->start, r->start), r->end);
	to = MAX(MIN(g->end, r->end), from);
	err = run_frames(r, r->start, from);
	if (!err)
		err = run_go(r, from, to);
	return err ? err : run_frames(r, to, r->end);
}

/* Executable segments in order of file offset, whatever order the program headers have. */
static const struct module_segment *next_segment(const struct module *m, uint64_t from)
{
	const struct module_segment *best = NULL;

	for (unsigned i = 0; i < m->nsegments; i++) {
		const struct module_segment *g = &m->segments[i];

		if ((g->flags & PF_EXEC) && g->filesz && g->offset + g->filesz > from &&
			(!best || g->offset < best->offset))
			best = g;
	}
	return best;
}

/* What one page needed is not kept for the next one, which is made seconds later. */
static void release(struct builder *b)
{
	flow_deinit(&b->flow);
	unwind_file_trim(&b->text);
	unwind_file_trim(&b->frames.table);
	unwind_file_trim(&b->frames.fde);
	unwind_file_trim(&b->debug.table);
	unwind_file_trim(&b->debug.fde);
}

int build_page(struct builder *b, const struct module *m, struct build_module *bm, uint64_t page)
{
	const struct uw_rule none = {.cfa = UW_CFA_NONE};
	uint64_t start = page << UW_PAGE_SHIFT, end = start + UW_PAGE_BYTES, at = start;
	int err, failed;

	take_error(b);
	err = build_open(b, m, bm);
	if (!err)
		err = page_rows_start(&b->rows);
	b->flow_start = b->flow_end = 0;
	if (m->machine != EM_X86_64)
		return err;
	while (!err && at < end) {
		const struct module_segment *g = next_segment(m, at);
		struct run r = {.b = b, .m = m, .bm = bm, .entry = m->entry};

		if (!g || g->offset >= end)
			break;
		uint64_t from = MAX(g->offset, at), to = MIN(g->offset + g->filesz, end);

		r.origin = g->vaddr - g->offset + start;
		r.start = r.pos = g->vaddr + (from - g->offset);
		r.end = r.start + (to - from);
		r.seg_start = g->vaddr;
		r.seg_end = g->vaddr + g->filesz;
		// A segment whose address wraps is a lie.
		if (r.end <= r.start || r.origin > r.start)
			break;
		err = run_piece(&r);
		at = to;
		if (!err && at < end)
			err = page_rows_add(
				&b->rows, (uint32_t)(at - start), rule_number(b, &none));
	}
	release(b);
	failed = take_error(b);
	if (failed)
		return failed;
	// A page with more rows than fit is one that no linker made: gap.
	return err == -ENOSPC || err == -EINVAL ? page_rows_start(&b->rows) : err;
}

int build_find(struct builder *b, const struct build_address *a, frames_fn fn, void *arg)
{
	struct frames_query q = {a->m, &a->bm->eh, &b->frames, a->vaddr, a->vaddr + 1};
	int r = build_open(b, a->m, a->bm);

	if (r)
		return r;
	r = frames_range(&q, fn, arg);
	if (r || a->bm->debug.kind == FRAMES_NONE)
		return r;
	q.f = &a->bm->debug;
	q.s = &b->debug;
	return frames_range(&q, fn, arg);
}

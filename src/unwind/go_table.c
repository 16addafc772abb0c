/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/go_table.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/cursor.h"

#define MAGIC_116 0xfffffffau
#define MAGIC_118 0xfffffff0u
#define MAGIC_120 0xfffffff1u
#define HEADER_BYTES 72
#define TEXT_START_AT 24 // of the header, from 1.18 on
#define MODULE_TEXT_WORD 22 // of runtime.moduledata
#define NAME_MAX_BYTES 48
#define PF_EXEC 1
#define R_X86_64_RELATIVE 8
#define RELA_BYTES 24
#define REG_SP 7
#define SWITCH_BYTES 512 // of a function, searched for where it changes stacks

void go_scratch_init(struct go_scratch *s)
{
	memset(s, 0, sizeof(*s));
}

void go_scratch_deinit(struct go_scratch *s)
{
	unwind_file_deinit(&s->functab);
	unwind_file_deinit(&s->func);
	unwind_file_deinit(&s->pctab);
	unwind_file_deinit(&s->names);
	unwind_file_deinit(&s->text);
}

void go_scratch_drop(struct go_scratch *s)
{
	unwind_file_drop(&s->functab);
	unwind_file_drop(&s->func);
	unwind_file_drop(&s->pctab);
	unwind_file_drop(&s->names);
	unwind_file_drop(&s->text);
}

int go_scratch_take_error(struct go_scratch *s)
{
	struct unwind_file *const windows[] = {
		&s->functab, &s->func, &s->pctab, &s->names, &s->text};
	int first = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
		int error = unwind_file_take_error(windows[i]);

		first = first ? first : error;
	}
	return first;
}

/* A section by name; that it could not be looked for is noted. */
static bool section(
	const struct module *m, struct go_scratch *s, const char *name, struct module_section *ret)
{
	int r = module_section(m, name, ret);

	if (unwind_file_is_failure(r))
		s->functab.error = r;
	return !r;
}

static bool is_header(const uint8_t *p)
{
	struct cursor c = cursor_make(p, 8);
	uint32_t magic = cursor_u32(&c);

	return (magic == MAGIC_116 || magic == MAGIC_118 || magic == MAGIC_120) && !p[4] && !p[5] &&
	       (p[6] == 1 || p[6] == 2 || p[6] == 4) && p[7] == 8;
}

/* The table is aligned to 32 bytes at least (cmd/link/internal/ld/data.go). */
static bool scan(
	const struct module *m, struct go_scratch *s, uint64_t off, uint64_t len, uint64_t *ret_off)
{
	uint64_t end = off + MIN(len, (uint64_t)GO_SCAN_MAX);

	for (uint64_t at = (off + 31) & ~31ull; at + 8 <= end; at += 32) {
		const uint8_t *p = unwind_file_get(&s->functab, m, at, 8);

		if (!p)
			return false;
		if (is_header(p)) {
			*ret_off = at;
			return true;
		}
	}
	return false;
}

/* Where the table begins, and at most how long it is. */
static bool locate(
	const struct module *m, struct go_scratch *s, uint64_t *ret_off, uint64_t *ret_len)
{
	static const char *const names[] = {".gopclntab", ".data.rel.ro.gopclntab"};
	struct module_section sec;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (!section(m, s, names[i], &sec))
			continue;
		*ret_off = sec.offset;
		*ret_len = sec.size;
		return sec.offset < m->size;
	}
	// Linked by a C linker as PIE, it is a part of .data.rel.ro; without section headers it may
	// be in any read-only segment.
	bool go = section(m, s, ".go.buildinfo", &sec) || section(m, s, ".note.go.buildid", &sec);

	if (go && section(m, s, ".data.rel.ro", &sec) && sec.offset < m->size &&
		scan(m, s, sec.offset, MIN(sec.size, m->size - sec.offset), ret_off)) {
		*ret_len = sec.offset + sec.size - *ret_off;
		return true;
	}
	if (!go && section(m, s, ".shstrtab", &sec))
		return false;
	for (unsigned i = 0; i < m->nsegments; i++) {
		const struct module_segment *g = &m->segments[i];

		if ((g->flags & PF_EXEC) || g->offset >= m->size)
			continue;
		if (scan(m, s, g->offset, MIN(g->filesz, m->size - g->offset), ret_off)) {
			*ret_len = g->offset + g->filesz - *ret_off;
			return true;
		}
	}
	return false;
}

/* In a position-independent file the header's text address may stand in a relocation only. */
static uint64_t text_from_relocation(const struct module *m, struct go_scratch *s, uint64_t where)
{
	struct module_section sec;

	if (!section(m, s, ".rela.dyn", &sec) || sec.size > GO_SCAN_MAX)
		return 0;
	for (uint64_t at = 0; at + RELA_BYTES <= sec.size; at += RELA_BYTES) {
		const uint8_t *p = unwind_file_get(&s->functab, m, sec.offset + at, RELA_BYTES);
		struct cursor c;

		if (!p)
			return 0;
		c = cursor_make(p, RELA_BYTES);
		uint64_t offset = cursor_u64(&c), info = cursor_u64(&c);

		if (offset == where && (uint32_t)info == R_X86_64_RELATIVE)
			return cursor_u64(&c);
	}
	return 0;
}

/* 1.26 left the field empty and moved runtime.moduledata to a section of its own. */
static uint64_t text_from_sections(const struct module *m, struct go_scratch *s)
{
	struct module_section sec;
	uint64_t text = 0;

	if (section(m, s, ".go.module", &sec)) {
		const uint8_t *p =
			unwind_file_get(&s->functab, m, sec.offset + 8 * MODULE_TEXT_WORD, 8);

		if (p) {
			struct cursor c = cursor_make(p, 8);

			text = cursor_u64(&c);
		}
	}
	if (!text && section(m, s, ".text", &sec))
		text = sec.vaddr;
	return text;
}

static bool in_text(const struct module *m, uint64_t vaddr)
{
	for (unsigned i = 0; i < m->nsegments; i++) {
		const struct module_segment *g = &m->segments[i];

		if ((g->flags & PF_EXEC) && vaddr >= g->vaddr && vaddr - g->vaddr < g->memsz)
			return true;
	}
	return false;
}

struct place {
	uint64_t pc;
	uint64_t func; // file offset of its struct _func
};

/* The i-th function. i == nfunc: only the end of the last one's code. */
static bool func_at(const struct go_query *q, uint32_t i, struct place *ret)
{
	const struct go_table *g = q->g;
	unsigned step = g->wide ? 16 : 8, need = i == g->nfunc ? step / 2 : step;
	const uint8_t *p =
		unwind_file_get(&q->s->functab, q->m, g->functab + (uint64_t)step * i, need);
	struct cursor c;

	if (!p)
		return false;
	c = cursor_make(p, need);
	ret->pc = g->wide ? cursor_u64(&c) : g->text + cursor_u32(&c);
	ret->func = 0;
	if (i < g->nfunc)
		ret->func = g->functab + (g->wide ? cursor_u64(&c) : cursor_u32(&c));
	return true;
}

static bool parse_header(const struct module *m, struct go_scratch *s, struct go_table *g)
{
	const uint8_t *p = unwind_file_get(&s->functab, m, g->off, HEADER_BYTES);
	uint64_t nfunc;
	struct cursor c;

	if (!p || !is_header(p))
		return false;
	c = cursor_make(p, HEADER_BYTES);
	g->wide = cursor_u32(&c) == MAGIC_116;
	g->quantum = p[6];
	cursor_skip(&c, 4);
	nfunc = cursor_u64(&c);
	cursor_u64(&c); // files
	g->text = g->wide ? 0 : cursor_u64(&c);
	g->names = cursor_u64(&c);
	cursor_u64(&c); // compilation units
	cursor_u64(&c); // file names
	g->pctab = cursor_u64(&c);
	g->functab = cursor_u64(&c);
	if (c.bad || !nfunc || nfunc > GO_FUNCS_MAX || g->names >= g->len || g->pctab >= g->len ||
		g->functab >= g->len)
		return false;
	g->nfunc = (uint32_t)nfunc;
	g->names += g->off;
	g->pctab += g->off;
	g->functab += g->off;
	if (!g->wide && !g->text)
		g->text = text_from_relocation(m, s, g->vaddr + TEXT_START_AT);
	if (!g->wide && !g->text)
		g->text = text_from_sections(m, s);
	struct go_query q = {.m = m, .g = g, .s = s};
	struct place first, last;

	if (!func_at(&q, 0, &first) || !func_at(&q, g->nfunc, &last))
		return false;
	g->start = first.pc;
	g->end = last.pc;
	return g->start < g->end && in_text(m, g->start);
}

void go_table_open(const struct module *m, struct go_scratch *s, struct go_table *ret)
{
	struct go_table g = {0};

	*ret = g;
	if (!locate(m, s, &g.off, &g.len) || !module_offset_to_vaddr(m, g.off, &g.vaddr))
		return;
	g.len = MIN(g.len, m->size - g.off);
	g.present = parse_header(m, s, &g);
	if (g.present)
		*ret = g;
}

enum kind {
	KIND_PLAIN, // pcsp
	KIND_END,
	KIND_FP_BODY, // frame pointer between prologue and epilogue
	KIND_SWITCH_FP, // pcsp up to where it changes stacks, then frame pointer
	KIND_SWITCH_BACK, // the same, and pcsp again once it is back
	KIND_SWITCH_END, // pcsp up to where it changes stacks for good
	KIND_SIGNAL,
};

static enum kind kind_of(const char *name)
{
	static const struct {
		const char *name;
		enum kind kind;
	} table[] = {
		{"_rt0_amd64", KIND_END},
		{"_rt0_amd64_linux", KIND_END},
		{"runtime.asmcgocall", KIND_SWITCH_FP},
		{"runtime.goexit", KIND_END},
		{"gogo", KIND_SWITCH_END},
		{"runtime.mcall", KIND_SWITCH_END},
		{"runtime.morestack", KIND_SWITCH_FP},
		{"runtime.mstart", KIND_END},
		{"runtime.nanotime1", KIND_FP_BODY},
		{"runtime.rt0_go", KIND_END},
		{"runtime.sigreturn", KIND_SIGNAL},
		{"runtime.sigreturn__sigaction", KIND_SIGNAL},
		{"runtime.systemstack", KIND_SWITCH_BACK},
		{"runtime.walltime", KIND_FP_BODY},
		{"runtime.walltime1", KIND_FP_BODY},
		{"time.now", KIND_FP_BODY},
	};
	size_t len = strlen(name);

	if (len > 5 && !strcmp(name + len - 5, ".abi0"))
		len -= 5;
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
		if (strlen(table[i].name) == len && !memcmp(table[i].name, name, len))
			return table[i].kind;
	return KIND_PLAIN;
}

struct func {
	uint64_t entry, end;
	uint32_t pcsp;
	enum kind kind;
};

static bool read_func(const struct go_query *q, uint64_t off, struct func *f)
{
	size_t len = (q->g->wide ? 8 : 4) + 16, have;
	const uint8_t *p = unwind_file_get(&q->s->func, q->m, off, len);
	char name[NAME_MAX_BYTES] = "";
	struct cursor c;

	if (!p)
		return false;
	c = cursor_make(p, len);
	cursor_skip(&c, q->g->wide ? 8 : 4);
	uint32_t name_off = cursor_u32(&c);

	cursor_skip(&c, 8); // size of arguments, deferreturn
	f->pcsp = cursor_u32(&c);
	p = unwind_file_peek(&q->s->names, q->m, q->g->names + name_off, 1, &have);
	if (p) {
		have = MIN(have, sizeof(name) - 1);
		// A name may end past the window; ask again for as much as matters.
		if (!memchr(p, 0, have) && have < sizeof(name) - 1)
			p = unwind_file_get(
				&q->s->names, q->m, q->g->names + name_off, sizeof(name) - 1);
		if (p)
			memcpy(name, p, MIN(have, strnlen((const char *)p, have)));
	}
	f->kind = kind_of(name);
	return true;
}

static const uint8_t *text_at(const struct go_query *q, uint64_t vaddr, size_t len)
{
	uint64_t off;

	return module_vaddr_to_offset(q->m, vaddr, &off)
		       ? unwind_file_get(&q->s->text, q->m, off, len)
		       : NULL;
}

/* Addresses from which on the caller's rbp is at CFA - 16, and rbp is this frame's; UINT64_MAX if
 * the function does not save it. pc: where delta first becomes positive. */
struct saved {
	uint64_t slot, frame;
};

static struct saved find_saved(const struct go_query *q, uint64_t pc, int64_t delta)
{
	struct saved none = {UINT64_MAX, UINT64_MAX};
	const uint8_t *p = text_at(q, pc - 1, 17);
	int32_t disp;

	if (!p)
		return none;
	if (delta == 8 && p[0] == 0x55) // push %rbp; mov %rsp,%rbp
		return (struct saved){pc, pc + 3};
	p++;
	if (p[0] != 0x48 || p[1] != 0x89 || p[3] != 0x24)
		return none;
	if (p[2] == 0x6c && (int8_t)p[4] == delta - 8) // mov %rbp,disp8(%rsp); lea disp8(%rsp),%rbp
		return (struct saved){pc + 5, pc + 10};
	memcpy(&disp, p + 4, sizeof(disp));
	if (p[2] == 0xac && disp == delta - 8)
		return (struct saved){pc + 8, pc + 16};
	return none;
}

/* Length of the `add $n,%rsp` that ends at pc: rbp is the caller's again when it runs. */
static unsigned epilogue_bytes(const struct go_query *q, uint64_t pc)
{
	const uint8_t *p = text_at(q, pc - 7, 7);

	if (!p)
		return 0;
	if (p[0] == 0x48 && p[1] == 0x81 && p[2] == 0xc4)
		return 7;
	if (p[3] == 0x48 && p[4] == 0x83 && (p[5] == 0xc4 || p[5] == 0xec))
		return 4;
	return 0;
}

struct emit {
	const struct go_query *q;
	go_row_fn fn;
	void *arg;
	const struct func *f;
	struct saved saved;
};

static int emit_rule(struct emit *e, uint64_t start, uint64_t end, const struct uw_rule *rule)
{
	if (start >= end || end <= e->q->start || start >= e->q->end)
		return 0;
	return e->fn(e->arg, start, end, rule);
}

/* One step of pcsp: delta from start to end. */
static int emit_delta(struct emit *e, uint64_t start, uint64_t end, int64_t delta)
{
	static const struct uw_rule by_fp = {.cfa = UW_CFA_FP};
	struct uw_rule rule = {.cfa = UW_CFA_REG, .reg = REG_SP, .cfa_off = (__s32)(delta + 8)};
	struct uw_rule slot = rule;
	uint64_t at = MIN(end, MAX(start, e->saved.slot)), fp = end, tail = end;
	int r;

	slot.fp = UW_SAVE_CFA;
	slot.fp_off = -16;
	if (delta <= 0)
		return emit_rule(e, start, end, &rule);
	if (e->f->kind == KIND_FP_BODY && e->saved.frame < end) {
		fp = MAX(at, e->saved.frame);
		tail = MAX(fp, end - epilogue_bytes(e->q, end));
	}
	r = emit_rule(e, start, at, &rule);
	if (!r)
		r = emit_rule(e, at, fp, &slot);
	if (!r)
		r = emit_rule(e, fp, tail, &by_fp);
	return r ? r : emit_rule(e, tail, end, &rule);
}

static int emit_func(struct emit *e)
{
	const struct func *f = e->f;
	const struct go_query *q = e->q;
	uint64_t pc = f->entry, off = q->g->pctab + f->pcsp;
	int64_t delta = -1;
	bool seen = false;

	e->saved = (struct saved){UINT64_MAX, UINT64_MAX};
	for (unsigned n = 0; n < GO_ROWS_MAX && pc < f->end; n++) {
		size_t have = 1;
		const uint8_t *p = unwind_file_peek(&q->s->pctab, q->m, off, 1, &have);
		struct cursor c;

		// Two numbers of five bytes at most; near the window's end it moves on.
		if (p && have < 10)
			p = unwind_file_get(
				&q->s->pctab, q->m, off, MIN((size_t)10, q->m->size - off));
		if (!p)
			break;
		c = cursor_make(p, MIN((size_t)10, q->m->size - off));
		uint64_t zigzag = cursor_uleb(&c), pcs = cursor_uleb(&c);

		if (c.bad || (!zigzag && n) || !pcs || pcs > UINT32_MAX)
			break;
		delta += (int32_t)(zigzag & 1 ? ~(zigzag >> 1) : zigzag >> 1);
		if (delta < INT32_MIN / 2 || delta > INT32_MAX / 2)
			break;
		uint64_t next = MIN(pc + pcs * q->g->quantum, f->end);

		if (delta > 0 && !seen) {
			seen = true;
			e->saved = find_saved(q, pc, delta);
		}
		int r = emit_delta(e, pc, next, delta);

		if (r)
			return r;
		pc = next;
		off += cursor_offset(&c);
	}
	return 0;
}

/* Address after the n-th instruction that loads the stack pointer, the function's end if there are
 * fewer: mov disp8(%reg),%rsp; mov (%reg),%rsp; mov %reg,%rsp (REX.W 8B or 89). */
static uint64_t after_switch(const struct go_query *q, const struct func *f, unsigned n)
{
	size_t len = (size_t)MIN(f->end - f->entry, (uint64_t)SWITCH_BYTES);
	const uint8_t *p = text_at(q, f->entry, len);

	for (size_t i = 0; p && i + 3 < len; i++) {
		unsigned size = 3;

		if (p[i] != 0x48 && p[i] != 0x49)
			continue;
		if (p[i + 1] == 0x8b && (p[i + 2] & 0xf8) == 0x60)
			size = 4;
		else if (!(p[i + 1] == 0x8b && (p[i + 2] & 0xf8) == 0x20) &&
			 !(p[i + 1] == 0x89 && (p[i + 2] & 0xc7) == 0xc4))
			continue;
		if (!n--)
			return f->entry + i + size;
		i += size - 1;
	}
	return f->end;
}

static int emit_switch(struct emit *e)
{
	const struct uw_rule fp = {.cfa = UW_CFA_FP}, end = {.cfa = UW_CFA_END};
	const struct uw_rule entry = {.cfa = UW_CFA_REG, .reg = REG_SP, .cfa_off = 8};
	const struct func *f = e->f;
	uint64_t away = after_switch(e->q, f, 0), back = f->end;
	int r = emit_func(e);

	if (f->kind == KIND_SWITCH_BACK)
		back = after_switch(e->q, f, 1);
	if (!r)
		r = emit_rule(e, away, back, f->kind == KIND_SWITCH_END ? &end : &fp);
	return r ? r : emit_rule(e, back, f->end, &entry);
}

static int emit_kind(struct emit *e)
{
	const struct func *f = e->f;
	struct uw_rule rule = {.cfa = UW_CFA_SIGNAL};

	switch (f->kind) {
	case KIND_END:
		rule.cfa = UW_CFA_END;
		return emit_rule(e, f->entry, f->end, &rule);
	case KIND_SWITCH_FP:
	case KIND_SWITCH_BACK:
	case KIND_SWITCH_END:
		return emit_switch(e);
	case KIND_SIGNAL:
		// The handler returns to the first instruction; a return address is looked up one
		// byte before.
		return emit_rule(e, f->entry - 1, f->end, &rule);
	default:
		return emit_func(e);
	}
}

int go_table_range(const struct go_query *q, go_row_fn fn, void *arg)
{
	uint32_t lo = 0, hi = q->g->nfunc;
	struct place here, next;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (!func_at(q, mid, &here))
			return 0;
		if (here.pc <= q->start)
			lo = mid + 1;
		else
			hi = mid;
	}
	uint32_t i = lo ? lo - 1 : 0;

	if (!func_at(q, i, &here))
		return 0;
	for (; i < q->g->nfunc && here.pc <= q->end; i++, here = next) {
		struct func f = {.entry = here.pc};
		struct emit e = {.q = q, .fn = fn, .arg = arg, .f = &f};

		if (!func_at(q, i + 1, &next) || next.pc < here.pc)
			return 0;
		f.end = next.pc;
		if (next.pc > here.pc && read_func(q, here.func, &f)) {
			int r = emit_kind(&e);

			if (r)
				return r;
		}
	}
	return 0;
}

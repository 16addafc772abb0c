/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/cfi.h"

#include <errno.h>
#include <string.h>

#include "base/cursor.h"

/* DW_EH_PE_*, LSB core 5.0 tables 10.5 and 10.6. */
enum {
	PE_ABSPTR = 0x00,
	PE_ULEB = 0x01,
	PE_UDATA2 = 0x02,
	PE_UDATA4 = 0x03,
	PE_UDATA8 = 0x04,
	PE_SLEB = 0x09,
	PE_SDATA2 = 0x0a,
	PE_SDATA4 = 0x0b,
	PE_SDATA8 = 0x0c,
	PE_FORMAT = 0x0f,
	PE_PCREL = 0x10,
	PE_APPLICATION = 0x70,
	PE_INDIRECT = 0x80,
	PE_OMIT = 0xff,
};

/* DWARF 5 table 7.29 and binutils' vendor extensions. */
enum {
	OP_NOP = 0x00,
	OP_SET_LOC = 0x01,
	OP_ADVANCE1 = 0x02,
	OP_ADVANCE2 = 0x03,
	OP_ADVANCE4 = 0x04,
	OP_OFFSET_EXTENDED = 0x05,
	OP_RESTORE_EXTENDED = 0x06,
	OP_UNDEFINED = 0x07,
	OP_SAME_VALUE = 0x08,
	OP_REGISTER = 0x09,
	OP_REMEMBER = 0x0a,
	OP_RESTORE_STATE = 0x0b,
	OP_DEF_CFA = 0x0c,
	OP_DEF_CFA_REGISTER = 0x0d,
	OP_DEF_CFA_OFFSET = 0x0e,
	OP_DEF_CFA_EXPR = 0x0f,
	OP_EXPR = 0x10,
	OP_OFFSET_EXTENDED_SF = 0x11,
	OP_DEF_CFA_SF = 0x12,
	OP_DEF_CFA_OFFSET_SF = 0x13,
	OP_VAL_OFFSET = 0x14,
	OP_VAL_OFFSET_SF = 0x15,
	OP_VAL_EXPR = 0x16,
	OP_MIPS_ADVANCE8 = 0x1d,
	OP_WINDOW_SAVE = 0x2d, // aarch64: negate_ra_state; no operand
	OP_ARGS_SIZE = 0x2e,
	OP_NEG_OFFSET_EXTENDED = 0x2f,
	OP_ADVANCE = 0x40, // the two high bits
	OP_OFFSET = 0x80,
	OP_RESTORE = 0xc0,
};

struct machine {
	const struct cfi_cie *cie;
	const struct cfi_fde *fde;
	cfi_row_fn fn; // NULL while the CIE's part runs
	void *arg;
	uint64_t loc;
	unsigned depth;
	unsigned ops;
	struct cfi_row row;
	struct cfi_row init;
	struct cfi_row stack[CFI_DEPTH_MAX];
};

int cfi_parse_head(const uint8_t *data, size_t len, const struct cfi_section *s, uint64_t off,
	struct cfi_head *ret)
{
	struct cursor c = cursor_make(data, len);
	struct cfi_head h = {0};
	uint64_t length = cursor_u32(&c), id;
	bool wide = length == 0xffffffff;

	if (c.bad)
		return -EINVAL;
	if (!length) {
		*ret = h;
		return 0;
	}
	if (!wide && length >= 0xfffffff0)
		return -EINVAL;
	if (wide)
		length = cursor_u64(&c);
	h.size = length + cursor_offset(&c);
	if (c.bad || h.size < length)
		return -EINVAL;
	uint64_t at = off + cursor_offset(&c);

	// .eh_frame keeps a 4-byte CIE pointer even in the 64-bit format.
	if (s->eh || !wide) {
		id = cursor_u32(&c);
		h.is_cie = id == (s->eh ? 0 : 0xffffffff);
	} else {
		id = cursor_u64(&c);
		h.is_cie = id == UINT64_MAX;
	}
	if (c.bad)
		return -EINVAL;
	if (!h.is_cie) {
		if (s->eh && id > at)
			return -EINVAL;
		h.cie = s->eh ? at - id : id;
	}
	h.body = (uint32_t)cursor_offset(&c);
	if (h.body > h.size)
		return -EINVAL;
	*ret = h;
	return 0;
}

/* Reads an encoded pointer that stands at virtual address `vaddr`. */
static int read_pointer(struct cursor *c, uint8_t enc, uint64_t vaddr, uint64_t *ret)
{
	uint64_t v;

	if (enc & PE_INDIRECT)
		return -ENOTSUP;
	switch (enc & PE_FORMAT) {
	case PE_ABSPTR:
	case PE_UDATA8:
	case PE_SDATA8:
		v = cursor_u64(c);
		break;
	case PE_ULEB:
		v = cursor_uleb(c);
		break;
	case PE_SLEB:
		v = (uint64_t)cursor_sleb(c);
		break;
	case PE_UDATA2:
		v = cursor_u16(c);
		break;
	case PE_SDATA2:
		v = (uint64_t)(int64_t)(int16_t)cursor_u16(c);
		break;
	case PE_UDATA4:
		v = cursor_u32(c);
		break;
	case PE_SDATA4:
		v = (uint64_t)(int64_t)(int32_t)cursor_u32(c);
		break;
	default:
		return -ENOTSUP;
	}
	// Text- and function-relative pointers do not occur on x86-64; data-relative ones only in the
	// header's table.
	if ((enc & PE_APPLICATION) == PE_PCREL)
		v += vaddr;
	else if (enc & PE_APPLICATION)
		return -ENOTSUP;
	if (c->bad)
		return -EINVAL;
	*ret = v;
	return 0;
}

static int parse_augmentation(
	struct cursor *c, const char *aug, uint64_t vaddr, const uint8_t *base, struct cfi_cie *cie)
{
	struct cursor data;
	uint64_t ignored;
	uint8_t enc;
	int r;

	if (aug[0] != 'z')
		return aug[0] ? -ENOTSUP : 0;
	cie->has_data = true;
	data = cursor_sub(c, cursor_uleb(c));
	for (const char *p = aug + 1; *p; p++) {
		switch (*p) {
		case 'L':
			cursor_u8(&data);
			break;
		case 'R':
			cie->fde_enc = cursor_u8(&data);
			break;
		case 'P':
			enc = cursor_u8(&data);
			if (enc == PE_OMIT)
				break;
			// Its value does not matter, and it is the one pointer that is often indirect.
			r = read_pointer(
				&data, enc & 0x7f, vaddr + (uint64_t)(data.pos - base), &ignored);
			if (r)
				return r;
			break;
		case 'S':
			cie->signal = true;
			break;
		case 'B': // aarch64: return addresses signed with the B key
		case 'G': // aarch64: memory tagging
			break;
		default:
			return -ENOTSUP;
		}
	}
	return data.bad ? -EINVAL : 0;
}

int cfi_parse_cie(const struct cfi_entry *e, const struct cfi_section *s, struct cfi_cie *ret)
{
	struct cursor c = cursor_make(e->data, e->len);
	struct cfi_cie cie = {.fde_enc = PE_ABSPTR};
	const char *aug;
	int r;

	if (!e->head.is_cie || e->head.size > e->len)
		return -EINVAL;
	c.end = e->data + e->head.size;
	cursor_skip(&c, e->head.body);
	uint8_t version = cursor_u8(&c);

	if (version != 1 && version != 3 && version != 4)
		return c.bad ? -EINVAL : -ENOTSUP;
	aug = cursor_cstr(&c);
	if (!aug)
		return -EINVAL;
	if (version == 4) {
		uint8_t address = cursor_u8(&c), segment = cursor_u8(&c);

		if (address != 8 || segment)
			return -ENOTSUP;
	}
	cie.code_align = cursor_uleb(&c);
	cie.data_align = cursor_sleb(&c);
	cie.ra_reg = version == 1 ? cursor_u8(&c) : (uint32_t)cursor_uleb(&c);
	r = parse_augmentation(&c, aug, s->vaddr + e->off, e->data, &cie);
	if (r)
		return r;
	size_t n = cursor_left(&c);
	const void *init = cursor_bytes(&c, n);

	if (c.bad)
		return -EINVAL;
	// A few bytes in every file of this world; a longer part is none of a compiler.
	if (n > CFI_INIT_MAX)
		return -ENOTSUP;
	memcpy(cie.init, init, n);
	cie.ninit = (uint16_t)n;
	*ret = cie;
	return 0;
}

int cfi_parse_fde(const struct cfi_entry *e, const struct cfi_section *s, const struct cfi_cie *cie,
	struct cfi_fde *ret)
{
	struct cursor c = cursor_make(e->data, e->len);
	struct cfi_fde f;
	uint64_t len;
	int r;

	if (e->head.is_cie || !e->head.size || e->head.size > e->len)
		return -EINVAL;
	c.end = e->data + e->head.size;
	cursor_skip(&c, e->head.body);
	r = read_pointer(&c, cie->fde_enc, s->vaddr + e->off + cursor_offset(&c), &f.start);
	if (r)
		return r;
	// The length has the format of the address but is relative to nothing.
	r = read_pointer(&c, cie->fde_enc & PE_FORMAT, 0, &len);
	if (r)
		return r;
	if (cie->has_data)
		cursor_skip(&c, cursor_uleb(&c));
	f.end = f.start + len;
	if (c.bad || f.end < f.start)
		return -EINVAL;
	f.len = cursor_left(&c);
	f.program = c.pos;
	*ret = f;
	return 0;
}

static int advance(struct machine *m, uint64_t delta)
{
	uint64_t next = m->loc + delta, end;
	int r = 0;

	if (!m->fn || next < m->loc)
		return -EINVAL;
	end = next < m->fde->end ? next : m->fde->end;
	if (end > m->loc)
		r = m->fn(m->arg, m->loc, end, &m->row);
	m->loc = next;
	return r;
}

static void save(struct machine *m, uint64_t reg, enum cfi_save_kind kind, int64_t off)
{
	if (reg < CFI_REGS)
		m->row.regs[reg] = (struct cfi_save){.kind = kind, .off = off};
}

static void restore(struct machine *m, uint64_t reg)
{
	if (reg < CFI_REGS)
		m->row.regs[reg] = m->init.regs[reg];
}

static void save_expr(struct machine *m, uint64_t reg, enum cfi_save_kind kind, struct cursor *c)
{
	uint64_t len = cursor_uleb(c);
	const uint8_t *expr = cursor_bytes(c, len);

	if (c->bad || len > UINT16_MAX) {
		c->bad = true;
		return;
	}
	if (reg < CFI_REGS)
		m->row.regs[reg] =
			(struct cfi_save){.kind = kind, .len = (uint16_t)len, .expr = expr};
}

static int64_t factored(const struct machine *m, int64_t v)
{
	return (int64_t)((uint64_t)v * (uint64_t)m->cie->data_align);
}

static void define_cfa(struct machine *m, uint64_t reg, int64_t off)
{
	m->row.cfa = CFI_CFA_REG;
	m->row.reg = reg > UINT32_MAX ? UINT32_MAX : (uint32_t)reg;
	m->row.off = off;
}

static int state_op(struct machine *m, uint8_t op)
{
	if (op == OP_REMEMBER) {
		if (m->depth == CFI_DEPTH_MAX)
			return -EINVAL;
		m->stack[m->depth++] = m->row;
		return 0;
	}
	if (!m->depth)
		return -EINVAL;
	m->row = m->stack[--m->depth];
	return 0;
}

/* Where the CFA is. Returns 1 if op is none of these. */
static int cfa_op(struct machine *m, uint8_t op, struct cursor *c)
{
	uint64_t reg;

	switch (op) {
	case OP_DEF_CFA:
		reg = cursor_uleb(c);
		define_cfa(m, reg, (int64_t)cursor_uleb(c));
		return 0;
	case OP_DEF_CFA_SF:
		reg = cursor_uleb(c);
		define_cfa(m, reg, factored(m, cursor_sleb(c)));
		return 0;
	case OP_DEF_CFA_REGISTER:
		define_cfa(m, cursor_uleb(c), m->row.off);
		return 0;
	case OP_DEF_CFA_OFFSET:
		m->row.off = (int64_t)cursor_uleb(c);
		return 0;
	case OP_DEF_CFA_OFFSET_SF:
		m->row.off = factored(m, cursor_sleb(c));
		return 0;
	case OP_DEF_CFA_EXPR:
		m->row.cfa = CFI_CFA_EXPR;
		uint64_t len = cursor_uleb(c);

		m->row.expr = cursor_bytes(c, len);
		if (len > UINT16_MAX)
			return -EINVAL;
		m->row.len = (uint16_t)len;
		return 0;
	}
	return 1;
}

/* Where a register is. Returns 1 if op is none of these. */
static int save_op(struct machine *m, uint8_t op, struct cursor *c)
{
	uint64_t reg;

	if (op < OP_OFFSET_EXTENDED || (op > OP_REGISTER && op < OP_EXPR) ||
		(op > OP_VAL_EXPR && op != OP_NEG_OFFSET_EXTENDED) || op == OP_DEF_CFA_SF ||
		op == OP_DEF_CFA_OFFSET_SF)
		return 1;
	reg = cursor_uleb(c);
	switch (op) {
	case OP_OFFSET_EXTENDED:
		save(m, reg, CFI_OFFSET, factored(m, (int64_t)cursor_uleb(c)));
		break;
	case OP_NEG_OFFSET_EXTENDED:
		save(m, reg, CFI_OFFSET, factored(m, (int64_t)(0 - cursor_uleb(c))));
		break;
	case OP_OFFSET_EXTENDED_SF:
		save(m, reg, CFI_OFFSET, factored(m, cursor_sleb(c)));
		break;
	case OP_VAL_OFFSET:
		save(m, reg, CFI_VAL_OFFSET, factored(m, (int64_t)cursor_uleb(c)));
		break;
	case OP_VAL_OFFSET_SF:
		save(m, reg, CFI_VAL_OFFSET, factored(m, cursor_sleb(c)));
		break;
	case OP_RESTORE_EXTENDED:
		restore(m, reg);
		break;
	case OP_UNDEFINED:
		save(m, reg, CFI_UNDEF, 0);
		break;
	case OP_SAME_VALUE:
		save(m, reg, CFI_SAME, 0);
		break;
	case OP_REGISTER:
		save(m, reg, CFI_REG, (int64_t)cursor_uleb(c));
		break;
	case OP_EXPR:
		save_expr(m, reg, CFI_EXPR, c);
		break;
	default:
		save_expr(m, reg, CFI_VAL_EXPR, c);
	}
	return 0;
}

static int location_op(struct machine *m, uint8_t op, struct cursor *c)
{
	uint64_t align = m->cie->code_align, target;
	int r;

	switch (op) {
	case OP_NOP:
	case OP_WINDOW_SAVE:
		return 0;
	case OP_ARGS_SIZE:
		cursor_uleb(c);
		return 0;
	case OP_ADVANCE1:
		return advance(m, align * cursor_u8(c));
	case OP_ADVANCE2:
		return advance(m, align * cursor_u16(c));
	case OP_ADVANCE4:
		return advance(m, align * cursor_u32(c));
	case OP_MIPS_ADVANCE8:
		return advance(m, align * cursor_u64(c));
	case OP_SET_LOC:
		// Only absolute operands: no compiler of this platform emits the operation.
		r = read_pointer(c, m->cie->fde_enc & PE_FORMAT, 0, &target);
		if (r || (m->cie->fde_enc & PE_APPLICATION) || target < m->loc)
			return -EINVAL;
		return advance(m, target - m->loc);
	}
	return -EINVAL;
}

static int step(struct machine *m, struct cursor *c)
{
	uint8_t op = cursor_u8(c), low = op & 0x3f;
	int r;

	switch (op & 0xc0) {
	case OP_ADVANCE:
		return advance(m, m->cie->code_align * low);
	case OP_OFFSET:
		save(m, low, CFI_OFFSET, factored(m, (int64_t)cursor_uleb(c)));
		return 0;
	case OP_RESTORE:
		restore(m, low);
		return 0;
	}
	if (op == OP_REMEMBER || op == OP_RESTORE_STATE)
		return state_op(m, op);
	r = save_op(m, op, c);
	if (r > 0)
		r = cfa_op(m, op, c);
	return r > 0 ? location_op(m, op, c) : r;
}

static int run_part(struct machine *m, const uint8_t *bytes, size_t len)
{
	struct cursor c = cursor_make(bytes, len);
	int r;

	while (cursor_left(&c)) {
		if (m->ops++ == CFI_OPS_MAX)
			return -EINVAL;
		r = step(m, &c);
		if (r)
			return r;
		if (c.bad)
			return -EINVAL;
		if (m->fn && m->loc >= m->fde->end)
			break;
	}
	return 0;
}

int cfi_run(const struct cfi_cie *cie, const struct cfi_fde *fde, cfi_row_fn fn, void *arg)
{
	struct machine m;
	int r;

	// The remembered states are written before they are read; clearing them would cost more than
	// the rest of a small function's run.
	m.cie = cie;
	m.fde = fde;
	m.fn = NULL;
	m.arg = arg;
	m.loc = fde->start;
	m.depth = m.ops = 0;
	memset(&m.row, 0, sizeof(m.row));
	memset(&m.init, 0, sizeof(m.init));
	if (fde->end <= fde->start)
		return 0;
	r = run_part(&m, cie->init, cie->ninit);
	if (r)
		return r;
	m.init = m.row;
	m.fn = fn;
	r = run_part(&m, fde->program, fde->len);
	if (r)
		return r;
	return m.loc < fde->end ? fn(arg, m.loc, fde->end, &m.row) : 0;
}

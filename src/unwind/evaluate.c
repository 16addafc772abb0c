/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/evaluate.h"

#include "base/cursor.h"

/* DWARF 5 table 7.9. */
enum {
	OP_ADDR = 0x03,
	OP_DEREF = 0x06,
	OP_CONST1U = 0x08,
	OP_CONST1S = 0x09,
	OP_CONST2U = 0x0a,
	OP_CONST2S = 0x0b,
	OP_CONST4U = 0x0c,
	OP_CONST4S = 0x0d,
	OP_CONST8U = 0x0e,
	OP_CONST8S = 0x0f,
	OP_CONSTU = 0x10,
	OP_CONSTS = 0x11,
	OP_DUP = 0x12,
	OP_DROP = 0x13,
	OP_OVER = 0x14,
	OP_PICK = 0x15,
	OP_SWAP = 0x16,
	OP_ABS = 0x19,
	OP_AND = 0x1a,
	OP_MINUS = 0x1c,
	OP_MUL = 0x1e,
	OP_NEG = 0x1f,
	OP_NOT = 0x20,
	OP_OR = 0x21,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_SHL = 0x24,
	OP_SHR = 0x25,
	OP_SHRA = 0x26,
	OP_XOR = 0x27,
	OP_BRA = 0x28,
	OP_EQ = 0x29,
	OP_GE = 0x2a,
	OP_GT = 0x2b,
	OP_LE = 0x2c,
	OP_LT = 0x2d,
	OP_NE = 0x2e,
	OP_SKIP = 0x2f,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
	OP_BREG31 = 0x8f,
	OP_BREGX = 0x92,
	OP_NOP = 0x96,
};

struct machine {
	struct cursor c;
	uint64_t stack[EVALUATE_STACK];
	unsigned depth;
	const struct evaluate_regs *regs;
	const struct evaluate_memory *mem;
	enum evaluate_result failed;
};

static void push(struct machine *m, uint64_t v)
{
	if (m->depth == EVALUATE_STACK)
		m->failed = EVALUATE_UNKNOWN;
	else
		m->stack[m->depth++] = v;
}

static uint64_t pop(struct machine *m)
{
	if (!m->depth) {
		m->failed = EVALUATE_UNKNOWN;
		return 0;
	}
	return m->stack[--m->depth];
}

static uint64_t pick(struct machine *m, unsigned n)
{
	if (n >= m->depth) {
		m->failed = EVALUATE_UNKNOWN;
		return 0;
	}
	return m->stack[m->depth - 1 - n];
}

static uint64_t reg(struct machine *m, uint64_t n)
{
	if (n >= CFI_REGS || !(m->regs->valid >> n & 1)) {
		m->failed = EVALUATE_UNKNOWN;
		return 0;
	}
	return m->regs->r[n];
}

/* Values that stand in the expression. Returns false if op is none of these. */
static bool constant(struct machine *m, uint8_t op)
{
	struct cursor *c = &m->c;

	if (op >= OP_LIT0 && op <= OP_LIT31) {
		push(m, op - OP_LIT0);
		return true;
	}
	switch (op) {
	case OP_ADDR:
	case OP_CONST8U:
	case OP_CONST8S:
		push(m, cursor_u64(c));
		return true;
	case OP_CONST1U:
		push(m, cursor_u8(c));
		return true;
	case OP_CONST1S:
		push(m, (uint64_t)(int64_t)(int8_t)cursor_u8(c));
		return true;
	case OP_CONST2U:
		push(m, cursor_u16(c));
		return true;
	case OP_CONST2S:
		push(m, (uint64_t)(int64_t)(int16_t)cursor_u16(c));
		return true;
	case OP_CONST4U:
		push(m, cursor_u32(c));
		return true;
	case OP_CONST4S:
		push(m, (uint64_t)(int64_t)(int32_t)cursor_u32(c));
		return true;
	case OP_CONSTU:
		push(m, cursor_uleb(c));
		return true;
	case OP_CONSTS:
		push(m, (uint64_t)cursor_sleb(c));
		return true;
	}
	return false;
}

/* Two values become one. Returns false if op is none of these. */
static bool binary(struct machine *m, uint8_t op)
{
	if (op != OP_AND && op != OP_MINUS && op != OP_MUL && (op < OP_OR || op > OP_NE))
		return false;
	if (op == OP_PLUS_UCONST || op == OP_BRA)
		return false;
	uint64_t b = pop(m), a = pop(m);
	int64_t sa = (int64_t)a, sb = (int64_t)b;

	switch (op) {
	case OP_AND:
		push(m, a & b);
		break;
	case OP_MINUS:
		push(m, a - b);
		break;
	case OP_MUL:
		push(m, a * b);
		break;
	case OP_OR:
		push(m, a | b);
		break;
	case OP_PLUS:
		push(m, a + b);
		break;
	case OP_SHL:
		push(m, b < 64 ? a << b : 0);
		break;
	case OP_SHR:
		push(m, b < 64 ? a >> b : 0);
		break;
	case OP_SHRA:
		push(m, (uint64_t)(sa >> (b < 64 ? b : 63)));
		break;
	case OP_XOR:
		push(m, a ^ b);
		break;
	case OP_EQ:
		push(m, a == b);
		break;
	case OP_GE:
		push(m, sa >= sb);
		break;
	case OP_GT:
		push(m, sa > sb);
		break;
	case OP_LE:
		push(m, sa <= sb);
		break;
	case OP_LT:
		push(m, sa < sb);
		break;
	default:
		push(m, a != b);
	}
	return true;
}

static void jump(struct machine *m, int16_t by, bool taken)
{
	if (taken && !cursor_seek(&m->c, cursor_offset(&m->c) + (size_t)(ptrdiff_t)by))
		m->failed = EVALUATE_UNKNOWN;
}

static void shuffle(struct machine *m, uint8_t op)
{
	uint64_t a, v;

	switch (op) {
	case OP_DUP:
		push(m, pick(m, 0));
		break;
	case OP_DROP:
		pop(m);
		break;
	case OP_OVER:
		push(m, pick(m, 1));
		break;
	case OP_PICK:
		push(m, pick(m, cursor_u8(&m->c)));
		break;
	case OP_SWAP:
		a = pop(m);
		v = pop(m);
		push(m, a);
		push(m, v);
		break;
	case OP_NEG:
		push(m, 0 - pop(m));
		break;
	case OP_NOT:
		push(m, ~pop(m));
		break;
	case OP_ABS:
		v = pop(m);
		push(m, (int64_t)v < 0 ? 0 - v : v);
		break;
	case OP_NOP:
		break;
	default:
		m->failed = EVALUATE_UNKNOWN;
	}
}

static void operate(struct machine *m, uint8_t op)
{
	uint64_t v;
	int16_t by;

	if (constant(m, op) || binary(m, op))
		return;
	if (op >= OP_BREG0 && op <= OP_BREG31) {
		v = reg(m, op - OP_BREG0);
		push(m, v + (uint64_t)cursor_sleb(&m->c));
		return;
	}
	switch (op) {
	case OP_BREGX:
		v = reg(m, cursor_uleb(&m->c));
		push(m, v + (uint64_t)cursor_sleb(&m->c));
		break;
	case OP_DEREF:
		v = pop(m);
		if (!m->failed && !m->mem->read(m->mem->arg, v, &v))
			m->failed = EVALUATE_READ;
		push(m, v);
		break;
	case OP_PLUS_UCONST:
		v = pop(m);
		push(m, v + cursor_uleb(&m->c));
		break;
	case OP_SKIP:
		by = (int16_t)cursor_u16(&m->c);
		jump(m, by, true);
		break;
	case OP_BRA:
		by = (int16_t)cursor_u16(&m->c);
		jump(m, by, pop(m) != 0);
		break;
	default:
		shuffle(m, op);
	}
}

struct expression {
	const uint8_t *bytes;
	size_t len;
	const uint64_t *initial; // pushed first, NULL: nothing
};

static enum evaluate_result evaluate(const struct expression *e, const struct evaluate_regs *regs,
	const struct evaluate_memory *mem, uint64_t *ret)
{
	struct machine m = {.c = cursor_make(e->bytes, e->len), .regs = regs, .mem = mem};

	if (e->initial)
		push(&m, *e->initial);
	for (unsigned n = 0; cursor_left(&m.c); n++) {
		if (n == EVALUATE_OPS)
			return EVALUATE_UNKNOWN;
		operate(&m, cursor_u8(&m.c));
		if (m.failed || m.c.bad)
			return m.failed ? m.failed : EVALUATE_UNKNOWN;
	}
	*ret = pop(&m);
	return m.failed;
}

struct step {
	const struct evaluate_regs *regs;
	const struct evaluate_memory *mem;
	uint64_t cfa;
};

/* The caller's value of one register. One that has none stays unknown. */
static enum evaluate_result restore(
	const struct step *s, unsigned n, const struct cfi_save *save, struct evaluate_regs *out)
{
	struct expression e = {save->expr, save->len, &s->cfa};
	enum evaluate_result r = EVALUATE_OK;
	uint64_t v = 0, at;

	switch (save->kind) {
	case CFI_UNSPEC:
	case CFI_SAME:
		if (n == CFI_REG_SP && save->kind == CFI_UNSPEC) {
			v = s->cfa;
			break;
		}
		if (n == CFI_REG_RA || !(s->regs->valid >> n & 1))
			return EVALUATE_OK;
		v = s->regs->r[n];
		break;
	case CFI_UNDEF:
		return EVALUATE_OK;
	case CFI_OFFSET:
		at = s->cfa + (uint64_t)save->off;
		if (s->mem->read(s->mem->arg, at, &v))
			break;
		// A slot below sp, where the copied stack begins, was popped: the register has it.
		if (at >= s->regs->r[CFI_REG_SP] || !(s->regs->valid >> n & 1))
			return EVALUATE_READ;
		v = s->regs->r[n];
		break;
	case CFI_VAL_OFFSET:
		v = s->cfa + (uint64_t)save->off;
		break;
	case CFI_REG:
		if (save->off < 0 || save->off >= CFI_REGS || !(s->regs->valid >> save->off & 1))
			return EVALUATE_UNKNOWN;
		v = s->regs->r[save->off];
		break;
	case CFI_EXPR:
		r = evaluate(&e, s->regs, s->mem, &at);
		if (!r && !s->mem->read(s->mem->arg, at, &v))
			r = EVALUATE_READ;
		break;
	default:
		r = evaluate(&e, s->regs, s->mem, &v);
	}
	if (r)
		return r;
	out->r[n] = v;
	out->valid |= 1u << n;
	return EVALUATE_OK;
}

enum evaluate_result evaluate_row(const struct cfi_row *row, const struct evaluate_regs *regs,
	const struct evaluate_memory *mem, struct evaluate_regs *ret)
{
	struct step s = {.regs = regs, .mem = mem};
	struct evaluate_regs out = {.valid = 0};
	enum evaluate_result r;

	if (row->regs[CFI_REG_RA].kind == CFI_UNDEF)
		return EVALUATE_END;
	if (row->cfa == CFI_CFA_REG) {
		if (row->reg >= CFI_REGS || !(regs->valid >> row->reg & 1))
			return EVALUATE_UNKNOWN;
		s.cfa = regs->r[row->reg] + (uint64_t)row->off;
	} else if (row->cfa == CFI_CFA_EXPR) {
		struct expression e = {row->expr, row->len, NULL};

		r = evaluate(&e, regs, mem, &s.cfa);
		if (r)
			return r;
	} else {
		return EVALUATE_UNKNOWN;
	}
	for (unsigned n = 0; n < CFI_REGS; n++) {
		r = restore(&s, n, &row->regs[n], &out);
		// Only the registers that every step needs are worth failing for.
		if (r && (n == CFI_REG_RA || n == CFI_REG_SP))
			return r;
	}
	if (!(out.valid >> CFI_REG_RA & 1) || !(out.valid >> CFI_REG_SP & 1))
		return EVALUATE_UNKNOWN;
	*ret = out;
	return EVALUATE_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Instruction formats: Intel SDM volume 2, chapter 2 and the opcode map of appendix A; only what
 * compilers emit in such functions. */
#include "runtime/accessor.h"

#include <stdbool.h>
#include <string.h>

#include "base/cursor.h"

#define STEPS_MAX 128
#define REG_RAX 0
#define REG_RSP 4
#define REG_RDI 7
#define NREGS 16

struct machine {
	struct accessor_value regs[NREGS];
	struct cursor c;
	uint64_t vaddr; // of c.start
	struct accessor_result *out;
	unsigned taken;
	bool stop_at_call, done, called;
	/* of the instruction at hand */
	bool fs, wide, small; // fs: segment; REX.W; 0x66
	uint8_t rex;
};

/* The r/m operand. */
struct operand {
	bool is_reg;
	unsigned reg; // the other operand's field
	unsigned rm;
	struct accessor_value addr; // of memory, without the segment
};

static struct accessor_value constant(int64_t v)
{
	return (struct accessor_value){.base = ACCESSOR_CONST, .add = v};
}

static struct accessor_value unknown(void)
{
	return (struct accessor_value){.base = ACCESSOR_UNKNOWN};
}

static int64_t plus(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}

static struct accessor_value sum(struct accessor_value a, struct accessor_value b)
{
	struct accessor_value v;

	if (!a.base || !b.base)
		return unknown();
	if (a.base == ACCESSOR_CONST) {
		v = b;
		v.scale = plus(a.scale, b.scale);
		v.add = plus(a.add, b.add);
		return v;
	}
	if (b.base == ACCESSOR_CONST)
		return sum(b, a);
	// The thread pointer and a word of the global offset table: initial-exec TLS.
	if (a.base == ACCESSOR_TP && b.base == ACCESSOR_MEM) {
		v = b;
		v.base = ACCESSOR_MEM_TP;
		v.scale = plus(a.scale, b.scale);
		v.add = plus(a.add, b.add);
		return v;
	}
	if (b.base == ACCESSOR_TP && a.base == ACCESSOR_MEM)
		return sum(b, a);
	return unknown();
}

static struct accessor_value times(struct accessor_value a, int64_t by)
{
	if (a.base != ACCESSOR_CONST)
		return by == 1 ? a : unknown();
	a.scale = (int64_t)((uint64_t)a.scale * (uint64_t)by);
	a.add = (int64_t)((uint64_t)a.add * (uint64_t)by);
	return a;
}

/* The word at an address. fs:0 is the thread pointer itself on every libc, fs:0x10 on glibc (struct
 * pthread's header.self). */
static struct accessor_value load(struct machine *m, struct accessor_value a)
{
	struct accessor_value v = {.addr = a.addr, .inner = a.add, .inner_scale = a.scale};

	if (m->fs)
		a = sum(a, (struct accessor_value){.base = ACCESSOR_TP});
	v.addr = a.addr;
	v.inner = a.add;
	v.inner_scale = a.scale;
	switch (a.base) {
	case ACCESSOR_CONST:
		if (a.scale)
			return unknown();
		return (struct accessor_value){.base = ACCESSOR_MEM, .addr = (uint64_t)a.add};
	case ACCESSOR_TP:
		if (!a.scale && (a.add == 0 || a.add == 0x10))
			return (struct accessor_value){.base = ACCESSOR_TP};
		v.base = ACCESSOR_AT_TP;
		break;
	case ACCESSOR_MEM:
		v.base = a.scale ? ACCESSOR_UNKNOWN : ACCESSOR_AT_MEM;
		break;
	case ACCESSOR_MEM_TP:
		v.base = a.scale ? ACCESSOR_UNKNOWN : ACCESSOR_AT_TP_MEM;
		break;
	case ACCESSOR_BLOCK:
		v.base = a.scale ? ACCESSOR_UNKNOWN : ACCESSOR_AT_BLOCK;
		break;
	case ACCESSOR_AT_TP:
		if (a.inner_scale || !a.scale || a.add)
			return unknown();
		v.base = ACCESSOR_AT_AT_TP;
		v.inner = a.inner;
		break;
	default:
		return unknown();
	}
	if (v.base && v.inner_scale && m->out->nloads < 4)
		m->out->loads[m->out->nloads++] = v;
	return v;
}

static int64_t displacement(struct cursor *c, unsigned bytes)
{
	return bytes == 1 ? (int8_t)cursor_u8(c) : (int32_t)cursor_u32(c);
}

/* ModRM, SIB and displacement; imm: immediate bytes that follow (for addresses relative to the next
 * instruction). */
static struct operand modrm(struct machine *m, unsigned imm)
{
	uint8_t b = cursor_u8(&m->c), mod = b >> 6, sib;
	struct operand o = {.reg = (b >> 3 & 7) | (m->rex & 4) << 1};
	unsigned base = b & 7;
	int64_t disp = 0;

	o.rm = base | (m->rex & 1) << 3;
	if (mod == 3) {
		o.is_reg = true;
		return o;
	}
	o.addr = constant(0);
	if (base == 4) {
		unsigned index;

		sib = cursor_u8(&m->c);
		index = (sib >> 3 & 7) | (m->rex & 2) << 2;
		base = sib & 7;
		if (index != 4)
			o.addr = times(m->regs[index], 1 << (sib >> 6));
		if (base == 5 && mod == 0)
			disp = displacement(&m->c, 4);
		else
			o.addr = sum(o.addr, m->regs[base | (m->rex & 1) << 3]);
	} else if (base == 5 && mod == 0) {
		disp = displacement(&m->c, 4);
		o.addr = constant((int64_t)(m->vaddr + cursor_offset(&m->c) + imm));
	} else {
		o.addr = m->regs[o.rm];
	}
	if (mod)
		disp = displacement(&m->c, mod == 1 ? 1 : 4);
	o.addr = sum(o.addr, constant(disp));
	return o;
}

static struct accessor_value get(struct machine *m, const struct operand *o)
{
	return o->is_reg ? m->regs[o->rm] : load(m, o->addr);
}

static void put(struct machine *m, const struct operand *o, struct accessor_value v)
{
	if (o->is_reg)
		m->regs[o->rm] = v;
}

static void leave(struct machine *m, int how)
{
	m->out->returned = how;
	m->done = true;
}

static void jump(struct machine *m, int64_t disp)
{
	int64_t to = plus((int64_t)cursor_offset(&m->c), disp);

	if (to >= 0 && to < m->c.end - m->c.start) {
		cursor_seek(&m->c, (size_t)to);
		return;
	}
	if (!m->called)
		m->out->arg = m->regs[REG_RDI];
	leave(m, 2);
}

static void branch(struct machine *m, int64_t disp)
{
	unsigned n = m->out->branches++;

	if (n < 32 && m->taken >> n & 1)
		jump(m, disp);
}

/* A call of another function; in thread-local code that of __tls_get_addr or of a TLS descriptor. */
static void call(struct machine *m, const struct operand *through)
{
	struct accessor_value rdi = m->regs[REG_RDI], rax = m->regs[REG_RAX];

	if (!m->called)
		m->out->arg = rdi;
	m->called = true;
	if (m->stop_at_call) {
		leave(m, 2);
		return;
	}
	m->regs[REG_RAX] = unknown();
	if (through && !through->is_reg && through->rm == REG_RAX && rax.base == ACCESSOR_CONST)
		// Descriptor {function, argument}: of static TLS the argument is the offset.
		m->regs[REG_RAX] = (struct accessor_value){
			.base = ACCESSOR_MEM, .addr = (uint64_t)rax.add + 8};
	else if (rdi.base == ACCESSOR_CONST && !rdi.scale)
		m->regs[REG_RAX] =
			(struct accessor_value){.base = ACCESSOR_BLOCK, .addr = (uint64_t)rdi.add};
}

/* 80, 81, 83: arithmetic with an immediate. */
static void group1(struct machine *m, uint8_t op)
{
	unsigned imm = op == 0x81 ? (m->small ? 2 : 4) : 1;
	struct operand o = modrm(m, imm);
	int64_t v = imm == 2 ? (int16_t)cursor_u16(&m->c) : displacement(&m->c, imm);
	unsigned what = o.reg & 7;

	if (what == 7 || (o.is_reg && o.rm == REG_RSP))
		return;
	if (what == 0 || what == 5)
		put(m, &o, sum(get(m, &o), constant(what ? -v : v)));
	else
		put(m, &o, unknown());
}

static void shift(struct machine *m)
{
	struct operand o = modrm(m, 1);
	uint8_t n = cursor_u8(&m->c);

	put(m, &o, (o.reg & 7) == 4 && n < 16 ? times(get(m, &o), 1 << n) : unknown());
}

static void group5(struct machine *m)
{
	struct operand o = modrm(m, 0);

	if ((o.reg & 7) == 2)
		call(m, &o);
	else if ((o.reg & 7) == 4)
		jump(m, INT32_MAX);
	else
		put(m, &o, unknown());
}

static void two_byte(struct machine *m)
{
	uint8_t op = cursor_u8(&m->c);
	struct operand o;

	if (op >= 0x80 && op <= 0x8f) {
		branch(m, displacement(&m->c, 4));
	} else if (op == 0x1e || op == 0x1f) { // endbr64, nop
		modrm(m, 0);
	} else if (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf || (op & 0xf0) == 0x40) {
		o = modrm(m, 0);
		m->regs[o.reg] = unknown();
	} else {
		m->done = true;
	}
}

static void one_byte(struct machine *m, uint8_t op)
{
	struct operand o;

	switch (op) {
	case 0x01: // add r/m, r
		o = modrm(m, 0);
		put(m, &o, sum(get(m, &o), m->regs[o.reg]));
		return;
	case 0x03: // add r, r/m
		o = modrm(m, 0);
		m->regs[o.reg] = sum(m->regs[o.reg], get(m, &o));
		return;
	case 0x31:
	case 0x33:
		o = modrm(m, 0);
		m->regs[op == 0x31 && o.is_reg ? o.rm : o.reg] =
			o.is_reg && o.rm == o.reg ? constant(0) : unknown();
		return;
	case 0x38:
	case 0x39:
	case 0x3a:
	case 0x3b:
	case 0x84:
	case 0x85:
		modrm(m, 0);
		return;
	case 0x63: // movsxd
	case 0x8b:
		o = modrm(m, 0);
		m->regs[o.reg] = get(m, &o);
		return;
	case 0x89:
		o = modrm(m, 0);
		put(m, &o, m->regs[o.reg]);
		return;
	case 0x8d:
		o = modrm(m, 0);
		m->regs[o.reg] = o.addr;
		return;
	case 0xc1:
		shift(m);
		return;
	case 0xc7: {
		o = modrm(m, 4);
		put(m, &o, constant(displacement(&m->c, 4)));
		return;
	}
	case 0xf6:
	case 0xf7:
		o = modrm(m, op == 0xf6 ? 1 : 4);
		if ((o.reg & 7) > 1)
			m->done = true;
		else
			cursor_skip(&m->c, op == 0xf6 ? 1 : 4);
		return;
	case 0xff:
		group5(m);
		return;
	default:
		m->done = true;
	}
}

static void execute(struct machine *m, uint8_t op)
{
	unsigned low = (op & 7) | (m->rex & 1) << 3;

	if (op == 0x0f)
		two_byte(m);
	else if (op >= 0x70 && op <= 0x7f)
		branch(m, displacement(&m->c, 1));
	else if (op >= 0x50 && op <= 0x57) // push
		return;
	else if (op >= 0x58 && op <= 0x5f)
		m->regs[low] = unknown();
	else if (op >= 0xb8 && op <= 0xbf)
		m->regs[low] =
			constant(m->wide ? (int64_t)cursor_u64(&m->c) : (int64_t)cursor_u32(&m->c));
	else if (op == 0x80 || op == 0x81 || op == 0x83)
		group1(m, op);
	else if (op == 0xe8) {
		cursor_skip(&m->c, 4);
		call(m, NULL);
	} else if (op == 0xe9)
		jump(m, displacement(&m->c, 4));
	else if (op == 0xeb)
		jump(m, displacement(&m->c, 1));
	else if (op == 0xc3) {
		m->out->ret = m->regs[REG_RAX];
		leave(m, 1);
	} else if (op != 0x90)
		one_byte(m, op);
}

static void step(struct machine *m)
{
	uint8_t op;

	m->fs = m->wide = m->small = false;
	m->rex = 0;
	for (unsigned i = 0; i < 8; i++) {
		op = cursor_u8(&m->c);
		if (op == 0x64)
			m->fs = true;
		else if (op == 0x66)
			m->small = true;
		else if (op >= 0x40 && op <= 0x4f)
			m->rex = op;
		else if (op != 0xf2 && op != 0xf3 && op != 0x2e && op != 0x3e)
			break;
	}
	m->wide = m->rex & 8;
	if (m->c.bad)
		m->done = true;
	else
		execute(m, op);
}

void accessor_run(const struct accessor_code *code, unsigned taken, int stop_at_call,
	struct accessor_result *ret)
{
	struct machine m = {
		.c = cursor_make(code->bytes, code->len),
		.vaddr = code->vaddr,
		.out = ret,
		.taken = taken,
		.stop_at_call = stop_at_call,
	};

	memset(ret, 0, sizeof(*ret));
	m.regs[REG_RDI] = (struct accessor_value){.base = ACCESSOR_CONST, .scale = 1};
	for (unsigned i = 0; i < STEPS_MAX && !m.done; i++)
		step(&m);
}

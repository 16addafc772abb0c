/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/insn.h"

#include <string.h>

#define RSP 4
#define RBP 5

/* What follows an opcode. */
enum shape {
	NONE_ = 0,
	M, // ModRM
	MB, // ModRM, imm8
	MZ, // ModRM, imm32 (16 with 66)
	B, // imm8
	Z, // imm32 (16 with 66)
	X, // invalid in 64-bit mode, or looked at apart
	P, // prefix
};

/* The one-byte map, 16 opcodes a line. */
static const uint8_t shapes[256] = {
	M, M, M, M, B, Z, X, X, M, M, M, M, B, Z, X, X, // 00
	M, M, M, M, B, Z, X, X, M, M, M, M, B, Z, X, X, // 10
	M, M, M, M, B, Z, P, X, M, M, M, M, B, Z, P, X, // 20
	M, M, M, M, B, Z, P, X, M, M, M, M, B, Z, P, X, // 30
	P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, // 40
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 50
	X, X, X, M, P, P, P, P, Z, MZ, B, MB, 0, 0, 0, 0, // 60
	B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, // 70
	MB, MZ, X, MB, M, M, M, M, M, M, M, M, M, M, M, M, // 80
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, X, 0, 0, 0, 0, 0, // 90
	X, X, X, X, 0, 0, 0, 0, B, Z, 0, 0, 0, 0, 0, 0, // a0
	B, B, B, B, B, B, B, B, X, X, X, X, X, X, X, X, // b0
	MB, MB, X, 0, X, X, MB, MZ, X, 0, X, 0, 0, B, X, 0, // c0
	M, M, M, M, X, X, X, 0, M, M, M, M, M, M, M, M, // d0
	B, B, B, B, B, B, B, B, Z, Z, X, B, 0, 0, 0, 0, // e0
	P, 0, P, P, 0, 0, M, M, 0, 0, 0, 0, 0, 0, M, M, // f0
};

struct decoder {
	const uint8_t *p;
	size_t n, at;
	uint8_t rex;
	bool narrow, addr32; // 66, 67
	uint8_t map; // 0: one-byte; 1: 0f; 2: 0f 38; 3: 0f 3a
	bool vector; // VEX or EVEX
	uint8_t op;
	bool has_modrm;
	uint8_t modrm, sib;
	int32_t disp;
};

static bool take(struct decoder *d, uint8_t *ret)
{
	if (d->at >= d->n)
		return false;
	*ret = d->p[d->at++];
	return true;
}

static bool take_int(struct decoder *d, unsigned size, int32_t *ret)
{
	uint32_t v = 0;

	if (d->n - d->at < size)
		return false;
	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)d->p[d->at + i] << 8 * i;
	*ret = size == 1 ? (int8_t)v : size == 2 ? (int16_t)v : (int32_t)v;
	d->at += size;
	return true;
}

static bool take_modrm(struct decoder *d)
{
	uint8_t mod, rm;

	if (!take(d, &d->modrm))
		return false;
	d->has_modrm = true;
	mod = d->modrm >> 6;
	rm = d->modrm & 7;
	if (mod == 3)
		return true;
	if (rm == 4 && !take(d, &d->sib))
		return false;
	if (mod == 1)
		return take_int(d, 1, &d->disp);
	if (mod == 2 || rm == 5 || (rm == 4 && (d->sib & 7) == 5))
		return take_int(d, 4, &d->disp);
	return true;
}

static bool take_prefixes(struct decoder *d)
{
	while (take(d, &d->op)) {
		if (shapes[d->op] != P)
			return true;
		if ((d->op & 0xf0) == 0x40) {
			// A REX prefix counts only right before the opcode.
			d->rex = d->op;
			continue;
		}
		d->rex = 0;
		d->narrow |= d->op == 0x66;
		d->addr32 |= d->op == 0x67;
	}
	return false;
}

static bool take_vector(struct decoder *d)
{
	unsigned more = d->op == 0xc5 ? 1 : d->op == 0xc4 ? 2 : 3;

	if (d->n - d->at < more + 1u)
		return false;
	d->map = d->op == 0xc5 ? 1 : d->p[d->at] & (d->op == 0xc4 ? 31 : 7);
	d->vector = true;
	d->at += more;
	return take(d, &d->op);
}

static enum shape shape_0f(const struct decoder *d)
{
	switch (d->op) {
	case 0x05 ... 0x09:
	case 0x0b:
	case 0x0e:
	case 0x30 ... 0x37:
	case 0x77:
	case 0xa0 ... 0xa2:
	case 0xa8 ... 0xaa:
	case 0xc8 ... 0xcf:
		return d->vector && d->op != 0x77 ? M : NONE_;
	case 0x80 ... 0x8f:
		return d->vector ? M : Z;
	case 0x0f:
	case 0x70 ... 0x73:
	case 0xa4:
	case 0xac:
	case 0xba:
	case 0xc2:
	case 0xc4 ... 0xc6:
		return MB;
	default:
		return M;
	}
}

static enum shape shape_of(const struct decoder *d)
{
	if (d->map == 1)
		return shape_0f(d);
	return d->map == 2 ? M : d->map == 3 ? MB : d->map ? X : (enum shape)shapes[d->op];
}

/* Bytes of what follows the opcodes that the table marks X. -1: invalid. */
static int odd_size(const struct decoder *d)
{
	if (d->op >= 0xb8 && d->op <= 0xbf)
		return d->rex & 8 ? 8 : d->narrow ? 2 : 4;
	if (d->op >= 0xa0 && d->op <= 0xa3)
		return d->addr32 ? 4 : 8;
	if (d->op == 0xc2 || d->op == 0xca)
		return 2;
	return d->op == 0xc8 ? 3 : -1;
}

static bool take_rest(struct decoder *d, int32_t *ret_imm)
{
	enum shape shape = shape_of(d);
	bool wide;
	int odd;

	if (shape == X) {
		odd = d->map ? -1 : odd_size(d);
		if (odd < 0 || d->n - d->at < (size_t)odd)
			return false;
		d->at += (size_t)odd;
		return true;
	}
	if ((shape == M || shape == MB || shape == MZ) && !take_modrm(d))
		return false;
	// test r/m, imm
	if (!d->map && (d->op == 0xf6 || d->op == 0xf7) && (d->modrm >> 3 & 7) < 2)
		shape = d->op == 0xf6 ? MB : MZ;
	if (shape == MB || shape == B)
		return take_int(d, 1, ret_imm);
	// Branches are 32 bits wide whatever the prefix says.
	wide = !d->narrow || d->map || d->op == 0xe8 || d->op == 0xe9;
	return shape == MZ || shape == Z ? take_int(d, wide ? 4 : 2, ret_imm) : true;
}

static uint8_t reg_of(const struct decoder *d)
{
	return (d->modrm >> 3 & 7) | (d->rex & 4 ? 8 : 0);
}

/* The register that r/m names, or INSN_REG_NONE for memory. */
static uint8_t rm_reg(const struct decoder *d)
{
	if (d->modrm >> 6 != 3)
		return INSN_REG_NONE;
	return (d->modrm & 7) | (d->rex & 1 ? 8 : 0);
}

/* Memory at disp(base) without index? */
static bool is_base(const struct decoder *d, uint8_t base)
{
	uint8_t mod = d->modrm >> 6, rm = d->modrm & 7;

	if (mod == 3 || (d->rex & 1))
		return false;
	if (base == RSP)
		return rm == 4 && d->sib == 0x24 && !(d->rex & 2);
	return rm == base && mod != 0;
}

static void judge_lea(const struct decoder *d, struct insn *ret)
{
	if (reg_of(d) != RSP) {
		if (d->modrm >> 6 == 0 && (d->modrm & 7) == 5) {
			ret->kind = INSN_LEA_CODE;
			ret->arg = d->disp;
		}
		return;
	}
	ret->kind = is_base(d, RSP)   ? INSN_ADD_SP
		    : is_base(d, RBP) ? INSN_SP_FROM_FP
				      : INSN_SP_LOST;
	ret->arg = d->disp;
}

static void judge_mov(const struct decoder *d, struct insn *ret)
{
	uint8_t to = d->op == 0x89 ? rm_reg(d) : reg_of(d);
	uint8_t from = d->op == 0x89 ? reg_of(d) : rm_reg(d);

	if (to == RSP)
		ret->kind = from == RBP ? INSN_SP_FROM_FP : INSN_SP_LOST;
	else if (to == RBP && from == RSP)
		ret->kind = INSN_FP_SET;
}

/* add, or, adc, sbb, and, sub, xor (not cmp) with rsp as what is written. */
static void judge_arithmetic(const struct decoder *d, int32_t imm, struct insn *ret)
{
	uint8_t what = d->op < 0x40 ? d->op >> 3 : d->modrm >> 3 & 7;
	bool to_reg = d->op < 0x40 && (d->op & 2);

	if (what == 7 || (to_reg ? reg_of(d) : rm_reg(d)) != RSP)
		return;
	ret->kind = INSN_SP_LOST;
	if (d->op < 0x40 || (what != 0 && what != 5) || !(d->rex & 8))
		return;
	ret->kind = INSN_ADD_SP;
	ret->arg = what == 0 ? imm : -imm;
}

static void judge_ff(const struct decoder *d, struct insn *ret)
{
	switch (d->modrm >> 3 & 7) {
	case 0:
	case 1:
		if (rm_reg(d) == RSP)
			ret->kind = INSN_SP_LOST;
		break;
	case 2:
	case 3:
		ret->kind = INSN_CALL;
		break;
	case 6:
		ret->kind = INSN_PUSH;
		break;
	default:
		ret->kind = INSN_STOP;
		break;
	}
}

static void judge_direct(enum insn_kind kind, int32_t imm, struct insn *ret)
{
	ret->kind = kind;
	ret->direct = true;
	ret->arg = imm;
}

static void judge_one_byte(const struct decoder *d, int32_t imm, struct insn *ret)
{
	switch (d->op) {
	case 0x00 ... 0x3f:
		if (d->has_modrm)
			judge_arithmetic(d, imm, ret);
		break;
	case 0x50 ... 0x5f:
		ret->kind = d->op < 0x58 ? INSN_PUSH : INSN_POP;
		ret->reg = (d->op & 7) | (d->rex & 1 ? 8 : 0);
		if (d->narrow || d->op == 0x5c)
			ret->kind = d->op == 0x5c && (d->rex & 1) ? INSN_POP : INSN_SP_LOST;
		break;
	case 0x68:
	case 0x6a:
	case 0x9c:
		ret->kind = INSN_PUSH;
		break;
	case 0x9d:
		ret->kind = INSN_POP;
		break;
	case 0x70 ... 0x7f:
	case 0xe0 ... 0xe3:
		judge_direct(INSN_BRANCH, imm, ret);
		break;
	case 0x80 ... 0x83:
		judge_arithmetic(d, imm, ret);
		break;
	case 0x87:
		if (reg_of(d) == RSP || rm_reg(d) == RSP)
			ret->kind = INSN_SP_LOST;
		break;
	case 0x89:
	case 0x8b:
		judge_mov(d, ret);
		break;
	case 0x8d:
		judge_lea(d, ret);
		break;
	case 0x8f:
		ret->kind = rm_reg(d) == RSP ? INSN_SP_LOST : INSN_POP;
		break;
	case 0x90:
		ret->kind = INSN_NOP;
		break;
	case 0x94:
	case 0xc8:
		ret->kind = d->rex & 1 && d->op == 0x94 ? INSN_PLAIN : INSN_SP_LOST;
		break;
	case 0xc3:
		ret->kind = INSN_RET;
		break;
	case 0xc9:
		ret->kind = INSN_LEAVE;
		break;
	case 0xc2:
	case 0xca ... 0xcc:
	case 0xcf:
	case 0xf4:
		ret->kind = INSN_STOP;
		break;
	case 0xe8:
		judge_direct(INSN_CALL, imm, ret);
		break;
	case 0xe9:
	case 0xeb:
		judge_direct(INSN_JUMP, imm, ret);
		break;
	case 0xff:
		judge_ff(d, ret);
		break;
	default:
		break;
	}
}

static void judge_0f(const struct decoder *d, int32_t imm, struct insn *ret)
{
	if (d->op == 0x0b || d->op == 0xff)
		ret->kind = INSN_STOP;
	else if (d->op == 0x1f)
		ret->kind = INSN_NOP;
	else if (d->op >= 0x80 && d->op <= 0x8f)
		judge_direct(INSN_BRANCH, imm, ret);
	else if (d->op == 0xa0 || d->op == 0xa8)
		ret->kind = INSN_PUSH;
	else if (d->op == 0xa1 || d->op == 0xa9)
		ret->kind = INSN_POP;
	else if (d->op >= 0x40 && d->op <= 0x4f && reg_of(d) == RSP)
		ret->kind = INSN_SP_LOST;
}

bool insn_decode(const uint8_t *p, size_t n, struct insn *ret)
{
	struct decoder d = {.p = p, .n = n < INSN_BYTES_MAX ? n : INSN_BYTES_MAX};
	int32_t imm = 0;

	*ret = (struct insn){.reg = INSN_REG_NONE};
	if (!take_prefixes(&d))
		return false;
	if (d.op == 0xc4 || d.op == 0xc5 || d.op == 0x62) {
		if (!take_vector(&d))
			return false;
	} else if (d.op == 0x0f) {
		if (!take(&d, &d.op))
			return false;
		d.map = d.op == 0x38 ? 2 : d.op == 0x3a ? 3 : 1;
		if (d.map > 1 && !take(&d, &d.op))
			return false;
	}
	if (!take_rest(&d, &imm))
		return false;
	ret->len = (uint8_t)d.at;
	if (d.map == 0 && !d.vector)
		judge_one_byte(&d, imm, ret);
	else if (d.map == 1 && !d.vector)
		judge_0f(&d, imm, ret);
	return true;
}

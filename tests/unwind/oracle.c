/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unwind/oracle.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <libelf.h>
#include <stdlib.h>
#include <unistd.h>

struct oracle {
	int fd;
	Elf *elf;
	Dwarf_CFI *cfi;
};

struct oracle *oracle_open(const char *path)
{
	struct oracle *o = calloc(1, sizeof(*o));

	elf_version(EV_CURRENT);
	o->fd = open(path, O_RDONLY | O_CLOEXEC);
	o->elf = o->fd < 0 ? NULL : elf_begin(o->fd, ELF_C_READ_MMAP, NULL);
	o->cfi = o->elf ? dwarf_getcfi_elf(o->elf) : NULL;
	if (o->cfi)
		return o;
	oracle_close(o);
	return NULL;
}

void oracle_close(struct oracle *o)
{
	if (!o)
		return;
	if (o->cfi)
		dwarf_cfi_end(o->cfi);
	if (o->elf)
		elf_end(o->elf);
	if (o->fd >= 0)
		close(o->fd);
	free(o);
}

/* "CFA + n" as libdw writes it. */
static bool is_cfa_offset(const Dwarf_Op *ops, size_t n, int64_t *ret)
{
	if (n == 1 && ops[0].atom == DW_OP_call_frame_cfa) {
		*ret = 0;
		return true;
	}
	if (n == 2 && ops[0].atom == DW_OP_call_frame_cfa && ops[1].atom == DW_OP_plus_uconst) {
		*ret = (int64_t)ops[1].number;
		return true;
	}
	return false;
}

static void ask_fp(Dwarf_Frame *frame, struct oracle_answer *a)
{
	Dwarf_Op mem[3], *ops;
	size_t n;

	a->fp = UW_SAVE_REG;
	if (dwarf_frame_register(frame, 6, mem, &ops, &n))
		return;
	if (!n && !ops)
		a->fp = UW_SAVE_SAME; // ABI default for a callee-saved register
	else if (!n && ops == mem)
		a->fp = UW_SAVE_UNDEF;
	else if (is_cfa_offset(ops, n, &a->fp_off))
		a->fp = UW_SAVE_CFA;
}

void oracle_ask(struct oracle *o, uint64_t vaddr, struct oracle_answer *ret)
{
	struct oracle_answer a = {0};
	Dwarf_Op mem[3], *ops;
	Dwarf_Frame *frame;
	Dwarf_Addr start, end;
	bool signal;
	size_t n;

	*ret = a;
	if (dwarf_cfi_addrframe(o->cfi, vaddr, &frame))
		return;
	int ra = dwarf_frame_info(frame, &start, &end, &signal);

	a.covered = true;
	if (!dwarf_frame_register(frame, ra, mem, &ops, &n)) {
		a.end = !n && ops == mem;
		a.ra_simple = is_cfa_offset(ops, n, &a.ra_off);
	}
	if (!dwarf_frame_cfa(frame, &ops, &n) && n == 1 && ops[0].atom == DW_OP_bregx) {
		a.simple = true;
		a.reg = (unsigned)ops[0].number;
		a.off = (int64_t)ops[0].number2;
	}
	ask_fp(frame, &a);
	free(frame);
	*ret = a;
}

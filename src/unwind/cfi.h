/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/cfi.h -- call frame information: entries of .eh_frame and .debug_frame, and the machine
 * that runs their programs.
 *
 * Works over byte arrays alone: no file, no pid. Format: DWARF 5 section 6.4; .eh_frame and the
 * pointer encodings: LSB core 5.0 section 10.6. Registers are DWARF numbers of x86-64 (psABI figure
 * 3.36); rules of registers past 16 are parsed and dropped. All input is hostile. Any thread. */
#ifndef GP_UNWIND_CFI_H
#define GP_UNWIND_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CFI_REGS 17
#define CFI_REG_BP 6
#define CFI_REG_SP 7
#define CFI_REG_RA 16
#define CFI_INIT_MAX 256 // bytes of a CIE's initial instructions
#define CFI_DEPTH_MAX 16 // DW_CFA_remember_state
#define CFI_OPS_MAX 200000 // instructions an FDE

/* A section of call frame information, as loaded. */
struct cfi_section {
	uint64_t vaddr; // of its first byte
	bool eh; // .eh_frame, else .debug_frame
};

/* What stands at the start of every entry. */
struct cfi_head {
	uint64_t size; // whole entry, length field included; 0: terminator
	uint64_t cie; // offset in the section of the FDE's CIE
	uint32_t body; // offset of what follows the CIE id or pointer
	bool is_cie;
};

struct cfi_cie {
	uint64_t code_align;
	int64_t data_align;
	uint32_t ra_reg;
	uint8_t fde_enc; // DW_EH_PE_* of FDE addresses
	bool has_data; // augmentation 'z'
	bool signal; // augmentation 'S'
	uint16_t ninit;
	uint8_t init[CFI_INIT_MAX];
};

struct cfi_fde {
	uint64_t start, end; // virtual addresses
	const uint8_t *program; // inside the bytes given
	size_t len;
};

enum cfi_save_kind {
	CFI_UNSPEC = 0, // nothing said: same value, except for the stack pointer, which is the CFA
	CFI_SAME,
	CFI_UNDEF,
	CFI_OFFSET, // *(CFA + off)
	CFI_VAL_OFFSET, // CFA + off
	CFI_REG, // in register off
	CFI_EXPR, // *(expression, CFA pushed first)
	CFI_VAL_EXPR, // expression
};

struct cfi_save {
	uint8_t kind; // enum cfi_save_kind
	uint16_t len; // of expr
	union {
		int64_t off;
		const uint8_t *expr;
	};
};

enum cfi_cfa_kind {
	CFI_CFA_NONE = 0,
	CFI_CFA_REG,
	CFI_CFA_EXPR,
};

struct cfi_row {
	uint8_t cfa; // enum cfi_cfa_kind
	uint16_t len; // of expr
	uint32_t reg;
	int64_t off;
	const uint8_t *expr;
	struct cfi_save regs[CFI_REGS];
};

/* Reads the head of the entry at `off` of its section; data begins there, len bytes are at hand (at
 * least 24, or up to the section's end). Return 0 or -EINVAL. */
int cfi_parse_head(const uint8_t *data, size_t len, const struct cfi_section *s, uint64_t off,
	struct cfi_head *ret);

/* Bytes of a whole entry and where it stands in its section. */
struct cfi_entry {
	const uint8_t *data;
	size_t len;
	uint64_t off;
	struct cfi_head head;
};

/* Return 0, -EINVAL hostile, -ENOTSUP a version, augmentation or encoding that is not known. */
int cfi_parse_cie(const struct cfi_entry *e, const struct cfi_section *s, struct cfi_cie *ret);
int cfi_parse_fde(const struct cfi_entry *e, const struct cfi_section *s, const struct cfi_cie *cie,
	struct cfi_fde *ret);

/* Called for each range of addresses with one state, ascending; a non-zero return ends the run. */
typedef int (*cfi_row_fn)(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row);
/* Runs the program. Expressions in rows point into cie->init and fde->program. Return 0, what fn
 * returned, -EINVAL hostile (rows up to there were reported). */
int cfi_run(const struct cfi_cie *cie, const struct cfi_fde *fde, cfi_row_fn fn, void *arg);

#endif

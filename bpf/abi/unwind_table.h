/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/unwind_table.h -- the unwind tables, as they lie in memory that user space writes and the
 * walkers read (BPF: mmapable array maps; without BPF: ordinary memory).
 *
 * Tables are kept by file and 64 KiB page of FILE OFFSET (not of virtual address), so that a
 * mapping record (start, pgoff) is enough to find them and no ELF file need be opened before a
 * sample lands in it. docs/notes/0002 tells the layout and what it was chosen against.
 *
 *   uw_maps   blocks of struct uw_mapping, one block a process, sorted by start
 *   uw_dir    one u32 a page of a module: UW_DIR_ABSENT, or offset into uw_pool / UW_POOL_ALIGN
 *   uw_used   one byte a uw_dir entry: the walker stores the current epoch, eviction reads it
 *   uw_pool   page tables, struct uw_page
 *   uw_rules  distinct rules of the whole machine
 *   uw_recent what walkers looked up lately
 */
#ifndef GP_ABI_UNWIND_TABLE_H
#define GP_ABI_UNWIND_TABLE_H

#include "bpf/abi/types.h"

#define UW_PAGE_SHIFT 16
#define UW_PAGE_BYTES (1u << UW_PAGE_SHIFT)
#define UW_BLOCKS 256 // 256-byte blocks a page
/* A map value is at most 4 MiB in older kernels (Linux 5.10: array_map_alloc_check(), KMALLOC_MAX_SIZE): the
 * pool is an array of these, one after the other in memory. No page table crosses their bounds. */
#define UW_POOL_SEGMENT_BYTES (4u << 20)
#define UW_POOL_SEGMENTS 2
#define UW_POOL_BYTES (UW_POOL_SEGMENTS * UW_POOL_SEGMENT_BYTES)
#define UW_POOL_ALIGN 64 // of a page table
#define UW_DIR_ENTRIES (1u << 18)
#define UW_RULE_BITS 14
#define UW_RULES (1u << UW_RULE_BITS)
#define UW_RECENT_BITS 13
#define UW_RECENT (1u << UW_RECENT_BITS)
#define UW_RECENT_MAPS_BITS 12
#define UW_RECENT_MAPS (1u << UW_RECENT_MAPS_BITS)
#define UW_MAPS (1u << 16)
#define UW_MAPS_PER_PROCESS (1u << 12)
#define UW_PROCESSES (1u << 15)

#define UW_DIR_ABSENT 0u // not loaded: hand the sample to user space
/* Offset 0 of the pool is never a table. */

/* What the canonical frame address of a row is (the CFA, DWARF 5 section 6.4). */
enum uw_cfa {
	UW_CFA_NONE = 0, // no unwind information here: frame pointer
	UW_CFA_REG, // reg + cfa_off
	UW_CFA_DEREF, // *(reg + cfa_off) + aux
	UW_CFA_PLT, // sp + 8 + ((pc & 15) >= aux) * 8: GNU ld's PLT expression
	UW_CFA_SIGNAL, // rt_sigframe at sp
	UW_CFA_END, // the thread's first frame: return address undefined
	UW_CFA_COMPLEX, // user space only
	UW_CFA_FP, // known to keep a frame pointer (Go): step by it
};

/* Where the caller's frame pointer or return address is. */
enum uw_save {
	UW_SAVE_SAME = 0, // still in the register (fp); at CFA - 8 (ra)
	UW_SAVE_CFA, // *(CFA + off)
	UW_SAVE_UNDEF,
	UW_SAVE_REG, // in register `off` (DWARF number): vfork keeps its return address in rdi
	UW_SAVE_FP, // *(fp + off), fp of this frame: realigned frames (fp only); unknown = complex
};

struct uw_rule {
	__u8 cfa; // enum uw_cfa
	__u8 reg; // DWARF number of the CFA's base register
	__u8 fp; // enum uw_save
	__u8 ra; // enum uw_save
	__s32 cfa_off;
	__s16 fp_off;
	__s16 ra_off;
	__s32 aux;
};
ABI_SIZE(struct uw_rule, 16);

/* A page table; followed by `dict` (u16 rule numbers) and `rows` (u8 low address byte, u8 index into
 * dict), each at the offset said here, in bytes from the start of the struct. Row 0 always stands
 * for address 0 of the page: the rule in force there, so that no lookup leaves the page.
 * The rule of an address is that of the last row at or before it. Rows of block b are
 * [index[b], index[b + 1]); if none of them is low enough, row index[b] - 1 holds. */
struct uw_page {
	__u16 dict;
	__u16 rows;
	__u32 size; // bytes of the whole table
	__u16 index[UW_BLOCKS + 2]; // index[UW_BLOCKS] = number of rows
};
ABI_SIZE(struct uw_page, 8 + 2 * (UW_BLOCKS + 2));

/* What walkers looked up lately. Stacks differ at their leaves: the return addresses further out are the
 * same sample after sample, and a line of this saves the half dozen that a look-up reads, all of them
 * cold beside programs that work. Walkers read and write entries at any time, each by one access. */
struct uw_recent {
	/* UW_RECENT_KEY << UW_RULE_BITS | rule; 0 is none, as directory entry 0 is never used. User space
	 * empties it where an address begins to mean something else, and once an epoch: what is in
	 * use is then marked in uw_used again. */
	__u64 rules[UW_RECENT];
	/* Indices into uw_maps: hints, each is checked against the process's own block and the bounds of
	 * the mapping. */
	__u16 maps[UW_RECENT_MAPS];
};
#define UW_RECENT_KEY(at, off) ((__u64)(at) << UW_PAGE_SHIFT | ((off) & (UW_PAGE_BYTES - 1)))
#define UW_RECENT_HASH(key, bits) ((key)*0x9e3779b97f4a7c15ull >> (64 - (bits)))
ABI_SIZE(struct uw_recent, 8 * UW_RECENT + 2 * UW_RECENT_MAPS);

enum uw_mapping_flags {
	UW_MAP_FILE = 1 << 0, // has tables: dir is valid
	UW_MAP_RUNTIME = 1 << 1, // an interpreter's code lies here: runtime number in `runtime`
};

/* An executable mapping. The file offset of pc is pc - start + pgoff; its directory entry is
 * uw_dir[dir + (offset >> UW_PAGE_SHIFT)] (32-bit wrap-around is meant). */
struct uw_mapping {
	__u64 start;
	__u64 end;
	__u64 pgoff; // bytes
	__u32 dir;
	__u8 flags; // enum uw_mapping_flags
	__u8 runtime;
	__u16 pad;
};
ABI_SIZE(struct uw_mapping, 32);

/* Value of the process hash (key: u32 pid). */
struct uw_process {
	__u32 first; // index of the process's block in uw_maps
	__u32 count;
	__u32 runtime; // bit set of runtimes found in it
	__u32 seen; // 1: it was sampled before; the kernel's walker writes it, too
};
ABI_SIZE(struct uw_process, 16);

#endif

/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* abi/python.h -- what the CPython walker is told of a process, and what its frames say.
 *
 * Offsets are bytes inside CPython's structures; they come from src/runtime/python/offsets. Walked
 * structures: PyThreadState, _PyCFrame (3.11, 3.12), PyFrameObject (to 3.10) or _PyInterpreterFrame
 * (from 3.11), PyCodeObject. */
#ifndef GP_ABI_PYTHON_H
#define GP_ABI_PYTHON_H

#include "bpf/abi/record.h"

#define PY_EVAL_RANGES REC_EVAL_RANGES // the eval function and its outlined parts
#define PY_LAYOUTS 64 // distinct offset sets of the machine
#define PY_PROCESSES 8192

/* A Python frame in a sample: REC_FRAME(REC_FRAME_PYTHON, 0, run end, code object) and one more word.
 * A cookie of 0: the code object could not be read in the interrupt (its page was absent). */
#define PY_FRAME_WORDS 2
#define PY_FRAME_COOKIE(word) ((__u32)(word))
#define PY_FRAME_LASTI(word) ((__s32)((word) >> 32)) // bytes into the code, -1 before the first
/* Checksum of a code object, of 32-bit fields as read: equal in the kernel and when it is named. A
 * field whose offset in struct py_layout is 0 does not exist (kwonly in 2.7) and counts as 0. */
#define PY_CODE_COOKIE(argcount, kwonly, flags, firstlineno)                                       \
	(((__u32)(argcount) << 25) + ((__u32)(kwonly) << 18) + ((__u32)(flags) << 10) +            \
		(__u32)(firstlineno))
#define PY_FRAME_REST(cookie, lasti) ((__u64)(__u32)(cookie) | (__u64)(__u32)(lasti) << 32)

/* How the current thread state is found, in order of preference. */
enum py_tstate_by {
	PY_TSTATE_NONE = 0,
	PY_TSTATE_TLS, // *(thread pointer + tls_offset): 3.12 and later
	PY_TSTATE_CURRENT, // the runtime's current state if its thread is ours, else the slot: to 3.11
	PY_TSTATE_SLOT, // pthread_getspecific(autoTSSkey)
	/* *(*(*(thread pointer + PY_DTV_AT) + dtv_entry) + tls_offset), else the slot: a library loaded
	 * later, whose block is found through the thread's table of blocks. A thread that never used
	 * it has -1 (glibc) or NULL there. */
	PY_TSTATE_DTV,
};

#define PY_DTV_AT 8 // glibc tcbhead_t.dtv, musl struct pthread.dtv; x86-64

/* How pthread_getspecific finds a slot, as its code says (glibc, musl). */
enum py_slot_by {
	PY_SLOT_NONE = 0,
	PY_SLOT_DIRECT, // *(thread pointer + slot_offset + key * slot_stride): glibc, keys below 32
	PY_SLOT_INDIRECT, // *(*(thread pointer + slot_offset) + key * slot_stride): musl
};

enum py_chain {
	PY_CHAIN_FRAME = 0, // PyFrameObject, to 3.10: one Python frame an eval frame
	PY_CHAIN_CFRAME, // tstate -> cframe -> current frame: 3.11, 3.12
	PY_CHAIN_INTERP, // tstate -> current frame: 3.13 and later
};

struct py_layout {
	__u16 version; // major << 8 | minor
	__u8 chain; // enum py_chain
	__u8 entry_kind; // 0 none, 1 byte at frame_entry != 0 is an entry frame, 2 byte == 3 is a shim
	__u16 tstate_frame; // frame, cframe or current_frame
	__u16 cframe_current;
	__u16 tstate_native_tid; // 0: none (before 3.11)
	__u16 tstate_thread_id; // pthread_t
	__u16 tstate_interp;
	__u16 frame_back;
	__u16 frame_code;
	__u16 frame_lasti; // int, or pointer to the instruction (from 3.11)
	__u16 frame_entry; // byte: is_entry (3.11) or owner (3.12 and later)
	__u16 code_argcount;
	__u16 code_kwonlyargcount;
	__u16 code_flags;
	__u16 code_firstlineno;
	__u16 code_adaptive; // first instruction (from 3.11)
	__u8 lasti_scale; // bytes a unit of the int lasti: 1, 2 (3.10)
	__u8 code_tag_mask; // low bits of a code reference to clear (3.14: 3)
	__u16 pad[3];
};
ABI_SIZE(struct py_layout, 40);

/* Value of the map `py_procs` (key: pid). */
struct py_process {
	__u32 layout; // index into py_layouts
	__u8 tstate_by; // enum py_tstate_by
	__u8 slot_by; // enum py_slot_by
	__u8 nranges;
	__u8 key_plain; // 1: the key is an int of its own (to 3.6), else the second half of a Py_tss_t
	__s32 tls_offset;
	__s32 slot_offset;
	__u32 slot_stride;
	__u32 dtv_entry; // bytes into the DTV
	__u64 key_addr; // address of the pthread key (u32); of a Py_tss_t: int is_initialized stands before it
	__u64 current_addr; // address of the runtime's current state, 0 none
	__u64 none_addr; // &_Py_NoneStruct: executable of shim frames from 3.13, 0 none
	/* Where no slot tells (2.7 keeps them in a list of its own), the list of all threads does: the
	 * address of the pointer to the first interpreter, 0 unknown, and offsets in it and its threads. */
	__u64 head_addr;
	__u16 interp_next;
	__u16 interp_tstate_head;
	__u16 tstate_next;
	__u16 pad2;
	struct {
		__u64 start, end;
	} eval[PY_EVAL_RANGES];
};
ABI_SIZE(struct py_process, 24 + 5 * 8 + PY_EVAL_RANGES * 16);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* tests/runtime/debug_offsets.h -- a _Py_DebugOffsets as a release build has it, in words. */
#ifndef GP_TESTS_DEBUG_OFFSETS_H
#define GP_TESTS_DEBUG_OFFSETS_H

#include <stdint.h>

#define DEBUG_COOKIE_WORD 0x7970677562656478ull // "xdebugpy"

/* 3.13.0, x86-64, GIL: the values of a real build. */
static const uint64_t debug_offsets_313[] = {
	DEBUG_COOKIE_WORD, 0x030d00f0, 0, // cookie, version, free_threaded
	283320, 608, 632, // runtime state: size, finalizing, interpreters_head
	194968, 7272, 7264, 7344, 7400, 7656, 7640, 7648, 16, 7752, 0, 7768, 7760, // interpreter
	304, 0, 8, 16, 72, 152, 160, 232, 32, // thread state
	80, 8, 0, 56, 72, 70, // frame
	208, 112, 120, 128, 136, 68, 52, 96, 104, 200, // code object
	16, 8, // object
	416, 24, 88, 168, // type
	32, 24, 16, // tuple
	40, 24, 16, // list
	48, 32, 40, // dict
	24, 16, // float
	32, 16, 24, // long
	40, 16, 32, // bytes
	64, 32, 16, 40, // unicode
	240, 200, // gc
};

/* 3.14: groups grew (threads_main, generations, stackpointer, tlbc), the set came in. */
static const uint64_t debug_offsets_314[] = {
	DEBUG_COOKIE_WORD, 0x030e00f0, 0, // cookie, version, free_threaded
	330000, 608, 816, // runtime state
	200000, 7272, 7264, 7344, 7352, 7400, 7656, 7640, 7648, 16, 7752, 0, 7768, 7760, 7800,
	0, // interpreter: two more at the end
	320, 0, 8, 16, 72, 152, 160, 232, 32, // thread state
	88, 8, 0, 56, 80, 74, 64, 0, // frame
	216, 112, 120, 128, 136, 68, 52, 96, 104, 208, 0, // code object
	16, 8, // object
	416, 24, 88, 168, // type
	32, 24, 16, // tuple
	40, 24, 16, // list
	200, 24, 40, 32, // set
	48, 32, 40, // dict
	24, 16, // float
	32, 16, 24, // long
	40, 16, 32, // bytes
	64, 32, 16, 40, // unicode
	240, 200, // gc
};

#endif

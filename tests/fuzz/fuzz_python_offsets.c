/* SPDX-License-Identifier: Apache-2.0 */
/* _Py_DebugOffsets of a hostile interpreter: what is accepted stays inside the reader's buffers. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "runtime/python/offsets.h"
#include "tests/runtime/debug_offsets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct py_layout *l;
	struct py_offsets o;

	if (py_offsets_debug(data, len, &o))
		return 0;
	l = &o.layout;
	if (o.code_size > PY_CODE_BYTES_MAX || o.frame_size > PY_FRAME_BYTES_MAX + 8 ||
		o.tstate_size > PY_TSTATE_BYTES_MAX + 8)
		abort();
	if (o.code_filename + 8 > o.code_size || o.code_qualname + 8 > o.code_size ||
		o.code_lines + 8 > o.code_size || l->code_kwonlyargcount + 4 > o.code_size ||
		l->code_firstlineno + 4 > o.code_size)
		abort();
	if (l->frame_back + 8 > o.frame_size || l->frame_code + 8 > o.frame_size ||
		l->frame_lasti + 8 > o.frame_size || l->frame_entry + 1 > o.frame_size)
		abort();
	if (l->tstate_interp + 8 > o.tstate_size || l->tstate_thread_id + 8 > o.tstate_size ||
		l->tstate_native_tid + 8 > o.tstate_size || o.tstate_next + 8 > o.tstate_size)
		abort();
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	if (n == 0)
		return buf_append(out, debug_offsets_313, sizeof(debug_offsets_313));
	if (n == 1)
		return buf_append(out, debug_offsets_314, sizeof(debug_offsets_314));
	return -1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and characters of str objects, and the version text in read-only data. */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>

#include "runtime/python/locate.h"
#include "runtime/python/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf text = BUF_INIT(PY_STRING_MAX * 4);
	struct py_version_scan scan = {.hint = 0};
	struct py_string_head h;
	struct py_offsets o;

	py_version_scan(&scan, data, len);
	if (py_offsets_table(PY_HEX(3, 11, 0), EM_X86_64, &o))
		abort();
	if (py_string_parse(&o, data, len, &h))
		return 0;
	if (h.length > PY_STRING_MAX || (h.kind != 1 && h.kind != 2 && h.kind != 4))
		abort();
	if (h.data < len && (len - h.data) / h.kind >= h.length)
		py_string_append(&text, data + h.data, h.length, h.kind);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	uint64_t head[6] = {1, 2, 3, 4, 0, 0};
	static const char version[] = "\0"
				      "3.8.10\0 abcdef 2.7.18+\0"
				      "9.9.9\0";

	if (n == 4)
		return buf_append(out, version, sizeof(version));
	if (n > 4)
		return -1;
	head[2] = 4;
	head[4] = n == 0 ? 1 << 2 | 1 << 5 | 1 << 6 : (1u << (n - 1)) << 2 | 1 << 5;
	buf_append(out, head, sizeof(head));
	return buf_append(out,
		"abcdefgh\xff\xff\xff\xff\x00\xd8\x00\x00"
		"0123456789abcdefghijklmnop",
		42);
}

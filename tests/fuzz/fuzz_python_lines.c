/* SPDX-License-Identifier: Apache-2.0 */
/* Line tables: first byte the format, the next four the instruction, then the table. */
#include "tests/fuzz/fuzz.h"

#include "base/cursor.h"
#include "runtime/python/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cursor c = cursor_make(data, len);
	enum py_line_format format = (enum py_line_format)(cursor_u8(&c) & 3);
	int32_t lasti = (int32_t)cursor_u32(&c);

	if (!c.bad)
		py_line_of(format, c.pos, cursor_left(&c), 1, lasti);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"\x00\x40\x00\x00\x00\x06\x01\x08\xfe\xff\x00\x2d\x7f",
		"\x01\x40\x00\x00\x00\x06\x01\x08\xfe\xff\x00\x2d\x7f",
		"\x02\x40\x00\x00\x00\x04\x01\x06\x80\x02\xff",
		"\x03\x10\x00\x00\x00\xd9\x00\x00\xf8\xf0\x58\x09\x00\x00\x00\xe8\x7f\x01",
		"\x03\xff\xff\xff\x7f\xf0\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x01",
	};
	static const size_t lens[] = {13, 13, 11, 18, 19};

	return n < 5 ? buf_append(out, seeds[n], lens[n]) : -1;
}

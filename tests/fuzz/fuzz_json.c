/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes become a JSON string: printable ASCII, which jansson reads back as valid UTF-8. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define INPUT_MAX 65536

static bool is_ascii(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] < 0x20 || b->data[i] > 0x7e)
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf once = BUF_INIT(8 * INPUT_MAX), again = BUF_INIT(8 * INPUT_MAX);
	_cleanup_json_ json_t *j = NULL;

	if (len > INPUT_MAX)
		return 0;
	if (json_append_string(&once, (const char *)data, len) || !is_ascii(&once))
		abort();
	j = json_loadb(once.data, once.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	// Dumped again it is the same text: nothing was lost, and replacing is stable.
	if (!j || json_append(&again, j) || again.len != once.len ||
		memcmp(again.data, once.data, once.len) != 0)
		abort();
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const struct {
		const char *bytes;
		size_t len;
	} seeds[] = {
		{"plain \"quoted\" \\ / \b\f\n\r\t", 24},
		{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9},
		{"\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80\xff\xfe\0x", 13},
		{"std::vector<int, std::allocator<int> >::push_back(int&&)", 56},
	};

	if (n >= ARRAY_SIZE(seeds))
		return -1;
	return buf_append(out, seeds[n].bytes, seeds[n].len);
}

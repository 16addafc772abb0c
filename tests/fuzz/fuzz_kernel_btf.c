/* SPDX-License-Identifier: Apache-2.0 */
/* Type information in BTF. */
#include "tests/fuzz/fuzz.h"

#include <bpf/btf.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "capture/kernel_btf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct kernel_btf_member m[] = {
		{"task_struct", "flags"}, {"task_struct", "mm"}, {"mm_struct", "stack"}};
	_cleanup_fclose_ FILE *f = len ? fmemopen((void *)data, len, "r") : NULL;
	int r = f ? kernel_btf_find(f, m, ARRAY_SIZE(m)) : 0;

	for (size_t i = 0; f && !r && i < ARRAY_SIZE(m); i++)
		if (!m[i].found)
			abort();
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	struct btf *b;
	const void *data;
	uint32_t len = 0;
	int r;

	if (n)
		return -1;
	b = btf__new_empty();
	r = btf__add_int(b, "int", 4, 0);
	btf__add_struct(b, "task_struct", 16);
	btf__add_field(b, "flags", r, 0, 0);
	btf__add_field(b, "mm", r, 64, 0);
	btf__add_struct(b, "mm_struct", 16);
	btf__add_field(b, NULL, r + 3, 64, 0);
	btf__add_struct(b, NULL, 16);
	btf__add_field(b, "stack", r, 0, 0);
	btf__add_enum(b, "e", 4);
	btf__add_enum_value(b, "v", 1);
	data = btf__raw_data(b, &len);
	r = data ? buf_append(out, data, len) : -1;
	btf__free(b);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a target can write into its own /proc files: maps, stat, syscall, cgroup. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "process/table.h"

static int put(void *arg, const struct maps_line *line)
{
	struct mapping m = {
		.start = line->start,
		.end = line->end,
		.pgoff = line->pgoff,
		.module = (uint32_t)line->ino & 3,
		.kind = (uint8_t)maps_kind(line->path),
	};
	struct mapping_vec *v = arg;
	bool deleted;

	if (maps_path_len(line->path, &deleted) >= MAPS_PATH_MAX)
		abort();
	mapping_vec_put(v, &m);
	for (size_t i = 1; i < v->len; i++)
		if (v->data[i - 1].end > v->data[i].start)
			abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct cgroup_slices slices;
	struct process_blocked blocked;
	struct process_stat st;
	struct mapping_vec v;

	mapping_vec_init(&v, 64);
	if (maps_parse((const char *)data, len, put, &v) > (ssize_t)len)
		abort();
	mapping_vec_deinit(&v);
	process_stat_parse((const char *)data, len, &st);
	if (process_blocked_parse((const char *)data, len, &blocked) && blocked.running &&
		(blocked.sp || blocked.pc))
		abort();
	process_cgroup_parse((const char *)data, len, &slices);
	if (slices.container && slices.container_len != 64)
		abort();
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"0 0x0 0x7ffc1 0x1 0x0 0x0 0x0 0x7ffc0a 0x7f01\n",
		"-1 0x7ffc0a 0x7f01\n",
		"400000-402000 r-xp 00001000 08:01 5     /bin/prog\n"
		"401000-403000 rwxp 00000000 00:00 0 \n"
		"400000-500000 r-xs 00000000 08:01 6 /tmp/a\\012b (deleted)\n"
		"7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0 [vdso]\n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
		"42 (a) R 1 (b\n) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 13 0 100 99 1 2",
		("12:cpu:/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
		 "0::/\n"),
	};

	return n < sizeof(seeds) / sizeof(seeds[0]) ? buf_append_str(out, seeds[n]) : -1;
}

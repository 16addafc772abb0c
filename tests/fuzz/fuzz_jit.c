/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a target writes about its JIT code: the first byte chooses perf map or jitdump. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "symbol/jitdump.h"
#include "symbol/perf_map.h"

static const uint64_t asked[] = {0, 0x1000, 0x1010, 0x2000, 0x3000, UINT64_MAX};

static void map(int fd)
{
	struct buf text = BUF_INIT(8192);
	struct perf_map m;
	uint64_t start;

	perf_map_init(&m, fd);
	perf_map_update(&m);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		perf_map_name(&m, asked[i], &text, &start);
	perf_map_deinit(&m);
	buf_deinit(&text);
}

static void dump(int fd)
{
	struct buf text = BUF_INIT(8192);
	struct jitdump_line line;
	struct jitdump d;
	uint64_t start;

	jitdump_init(&d, fd);
	jitdump_update(&d);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		jitdump_name(&d, asked[i], &text, &start);
		jitdump_line(&d, asked[i], &line);
	}
	jitdump_deinit(&d);
	buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || (len > 1 && write(fd, data + 1, len - 1) != (ssize_t)len - 1))
		abort();
	if (len && data[0] == 'm')
		map(fd);
	else
		dump(fd);
	return 0;
}

static void put(struct buf *out, uint64_t v, size_t bytes)
{
	buf_append(out, &v, bytes);
}

static void seed_dump(struct buf *out)
{
	buf_append_char(out, 'd');
	put(out, 0x14a695444, 8);
	put(out, 40, 8);
	put(out, 0, 8);
	put(out, 0, 8);
	put(out, 0, 8);
	put(out, 2 | (16 + 16 + 16 + 3ull) << 32, 8); // debug record
	put(out, 0, 8);
	put(out, 0x1000, 8);
	put(out, 1, 8);
	put(out, 0x1000, 8);
	put(out, 9, 8);
	buf_append(out, "/a", 3);
	put(out, (16 + 40 + 2ull) << 32, 8); // load
	put(out, 0, 8);
	put(out, 0, 8);
	put(out, 0x1000, 8);
	put(out, 0x1000, 8);
	put(out, 0x20, 8);
	put(out, 0, 8);
	buf_append(out, "f", 2);
	put(out, 1 | (16 + 48ull) << 32, 8); // move
	put(out, 0, 8);
	put(out, 0, 8);
	put(out, 0x1000, 8);
	put(out, 0x1000, 8);
	put(out, 0x2000, 8);
	put(out, 0x20, 8);
	put(out, 0, 8);
}

int fuzz_seed(unsigned n, struct buf *out)
{
	if (n == 0)
		return buf_append_str(out, "m1000 20 one\n0x2000 10 two words\n1000 8 three\n");
	if (n == 1)
		seed_dump(out);
	return n <= 1 ? 0 : -1;
}

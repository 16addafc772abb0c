/* SPDX-License-Identifier: Apache-2.0 */
/* `perf script` text: folded in both dialects with a tiny cap, and read into a profile that is then
 * written in every streaming form. */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "export/export.h"
#include "export/fold.h"
#include "export/fold_perf.h"
#include "export/import.h"

static int input_fd(const uint8_t *data, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || fs_write_full(fd, data, len) || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

static void fold(const uint8_t *data, size_t len, bool flamegraph)
{
	const struct fold_perf_options options = {
		.flamegraph = flamegraph,
		.tid = flamegraph,
		.kernel = true,
		.jit = true,
		.addrs = len & 1,
		.inlines = true,
		.insert_dso_name = !flamegraph,
		.cap = FOLD_CAP_MIN,
	};
	struct text_complaints complaints = {.name = "fuzz", .quiet = true};
	struct fold_perf_stats stats;
	struct text_reader reader;
	int fd = input_fd(data, len);
	FILE *out = fopen("/dev/null", "w");

	if (!out || text_reader_init(&reader, fd, 4096))
		abort();
	if (fold_perf_script(&reader, out, &options, &complaints, &stats))
		abort();
	text_reader_deinit(&reader);
	fclose(out);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct import_perf_options options = {.addresses = true};
	const struct export_collapsed_options collapsed = {.insert_dso_name = true};
	struct text_complaints complaints = {.name = "fuzz", .quiet = true};
	struct import_stats stats;
	struct text_reader reader;
	struct profile p;
	FILE *out = fopen("/dev/null", "w");
	int fd = input_fd(data, len);

	import_guess((const char *)data, len);
	fold(data, len, false);
	fold(data, len, true);
	profile_init(&p, 200, 16384);
	if (!out || text_reader_init(&reader, fd, 4096))
		abort();
	import_perf_script(&reader, &options, &p, &complaints, &stats);
	if (export_collapsed(out, &p, &collapsed) || export_speedscope(out, &p))
		abort();
	profile_deinit(&p);
	text_reader_deinit(&reader);
	fclose(out);
	close(fd);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"",
		"# cmdline : perf record -g\nbash 77/77 [003] 12.345678: 1 cycles:\n"
		"\tffffffff81000000 bar+0x1 ([kernel.kallsyms])\n\t401000 foo (/bin/bash)\n\n",
		"Web Content  12 34.5:  10 cycles:u: \r\n\t7f00 a->b->c+0xff (/tmp/perf-12.map)\r\n",
		"  swapper 0 [000] 1.0: cpu-clock: ffffffff82 idle ([kernel.kallsyms])\n"
		"  dd 77 1.2: x:y: 1 z (/bin/dd)\n",
		"java -1/-1 1.2: cycles:\n\t0 [unknown] ([unknown])\n\t1 Lx/Y;.f(I)V (/a (b)/c (deleted))\n",
		"x 1/1 9.9: e:\n garbage\n\t12 ok (d)\n\nnot a header\n\ty\n\nx 1/1 1.0: e:\n\t1 a (b)\n",
	};

	if (n >= ARRAY_SIZE(seeds))
		return -1;
	return buf_append_str(out, seeds[n]);
}

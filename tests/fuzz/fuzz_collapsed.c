/* SPDX-License-Identifier: Apache-2.0 */
/* Collapsed text, with and without a .col header: read, written, and read again. What was written
 * must be read without a complaint and give the same total. */
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>

#include "base/fs.h"
#include "export/export.h"
#include "export/import.h"

static void import(const void *data, size_t len, struct profile *p, struct import_stats *stats)
{
	struct text_complaints complaints = {.name = "fuzz", .quiet = true};
	struct text_reader reader;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	profile_init(p, 100000, 1 << 22);
	if (fd < 0 || fs_write_full(fd, data, len) || lseek(fd, 0, SEEK_SET) < 0 ||
		text_reader_init(&reader, fd, IMPORT_LINE_MAX) ||
		import_collapsed(&reader, p, &complaints, stats))
		abort();
	text_reader_deinit(&reader);
	close(fd);
}

static uint64_t total(const struct profile *p)
{
	uint64_t sum = 0;

	vec_foreach (s, &p->samples)
		sum += (uint64_t)s->values[0];
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct profile p, again;
	struct import_stats stats, stats_again;
	struct export_collapsed_options options = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	import_guess((const char *)data, len);
	import(data, len, &p, &stats);
	options.header = options.contexts = p.header != NULL;
	if (!out || export_collapsed(out, &p, &options) || export_speedscope(out, &p) < 0)
		abort();
	fclose(out);
	free(text);
	out = open_memstream(&text, &size);
	if (!out || export_collapsed(out, &p, &options))
		abort();
	fclose(out);
	import(text, size, &again, &stats_again);
	if (stats_again.bad || (!stats.full && total(&again) != total(&p)))
		abort();
	free(text);
	profile_deinit(&p);
	profile_deinit(&again);
	return 0;
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const char *const seeds[] = {
		"bash;main;foo;bar_[k] 12\nbash;main 1\n",
		"# {\"containers\": [\"web-1\"], \"metadata\": {\"hostname\": \"h\", \"run_arguments\": "
		"{\"profile_api_version\": null}}, \"application_metadata_enabled\": true}\n"
		"0;;swapper;do_idle_[k] 41\n1;web-1;python3;appid: python: /a.py (/a.py);<module> "
		"(/a.py:1)_[p];h_[pn] 17\n0;;sshd;(/usr/sbin/sshd);__poll 3",
		"# {\"metadata\": {\"run_arguments\": {\"profile_api_version\": \"v1\"}}}\na;b 1",
		"# {\"metadata\": {}, \"application_metadata_enabled\": false}\nweb;sh;a b;c 2\n",
		"python-12/15;mod.f (a.py:3)_[p];clone_[pn];x_[k] 4\na-b-1/2; ;;d 3\n;; 1\n",
		"\001# t_[k];x 41\n",
		"bad\nbad x\nbad -1\n 5\nx 99999999999999999999\nok 1\n#c\n\n",
	};

	if (n >= ARRAY_SIZE(seeds))
		return -1;
	return buf_append_str(out, seeds[n]);
}

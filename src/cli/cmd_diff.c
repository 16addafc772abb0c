/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler diff A B: what changed from A to B.
 *
 * Functions whose share of the samples changed by more than noise go to standard output; the whole
 * comparison goes to a page (--output). Inputs are what `convert` reads. Exit status: 0; 1 if an
 * input could not be read or the page could not be written; 2 for a wrong command line. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "cli/cli.h"
#include "config/options.h"
#include "export/html_compare.h"
#include "export/import.h"

#define EXIT_USAGE 2
#define GUESS_BYTES ((size_t)64 << 10)
#define PPROF_MAX ((size_t)1 << 30)
#define SAMPLES_MAX ((size_t)1 << 23)
#define TEXT_MAX_BYTES ((size_t)1 << 30)
#define ROWS_DEFAULT 20
#define CHANGES_MAX ((size_t)1 << 20)
#define NAME_SHOWN 100

static int complain(const char *subject, const char *why)
{
	fprintf(stderr, "gprofiler diff: %s: %s\n", subject, why);
	return 1;
}

static int read_format(struct text_reader *reader, enum import_format format, struct profile *p,
	struct text_complaints *complaints, struct import_stats *stats)
{
	_cleanup_buf_ struct buf data = BUF_INIT(PPROF_MAX);
	int r;

	switch (format) {
	case IMPORT_PERF_SCRIPT:
		return import_perf_script(
			reader, &(struct import_perf_options){0}, p, complaints, stats);
	case IMPORT_COLLAPSED:
		return import_collapsed(reader, p, complaints, stats);
	case IMPORT_PPROF:
		r = text_reader_rest(reader, &data);
		return r ? r : import_pprof(buf_str(&data), data.len, p, complaints, stats);
	default:
		return -EINVAL;
	}
}

/* Fills p, which is initialised. Return 0 or an exit status, complained about. */
static int read_profile(const char *path, struct profile *p)
{
	struct text_complaints complaints = {.name = path};
	struct import_stats stats = {0};
	struct text_reader reader;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *head;
	size_t len;
	int r;

	if (fd < 0)
		return complain(path, strerror(errno));
	r = text_reader_init(&reader, fd, IMPORT_LINE_MAX);
	if (r)
		return complain(path, strerror(-r));
	r = text_reader_peek(&reader, GUESS_BYTES, &head, &len);
	if (!r)
		r = read_format(&reader, import_guess(head, len), p, &complaints, &stats);
	text_reader_deinit(&reader);
	text_complaints_end(&complaints);
	if (r)
		return complain(path, r == -EINVAL ? "is no perf-script, collapsed or pprof profile"
						   : strerror(-r));
	return p->samples.len ? 0 : complain(path, "holds no samples");
}

static int64_t sum(const struct profile *p)
{
	int64_t total = 0;

	vec_foreach (s, &p->samples)
		total += s->values[0];
	return total;
}

static int print_changes(const struct profile *merged, const int64_t whole[2], unsigned rows)
{
	struct html_change_vec changes;
	int r;

	html_change_vec_init(&changes, CHANGES_MAX);
	r = html_compare_changes(merged, &changes);
	printf("%" PRId64 " samples in A, %" PRId64
	       " in B; %zu functions changed their share of self "
	       "samples by more than noise\n",
		whole[0], whole[1], changes.len);
	if (changes.len)
		printf("%9s %9s %9s %7s  %s\n", "A", "B", "change", "z", "function");
	for (size_t i = 0; i < changes.len && i < rows; i++) {
		const struct html_change *c = &changes.data[i];
		const struct profile_frame *f = profile_frame_get(merged, c->frame);

		printf("%8.2f%% %8.2f%% %+8.2f%% %7.1f  ",
			100.0 * (double)c->self_a / (double)whole[0],
			100.0 * (double)c->self_b / (double)whole[1], 100.0 * c->change, c->z);
		// Names are foreign: nothing that a terminal would obey.
		for (const char *s = profile_text(merged, f->name);
			*s && s - profile_text(merged, f->name) < NAME_SHOWN; s++)
			putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
		putchar('\n');
	}
	if (changes.len > rows)
		printf("... and %zu more (--top)\n", changes.len - rows);
	html_change_vec_deinit(&changes);
	return r;
}

static int write_page(const char *path, const struct profile *merged, const struct profile *a,
	const struct profile *b)
{
	struct fs_atomic file;
	int r = fs_atomic_open(&file, path, 0644);

	if (r)
		return complain(path, strerror(-r));
	r = html_compare_write(file.f, merged, a, b);
	if (r)
		fs_atomic_abort(&file);
	else
		r = fs_atomic_commit(&file);
	if (r)
		return complain(path, strerror(-r));
	fprintf(stderr, "page: %s\n", path);
	return 0;
}

static int compare(const struct options *o, const struct profile *a, const struct profile *b)
{
	const int64_t whole[2] = {sum(a), sum(b)};
	struct profile merged;
	int r;

	profile_init(&merged, 2 * SAMPLES_MAX, TEXT_MAX_BYTES);
	r = html_compare_merge(&merged, a, b);
	if (!r)
		r = print_changes(&merged, whole, o->top ? (unsigned)o->top : ROWS_DEFAULT);
	if (r)
		r = complain(
			"the two profiles", r == -EINVAL ? "count different things" : strerror(-r));
	else if (strcmp(o->diff_output, "-") != 0)
		r = write_page(o->diff_output, &merged, a, b);
	profile_deinit(&merged);
	return r;
}

int cli_diff(const struct options *options, int argc, char **argv)
{
	struct profile a, b;
	int status;

	if (argc != 3) {
		fputs("gprofiler diff: needs two profiles: gprofiler diff A B\n", stderr);
		return EXIT_USAGE;
	}
	profile_init(&a, SAMPLES_MAX, TEXT_MAX_BYTES);
	profile_init(&b, SAMPLES_MAX, TEXT_MAX_BYTES);
	status = read_profile(argv[1], &a);
	if (!status)
		status = read_profile(argv[2], &b);
	if (!status)
		status = compare(options, &a, &b);
	profile_deinit(&a);
	profile_deinit(&b);
	return status;
}

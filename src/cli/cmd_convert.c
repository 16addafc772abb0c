/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler convert [FILE]: one form of a profile into another.
 *
 * `perf script` text to collapsed text is folded as it comes, in bounded memory; every other pair
 * goes through a struct profile. Exit status: 0, even if parts of the input were complained about;
 * 1 if nothing could be read or the output could not be written; 2 for a wrong command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/fs.h"
#include "base/resident.h"
#include "cli/cli.h"
#include "config/options.h"
#include "export/export.h"
#include "export/fold_perf.h"
#include "export/import.h"

#define EXIT_USAGE 2
#define LINE_MAX_PERF ((size_t)1 << 20) // names of C++ templates are long, not that long
#define GUESS_BYTES ((size_t)64 << 10)
#define PPROF_MAX ((size_t)1 << 30) // bytes of a file
#define SAMPLES_MAX ((size_t)1 << 24)
#define TEXT_MAX_BYTES ((size_t)1 << 31)
#define OUT_BUFFER ((size_t)64 << 10)

struct convert {
	const struct options *o;
	const char *name; // of the input, for people
	enum import_format from;
	enum option_format to;
	struct text_reader reader;
	struct text_complaints complaints;
	struct fs_atomic file; // when there is an output file
	FILE *out;
};

static void say(const char *fmt, ...) _printf_(1, 2);
static void say(const char *fmt, ...)
{
	va_list ap;

	fputs("gprofiler convert: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static bool ends(const char *s, const char *with)
{
	size_t len = strlen(s), n = strlen(with);

	return len >= n && strcasecmp(s + len - n, with) == 0;
}

static enum option_format target(const struct options *o)
{
	static const struct {
		const char *suffix;
		enum option_format format;
	} suffixes[] = {
		{".html", OPTION_FORMAT_HTML},
		{".htm", OPTION_FORMAT_HTML},
		{".pb.gz", OPTION_FORMAT_PPROF},
		{".pb", OPTION_FORMAT_PPROF},
		{".pprof", OPTION_FORMAT_PPROF},
		{".json", OPTION_FORMAT_SPEEDSCOPE},
	};

	if (options_given(o, OPTION_convert_to))
		return (enum option_format)o->convert_to;
	for (size_t i = 0; o->convert_output && i < ARRAY_SIZE(suffixes); i++)
		if (ends(o->convert_output, suffixes[i].suffix))
			return suffixes[i].format;
	return OPTION_FORMAT_COLLAPSED;
}

/* Return 0 or an exit status. */
static int find_source(struct convert *c)
{
	const char *data;
	size_t len;
	int r;

	switch (c->o->convert_from) {
	case OPTION_FROM_PERF_SCRIPT:
		c->from = IMPORT_PERF_SCRIPT;
		return 0;
	case OPTION_FROM_COLLAPSED:
		c->from = IMPORT_COLLAPSED;
		return 0;
	case OPTION_FROM_PPROF:
		c->from = IMPORT_PPROF;
		return 0;
	}
	r = text_reader_peek(&c->reader, GUESS_BYTES, &data, &len);
	if (r) {
		say("%s: %s", c->name, strerror(-r));
		return 1;
	}
	c->from = import_guess(data, len);
	if (c->from != IMPORT_UNKNOWN)
		return 0;
	say("%s: %s", c->name,
		len ? "looks like none of perf-script, collapsed, pprof; say which with --from"
		    : "is empty");
	return 1;
}

static int open_output(struct convert *c)
{
	const char *path = c->o->convert_output;
	int r;

	c->out = stdout;
	if (path && strcmp(path, "-") != 0) {
		r = fs_atomic_open(&c->file, path, 0644);
		if (r) {
			say("cannot write %s: %s", path, strerror(-r));
			return 1;
		}
		c->out = c->file.f;
	} else if (c->to == OPTION_FORMAT_PPROF && isatty(STDOUT_FILENO)) {
		say("not writing pprof's binary form to a terminal; use --output");
		return EXIT_USAGE;
	}
	setvbuf(c->out, NULL, _IOFBF, OUT_BUFFER);
	return 0;
}

/* What was left out, in one line. */
static void report(const struct convert *c, const struct import_stats *s)
{
	if (s->bad)
		say("%s: %llu of %llu samples could not be read", c->name,
			(unsigned long long)s->bad, (unsigned long long)(s->samples + s->bad));
	if (s->full)
		say("%s: %llu samples left out: more than %zu distinct stacks or frames", c->name,
			(unsigned long long)s->full, SAMPLES_MAX);
	if (s->script.events > 1 && !c->o->convert_event_filter)
		say("%s: samples of several events are counted together; --event-filter picks one",
			c->name);
}

static int fold(struct convert *c)
{
	const struct options *o = c->o;
	const struct fold_perf_options options = {
		.flamegraph = o->convert_dialect == OPTION_DIALECT_FLAMEGRAPH,
		.pid = o->convert_pid,
		.tid = o->convert_tid,
		.kernel = o->convert_kernel || o->convert_all,
		.jit = o->convert_jit || o->convert_all,
		.addrs = o->convert_addrs,
		.inlines = o->convert_inline,
		.insert_dso_name = o->insert_dso_name,
		.event = o->convert_event_filter,
		.cap = (size_t)o->convert_memory,
	};
	struct fold_perf_stats stats;
	struct import_stats sum;
	int r;

	// What linking and options took is not needed again: a tenth of all that is resident later.
	resident_give_back();
	r = fold_perf_script(&c->reader, c->out, &options, &c->complaints, &stats);
	if (r) {
		say(stats.run_failed
				? "%s: cannot keep what exceeds --memory in $TMPDIR (or /tmp): %s"
				: "%s: %s",
			c->name, strerror(-r));
		return 1;
	}
	sum = (struct import_stats){
		.samples = stats.counted,
		.bad = options.flamegraph ? 0 : stats.malformed,
		.script = stats.script,
	};
	if (options.flamegraph)
		sum.script.events = 0; // one event by definition
	report(c, &sum);
	if (stats.empty)
		say("%s: %llu samples without frames left out", c->name,
			(unsigned long long)stats.empty);
	if (stats.too_large)
		say("%s: %llu stacks too large for --memory left out", c->name,
			(unsigned long long)stats.too_large);
	if (stats.counted)
		return 0;
	say("%s: no sample could be read%s", c->name,
		stats.script.other_events ? " of that event" : "");
	return 1;
}

static int import_file(struct convert *c, struct profile *p, struct import_stats *stats)
{
	const struct import_perf_options perf = {
		.event = c->o->convert_event_filter,
		.addresses = c->to == OPTION_FORMAT_PPROF,
	};
	_cleanup_buf_ struct buf data = BUF_INIT(PPROF_MAX);
	int r;

	switch (c->from) {
	case IMPORT_PERF_SCRIPT:
		return import_perf_script(&c->reader, &perf, p, &c->complaints, stats);
	case IMPORT_COLLAPSED:
		return import_collapsed(&c->reader, p, &c->complaints, stats);
	default:
		r = text_reader_rest(&c->reader, &data);
		return r ? r : import_pprof(buf_str(&data), data.len, p, &c->complaints, stats);
	}
}

static int export_profile(struct convert *c, const struct profile *p)
{
	const struct export_flamegraph_options flamegraph = {
		.pid = c->o->convert_pid,
		.tid = c->o->convert_tid,
	};
	const struct export_collapsed_options collapsed = {
		.header = p->header != NULL,
		.contexts = p->header != NULL,
		.insert_dso_name = c->o->insert_dso_name,
		.line_numbers = c->o->line_numbers,
	};

	switch (c->to) {
	case OPTION_FORMAT_HTML:
		return export_html(c->out, p);
	case OPTION_FORMAT_PPROF:
		return export_pprof(c->out, p);
	case OPTION_FORMAT_SPEEDSCOPE:
		return export_speedscope(c->out, p);
	case OPTION_FORMAT_COLLAPSED:
		break;
	}
	if (c->o->convert_dialect == OPTION_DIALECT_FLAMEGRAPH)
		return export_flamegraph(c->out, p, &flamegraph);
	return export_collapsed(c->out, p, &collapsed);
}

static int through_profile(struct convert *c)
{
	struct import_stats stats = {0};
	struct profile p;
	int r, status = 1;

	profile_init(&p, SAMPLES_MAX, TEXT_MAX_BYTES);
	r = import_file(c, &p, &stats);
	if (r)
		say("%s: %s", c->name,
			r == -EINVAL ? "is no profile of that format, or is damaged"
				     : strerror(-r));
	else
		report(c, &stats);
	if (!r && !stats.samples) {
		say("%s: no sample could be read", c->name);
	} else if (!r) {
		r = export_profile(c, &p);
		if (r)
			say("cannot write the output: %s", strerror(-r));
		status = r ? 1 : 0;
	}
	profile_deinit(&p);
	return status;
}

static int finish(struct convert *c, int status)
{
	int r;

	text_complaints_end(&c->complaints);
	if (!c->file.f)
		return status;
	if (status) {
		fs_atomic_abort(&c->file);
		return status;
	}
	r = fs_atomic_commit(&c->file);
	if (!r)
		return 0;
	say("cannot write %s: %s", c->o->convert_output, strerror(-r));
	return 1;
}

static int run(struct convert *c)
{
	int status = find_source(c);

	c->to = target(c->o);
	if (c->from == IMPORT_PERF_SCRIPT)
		c->reader.max_line = LINE_MAX_PERF;
	if (!status)
		status = open_output(c);
	if (!status)
		status = c->from == IMPORT_PERF_SCRIPT && c->to == OPTION_FORMAT_COLLAPSED
				 ? fold(c)
				 : through_profile(c);
	return finish(c, status);
}

int cli_convert(const struct options *options, int argc, char **argv)
{
	bool from_stdin = argc < 2 || strcmp(argv[1], "-") == 0;
	_cleanup_close_ int fd = -1;
	struct convert c = {
		.o = options,
		.name = from_stdin ? "(standard input)" : argv[1],
	};
	int status;

	if (argc > 2) {
		say("one input file at a time: %s, %s", argv[1], argv[2]);
		return EXIT_USAGE;
	}
	if (!from_stdin) {
		fd = open(argv[1], O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			say("cannot read %s: %s", argv[1], strerror(errno));
			return 1;
		}
	}
	c.complaints.name = c.name;
	if (text_reader_init(&c.reader, from_stdin ? STDIN_FILENO : fd, IMPORT_LINE_MAX)) {
		say("out of memory");
		return 1;
	}
	status = run(&c);
	text_reader_deinit(&c.reader);
	return status;
}

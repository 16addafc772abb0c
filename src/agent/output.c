/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "agent/retention.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "export/export.h"

#define LOGGER "gprofiler"
#define SECONDS_TRIED 8
#define DROPS_MAX 64 // old results that make room for one on a full disk

static const struct {
	const char *name, *suffix, *link, *saved;
} formats[OUTPUT_FORMATS] = {
	[OUTPUT_COLLAPSED] = {"collapsed", "col", "last_profile.col", "collapsed stacks"},
	[OUTPUT_HTML] = {"html", "html", "last_flamegraph.html", "flamegraph"},
	[OUTPUT_PPROF] = {"pprof", "pb.gz", "last_profile.pb.gz", "pprof profile"},
	[OUTPUT_SPEEDSCOPE] = {"speedscope", "speedscope.json", "last_profile.speedscope.json",
		"speedscope profile"},
};

enum output_format output_format_parse(const char *name)
{
	int f = 0;

	while (f < OUTPUT_FORMATS && strcmp(formats[f].name, name) != 0)
		f++;
	return f;
}

int output_prepare(const struct output_config *config)
{
	return fs_mkdir_p(config->dir, 0755);
}

static int write_format(FILE *f, const struct output_config *config, enum output_format format,
	const struct profile *p)
{
	const struct export_collapsed_options options = {
		.header = true,
		.contexts = config->contexts,
		.insert_dso_name = config->insert_dso_name,
		.line_numbers = config->line_numbers,
	};

	switch (format) {
	case OUTPUT_COLLAPSED:
		return export_collapsed(f, p, &options);
	case OUTPUT_HTML:
		return export_html(f, p);
	case OUTPUT_PPROF:
		return export_pprof(f, p);
	case OUTPUT_SPEEDSCOPE:
		return export_speedscope(f, p);
	default:
		return -EINVAL;
	}
}

/* Puts the symlink on the new file; when rotating, what it stood on before goes. */
static int relink(const struct output_config *config, const char *link_name, const char *target)
{
	_cleanup_free_ char *link = NULL;
	_cleanup_free_ char *old = NULL;
	char before[PATH_MAX];
	ssize_t n;
	int r;

	if (asprintf(&link, "%s/%s", config->dir, link_name) < 0)
		return -ENOMEM;
	n = readlink(link, before, sizeof(before) - 1);
	r = fs_symlink_replace(target, link);
	if (r || !config->rotating || n <= 0)
		return r;
	before[n] = 0;
	// Only a file of ours beside the link: a link that points elsewhere is not ours to follow.
	if (strchr(before, '/') || strncmp(before, "profile_", 8) != 0 || !strcmp(before, target))
		return 0;
	if (asprintf(&old, "%s/%s", config->dir, before) < 0)
		return -ENOMEM;
	return unlink(old) < 0 && errno != ENOENT ? -errno : 0;
}

/* One try: written beside its name, room made for it, renamed. */
static int write_whole(const struct output_config *config, enum output_format format,
	const struct profile *p, const char *path)
{
	struct fs_atomic a;
	int r = fs_atomic_open(&a, path, 0644);

	if (r)
		return r;
	r = write_format(a.f, config, format, p);
	if (!r && fflush(a.f))
		r = -errno;
	if (!r && config->keep_bytes &&
		retention_make_room(
			config->dir, fs_basename(path), config->keep_bytes, (uint64_t)ftello(a.f)))
		log_once(LOG_LEVEL_WARNING, LOGGER,
			"Results in %s take more than --keep-output: old ones cannot be removed",
			config->dir);
	if (r)
		fs_atomic_abort(&a);
	else
		r = fs_atomic_commit(&a);
	return r;
}

/* ret_fd: the file, to be read; NULL: it is not wanted. */
static int write_one(const struct output_config *config, enum output_format format,
	const struct profile *p, const char *stem, int *ret_fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_free_ char *link = NULL;
	const char *event = strchr(stem, '.');
	int r;

	if (asprintf(&path, "%s/%s.%s", config->dir, stem, formats[format].suffix) < 0)
		return -ENOMEM;
	// With several events each has its own links: last_profile.<event>.col
	if (event && asprintf(&link, "%.*s%s%s",
			     (int)(strchr(formats[format].link, '.') - formats[format].link),
			     formats[format].link, event, strchr(formats[format].link, '.')) < 0)
		return -ENOMEM;
	r = write_whole(config, format, p, path);
	// A disk that is full: who bounds the results has said which may go.
	for (unsigned n = 0; r == -ENOSPC && config->keep_bytes && n < DROPS_MAX; n++) {
		if (!retention_drop_oldest(config->dir, stem))
			break;
		r = write_whole(config, format, p, path);
	}
	if (!r && ret_fd)
		*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (!r)
		r = relink(config, link ? link : formats[format].link, fs_basename(path));
	if (r)
		log_error(LOGGER,
			"Could not write %s: %s. What was there before is untouched; free some space "
			"or choose another --output-dir",
			path, strerror(-r));
	else
		log_info(LOGGER, "Saved %s to %s", formats[format].saved, path);
	return r;
}

/* "profile_<end time>[.<event>]". Two profiles may end within a second (the last, short window of a
 * continuous run): the later one is named for the next second rather than written over the first. */
static void free_stem(const struct output_config *config, const struct profile *p,
	const char *event, char ret_stem[128])
{
	uint64_t end = p->meta.start_real_ns + p->meta.duration_ns;

	for (unsigned second = 0; second <= SECONDS_TRIED; second++) {
		_cleanup_free_ char *path = NULL;
		char when[32];

		clock_iso_utc(end + second * NSEC_PER_SEC, when);
		snprintf(ret_stem, 128, "profile_%s%s%s", when, event ? "." : "",
			event ? event : "");
		if (asprintf(&path, "%s/%s.%s", config->dir, ret_stem,
			    formats[OUTPUT_COLLAPSED].suffix) < 0 ||
			access(path, F_OK) < 0)
			return;
	}
}

int output_write(const struct output_config *config, const struct profile *p, const char *event,
	int *ret_collapsed)
{
	char stem[128];
	int first = 0;

	if (ret_collapsed)
		*ret_collapsed = -1;
	free_stem(config, p, event, stem);
	for (int format = 0; format < OUTPUT_FORMATS; format++) {
		int *fd = format == OUTPUT_COLLAPSED ? ret_collapsed : NULL, r = 0;

		if (config->formats & 1u << format)
			r = write_one(config, format, p, stem, fd);
		if (!first)
			first = r;
	}
	return first;
}

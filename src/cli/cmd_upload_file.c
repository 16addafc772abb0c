/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler upload-file --file-path F: one .col file to the studio (gprofiler-agent.md 1.5, 4.3).
 *
 * The header line is read and written again without what the reference's files say of tokens; its
 * start_time and end_time are the window's. Takes no lock and needs no privileges. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "config/options.h"
#include "delivery/delivery.h"
#include "delivery/pack.h"

#define LOGGER "gprofiler"
#define HEADER_MAX ((size_t)64 << 20)
#define FIELDS_MAX ((size_t)16 << 10)
#define RUN_NAME "upload-file"

struct sending {
	FILE *f;
	long lines_at; // where the lines behind the header start
	json_t *header;
	struct studio *studio;
	unsigned sent, failed;
};

/* "YYYY-MM-DDTHH:MM:SS" in UTC, or 0. */
static uint64_t iso_time(const json_t *value)
{
	struct tm tm = {0};
	const char *text = json_string_value(value);
	time_t seconds;

	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return 0;
	seconds = timegm(&tm);
	return seconds > 0 ? (uint64_t)seconds * NSEC_PER_SEC : 0;
}

static int complain(const char *path, const char *why)
{
	log_error(LOGGER, "%s: %s", path, why);
	return 1;
}

/* What must not leave this machine, and the reference's leftovers. */
static void clean_header(json_t *header)
{
	static const char *const gone[] = {"func", "server_token", "token"};
	json_t *arguments = json_object_get(json_object_get(header, "metadata"), "run_arguments");

	for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
		json_object_del(arguments, gone[i]);
}

/* Return 0 or an exit status, complained about. */
static int open_file(const char *path, struct sending *s)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	ssize_t n;

	s->f = fopen(path, "re");
	if (!s->f)
		return complain(path, strerror(errno));
	n = getline(&line, &size, s->f);
	if (n < 2 || (size_t)n > HEADER_MAX || line[0] != '#')
		return complain(path, "is no .col file: its first line is no header");
	s->lines_at = ftell(s->f);
	s->header = json_loadb(line + 1, (size_t)n - 1, 0, NULL);
	if (!json_is_object(json_object_get(s->header, "metadata")))
		return complain(path, "its header is no JSON object with metadata in it");
	if (s->lines_at < 0)
		return complain(path, "is no file that can be read twice");
	clean_header(s->header);
	return 0;
}

static int write_text(FILE *out, bool page, void *arg)
{
	_cleanup_buf_ struct buf text = BUF_INIT(HEADER_MAX);
	struct sending *s = arg;
	_cleanup_json_ json_t *header = page ? json_incref(s->header) : json_copy(s->header);
	char piece[16384];
	size_t n;

	if (!page && header)
		json_object_set_new(header, "flamegraph_html", json_null());
	if (!header || json_append(&text, header))
		return -ENOMEM;
	fprintf(out, "# %s\n", buf_str(&text));
	if (fseek(s->f, s->lines_at, SEEK_SET) < 0)
		return -errno;
	while ((n = fread(piece, 1, sizeof(piece), s->f)) > 0)
		if (fwrite(piece, 1, n, out) != n)
			return -EIO;
	return ferror(s->f) || fflush(out) ? -EIO : 0;
}

static int send_upload(struct upload *u, void *arg)
{
	struct sending *s = arg;
	struct studio_answer answer;
	int r = studio_upload(s->studio, u, STUDIO_GPID_NONE, &answer);

	if (r)
		return r;
	if (answer.verdict == STUDIO_TOO_LARGE && !pack_again(u, send_upload, s))
		return 0;
	if (answer.verdict == STUDIO_DONE) {
		s->sent++;
		return 0;
	}
	s->failed++;
	if (answer.verdict == STUDIO_TIMED_OUT)
		log_error(LOGGER, "Upload of profile to server timed out.");
	else
		log_error(LOGGER, "Error occurred sending profile to server: %s (status %ld)",
			answer.message, answer.status);
	return 0;
}

static int pack_and_send(const struct delivery_config *config, const char *path, struct sending *s)
{
	_cleanup_buf_ struct buf fields = BUF_INIT(FIELDS_MAX);
	uint64_t now = clock_real_ns(), start = iso_time(json_object_get(s->header, "start_time")),
		 end = iso_time(json_object_get(s->header, "end_time"));
	const struct upload_window window = {
		.start_real_ns = start ? start : now,
		.end_real_ns = end ? end : now,
		.spawn_real_ns = now,
		.cpu_avg = -1,
		.mem_avg = -1,
	};
	struct pack_job job = {
		.origin = {.run = (char[]){RUN_NAME},
			.service = (char *)(uintptr_t)config->studio.service,
			.hostname = (char *)(uintptr_t)config->studio.hostname,
			.v1 = config->v1},
		.preferred = UPLOAD_PREFERRED,
		.page = json_is_string(json_object_get(s->header, "flamegraph_html")),
		.text = write_text,
		.text_arg = s,
		.sink = send_upload,
		.sink_arg = s,
	};
	struct pack_stats stats;
	int r = upload_fields(&fields, &window, config->studio.hostname);

	job.fields = buf_str(&fields);
	if (!r)
		r = pack_profile(&job, &stats);
	if (r)
		return complain(path, strerror(-r));
	if (stats.lines_refused)
		log_warning(LOGGER, "%s: %llu lines that are no stacks were left out", path,
			(unsigned long long)stats.lines_refused);
	if (!s->failed)
		log_info(LOGGER, "Successfully uploaded profiling data to the server");
	return 0;
}

/* Return 0 to go on, else an exit status. */
static int connect_studio(const struct delivery_config *config, struct studio **ret)
{
	char error[HTTP_ERROR_TEXT];
	struct studio_answer a;
	int r = studio_new(&config->studio, ret);

	if (r)
		return complain("studio", strerror(-r));
	if (http_client_check_files(studio_http(*ret), error))
		return complain("TLS", error);
	r = studio_health(*ret, &a);
	if (r)
		return complain("studio", strerror(-r));
	if (a.verdict != STUDIO_DONE) {
		log_error(LOGGER,
			"The server %s cannot be used (status %ld: %s). Check "
			"--server-host, --token, --service-name and proxies",
			config->shown_server, a.status, a.message);
		return 1;
	}
	return 0;
}

static int run(const struct options *o)
{
	struct delivery_texts texts;
	struct delivery_config config;
	struct sending s = {0};
	char host[65];
	int status = 1;

	if (gethostname(host, sizeof(host)) < 0)
		snprintf(host, sizeof(host), "unknown");
	host[sizeof(host) - 1] = 0;
	if (delivery_configure(&config, o, host, &texts)) {
		delivery_texts_deinit(&texts);
		return 1;
	}
	status = open_file(o->upload_file_path, &s);
	if (!status)
		status = connect_studio(&config, &s.studio);
	if (!status)
		status = pack_and_send(&config, o->upload_file_path, &s);
	studio_free(s.studio);
	delivery_texts_deinit(&texts);
	json_decref(s.header);
	if (s.f)
		fclose(s.f);
	return status;
}

int cli_upload_file(const struct options *options, int argc, char **argv)
{
	const struct log_config log = {
		.verbose = options->verbose,
		.file = options->log_file,
		.rotate_size = options->log_rotate_max_size,
		.rotate_count = (unsigned)options->log_rotate_backup_count,
	};
	int r = log_open(&log), status;

	if (argc > 1) {
		fprintf(stderr, "gprofiler upload-file: unrecognized arguments: %s\n", argv[1]);
		return 2;
	}
	// An ordinary user has no log of the system's to write to.
	if (r)
		log_debug(LOGGER, "No log file: %s: %s", options->log_file, strerror(-r));
	status = run(options);
	log_close();
	return status;
}

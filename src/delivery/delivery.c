/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/delivery.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/resident.h"
#include "base/thread.h"
#include "delivery/pack.h"
#include "delivery/queue.h"

#define LOGGER "gprofiler.delivery"
#define THREAD_STACK ((size_t)512 << 10)
#define PATIENCE_FIRST_S 2
#define PATIENCE_MAX_S 300
#define PAGE_MAX ((size_t)16 << 20)
#define FIELDS_MAX ((size_t)16 << 10)
#define COPY_BYTES ((size_t)32 << 10)
#define REFUSED_HINT 3
#define STUCK_TRIES 3
#define ASIDE_FIRST_S 60
#define ASIDE_MAX_S 600
#define LOG_FLUSH_MS 10000
#define LOG_HURRY_MS 1000
#define HURRY_NS (3 * NSEC_PER_SEC)
#define LOOK_NS (100 * NSEC_PER_MSEC)

struct delivery {
	struct delivery_config config;
	struct studio *studio; // the sending thread's, but for abort
	struct upload_origin origin;
	char run[33];
	pthread_mutex_t lock; // guards what follows
	pthread_cond_t change;
	pthread_t thread;
	bool started, stop, hurried, idle;
	bool connected; // something was sent since the connection was closed
	struct server_log *log; // NULL: lines stay here
	struct queue queue;
	char gpid[STUDIO_GPID_MAX];
	uint64_t not_before_ns; // CLOCK_MONOTONIC
	unsigned failed; // tries in a row that did not succeed
	unsigned refused; // uploads in a row
	unsigned stuck; // answers in a row that may be the same upload's own doing
	unsigned aside; // uploads, since the last recall
	unsigned recalls; // since the queue was empty
	uint64_t recall_ns; // CLOCK_MONOTONIC
	bool denied; // said so
	struct delivery_stats stats;
};

/* Doubles from try to try; a random part keeps a fleet from coming back at one instant. */
static uint64_t patience_ns(const struct delivery *d, const struct studio_answer *a)
{
	unsigned shift = MIN(d->failed ? d->failed - 1 : 0, 8u);
	uint64_t ns = MIN(PATIENCE_FIRST_S << shift, PATIENCE_MAX_S) * NSEC_PER_SEC;
	uint32_t random = 0;

	if (a->verdict == STUDIO_DENIED)
		ns = PATIENCE_MAX_S * NSEC_PER_SEC;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint32_t)clock_mono_ns();
	ns = ns / 2 + ns / 2 * (random >> 16) / 65536;
	return MAX(ns, a->retry_after_s * NSEC_PER_SEC);
}

static void forget_gpid(struct delivery *d)
{
	snprintf(d->gpid, sizeof(d->gpid), "%s", STUDIO_GPID_NONE);
}

static void on_done(
	struct delivery *d, const struct queue_item *item, const struct studio_answer *a)
{
	queue_remove(&d->queue, item);
	d->stats.sent++;
	d->stats.sent_bytes += item->upload.member.len;
	d->stats.last_sent_real_ns = clock_real_ns();
	// A gpid stands for one process of ours: that of an earlier run is none of this one's.
	if (!strcmp(item->upload.origin.run, d->run))
		snprintf(d->gpid, sizeof(d->gpid), "%s", a->gpid);
	log_info(LOGGER, "Successfully uploaded profiling data to the server%s",
		d->failed ? ", which is back" : "");
	d->failed = d->refused = d->stuck = 0;
	d->denied = false;
	d->not_before_ns = 0;
	// Several were not taken and this one was: the server itself was not well.
	if (d->aside > 1)
		d->recall_ns = 0;
}

/* The reference's metric of an upload that failed (4.6). */
static void count_failure(struct delivery *d, const char *severity, const char *category)
{
	metrics_error(d->config.metrics, &(struct metrics_error){
						 .category = "api_client",
						 .type = "upload_error",
						 .severity = severity,
						 .method = "submit_profile",
						 .extra_name = "error_category",
						 .extra = category,
					 });
}

static void on_later(struct delivery *d, const struct studio_answer *a)
{
	static const char *const what[] = {
		[STUDIO_DENIED] = "does not let this agent in",
		[STUDIO_BUSY] = "cannot take profiles now",
		[STUDIO_AWAY] = "cannot be reached",
		[STUDIO_TIMED_OUT] = "did not answer in time",
	};
	enum log_level level = d->failed ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

	d->failed++;
	d->stats.failures++;
	d->not_before_ns = clock_mono_ns() + patience_ns(d, a);
	forget_gpid(d);
	if (a->verdict == STUDIO_DENIED) {
		level = d->denied ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;
		d->denied = true;
	}
	if (a->verdict == STUDIO_TIMED_OUT)
		count_failure(d, "warning", "upload_timeout");
	else
		count_failure(d, "error",
			a->verdict == STUDIO_DENIED ? "upload_api_error"
						    : "upload_request_exception");
	if (a->verdict == STUDIO_TIMED_OUT)
		log_line(level, LOGGER, "Upload of profile to server timed out.");
	log_line(level, LOGGER,
		"The server %s (status %ld: %s)%s. %" PRIu64 " profiles wait and are sent later",
		what[a->verdict], a->status, a->message,
		a->verdict == STUDIO_DENIED
			? "; check --token, --service-name, --server-host and proxies"
			: "",
		queue_items(&d->queue));
}

/* The server lives, and this upload may be why it does not take it. One that is away, busy, or does not
 * let us in says nothing of the upload. */
static bool may_be_its_own_doing(const struct studio_answer *a)
{
	if (a->verdict == STUDIO_BUSY)
		return a->status >= 500 || a->status == 200;
	return a->verdict == STUDIO_TIMED_OUT;
}

/* So that one upload, which the server can never take, does not hold up all that come after it. */
static void on_stuck(
	struct delivery *d, const struct queue_item *item, const struct studio_answer *a)
{
	uint64_t wait_s = MIN((uint64_t)ASIDE_FIRST_S << MIN(d->recalls, 8u), ASIDE_MAX_S);
	bool enough = item->again || (d->stuck + 1 >= STUCK_TRIES && queue_items(&d->queue) > 1);

	if (!may_be_its_own_doing(a)) {
		d->stuck = 0;
		return;
	}
	d->stuck++;
	if (!enough)
		return;
	queue_set_aside(&d->queue, item);
	// The server was well before the only one that it does not take came again: who comes next
	// need not be patient with it.
	if (!d->aside++ && item->again && d->failed == 1)
		d->failed = d->not_before_ns = 0;
	d->recall_ns = clock_mono_ns() + wait_s * NSEC_PER_SEC;
	log_line(item->again ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, LOGGER,
		"The server did not take a profile %u times in a row (status %ld: %s): others go "
		"first, it is tried again later",
		d->stuck, a->status, a->message);
	d->stuck = 0;
}

static void drop_refused(
	struct delivery *d, const struct queue_item *item, const struct studio_answer *a)
{
	queue_remove(&d->queue, item);
	d->stats.dropped_refused++;
	d->stats.failures++;
	count_failure(d, "error", "upload_api_error");
	forget_gpid(d);
	log_error(LOGGER,
		"Error occurred sending profile to server: %s (status %ld; this profile is "
		"dropped, profiling goes on)",
		a->message, a->status);
	if (++d->refused == REFUSED_HINT)
		log_error(LOGGER,
			"%u profiles in a row were refused: --disable-metadata-collection is "
			"not accepted by the studio, and --profile-api-version must be the "
			"server's",
			d->refused);
}

static int keep(struct upload *u, void *arg)
{
	bool kept;

	return queue_put(arg, u, &kept);
}

static void on_too_large(
	struct delivery *d, const struct queue_item *item, const struct studio_answer *a)
{
	// The parts carry the time of now; they are as good behind what waits as before it.
	int r = pack_again(&item->upload, keep, &d->queue);

	if (r) {
		drop_refused(d, item, a);
		return;
	}
	log_debug(LOGGER, "A profile of %zu bytes was too large for the server and was split",
		item->upload.member.len);
	queue_remove(&d->queue, item);
}

/* With the lock. with_gpid: the upload carried one. */
static void settle(struct delivery *d, const struct queue_item *item, const struct studio_answer *a,
	bool with_gpid)
{
	switch (a->verdict) {
	case STUDIO_DONE:
		on_done(d, item, a);
		break;
	case STUDIO_REFUSED:
		// The server may have lost its records (a new database): without the gpid we
		// are introduced again, and nothing is lost.
		if (with_gpid)
			forget_gpid(d);
		else
			drop_refused(d, item, a);
		break;
	case STUDIO_INVALID:
		drop_refused(d, item, a);
		break;
	case STUDIO_TOO_LARGE:
		on_too_large(d, item, a);
		break;
	case STUDIO_DENIED:
	case STUDIO_BUSY:
	case STUDIO_AWAY:
	case STUDIO_TIMED_OUT:
		on_later(d, a);
		on_stuck(d, item, a);
		break;
	case STUDIO_STOPPED:
		break;
	}
}

/* With the lock, which is let go while the network is waited for. */
static void send_next(struct delivery *d)
{
	struct studio_answer answer = {.verdict = STUDIO_BUSY};
	struct queue_item item;
	char gpid[STUDIO_GPID_MAX] = STUDIO_GPID_NONE;
	bool with_gpid;
	int r = queue_next(&d->queue, &item);

	if (r) {
		if (r != -ENOENT)
			on_later(d, &answer);
		return;
	}
	if (!strcmp(item.upload.origin.run, d->run))
		memcpy(gpid, d->gpid, sizeof(gpid));
	with_gpid = strcmp(gpid, STUDIO_GPID_NONE) != 0;
	d->connected = true;
	pthread_mutex_unlock(&d->lock);
	r = studio_upload(d->studio, &item.upload, gpid, &answer);
	if (r == -EINVAL) {
		answer.verdict = STUDIO_INVALID;
		snprintf(answer.message, sizeof(answer.message), "it was damaged on disk");
	} else if (r) {
		answer.verdict = STUDIO_BUSY;
		snprintf(answer.message, sizeof(answer.message), "%s", strerror(-r));
	}
	pthread_mutex_lock(&d->lock);
	settle(d, &item, &answer, with_gpid);
	queue_item_deinit(&item);
}

static void wait_until(struct delivery *d, uint64_t mono_ns)
{
	const struct timespec when = {
		.tv_sec = (time_t)(mono_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(mono_ns % NSEC_PER_SEC),
	};

	pthread_cond_timedwait(&d->change, &d->lock, &when);
}

/* With the lock, which is let go meanwhile. */
static void rest(struct delivery *d)
{
	d->connected = false;
	pthread_mutex_unlock(&d->lock);
	studio_rest(d->studio);
	resident_empty_cache();
	pthread_mutex_lock(&d->lock);
}

/* With the lock. Return the time (CLOCK_MONOTONIC) before which nothing is to be sent. */
static uint64_t next_try(const struct delivery *d)
{
	return queue_ready(&d->queue) ? d->not_before_ns : MAX(d->not_before_ns, d->recall_ns);
}

static void recall(struct delivery *d)
{
	queue_recall(&d->queue);
	d->aside = 0;
	d->recalls++;
}

static void *send_all(void *arg)
{
	struct delivery *d = arg;

	pthread_mutex_lock(&d->lock);
	while (!d->stop) {
		if (queue_empty(&d->queue))
			d->recalls = 0;
		if (!queue_ready(&d->queue) && d->idle && d->connected)
			rest(d);
		else if (queue_empty(&d->queue))
			pthread_cond_wait(&d->change, &d->lock);
		else if (clock_mono_ns() < next_try(d))
			wait_until(d, next_try(d));
		else {
			if (!queue_ready(&d->queue))
				recall(d);
			send_next(d);
			pthread_cond_broadcast(&d->change);
		}
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* Return 0 go on, 1 logged and the end. */
static int ask_health(struct delivery *d)
{
	struct studio_answer a;
	int r = studio_health(d->studio, &a);

	if (r)
		return r;
	if (a.verdict == STUDIO_DONE) {
		log_info(LOGGER,
			"The connection to the server was successfully established (service '%s')",
			d->config.studio.service);
		return 0;
	}
	if (a.status == 400) {
		log_error(LOGGER,
			"The server %s does not accept this agent: %s. Check --token and "
			"--service-name",
			d->config.shown_server, a.message);
		return 1;
	}
	log_warning(LOGGER,
		"The server %s did not say that it is well (status %ld: %s). Profiling starts, and "
		"what cannot be sent is kept",
		d->config.shown_server, a.status, a.message);
	return 0;
}

static void name_run(char run[33])
{
	unsigned char bytes[16] = {0};

	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes)) {
		uint64_t now[2] = {clock_real_ns(), (uint64_t)getpid()};

		memcpy(bytes, now, sizeof(bytes));
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(run + 2 * i, 3, "%02x", bytes[i]);
}

static int delivery_new(const struct delivery_config *config, struct delivery **ret)
{
	struct delivery *d = calloc(1, sizeof(*d));
	pthread_condattr_t attributes;
	int r;

	if (!d)
		return -ENOMEM;
	d->config = *config;
	name_run(d->run);
	d->origin = (struct upload_origin){
		.run = d->run,
		.service = (char *)(uintptr_t)config->studio.service,
		.hostname = (char *)(uintptr_t)config->studio.hostname,
		.v1 = config->v1,
	};
	forget_gpid(d);
	r = studio_new(&d->config.studio, &d->studio);
	if (r) {
		free(d);
		return r;
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&d->change, &attributes);
	pthread_condattr_destroy(&attributes);
	*ret = d;
	return 0;
}

int delivery_start(const struct delivery_config *config, struct delivery **ret)
{
	char error[HTTP_ERROR_TEXT];
	struct delivery *d;
	int r = delivery_new(config, &d);

	if (r)
		return r;
	r = http_client_check_files(studio_http(d->studio), error);
	if (r == HTTP_CERTIFICATE) {
		log_error(LOGGER, "TLS: %s", error);
		r = 1;
	}
	if (!r && config->send_logs && server_log_start(&config->logs, &d->log))
		log_warning(LOGGER, "Log lines are not sent to the server: no memory");
	if (!r)
		r = ask_health(d);
	if (!r) {
		d->connected = true;
		queue_open(&d->queue, config->spool_dir, config->spool_bytes, config->spool_age_s);
		r = thread_start(&d->thread, THREAD_STACK, send_all, d);
		d->started = r == 0;
	}
	if (r) {
		delivery_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct source {
	struct profile *p;
	const struct delivery_text *text;
};

/* The page as a value of the header; NULL when it cannot be had: it is worth no failure. */
static json_t *page_text(const struct profile *p)
{
	_cleanup_free_ char *text = NULL;
	json_t *value = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return NULL;
	r = export_html(f, p);
	if (fclose(f) == 0 && !r && len <= PAGE_MAX)
		value = json_text(text);
	return value;
}

/* Behind the header line, which may have the page in it, all is as the file has it. */
static int copy_lines(FILE *f, int fd)
{
	char piece[COPY_BYTES];
	bool header = true;
	off_t at = 0;
	ssize_t n;

	while ((n = fs_pread_full(fd, piece, sizeof(piece), at)) > 0) {
		const char *from = header ? memchr(piece, '\n', (size_t)n) : piece;

		if (from)
			fwrite(from, 1, (size_t)(piece + n - from), f);
		header = !from;
		at += n;
	}
	return n < 0 ? (int)n : fflush(f) || ferror(f) ? -EIO : 0;
}

static int write_source(FILE *f, bool page, void *arg)
{
	const struct source *s = arg;
	json_t *text = page ? page_text(s->p) : NULL;
	int r;

	if (text)
		json_object_set_new(s->p->header, "flamegraph_html", text);
	if (s->text->fd < 0) {
		r = export_collapsed(f, s->p, s->text->collapsed);
	} else {
		r = export_collapsed_header(f, s->p);
		if (!r)
			r = copy_lines(f, s->text->fd);
	}
	if (text)
		json_object_set_new(s->p->header, "flamegraph_html", json_null());
	return r;
}

static int keep_locked(struct upload *u, void *arg)
{
	struct delivery *d = arg;
	bool kept;
	int r;

	pthread_mutex_lock(&d->lock);
	r = queue_put(&d->queue, u, &kept);
	pthread_cond_broadcast(&d->change);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static double metric(const struct profile *p, const char *name)
{
	const json_t *value = json_object_get(json_object_get(p->header, "metrics"), name);

	return json_is_number(value) ? json_number_value(value) : -1;
}

int delivery_profile(struct delivery *d, struct profile *p, const struct delivery_text *text)
{
	const struct upload_window window = {
		.start_real_ns = p->meta.start_real_ns,
		.end_real_ns = p->meta.start_real_ns + p->meta.duration_ns,
		.spawn_real_ns = d->config.spawn_real_ns,
		.cpu_avg = metric(p, "cpu_avg"),
		.mem_avg = metric(p, "mem_avg"),
	};
	_cleanup_buf_ struct buf fields = BUF_INIT(FIELDS_MAX);
	struct source source = {.p = p, .text = text};
	struct pack_stats stats;
	struct pack_job job = {
		.origin = d->origin,
		.preferred = UPLOAD_PREFERRED,
		.page = text->page,
		.text = write_source,
		.text_arg = &source,
		.sink = keep_locked,
		.sink_arg = d,
	};
	int r = upload_fields(&fields, &window, d->origin.hostname);

	job.fields = buf_str(&fields);
	if (!r)
		r = pack_profile(&job, &stats);
	if (r) {
		log_error(LOGGER, "A profile could not be made ready for the server: %s",
			strerror(-r));
		return r;
	}
	log_debug(LOGGER, "Packed %" PRIu64 " samples in %" PRIu64 " lines into %u uploads%s",
		stats.samples, stats.lines, stats.parts,
		stats.page_dropped ? ", without the page, which was too large" : "");
	pthread_mutex_lock(&d->lock);
	d->stats.lines_refused += stats.lines_refused;
	pthread_mutex_unlock(&d->lock);
	if (stats.lines_refused)
		log_warning(LOGGER,
			"%" PRIu64
			" stacks were left out of the upload: the server could not read them",
			stats.lines_refused);
	return 0;
}

void delivery_set_idle(struct delivery *d, bool idle)
{
	if (!d)
		return;
	pthread_mutex_lock(&d->lock);
	if (d->idle != idle)
		pthread_cond_broadcast(&d->change);
	d->idle = idle;
	pthread_mutex_unlock(&d->lock);
	server_log_set_idle(d->log, idle);
}

static void drain(struct delivery *d, uint64_t until_ns, const volatile sig_atomic_t *stop)
{
	unsigned failed;

	pthread_mutex_lock(&d->lock);
	// One try now, however patient we were.
	d->not_before_ns = 0;
	if (!queue_ready(&d->queue))
		recall(d);
	failed = d->failed;
	pthread_cond_broadcast(&d->change);
	while (queue_ready(&d->queue) && d->failed <= failed) {
		uint64_t now = clock_mono_ns();

		if (stop && *stop && !d->hurried) {
			d->hurried = true;
			until_ns = MIN(until_ns, now + HURRY_NS);
		}
		if (now >= until_ns)
			break;
		// A signal wakes nobody here, so it is looked for.
		wait_until(d, MIN(until_ns, now + LOOK_NS));
		failed = MIN(failed, d->failed);
	}
	d->stop = true;
	studio_abort(d->studio);
	pthread_cond_broadcast(&d->change);
	pthread_mutex_unlock(&d->lock);
}

void delivery_finish(struct delivery *d, unsigned timeout_ms, const volatile sig_atomic_t *stop)
{
	if (!d || !d->started)
		return;
	drain(d, clock_mono_ns() + timeout_ms * NSEC_PER_MSEC, stop);
	pthread_join(d->thread, NULL);
	d->started = false;
	if (queue_empty(&d->queue))
		return;
	if (d->queue.spool && spool_items(d->queue.spool))
		log_warning(LOGGER,
			"%zu profiles could not be sent yet. They are kept in %s, and the next "
			"gprofiler with -u sends them",
			spool_items(d->queue.spool), d->queue.dir);
	if (d->queue.nmemory)
		log_error(LOGGER, "%u profiles could not be sent and are lost: there was no spool",
			d->queue.nmemory);
}

void delivery_free(struct delivery *d)
{
	if (!d)
		return;
	delivery_finish(d, 0, NULL);
	server_log_stop(d->log, d->hurried ? LOG_HURRY_MS : LOG_FLUSH_MS);
	queue_close(&d->queue);
	studio_free(d->studio);
	pthread_cond_destroy(&d->change);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

void delivery_stats(struct delivery *d, struct delivery_stats *ret)
{
	pthread_mutex_lock(&d->lock);
	*ret = d->stats;
	ret->waiting = queue_items(&d->queue);
	ret->waiting_bytes = queue_bytes(&d->queue);
	ret->dropped_memory = d->queue.dropped;
	if (d->queue.spool) {
		const struct spool_stats *s = spool_stats(d->queue.spool);

		ret->lost_size = s->lost_size;
		ret->lost_age = s->lost_age;
		ret->lost_damaged = s->lost_damaged;
	}
	pthread_mutex_unlock(&d->lock);
}

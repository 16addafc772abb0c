/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/server_log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/json.h"
#include "base/log.h"
#include "base/resident.h"
#include "base/thread.h"
#include "base/vec.h"

#define LOGGER "gprofiler.delivery"
#define MAX_BYTES ((size_t)4 << 20)
#define INTERVAL_MS 30000
#define WAKES 3 // of an interval: a failed batch waits for the next
#define FULL_PERCENT 80
#define RECORDS_MAX 65536
#define CONNECT_MS 1500
#define READ_MS 10000
#define THREAD_STACK ((size_t)512 << 10)
#define GZIP_LEVEL 6
#define RUN_ID_SIZE 37

VEC_DEFINE(length_vec, uint32_t)

/* Encoded records, comma after comma. */
struct records {
	struct buf text;
	struct length_vec lengths;
	uint64_t lost; // before these
};

struct server_log {
	struct server_log_config config;
	struct http_client *http;
	struct buf url;
	char run_id[RUN_ID_SIZE];
	pthread_mutex_t lock; // guards what follows
	pthread_cond_t change;
	pthread_t thread;
	bool stop, idle;
	bool connected; // something was sent since the connection was closed
	struct records records;
	uint64_t serial;
	// Only the sending thread's: on its way, or to be sent again.
	struct records flight;
	char flight_id[33];
};

static void records_init(struct records *r, size_t max)
{
	*r = (struct records){.text = BUF_INIT(max)};
	length_vec_init(&r->lengths, RECORDS_MAX);
}

static void records_deinit(struct records *r)
{
	buf_deinit(&r->text);
	length_vec_deinit(&r->lengths);
}

/* The oldest quarter goes. */
static void records_drop(struct records *r)
{
	size_t bytes = 0, n = 0;

	while (n < r->lengths.len && (bytes < r->text.len / 4 || n < r->lengths.len / 4))
		bytes += r->lengths.data[n++];
	r->lost += n;
	memmove(r->text.data, r->text.data + bytes, r->text.len - bytes);
	r->text.len -= bytes;
	length_vec_remove(&r->lengths, 0, n);
}

static void records_add(struct records *r, const struct buf *record)
{
	if (record->bad || record->len + 2 > r->text.cap) {
		r->lost++;
		return;
	}
	while (r->lengths.len &&
		(r->text.len + record->len > r->text.cap || r->lengths.len == RECORDS_MAX))
		records_drop(r);
	if (length_vec_push(&r->lengths, (uint32_t)record->len)) {
		r->lost++;
		return;
	}
	if (buf_append(&r->text, record->data, record->len)) {
		r->lengths.len--;
		r->lost++;
	}
}

struct line {
	enum log_level level;
	const char *logger, *text;
	size_t len;
};

/* Severities of the log service: gprofiler-agent.md 4.4. */
static int severity(enum log_level level)
{
	return (int)level + 2;
}

static void encode(struct buf *out, uint64_t serial, const struct line *line)
{
	uint64_t now = clock_real_ns();
	char when[32];

	clock_iso_utc(now, when);
	buf_printf(out,
		"{\"severity\":%d,\"timestamp\":%" PRIu64 ".%03u,\"text\":{\"logger_name\":",
		severity(line->level), (uint64_t)(now / NSEC_PER_MSEC),
		(unsigned)(now / 1000 % 1000));
	json_append_string(out, line->logger, strlen(line->logger));
	buf_printf(out, ",\"serial_no\":%" PRIu64 ",\"message\":", serial);
	json_append_string(out, line->text, line->len);
	// A line of ours knows no place in a source file: the fields are there, empty.
	buf_printf(out,
		",\"truncated\":false,\"lineno\":0,\"pathname\":\"\",\"funcname\":\"\","
		"\"thread\":\"\",\"timestamp\":\"%s\",\"exception\":\"\",\"extra\":{\"cycle_id\":"
		"null}}},",
		when);
}

static bool stays_local(const char *logger, const char *text, size_t len)
{
	return !strcmp(logger, "gprofiler.http") || (len > 7 && memcmp(text, "libbpf:", 7) == 0);
}

/* Called by the log with its lock held. */
static void on_line(
	void *arg, enum log_level level, const char *logger, const char *text, size_t len)
{
	const struct line line = {.level = level, .logger = logger, .text = text, .len = len};
	_cleanup_buf_ struct buf record = BUF_INIT(1 << 20);
	struct server_log *log = arg;

	if (stays_local(logger, text, len))
		return;
	pthread_mutex_lock(&log->lock);
	encode(&record, log->serial++, &line);
	records_add(&log->records, &record);
	if (log->records.text.len > log->records.text.cap / 100 * FULL_PERCENT)
		pthread_cond_signal(&log->change);
	pthread_mutex_unlock(&log->lock);
}

/* 128 random bits in hex, as uuid4 with dashes or without. */
static void name(char *ret, size_t size, bool dashes)
{
	unsigned char bytes[16] = {0};
	size_t n = 0;

	if (getrandom(bytes, sizeof(bytes), GRND_NONBLOCK) != sizeof(bytes)) {
		uint64_t now[2] = {clock_real_ns(), clock_mono_ns()};

		memcpy(bytes, now, sizeof(bytes));
	}
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(bytes) && n + 3 < size + 1; i++) {
		bool dash = dashes && (i == 4 || i == 6 || i == 8 || i == 10);

		n += (size_t)snprintf(ret + n, size - n, "%s%02x", dash ? "-" : "", bytes[i]);
	}
}

static int gzip_into(void *arg, const void *data, size_t len)
{
	return buf_append(arg, data, len);
}

static int head(struct buf *out, const struct server_log *log)
{
	buf_printf(out,
		"{\"batch_id\":\"%s\",\"metadata\":{\"run_id\":\"%s\",\"gprofiler_version\":"
		"\"" GP_VERSION "\",\"service_name\":",
		log->flight_id, log->run_id);
	json_append_string(out, log->config.service, strlen(log->config.service));
	buf_append_str(out, ",\"hostname\":");
	json_append_string(out, log->config.hostname, strlen(log->config.hostname));
	buf_printf(out, "},\"lost_logs_count\":%" PRIu64 ",\"logs\":[", log->flight.lost);
	return out->bad ? -ENOSPC : 0;
}

static int make_body(const struct server_log *log, struct buf *body)
{
	_cleanup_buf_ struct buf first = BUF_INIT(1 << 16);
	struct gzip_writer *w;
	int r = head(&first, log);

	if (!r)
		r = gzip_writer_new(GZIP_LEVEL, gzip_into, body, &w);
	if (r)
		return r;
	r = gzip_write(w, first.data, first.len);
	// Without the last record's comma.
	if (!r && log->flight.text.len)
		r = gzip_write(w, log->flight.text.data, log->flight.text.len - 1);
	if (!r)
		r = gzip_write(w, "]}", 2);
	if (!r)
		r = gzip_finish(w);
	gzip_writer_free(w);
	return r;
}

/* The sending thread, without the lock. Return whether the server took it. */
static bool post(struct server_log *log)
{
	_cleanup_buf_ struct buf body = BUF_INIT(log->flight.text.cap + 65536);
	_cleanup_buf_ struct buf token = BUF_INIT(16384);
	_cleanup_http_response_ struct http_response response = HTTP_RESPONSE_INIT;
	int r = make_body(log, &body);

	buf_printf(&token, "X-Token: %s", log->config.token);
	if (r || token.bad)
		return false;
	const char *const headers[] = {buf_str(&token), "X-Application-Name: gprofiler",
		"Content-Encoding: gzip", "Content-Type: application/json", NULL};

	r = http_request(log->http,
		&(struct http_request){
			.method = "POST",
			.url = buf_str(&log->url),
			.headers = headers,
			.body = body.data,
			.body_len = body.len,
			.timeout_ms = CONNECT_MS + READ_MS,
			.connect_timeout_ms = CONNECT_MS,
		},
		&response);
	if (!r && response.status >= 200 && response.status < 300)
		return true;
	// Of something it will never take the server is spared the repetition.
	if (!r && (response.status == 413 || response.status == 422))
		return true;
	log_debug("gprofiler.http", "Logs could not be sent (status %ld: %s)", response.status,
		response.error);
	return false;
}

/* With the lock, which is let go meanwhile. */
static void send_batch(struct server_log *log)
{
	bool sent;

	if (!log->flight.lengths.len) {
		struct records empty = log->flight;

		if (!log->records.lengths.len)
			return;
		log->flight = log->records;
		empty.lost = 0;
		log->records = empty;
		name(log->flight_id, sizeof(log->flight_id), false);
	}
	log->connected = true;
	pthread_mutex_unlock(&log->lock);
	sent = post(log);
	if (sent) {
		records_deinit(&log->flight);
		records_init(&log->flight, log->config.max_bytes);
	}
	pthread_mutex_lock(&log->lock);
}

static void wait_ms(struct server_log *log, uint64_t until_ns)
{
	const struct timespec when = {
		.tv_sec = (time_t)(until_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(until_ns % NSEC_PER_SEC),
	};

	pthread_cond_timedwait(&log->change, &log->lock, &when);
}

/* With the lock, which is let go meanwhile. */
static void rest(struct server_log *log)
{
	log->connected = false;
	pthread_mutex_unlock(&log->lock);
	http_client_rest(log->http);
	resident_give_back();
	pthread_mutex_lock(&log->lock);
}

static void *send_all(void *arg)
{
	struct server_log *log = arg;
	uint64_t interval = log->config.interval_ms * NSEC_PER_MSEC, last = clock_mono_ns();

	pthread_mutex_lock(&log->lock);
	while (!log->stop) {
		uint64_t now;
		bool full;

		wait_ms(log, clock_mono_ns() + interval / WAKES);
		now = clock_mono_ns();
		full = log->records.text.len > log->records.text.cap / 100 * FULL_PERCENT;
		if (log->stop)
			break;
		if (log->flight.lengths.len || full || now - last >= interval) {
			send_batch(log);
			last = clock_mono_ns();
		}
		if (log->idle && log->connected)
			rest(log);
	}
	// The last words: what is in flight, then the rest.
	for (int i = 0; i < 2 && (log->records.lengths.len || log->flight.lengths.len); i++) {
		send_batch(log);
		if (log->flight.lengths.len)
			break;
	}
	log->stop = false;
	pthread_cond_broadcast(&log->change);
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

/* scheme://host:port of a URL, and the service's path. */
static int make_url(struct buf *url, const char *server)
{
	const char *host = strstr(server, "://");
	size_t len;

	if (!host)
		buf_append_str(url, "https://");
	host = host ? host + 3 : server;
	len = (size_t)(host - server) + strcspn(host, "/?#");
	buf_append(url, server, len);
	buf_append_str(url, "/api/v1/logs");
	return url->bad ? -ENOSPC : 0;
}

static void log_free(struct server_log *log)
{
	http_client_free(log->http);
	buf_deinit(&log->url);
	records_deinit(&log->records);
	records_deinit(&log->flight);
	pthread_cond_destroy(&log->change);
	pthread_mutex_destroy(&log->lock);
	free(log);
}

int server_log_start(const struct server_log_config *config, struct server_log **ret)
{
	struct server_log *log = calloc(1, sizeof(*log));
	pthread_condattr_t attributes;
	int r;

	if (!log)
		return -ENOMEM;
	log->config = *config;
	log->config.http.secret = config->token;
	if (!log->config.max_bytes)
		log->config.max_bytes = MAX_BYTES;
	if (!log->config.interval_ms)
		log->config.interval_ms = INTERVAL_MS;
	log->url = BUF_INIT(16384);
	records_init(&log->records, log->config.max_bytes);
	records_init(&log->flight, log->config.max_bytes);
	name(log->run_id, sizeof(log->run_id), true);
	pthread_mutex_init(&log->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&log->change, &attributes);
	pthread_condattr_destroy(&attributes);
	r = make_url(&log->url, config->server);
	if (!r)
		r = http_client_new(&log->config.http, &log->http);
	if (!r)
		r = thread_start(&log->thread, THREAD_STACK, send_all, log);
	if (r) {
		log_free(log);
		return r;
	}
	log_tee(on_line, log);
	*ret = log;
	return 0;
}

void server_log_set_idle(struct server_log *log, bool idle)
{
	if (!log)
		return;
	pthread_mutex_lock(&log->lock);
	log->idle = idle;
	pthread_mutex_unlock(&log->lock);
}

void server_log_stop(struct server_log *log, unsigned timeout_ms)
{
	uint64_t until = clock_mono_ns() + timeout_ms * NSEC_PER_MSEC;

	if (!log)
		return;
	log_tee(NULL, NULL);
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_cond_broadcast(&log->change);
	// The thread takes the flag back when it is done.
	while (log->stop && clock_mono_ns() < until)
		wait_ms(log, until);
	pthread_mutex_unlock(&log->lock);
	http_client_abort(log->http);
	pthread_join(log->thread, NULL);
	log_free(log);
}

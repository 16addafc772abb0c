/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines on their way to the log service: batches, repetition, the cap. The service is a thread. */
#include "tests/harness.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/json.h"
#include "base/log.h"
#include "delivery/server_log.h"

#define BATCHES_MAX 16
#define REQUEST_MAX ((size_t)8 << 20)

/* Answers one request a connection, or, with keeps, as many as come. */
struct service {
	int fd, port;
	bool keeps;
	pthread_t thread;
	int statuses[BATCHES_MAX]; // 0: hang up without an answer; then 201
	pthread_mutex_t lock;
	json_t *batches[BATCHES_MAX];
	int n;
	int opened, closed; // connections; closed: by the client, between two requests
};

static size_t content_length(const char *text)
{
	const char *at = strcasestr(text, "content-length:");

	return at ? strtoul(at + strlen("content-length:"), NULL, 10) : 0;
}

/* Reads a request; the body's JSON, or NULL. */
static json_t *read_request(int fd)
{
	_cleanup_buf_ struct buf in = BUF_INIT(REQUEST_MAX), text = BUF_INIT(REQUEST_MAX);
	const char *body = NULL;
	char piece[65536];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		if (buf_append(&in, piece, (size_t)n))
			return NULL;
		body = memmem(in.data, in.len, "\r\n\r\n", 4);
		if (body && in.len - (size_t)(body + 4 - in.data) >= content_length(in.data))
			break;
	}
	if (n <= 0 || !body)
		return NULL;
	body += 4;
	if (gzip_inflate(body, in.len - (size_t)(body - in.data), &text))
		return NULL;
	return json_loadb(text.data, text.len, 0, NULL);
}

/* Return whether the connection may go on. */
static bool answer_one(struct service *s, int fd)
{
	json_t *batch = read_request(fd);
	int status = 0;
	char answer[128];

	pthread_mutex_lock(&s->lock);
	s->closed += !batch;
	if (!batch || s->n == BATCHES_MAX) {
		json_decref(batch);
	} else {
		status = s->statuses[s->n] ? s->statuses[s->n] : 201;
		s->batches[s->n++] = batch;
	}
	pthread_mutex_unlock(&s->lock);
	snprintf(answer, sizeof(answer), "HTTP/1.1 %d X\r\nContent-Length: 2\r\n%s\r\n{}", status,
		s->keeps ? "" : "Connection: close\r\n");
	return status > 0 && write(fd, answer, strlen(answer)) > 0 && s->keeps;
}

static void *serve(void *arg)
{
	struct service *s = arg;
	int fd;

	while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
		pthread_mutex_lock(&s->lock);
		s->opened++;
		pthread_mutex_unlock(&s->lock);
		while (answer_one(s, fd))
			;
		close(fd);
	}
	return NULL;
}

static void service_start(struct service *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_ok(bind(s->fd, (struct sockaddr *)&a, sizeof(a)));
	assert_ok(listen(s->fd, 8));
	assert_ok(getsockname(s->fd, (struct sockaddr *)&a, &len));
	s->port = ntohs(a.sin_port);
	pthread_mutex_init(&s->lock, NULL);
	assert_ok(pthread_create(&s->thread, NULL, serve, s));
}

static void service_stop(struct service *s)
{
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (int i = 0; i < s->n; i++)
		json_decref(s->batches[i]);
	pthread_mutex_destroy(&s->lock);
}

static int batches(struct service *s)
{
	int n;

	pthread_mutex_lock(&s->lock);
	n = s->n;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void wait_batches(struct service *s, int n)
{
	for (int i = 0; i < 1000 && batches(s) < n; i++)
		clock_sleep_ns(10 * NSEC_PER_MSEC);
	assert_true(batches(s) >= n);
}

static void wait_closed(struct service *s, int n)
{
	int closed = 0;

	for (int i = 0; i < 3000 && closed < n; i++) {
		clock_sleep_ns(10 * NSEC_PER_MSEC);
		pthread_mutex_lock(&s->lock);
		closed = s->closed;
		pthread_mutex_unlock(&s->lock);
	}
	assert_int_equal(closed, n);
}

static struct server_log *start(
	const struct service *s, char url[64], size_t max, unsigned interval)
{
	struct server_log *log;

	snprintf(url, 64, "http://127.0.0.1:%d/ignored", s->port);
	assert_ok(server_log_start(&(struct server_log_config){.server = url,
					   .token = "t",
					   .service = "s",
					   .hostname = "h",
					   .max_bytes = max,
					   .interval_ms = interval},
		&log));
	return log;
}

static const char *message(const json_t *batch, size_t i)
{
	return json_string_value(json_object_get(
		json_object_get(json_array_get(json_object_get(batch, "logs"), i), "text"),
		"message"));
}

static size_t records(const json_t *batch)
{
	return json_array_size(json_object_get(batch, "logs"));
}

static void server_log__a_failed_batch_is_sent_again(void **state)
{
	struct service s = {.statuses = {500, 503}};
	struct server_log *log;
	const json_t *id;
	char url[64];

	(void)state;
	service_start(&s);
	log = start(&s, url, 0, 150);
	log_debug("gprofiler.test", "one \"%s\"", "\xff\xc3\xa9");
	wait_batches(&s, 1);
	log_debug("gprofiler.test", "two");
	log_debug("gprofiler.http", "stays here");
	log_debug("gprofiler.capture", "libbpf: stays here");
	wait_batches(&s, 4);
	server_log_stop(log, 2000);
	log_debug("gprofiler.test", "not gathered any more");
	assert_int_equal(s.n, 4);
	id = json_object_get(s.batches[0], "batch_id");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(records(s.batches[i]), 1);
		assert_string_equal(message(s.batches[i], 0), "one \"\xef\xbf\xbd\xc3\xa9\"");
		assert_true(json_equal(id, json_object_get(s.batches[i], "batch_id")));
	}
	assert_int_equal(records(s.batches[3]), 1);
	assert_string_equal(message(s.batches[3], 0), "two");
	assert_false(json_equal(id, json_object_get(s.batches[3], "batch_id")));
	service_stop(&s);
}

/* Idle means idle: no connection stays open behind a batch. While something is profiled one does. */
static void server_log__an_idle_agent_hangs_up(void **state)
{
	struct service s = {.keeps = true};
	struct server_log *log;
	char url[64];

	(void)state;
	service_start(&s);
	log = start(&s, url, 0, 150);
	log_debug("gprofiler.test", "one");
	wait_batches(&s, 1);
	log_debug("gprofiler.test", "two");
	wait_batches(&s, 2);
	assert_int_equal(s.opened, 1);
	assert_int_equal(s.closed, 0);
	// Also without another batch.
	server_log_set_idle(log, true);
	wait_closed(&s, 1);
	log_debug("gprofiler.test", "three");
	wait_batches(&s, 3);
	wait_closed(&s, 2);
	assert_int_equal(s.opened, 2);
	server_log_stop(log, 2000);
	service_stop(&s);
}

static void server_log__full_memory_drops_the_oldest(void **state)
{
	struct service s = {0};
	struct server_log *log;
	json_int_t lost;
	size_t kept;
	char url[64], last[32];

	(void)state;
	service_start(&s);
	// An hour between batches, and a buffer that five records fill four fifths of: the wake-up
	// by fullness sends too, so the sums over all batches count.
	log = start(&s, url, 4000, 3600000);
	for (unsigned i = 0; i < 500; i++)
		log_debug("gprofiler.test", "line %u", i);
	server_log_stop(log, 5000);
	lost = 0;
	kept = 0;
	for (int i = 0; i < s.n; i++) {
		lost += json_integer_value(json_object_get(s.batches[i], "lost_logs_count"));
		kept += records(s.batches[i]);
	}
	assert_true(s.n >= 1 && lost > 0 && kept > 0);
	assert_int_equal((size_t)lost + kept, 500);
	snprintf(last, sizeof(last), "line %u", 499);
	assert_string_equal(message(s.batches[s.n - 1], records(s.batches[s.n - 1]) - 1), last);
	service_stop(&s);
}

static void server_log__stop_does_not_wait_for_the_service(void **state)
{
	struct service s = {0};
	struct server_log *log;
	uint64_t before;
	char url[64];

	(void)state;
	// Listens, and never answers.
	s.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_ok(listen(s.fd, 8));
	{
		struct sockaddr_in a;
		socklen_t len = sizeof(a);

		assert_ok(getsockname(s.fd, (struct sockaddr *)&a, &len));
		s.port = ntohs(a.sin_port);
	}
	log = start(&s, url, 0, 3600000);
	log_debug("gprofiler.test", "nobody hears this");
	before = clock_mono_ns();
	server_log_stop(log, 200);
	assert_true(clock_mono_ns() - before < 5 * NSEC_PER_SEC);
	close(s.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(server_log__a_failed_batch_is_sent_again),
		cmocka_unit_test(server_log__an_idle_agent_hangs_up),
		cmocka_unit_test(server_log__full_memory_drops_the_oldest),
		cmocka_unit_test(server_log__stop_does_not_wait_for_the_service),
	};

	return cmocka_run_group_tests_name("server_log", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#define LOGGER "gprofiler.metrics"
#define CONNECT_MS 5000
#define FLUSH_NS NSEC_PER_SEC
#define AWAY_NS (10 * NSEC_PER_SEC) // before a server that was away is tried again
#define STACK_BYTES ((size_t)256 << 10)

struct metrics {
	struct metrics_config config;
	char host[256], port[8];
	char run_id[37];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	char *queue[METRICS_QUEUE_MAX];
	unsigned len;
	bool closing, done;
	uint64_t not_before; // CLOCK_MONOTONIC ns
	struct metrics_stats stats;
};

int metrics_parse_url(const char *url, char host[static 256], char port[static 8])
{
	const char *s, *end, *colon;
	char *stop;
	unsigned long n;

	if (strncmp(url, "tcp://", 6) != 0)
		return -EINVAL;
	s = url + 6;
	if (*s == '[') {
		end = strchr(++s, ']');
		colon = end ? end + 1 : NULL;
	} else {
		colon = strchr(s, ':');
		end = colon ? colon : s + strlen(s);
		colon = end;
	}
	if (!end || end == s || end - s >= 256 || memchr(s, '/', (size_t)(end - s)) ||
		memchr(s, ' ', (size_t)(end - s)))
		return -EINVAL;
	snprintf(host, 256, "%.*s", (int)(end - s), s);
	snprintf(port, 8, "%d", METRICS_PORT);
	if (!*colon)
		return 0;
	n = *colon == ':' ? strtoul(colon + 1, &stop, 10) : 0;
	if (!n || n > 65535 || *stop)
		return -EINVAL;
	snprintf(port, 8, "%lu", n);
	return 0;
}

void metrics_tag(struct buf *line, const char *key, const char *value)
{
	size_t at;

	buf_printf(line, " %s=", key);
	at = line->len;
	buf_append_str(line, value && value[0] ? value : "none");
	for (; !line->bad && at < line->len; at++)
		if ((unsigned char)line->data[at] <= ' ' || line->data[at] == 0x7f)
			line->data[at] = '_';
}

static void make_uuid(char ret[static 37])
{
	uint8_t b[16] = {0};

	if (getrandom(b, sizeof(b), 0) < 0)
		memset(b, 0, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		b[13], b[14], b[15]);
}

/* ---- sending ---- */

static int wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now = clock_mono_ns();
	int n;

	if (now >= deadline)
		return -ETIMEDOUT;
	n = poll(&p, 1, (int)((deadline - now) / NSEC_PER_MSEC) + 1);
	return n > 0 ? 0 : n < 0 ? -errno : -ETIMEDOUT;
}

static int connect_to(const struct addrinfo *a, uint64_t deadline)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0, r = 0;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return -errno;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		r = errno == EINPROGRESS ? wait_for(fd, POLLOUT, deadline) : -errno;
		if (!r && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0)
			r = -error;
	}
	if (r) {
		close(fd);
		return r;
	}
	return fd;
}

static int send_all(int fd, const char *text, uint64_t deadline)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		int r;

		if (n > 0) {
			text += n;
			len -= (size_t)n;
			continue;
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(fd, POLLOUT, deadline);
		if (r)
			return r;
	}
	return 0;
}

static int send_line(const struct metrics *m, const char *line)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	uint64_t deadline = clock_mono_ns() + CONNECT_MS * NSEC_PER_MSEC;
	struct addrinfo *list = NULL;
	int fd = -EHOSTUNREACH, r = getaddrinfo(m->host, m->port, &hints, &list);

	if (r)
		return -EHOSTUNREACH;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_to(a, deadline);
	freeaddrinfo(list);
	if (fd < 0)
		return fd;
	r = send_all(fd, line, deadline);
	close(fd);
	return r;
}

static void *work(void *arg)
{
	struct metrics *m = arg;

	pthread_mutex_lock(&m->lock);
	for (;;) {
		char *line;
		int r;

		while (!m->len && !m->closing)
			pthread_cond_wait(&m->wake, &m->lock);
		if (!m->len)
			break;
		line = m->queue[0];
		m->len--;
		memmove(m->queue, m->queue + 1, m->len * sizeof(*m->queue));
		if (clock_mono_ns() < m->not_before) {
			m->stats.lost++;
			free(line);
			continue;
		}
		pthread_mutex_unlock(&m->lock);
		r = send_line(m, line);
		free(line);
		if (r)
			log_once(LOG_LEVEL_WARNING, LOGGER,
				"Metrics server %s: %s. Its lines are lost meanwhile",
				m->config.server, strerror(-r));
		pthread_mutex_lock(&m->lock);
		if (r) {
			m->stats.lost++;
			m->not_before = clock_mono_ns() + AWAY_NS;
		} else {
			m->stats.sent++;
		}
	}
	m->done = true;
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int metrics_start(const struct metrics_config *config, struct metrics **ret)
{
	struct metrics *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->config = *config;
	r = metrics_parse_url(config->server, m->host, m->port);
	if (r) {
		free(m);
		return r;
	}
	make_uuid(m->run_id);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->wake, NULL);
	r = thread_start(&m->thread, STACK_BYTES, work, m);
	if (r) {
		free(m);
		return r;
	}
	*ret = m;
	return 0;
}

bool metrics_stop(struct metrics *m)
{
	uint64_t deadline = clock_mono_ns() + FLUSH_NS;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline % NSEC_PER_SEC),
	};

	if (!m)
		return true;
	pthread_mutex_lock(&m->lock);
	m->closing = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	if (pthread_clockjoin_np(m->thread, NULL, CLOCK_MONOTONIC, &until))
		return false;
	log_debug(LOGGER, "Metrics (sent=%" PRIu64 ", lost=%" PRIu64 ")", m->stats.sent,
		m->stats.lost);
	return true;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->len; i++)
		free(m->queue[i]);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->wake);
	free(m);
}

void metrics_get_stats(struct metrics *m, struct metrics_stats *ret)
{
	pthread_mutex_lock(&m->lock);
	*ret = m->stats;
	pthread_mutex_unlock(&m->lock);
}

/* Takes the line over. */
static void put(struct metrics *m, struct buf *line)
{
	char *text, *oldest = NULL;

	buf_append_char(line, '\n');
	text = line->bad ? NULL : buf_steal(line);
	pthread_mutex_lock(&m->lock);
	if (!text) {
		m->stats.lost++;
	} else {
		if (m->len == METRICS_QUEUE_MAX) {
			oldest = m->queue[0];
			m->len--;
			memmove(m->queue, m->queue + 1, m->len * sizeof(*m->queue));
			m->stats.lost++;
		}
		m->queue[m->len++] = text;
		pthread_cond_signal(&m->wake);
	}
	pthread_mutex_unlock(&m->lock);
	free(oldest);
}

void metrics_error(struct metrics *m, const struct metrics_error *e)
{
	_cleanup_buf_ struct buf line = BUF_INIT(METRICS_LINE_MAX);

	if (!m)
		return;
	buf_printf(&line, "put gprofiler.%s.%s.error %lld 1", e->category, e->type,
		(long long)time(NULL));
	metrics_tag(&line, "service", m->config.service);
	metrics_tag(&line, "hostname",
		m->config.hostname && m->config.hostname[0] ? m->config.hostname : "unknown");
	metrics_tag(&line, "component", e->category);
	metrics_tag(&line, "severity", e->severity);
	metrics_tag(&line, "metric_type", "counter");
	metrics_tag(&line, "os_type", "linux");
	metrics_tag(&line, "python_version", "none");
	metrics_tag(&line, "run_id", m->run_id);
	metrics_tag(&line, "cycle_id", "none");
	metrics_tag(&line, "method_name", e->method);
	if (e->extra_name)
		metrics_tag(&line, e->extra_name, e->extra);
	put(m, &line);
}

void metrics_sli(struct metrics *m, const char *response, const char *method, const char *tag,
	const char *value)
{
	_cleanup_buf_ struct buf line = BUF_INIT(METRICS_LINE_MAX);

	if (!m || !m->config.sli_uuid || !m->config.sli_uuid[0])
		return;
	buf_printf(&line, "put error-budget.counters.%s %lld 1", m->config.sli_uuid,
		(long long)time(NULL));
	metrics_tag(&line, "response_type", response);
	metrics_tag(&line, "method_name", method);
	metrics_tag(&line, "metric_type", "counter");
	metrics_tag(&line, "service", m->config.service);
	metrics_tag(&line, "hostname", m->config.hostname);
	if (tag)
		metrics_tag(&line, tag, value);
	put(m, &line);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/status.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "agent/preconditions.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/thread.h"

#define THREAD_STACK ((size_t)128 << 10)
#define TEXT_MAX ((size_t)256 << 10)
#define BACKLOG 8
#define ANSWER_SECONDS 5

struct status_server {
	pthread_t thread;
	int lock, stop; // stop: an eventfd
	struct vitals *vitals;
};

/* {"name{labels}": value}: every row, as /metrics names it. */
static json_t *rows_json(const struct vitals_report *report)
{
	json_t *rows = json_object();

	for (unsigned id = 0; rows && id < METRIC_COUNT; id++)
		json_object_set_new(
			rows, metric_rows[id].field, json_real(metric_get(&report->values, id)));
	return rows;
}

static json_t *ledger_json(const struct vitals_report *report)
{
	json_t *ledger = json_object();

	counter_each(id, COUNTER_GROUP_LEDGER)
	{
		json_object_set_new(ledger, counter_rows[id].name,
			json_integer((json_int_t)report->ledger[id]));
	}
	return ledger;
}

json_t *status_json(const struct vitals_report *report)
{
	const struct vitals_words *w = &report->words;
	double silent = (double)(clock_mono_ns() - report->seen_ns) / (double)NSEC_PER_SEC;

	return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:f, s:o, s:o}", "version", GP_VERSION,
		"pid", (int)getpid(), "state", w->state, "rung", w->rung, "event", w->event,
		"scope", w->scope, "loop_silent_seconds", silent, "numbers", rows_json(report),
		"ledger", ledger_json(report));
}

/* Return the other side's user is root or ours. */
static bool peer_trusted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void set_timeouts(int fd)
{
	const struct timeval limit = {.tv_sec = ANSWER_SECONDS};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
}

static void answer(const struct status_server *s, int fd)
{
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	_cleanup_json_ json_t *all = NULL;
	struct vitals_report report;

	set_timeouts(fd);
	if (!peer_trusted(fd)) {
		send(fd, "{}", 2, MSG_NOSIGNAL);
		return;
	}
	vitals_collect(s->vitals, &report);
	all = status_json(&report);
	if (!all || json_append(&text, all))
		return;
	for (size_t done = 0; done < text.len;) {
		ssize_t n = send(fd, text.data + done, text.len - done, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static void *serve(void *arg)
{
	struct status_server *s = arg;
	struct pollfd fds[] = {
		{.fd = s->stop, .events = POLLIN}, {.fd = s->lock, .events = POLLIN}};

	while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
		_cleanup_close_ int fd = -1;

		if (fds[0].revents)
			break;
		if (!fds[1].revents)
			continue;
		fd = accept4(s->lock, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			answer(s, fd);
		else if (errno == EMFILE || errno == ENFILE)
			clock_sleep_ns(NSEC_PER_SEC);
	}
	return NULL;
}

int status_server_start(int lock, struct vitals *vitals, struct status_server **ret)
{
	struct status_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	*s = (struct status_server){.lock = lock, .vitals = vitals};
	s->stop = eventfd(0, EFD_CLOEXEC);
	r = s->stop < 0 || listen(lock, BACKLOG) < 0
		    ? -errno
		    : thread_start(&s->thread, THREAD_STACK, serve, s);
	if (r) {
		if (s->stop >= 0)
			close(s->stop);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void status_server_stop(struct status_server *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	if (fs_write_full(s->stop, &one, sizeof(one)) == 0)
		pthread_join(s->thread, NULL);
	close(s->stop);
	free(s);
}

static int read_answer(int fd, struct buf *out)
{
	char piece[4096];

	for (;;) {
		ssize_t n = recv(fd, piece, sizeof(piece), 0);

		if (n == 0)
			return out->len ? 0 : STATUS_SILENT;
		if (n < 0)
			return errno == EAGAIN ? STATUS_SILENT : -errno;
		if (buf_append(out, piece, (size_t)n))
			return -ENOMEM;
	}
}

int status_ask(const char *lock_name, struct buf *out)
{
	_cleanup_close_ int fd = -1;
	int r = precondition_lock_connect(lock_name, &fd);

	if (r == -ECONNREFUSED || r == -ENOENT)
		// Bound by somebody who does not listen, or by nobody: only binding tells.
		return precondition_lock_held(lock_name) ? STATUS_OTHER : STATUS_NOBODY;
	if (r)
		return r == -EAGAIN ? STATUS_SILENT : r;
	if (!peer_trusted(fd))
		return STATUS_DENIED;
	set_timeouts(fd);
	r = read_answer(fd, out);
	return !r && !strcmp(buf_str(out), "{}") ? STATUS_DENIED : r;
}

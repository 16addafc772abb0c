/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/control.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "agent/heartbeat_request.h"
#include "agent/run_record.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/resident.h"
#include "base/thread.h"

#define LOGGER "gprofiler.heartbeat"
#define THREAD_STACK ((size_t)512 << 10)
#define FILE_NAME "commands.json"
#define PATIENCE_MAX_S 300
#define COMPLETION_TIMEOUT_MS 10000
#define CLOSING_TIMEOUT_MS 1500
#define TRIES_MAX 20 // of a completion that the server answers with nonsense

struct control {
	struct control_config config;
	struct heartbeat *heartbeat; // the thread's, but for abort
	struct heartbeat_request request; // the thread's
	char *path; // of the state, NULL: none can be kept
	int fd; // eventfd
	pthread_t thread;
	pthread_mutex_t lock; // guards what follows
	pthread_cond_t change;
	bool started, closing, dirty, beating;
	struct command_history history;
	struct command_queue queue;
	struct control_stats stats;
	char last_id[REMOTE_ID_MAX + 1];
	unsigned failures; // heartbeats in a row
	unsigned tries; // of the completion that is due
	uint64_t not_before_ns; // next completion, CLOCK_MONOTONIC
	bool denied, rejected, unsaved, nameless; // said so
};

/* With the lock, which is let go while the disk is waited for. The thread's. */
static void save(struct control *c)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	int r;

	if (!c->path || !c->dirty)
		return;
	r = command_history_encode(&c->history, &text);
	c->dirty = false;
	pthread_mutex_unlock(&c->lock);
	if (!r)
		r = command_history_write(&text, c->path);
	pthread_mutex_lock(&c->lock);
	if (r && !c->unsaved)
		log_warning(LOGGER,
			"The state of commands cannot be kept in %s: %s. After a restart commands "
			"may be carried out again",
			c->path, strerror(-r));
	c->unsaved = r != 0;
	c->dirty |= c->unsaved; // a disk may have room again by the next heartbeat
}

static void finish_locked(struct control *c, const char *id, const struct command_outcome *outcome)
{
	uint64_t due = command_history_ndue(&c->history);
	int r = command_history_finish(&c->history, id, outcome);

	if (r) {
		log_warning(LOGGER, "What became of command %s is not told: %s", id,
			r == -ENOENT ? "it was forgotten" : strerror(-r));
		return;
	}
	if (command_history_ndue(&c->history) != due) {
		c->stats.completed += !outcome->failed;
		c->stats.failed_commands += outcome->failed;
	}
	c->dirty = true;
	pthread_cond_broadcast(&c->change);
}

static void on_turned_out(void *arg, const struct remote_command *cmd, const char *why)
{
	const struct command_outcome outcome = {.failed = true, .error = why};

	log_info(LOGGER, "Command %s is not carried out: %s", cmd->id, why);
	finish_locked(arg, cmd->id, &outcome);
}

static void wake_loop(struct control *c)
{
	const uint64_t one = 1;

	if (write(c->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_debug(LOGGER, "The main loop is not woken: %s", strerror(errno));
}

/* With the lock: a command that was not seen before is kept, and then waits for its turn. */
static void take_command(struct control *c, const struct heartbeat_answer *a)
{
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	struct remote_command cmd;
	int r, bad;

	if (command_history_has(&c->history, a->id))
		return;
	bad = remote_command_read(&cmd, a->id, a->command, &why);
	r = bad < 0 ? bad : command_history_receive(&c->history, &cmd);
	if (r) {
		log_error(LOGGER, "Command %s is lost: %s", a->id, strerror(-r));
		remote_command_deinit(&cmd);
		return;
	}
	snprintf(c->last_id, sizeof(c->last_id), "%s", a->id);
	c->stats.received++;
	c->dirty = true;
	if (bad) {
		on_turned_out(c, &cmd, why.len ? buf_str(&why) : "It cannot be read");
		remote_command_deinit(&cmd);
	} else {
		log_info(LOGGER, "Command %s: %s", cmd.id,
			cmd.kind == REMOTE_STOP	  ? "stop"
			: cmd.kind == REMOTE_ONCE ? "start of one profile"
						  : "start of continuous profiling");
	}
	// Kept before anybody acts on it: a kill after this does not make it come twice.
	save(c);
	if (!bad && !command_queue_put(&c->queue, &cmd, on_turned_out, c))
		wake_loop(c);
}

/* The next one is less. */
static void on_too_large(struct control *c)
{
	if (!c->request.no_containers)
		log_warning(LOGGER,
			"A heartbeat with this machine's containers is more than the server takes: they "
			"are left out from now on");
	c->request.no_containers = true;
}

static void on_failure(struct control *c, const struct studio_answer *said)
{
	enum log_level level = c->failures ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING;

	c->failures++;
	c->stats.failed++;
	if (said->verdict == STUDIO_DENIED) {
		level = c->denied ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR;
		c->denied = true;
	}
	log_line(level, LOGGER,
		"A heartbeat was not taken (status %ld: %s)%s. Profiling goes on as it is",
		said->status, said->message,
		said->verdict == STUDIO_DENIED ? "; check --api-server, --token and proxies" : "");
	if (said->verdict == STUDIO_TOO_LARGE)
		on_too_large(c);
}

/* The reference's service level line (4.6): an answer of the studio's, a status, or no answer at all.
 * What we ended ourselves says nothing of the server. */
static void tell_level(const struct control *c, const struct studio_answer *said)
{
	struct metrics *m = c->config.metrics;
	char status[16];

	snprintf(status, sizeof(status), "%ld", said->status);
	if (said->verdict == STUDIO_DONE)
		metrics_sli(m, "success", "send_heartbeat", NULL, NULL);
	else if (said->status && said->status != 200)
		metrics_sli(m, "failure", "send_heartbeat", "status_code", status);
	else if (said->verdict != STUDIO_STOPPED)
		metrics_sli(m, "failure", "send_heartbeat", "error", said->message);
}

/* With the lock. */
static void on_answer(struct control *c, const struct heartbeat_answer *a)
{
	// "success" with this message: the server could not make sense of a value and knows nothing of us.
	bool rejected = !a->success || strcasestr(a->said.message, "failed to check");

	tell_level(c, &a->said);
	if (a->said.verdict != STUDIO_DONE) {
		if (a->said.verdict != STUDIO_STOPPED)
			on_failure(c, &a->said);
		return;
	}
	if (c->failures)
		log_info(LOGGER, "The server answers heartbeats again");
	c->failures = 0;
	c->denied = false;
	c->stats.sent++;
	c->stats.answered_real_ns = clock_real_ns();
	if (rejected && !c->rejected)
		log_warning(LOGGER, "The server has no use for this agent's heartbeats: %s",
			a->said.message);
	c->rejected = rejected;
	// Of what it cannot read an id of another server's is all that we could have said.
	c->request.uuids_only |= rejected;
	if (a->nameless && !c->nameless)
		log_warning(LOGGER,
			"A command came without an id that could be told back: it is not carried out");
	c->nameless = a->nameless;
	if (a->command)
		take_command(c, a);
}

/* With the lock, which is let go while the network is waited for. */
static void beat(struct control *c)
{
	struct heartbeat_answer answer;
	_cleanup_json_ json_t *request =
		heartbeat_request_make(&c->request, &c->history, c->last_id);
	int r = request ? 0 : -ENOMEM;

	c->beating = true;
	pthread_mutex_unlock(&c->lock);
	if (!r)
		r = heartbeat_send(c->heartbeat, request, &answer);
	pthread_mutex_lock(&c->lock);
	c->beating = false;
	if (r) {
		c->failures++;
		c->stats.failed++;
		if (r == -ENOSPC)
			on_too_large(c);
		else
			log_warning(LOGGER, "No heartbeat: %s", strerror(-r));
		return;
	}
	on_answer(c, &answer);
	heartbeat_answer_deinit(&answer);
}

/* Whether the server has the completion, or never will. */
static bool is_told(struct control *c, const struct heartbeat_answer *a)
{
	switch (a->said.verdict) {
	case STUDIO_DONE: // also when it says no: a second one would get the same
	case STUDIO_REFUSED:
	case STUDIO_INVALID:
	case STUDIO_TOO_LARGE:
		return true;
	case STUDIO_BUSY:
		// The real one says 500 after it has taken it, when other hosts of the request have not.
		return a->said.status == 500 || ++c->tries >= TRIES_MAX;
	default:
		return false;
	}
}

/* With the lock, as beat(). */
static void complete(struct control *c, const struct command_entry *due)
{
	char id[REMOTE_ID_MAX + 1], error[REMOTE_WHY_MAX + 1];
	struct heartbeat_answer a;
	struct heartbeat_completion completion = {
		.id = id,
		.hostname = c->config.hostname,
		.failed = due->failed,
		.seconds = due->seconds,
		.error = due->error ? error : NULL,
	};
	unsigned timeout = c->closing ? CLOSING_TIMEOUT_MS : COMPLETION_TIMEOUT_MS;
	int r;

	snprintf(id, sizeof(id), "%s", due->id);
	snprintf(error, sizeof(error), "%s", due->error ? due->error : "");
	pthread_mutex_unlock(&c->lock);
	r = heartbeat_complete(c->heartbeat, &completion, timeout, &a);
	pthread_mutex_lock(&c->lock);
	if (r || !is_told(c, &a)) {
		c->not_before_ns = clock_mono_ns() + c->config.interval_s * NSEC_PER_SEC;
		log_debug(LOGGER, "The completion of %s is told later: %s", id,
			r ? strerror(-r) : a.said.message);
	} else {
		log_info(LOGGER, "Command %s %s, and the server knows (status %ld: %s)", id,
			completion.failed ? "failed" : "completed", a.said.status, a.said.message);
		command_history_told(&c->history, id);
		c->dirty = true;
		c->tries = 0;
		c->not_before_ns = 0;
	}
	if (!r)
		heartbeat_answer_deinit(&a);
}

/* The interval exactly, as long as all is well; after failures later and later, and not in step with
 * other hosts. */
static uint64_t pause_ns(const struct control *c)
{
	uint64_t interval = c->config.interval_s, ns;
	uint32_t random = 0;

	if (!c->failures)
		return interval * NSEC_PER_SEC;
	ns = MIN(interval << MIN(c->failures - 1, 8u), MAX(interval, PATIENCE_MAX_S)) *
	     NSEC_PER_SEC;
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint32_t)clock_mono_ns();
	return ns / 2 + ns / 2 * (random >> 16) / 65536;
}

static void wait_until(struct control *c, uint64_t mono_ns)
{
	const struct timespec when = {
		.tv_sec = (time_t)(mono_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(mono_ns % NSEC_PER_SEC),
	};

	pthread_cond_timedwait(&c->change, &c->lock, &when);
}

/* Gives back what a TLS connection takes, and the code of it, when it is not needed for a while. */
static void rest(struct control *c)
{
	pthread_mutex_unlock(&c->lock);
	heartbeat_rest(c->heartbeat);
	resident_give_back();
	pthread_mutex_lock(&c->lock);
}

static void *run(void *arg)
{
	struct control *c = arg;
	uint64_t next = clock_mono_ns();

	pthread_mutex_lock(&c->lock);
	for (;;) {
		const struct command_entry *due = command_history_due(&c->history);
		uint64_t now = clock_mono_ns();

		if (c->dirty)
			save(c);
		if (due && now >= c->not_before_ns) {
			complete(c, due);
			continue;
		}
		if (c->closing)
			break;
		if (now >= next) {
			beat(c);
			next = clock_mono_ns() + pause_ns(c);
			if (!command_history_due(&c->history))
				rest(c);
			continue;
		}
		wait_until(c, due ? MIN(next, c->not_before_ns) : next);
	}
	save(c);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int make_path(const char *dir, char **ret)
{
	char usual[PATH_MAX] = "";
	int r = 0;

	if (!dir || !dir[0]) {
		r = run_record_usual_dir(usual, sizeof(usual));
		dir = usual;
	}
	if (!r)
		r = fs_mkdir_p(dir, 0700);
	if (r) {
		log_warning(LOGGER,
			"Commands are not remembered over a restart: %s: %s. Give a directory with "
			"--state-dir",
			dir, strerror(-r));
		return 0;
	}
	return asprintf(ret, "%s/%s", dir, FILE_NAME) < 0 ? -ENOMEM : 0;
}

/* Return 0; -ENOMEM: what is kept is there, and must not be written over. */
static int load(struct control *c)
{
	int r = c->path ? command_history_load(&c->history, c->path) : 1;

	if (r == -ENOMEM)
		return r;
	if (r < 0)
		log_warning(LOGGER, "What was kept in %s cannot be read (%s): commands begin anew",
			c->path, r == -EINVAL ? "damaged" : strerror(-r));
	if (c->history.entries.len)
		snprintf(c->last_id, sizeof(c->last_id), "%s",
			c->history.entries.data[c->history.entries.len - 1].id);
	c->dirty = true;
	return command_history_interrupted(&c->history);
}

int control_start(const struct control_config *config, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	pthread_condattr_t attributes;
	int r;

	if (!c)
		return -ENOMEM;
	c->config = *config;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&c->change, &attributes);
	pthread_condattr_destroy(&attributes);
	command_history_init(&c->history);
	command_queue_init(&c->queue);
	heartbeat_request_init(&c->request, config->hostname, config->service);
	c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = c->fd < 0 ? -errno : heartbeat_new(&config->heartbeat, &c->heartbeat);
	if (!r)
		r = make_path(config->state_dir, &c->path);
	if (!r)
		r = load(c);
	if (!r)
		r = thread_start(&c->thread, THREAD_STACK, run, c);
	c->started = r == 0;
	if (r) {
		control_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c || !c->started)
		return;
	pthread_mutex_lock(&c->lock);
	c->closing = true;
	// A server that has not answered yet will not take a completion either.
	if (c->beating)
		heartbeat_abort(c->heartbeat);
	pthread_cond_broadcast(&c->change);
	pthread_mutex_unlock(&c->lock);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	control_close(c);
	if (c->started)
		pthread_join(c->thread, NULL);
	heartbeat_free(c->heartbeat);
	heartbeat_request_deinit(&c->request);
	command_history_deinit(&c->history);
	command_queue_deinit(&c->queue);
	if (c->fd >= 0)
		close(c->fd);
	pthread_cond_destroy(&c->change);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c);
}

int control_fd(const struct control *c)
{
	return c->fd;
}

bool control_next(struct control *c, unsigned kinds, struct remote_command *ret)
{
	const struct remote_command *next;
	uint64_t count;
	bool there;

	pthread_mutex_lock(&c->lock);
	// What cannot be carried out now does not wake again: whoever frees its slot asks again.
	if (read(c->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_debug(LOGGER, "eventfd: %s", strerror(errno));
	next = command_queue_peek(&c->queue, kinds);
	there = next && command_queue_take(&c->queue, next->id, ret);
	pthread_mutex_unlock(&c->lock);
	return there;
}

bool control_resume(struct control *c, struct remote_command *ret)
{
	bool there;

	pthread_mutex_lock(&c->lock);
	there = c->history.force.body != NULL;
	if (there) {
		*ret = c->history.force;
		ret->body = json_deep_copy(ret->body);
		there = ret->body != NULL;
	}
	pthread_mutex_unlock(&c->lock);
	return there;
}

bool control_is_stopped(struct control *c, char *ret_id)
{
	bool stopped;

	pthread_mutex_lock(&c->lock);
	stopped = c->history.stopped;
	snprintf(ret_id, REMOTE_ID_MAX + 1, "%s", c->history.stop_id);
	pthread_mutex_unlock(&c->lock);
	return stopped;
}

void control_finish(struct control *c, const char *id, const struct command_outcome *outcome)
{
	pthread_mutex_lock(&c->lock);
	finish_locked(c, id, outcome);
	pthread_mutex_unlock(&c->lock);
}

bool control_is_finished(struct control *c, const char *id)
{
	bool finished = true;

	pthread_mutex_lock(&c->lock);
	vec_foreach (e, &c->history.entries)
		if (!strcmp(e->id, id))
			finished = e->executed;
	pthread_mutex_unlock(&c->lock);
	return finished;
}

void control_release(struct control *c, const char *id)
{
	pthread_mutex_lock(&c->lock);
	if (c->history.force.body && !strcmp(c->history.force.id, id)) {
		command_history_release(&c->history);
		c->dirty = true;
		pthread_cond_broadcast(&c->change);
	}
	pthread_mutex_unlock(&c->lock);
}

void control_keep(struct control *c, const char *id, const json_t *body)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = command_history_restore(&c->history, id, body);
	if (!r) {
		log_info(LOGGER, "Command %s goes on", id);
		c->dirty = true;
		pthread_cond_broadcast(&c->change);
	} else if (r < 0) {
		log_warning(LOGGER, "Command %s goes on, but not after a restart: %s", id,
			strerror(-r));
	}
	pthread_mutex_unlock(&c->lock);
}

void control_leave_out(struct control *c, const struct option_pids *pids)
{
	pthread_mutex_lock(&c->lock);
	command_history_leave_out(&c->history, pids);
	command_queue_leave_out(&c->queue, pids, on_turned_out, c);
	c->dirty = true;
	pthread_cond_broadcast(&c->change);
	pthread_mutex_unlock(&c->lock);
}

void control_get_stats(struct control *c, struct control_stats *ret)
{
	pthread_mutex_lock(&c->lock);
	*ret = c->stats;
	ret->history = c->history.entries.len;
	ret->due = command_history_ndue(&c->history);
	pthread_mutex_unlock(&c->lock);
}

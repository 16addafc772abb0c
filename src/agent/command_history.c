/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command_history.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"

#define FILE_VERSION 1

void command_history_init(struct command_history *h)
{
	*h = (struct command_history){0};
	command_entries_init(&h->entries, COMMAND_HISTORY_MAX);
}

void command_history_deinit(struct command_history *h)
{
	vec_foreach (e, &h->entries)
		free(e->error);
	command_entries_deinit(&h->entries);
	remote_command_deinit(&h->force);
	h->stopped = false;
	h->stop_id[0] = 0;
}

static struct command_entry *find(const struct command_history *h, const char *id)
{
	vec_foreach (e, &h->entries)
		if (!strcmp(e->id, id))
			return e;
	return NULL;
}

bool command_history_has(const struct command_history *h, const char *id)
{
	return find(h, id) != NULL;
}

static bool in_force(const struct command_history *h, const char *id)
{
	return h->force.body && !strcmp(h->force.id, id);
}

static void drop(struct command_history *h, size_t at)
{
	free(h->entries.data[at].error);
	command_entries_remove(&h->entries, at, 1);
}

static int add(struct command_history *h, const struct command_entry *e)
{
	size_t oldest = h->entries.len && in_force(h, h->entries.data[0].id);

	if (h->entries.len == COMMAND_HISTORY_MAX)
		drop(h, oldest);
	return command_entries_push(&h->entries, *e);
}

int command_history_receive(struct command_history *h, const struct remote_command *c)
{
	struct command_entry e = {.kind = c->kind};
	_cleanup_json_ json_t *body = NULL;
	int r;

	if (find(h, c->id))
		return 1;
	if (c->kind == REMOTE_CONTINUOUS) {
		body = json_deep_copy(c->body);
		if (!body)
			return -ENOMEM;
	}
	snprintf(e.id, sizeof(e.id), "%s", c->id);
	r = add(h, &e);
	if (r)
		return r;
	if (c->kind == REMOTE_CONTINUOUS) {
		remote_command_deinit(&h->force);
		h->force = *c;
		h->force.body = steal_ptr(body);
		h->stopped = false;
	} else if (c->kind == REMOTE_STOP && !remote_command_is_partial(c)) {
		remote_command_deinit(&h->force);
		h->stopped = true;
		snprintf(h->stop_id, sizeof(h->stop_id), "%s", c->id);
	}
	return 0;
}

int command_history_finish(
	struct command_history *h, const char *id, const struct command_outcome *outcome)
{
	struct command_entry *e = find(h, id);
	char *error = NULL;

	if (!e)
		return -ENOENT;
	if (outcome->failed && in_force(h, id))
		command_history_release(h);
	if (e->executed)
		return 0;
	if (outcome->error) {
		error = strndup(outcome->error, REMOTE_WHY_MAX);
		if (!error)
			return -ENOMEM;
	}
	e->executed = true;
	e->report = COMMAND_REPORT_DUE;
	e->failed = outcome->failed;
	e->seconds = outcome->seconds;
	free(e->error);
	e->error = error;
	return 0;
}

void command_history_release(struct command_history *h)
{
	remote_command_deinit(&h->force);
}

int command_history_restore(struct command_history *h, const char *id, const json_t *body)
{
	if (h->force.body || h->stopped || !find(h, id))
		return 1;
	h->force.body = json_deep_copy(body);
	if (!h->force.body)
		return -ENOMEM;
	h->force.kind = REMOTE_CONTINUOUS;
	snprintf(h->force.id, sizeof(h->force.id), "%s", id);
	return 0;
}

void command_history_leave_out(struct command_history *h, const struct option_pids *pids)
{
	if (h->force.body && remote_command_leave_out(&h->force, pids))
		command_history_release(h);
}

int command_history_interrupted(struct command_history *h)
{
	int r = 0;

	for (size_t i = 0; !r && i < h->entries.len; i++) {
		const struct command_entry *e = &h->entries.data[i];
		struct command_outcome outcome = {.failed = e->kind != REMOTE_STOP};

		if (e->executed || in_force(h, e->id))
			continue;
		if (e->kind == REMOTE_ONCE)
			outcome.error = "The agent ended before the profile did";
		else if (e->kind == REMOTE_CONTINUOUS)
			outcome.error = "A newer command came before it began";
		r = command_history_finish(h, e->id, &outcome);
	}
	return r;
}

const struct command_entry *command_history_due(const struct command_history *h)
{
	vec_foreach (e, &h->entries)
		if (e->report == COMMAND_REPORT_DUE)
			return e;
	return NULL;
}

void command_history_told(struct command_history *h, const char *id)
{
	struct command_entry *e = find(h, id);

	if (e && e->report == COMMAND_REPORT_DUE)
		e->report = COMMAND_REPORT_SENT;
}

unsigned command_history_ndue(const struct command_history *h)
{
	unsigned n = 0;

	vec_foreach (e, &h->entries)
		n += e->report == COMMAND_REPORT_DUE;
	return n;
}

/* NULL without memory. */
static json_t *entry_json(const struct command_entry *e)
{
	bool due = e->report == COMMAND_REPORT_DUE;
	json_t *o = json_object();

	json_object_set_new(o, "id", json_text(e->id));
	json_object_set_new(o, "kind", json_integer(e->kind));
	json_object_set_new(o, "executed", json_boolean(e->executed));
	if (due) {
		json_object_set_new(o, "failed", json_boolean(e->failed));
		json_object_set_new(o, "seconds", json_integer((json_int_t)e->seconds));
		json_object_set_new(o, "error", json_text(e->error));
	}
	if (json_object_size(o) == (due ? 6 : 3))
		return o;
	json_decref(o);
	return NULL;
}

int command_history_encode(const struct command_history *h, struct buf *out)
{
	_cleanup_json_ json_t *root = json_object();
	json_t *list = json_array();

	json_object_set_new(root, "version", json_integer(FILE_VERSION));
	json_object_set_new(root, "stopped", h->stopped ? json_text(h->stop_id) : json_null());
	json_object_set_new(root, "in_force", h->force.body ? json_text(h->force.id) : json_null());
	json_object_set_new(
		root, "command", h->force.body ? json_deep_copy(h->force.body) : json_null());
	json_object_set_new(root, "commands", list);
	vec_foreach (e, &h->entries)
		json_array_append_new(list, entry_json(e));
	// Without memory something above is missing: nothing is better than half of it.
	if (json_object_size(root) != 5 || json_array_size(list) != h->entries.len)
		return -ENOMEM;
	return json_append(out, root);
}

static const char *good_id(const json_t *v)
{
	const char *id = json_string_value(v);

	return id && json_string_length(v) == strlen(id) && remote_id_good(id) ? id : NULL;
}

static int decode_entry(struct command_history *h, const json_t *o)
{
	const char *id = good_id(json_object_get(o, "id"));
	const json_t *kind = json_object_get(o, "kind"), *error = json_object_get(o, "error");
	const json_t *failed = json_object_get(o, "failed");
	json_int_t k = json_integer_value(kind), s;
	struct command_entry e = {.executed = json_is_true(json_object_get(o, "executed"))};
	int r;

	if (!id || !json_is_integer(kind) || k < REMOTE_STOP || k > REMOTE_CONTINUOUS ||
		find(h, id))
		return -EINVAL;
	snprintf(e.id, sizeof(e.id), "%s", id);
	e.kind = (enum remote_kind)k;
	e.report = !e.executed ? COMMAND_REPORT_NONE
		   : failed    ? COMMAND_REPORT_DUE
			       : COMMAND_REPORT_SENT;
	e.failed = json_is_true(failed);
	s = json_integer_value(json_object_get(o, "seconds"));
	e.seconds = s > 0 ? (uint64_t)s : 0;
	if (json_is_string(error)) {
		e.error = strndup(json_string_value(error), REMOTE_WHY_MAX);
		if (!e.error)
			return -ENOMEM;
	}
	r = command_entries_push(&h->entries, e);
	if (r)
		free(e.error);
	return r == -ENOSPC ? -EINVAL : r;
}

static int decode_force(struct command_history *h, const json_t *root)
{
	_cleanup_buf_ struct buf why = BUF_INIT(4096);
	const char *stopped = good_id(json_object_get(root, "stopped"));
	const json_t *force = json_object_get(root, "in_force");
	int r;

	if (stopped) {
		h->stopped = true;
		snprintf(h->stop_id, sizeof(h->stop_id), "%s", stopped);
	}
	if (json_is_null(force))
		return 0;
	if (!good_id(force) || !find(h, good_id(force)))
		return -EINVAL;
	r = remote_command_read(&h->force, good_id(force), json_object_get(root, "command"), &why);
	if (r < 0)
		return r;
	return r || h->force.kind != REMOTE_CONTINUOUS ? -EINVAL : 0;
}

/* As far as jansson tells: of an allocation that failed within a string it says that the token is bad. */
static bool is_nonsense(const json_error_t *e)
{
	enum json_error_code code = json_error_code(e);

	return code != json_error_unknown && code != json_error_out_of_memory;
}

int command_history_decode(struct command_history *h, const void *text, size_t len)
{
	json_error_t error = {0};
	_cleanup_json_ json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	const json_t *list = json_object_get(root, "commands"), *entry;
	size_t i;
	int r = json_integer_value(json_object_get(root, "version")) == FILE_VERSION &&
				json_is_array(list)
			? 0
			: -EINVAL;

	if (!root && !is_nonsense(&error))
		r = -ENOMEM;
	if (!r)
		json_array_foreach (list, i, entry)
			r = r ? r : decode_entry(h, entry);
	if (!r)
		r = decode_force(h, root);
	if (r)
		command_history_deinit(h);
	return r;
}

int command_history_load(struct command_history *h, const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT(COMMAND_FILE_MAX);
	int r = fs_read_file(path, &text);

	if (r)
		return r == -ENOENT ? 1 : r == -ENOSPC ? -EINVAL : r;
	return command_history_decode(h, buf_str(&text), text.len);
}

/* A rename is only as durable as its directory. */
static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	_cleanup_close_ int fd = -1;

	if (!dir)
		return -ENOMEM;
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 && errno != EINVAL && errno != EROFS ? -errno : 0;
}

int command_history_write(const struct buf *text, const char *path)
{
	struct fs_atomic file;
	int r = fs_atomic_open(&file, path, 0600);

	if (r)
		return r;
	if (fwrite(text->data, 1, text->len, file.f) != text->len) {
		fs_atomic_abort(&file);
		return -EIO;
	}
	r = fs_atomic_commit(&file);
	return r ? r : sync_parent(path);
}

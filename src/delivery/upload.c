/* SPDX-License-Identifier: Apache-2.0 */
#include "delivery/upload.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/compress.h"
#include "base/json.h"

#define MAGIC "gprofiler-upload 1 "
#define LINE_MAX_BYTES ((size_t)32 << 10)
#define NAME_MAX_BYTES 1024
#define PREFIX_MAX 1024

void upload_init(struct upload *u)
{
	*u = (struct upload){.member = BUF_INIT(UPLOAD_MAX)};
}

static void origin_deinit(struct upload_origin *o)
{
	free(o->run);
	free(o->service);
	free(o->hostname);
	*o = (struct upload_origin){0};
}

void upload_deinit(struct upload *u)
{
	origin_deinit(&u->origin);
	buf_deinit(&u->member);
}

int upload_set_origin(struct upload *u, const struct upload_origin *origin)
{
	struct upload_origin o = {
		.run = strdup(origin->run),
		.service = strdup(origin->service),
		.hostname = strdup(origin->hostname),
		.v1 = origin->v1,
	};

	if (!o.run || !o.service || !o.hostname) {
		origin_deinit(&o);
		return -ENOMEM;
	}
	origin_deinit(&u->origin);
	u->origin = o;
	return 0;
}

static void append_time(struct buf *out, const char *key, uint64_t real_ns)
{
	char when[32];

	// Naive UTC with whole seconds: a zone would reach the names of the server's objects.
	clock_iso_utc(real_ns, when);
	buf_printf(out, "\"%s\": \"%s\", ", key, when);
}

static void append_percent(struct buf *out, const char *key, double value)
{
	if (value >= 0 && value <= 1e6)
		buf_printf(out, "\"%s\": %.6g, ", key, value);
	else
		buf_printf(out, "\"%s\": null, ", key);
}

int upload_fields(struct buf *out, const struct upload_window *w, const char *hostname)
{
	append_time(out, "start_time", w->start_real_ns);
	append_time(out, "end_time", w->end_real_ns);
	buf_append_str(out, "\"hostname\": ");
	json_append_string(out, hostname, strlen(hostname));
	buf_append_str(out, ", ");
	append_percent(out, "cpu_avg", w->cpu_avg);
	append_percent(out, "mem_avg", w->mem_avg);
	append_time(out, "spawn_time", w->spawn_real_ns);
	buf_append_str(out, "\"profile\": \"");
	return out->bad ? -ENOSPC : 0;
}

int upload_encode(struct buf *out, const struct upload *u)
{
	_cleanup_json_ json_t *line = json_pack("{s:s, s:s, s:s, s:b, s:I}", "run", u->origin.run,
		"service", u->origin.service, "hostname", u->origin.hostname, "v1", u->origin.v1,
		"length", (json_int_t)u->member.len);

	if (!line)
		return -ENOMEM;
	buf_append_str(out, MAGIC);
	json_append(out, line);
	buf_append_char(out, '\n');
	buf_append(out, u->member.data, u->member.len);
	return !out->bad ? 0 : out->len + u->member.len > out->cap ? -ENOSPC : -ENOMEM;
}

static bool usable(const char *name)
{
	return name && strlen(name) <= NAME_MAX_BYTES && !strpbrk(name, "\r\n");
}

static int read_line(struct upload *u, const json_t *line, size_t left)
{
	const struct upload_origin origin = {
		.run = (char *)(uintptr_t)json_string_value(json_object_get(line, "run")),
		.service = (char *)(uintptr_t)json_string_value(json_object_get(line, "service")),
		.hostname = (char *)(uintptr_t)json_string_value(json_object_get(line, "hostname")),
		.v1 = json_is_true(json_object_get(line, "v1")),
	};
	json_int_t length = json_integer_value(json_object_get(line, "length"));

	if (!usable(origin.run) || !usable(origin.service) || !usable(origin.hostname))
		return -EINVAL;
	if (length <= 0 || (uintmax_t)length != left)
		return -EINVAL;
	return upload_set_origin(u, &origin);
}

int upload_decode(struct upload *u, const void *data, size_t len)
{
	const char *text = data;
	size_t magic = strlen(MAGIC);
	const char *end = len ? memchr(text, '\n', MIN(len, LINE_MAX_BYTES)) : NULL;
	_cleanup_json_ json_t *line = NULL;
	size_t head;
	int r;

	if (!end || (size_t)(end - text) < magic || memcmp(text, MAGIC, magic) != 0)
		return -EINVAL;
	head = (size_t)(end + 1 - text);
	line = json_loadb(text + magic, head - 1 - magic, 0, NULL);
	if (!json_is_object(line))
		return -EINVAL;
	r = read_line(u, line, len - head);
	if (r)
		return r;
	buf_clear(&u->member);
	r = buf_append(&u->member, text + head, len - head);
	return r == -ENOSPC ? -EINVAL : r;
}

int upload_body(struct buf *out, const struct upload *u, const char *gpid)
{
	_cleanup_buf_ struct buf prefix = BUF_INIT(PREFIX_MAX);

	buf_printf(&prefix, "{\"gpid\": %s, ", gpid);
	if (prefix.bad)
		return -ENOSPC;
	return gzip_prepend(out, buf_str(&prefix), prefix.len, u->member.data, u->member.len);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/external_metadata.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"

#define LOGGER "gprofiler.metadata"
#define FILE_MAX ((size_t)16 << 20)

/* Return 0, -ENOENT ..., -ESTALE. */
static int check_age(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	return time(NULL) - st.st_mtime > EXTERNAL_STALE_S ? -ESTALE : 0;
}

static const char *reason(int r)
{
	return r == -ESTALE ? "it was not written for 5 minutes" : strerror(-r);
}

/* The file's object, {} if it is none. */
static json_t *load(const char *path)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	json_error_t error;
	json_t *j;
	int r = fs_read_file(path, &text);

	if (r) {
		log_warning(LOGGER, "External metadata %s: %s", path, strerror(-r));
		return json_object();
	}
	j = json_loadb(buf_str(&text), text.len, 0, &error);
	if (json_is_object(j))
		return j;
	log_warning(LOGGER, "External metadata %s: %s (line=%d)", path,
		j ? "no JSON object" : error.text, j ? 1 : error.line);
	json_decref(j);
	return json_object();
}

static json_t *part(const json_t *file, const char *key)
{
	json_t *o = json_object_get(file, key);

	return json_is_object(o) ? json_incref(o) : json_object();
}

int external_metadata_init(struct external_metadata *e, const char *path)
{
	_cleanup_json_ json_t *file = NULL;
	int r;

	*e = (struct external_metadata){.path = path && path[0] ? path : NULL};
	if (!e->path)
		return 0;
	r = check_age(path);
	if (r) {
		log_error(LOGGER,
			"External metadata %s: %s. Have it written again, or leave "
			"--external-metadata out",
			path, reason(r));
		return r;
	}
	file = load(path);
	e->fixed = part(file, "static");
	e->applications = part(file, "application");
	return 0;
}

void external_metadata_deinit(struct external_metadata *e)
{
	json_decref(e->fixed);
	json_decref(e->applications);
	*e = (struct external_metadata){0};
}

void external_metadata_refresh(struct external_metadata *e)
{
	_cleanup_json_ json_t *file = NULL;
	int r = e->path ? check_age(e->path) : 0;

	if (!e->path)
		return;
	if (r)
		log_warning(LOGGER, "External metadata %s is left out: %s", e->path, reason(r));
	else
		file = load(e->path);
	json_decref(e->applications);
	e->applications = part(file, "application");
}

const json_t *external_metadata_of(const struct external_metadata *e, uint32_t pid)
{
	const json_t *o;
	char key[16];

	snprintf(key, sizeof(key), "%u", pid);
	o = json_object_get(e->applications, key);
	return json_is_object(o) ? o : NULL;
}

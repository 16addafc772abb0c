/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/failures.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

void failures_init(struct failures *f)
{
	*f = (struct failures){0};
	map_init(&f->by_uid, FAILURES_MAX);
	intern_init(&f->texts, FAILURES_MAX, (size_t)FAILURES_MAX * FAILURE_TEXT_MAX);
}

void failures_deinit(struct failures *f)
{
	map_deinit(&f->by_uid);
	intern_deinit(&f->texts);
}

int failures_add(struct failures *f, uint32_t uid, const char *what, const char *reason)
{
	char text[FAILURE_TEXT_MAX];
	uint32_t id;
	int n, r;

	if (map_get(&f->by_uid, uid))
		return 0;
	n = snprintf(text, sizeof(text), "[Profiling %s: %.200s]", what, reason);
	r = intern_add(&f->texts, text, MIN((size_t)n, sizeof(text) - 1), &id);
	if (!r)
		r = map_set(&f->by_uid, uid, id);
	return r == -ENOSPC ? 0 : r;
}

const char *failures_get(const struct failures *f, uint32_t uid)
{
	const uint64_t *id = map_get(&f->by_uid, uid);

	return id ? intern_str(&f->texts, (uint32_t)*id) : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/window.h"

#include <stdlib.h>

#include "base/cleanup.h"

void window_init(struct window *w)
{
	*w = (struct window){0};
}

void window_deinit(struct window *w)
{
	free(w->buf);
	window_init(w);
}

void window_drop(struct window *w)
{
	w->m = NULL;
	w->len = 0;
}

const uint8_t *window_get(struct window *w, const struct module *m, uint64_t off, size_t n)
{
	size_t want = MAX(n, (size_t)WINDOW_STEP);
	ssize_t got;

	if (n > WINDOW_MAX)
		return NULL;
	if (w->m == m && off >= w->off && off - w->off <= w->len && w->len - (off - w->off) >= n)
		return w->buf + (off - w->off);
	if (want > w->size) {
		uint8_t *buf = realloc(w->buf, want);

		if (!buf)
			return NULL;
		w->buf = buf;
		w->size = want;
	}
	window_drop(w);
	got = module_read(m, off, w->buf, want);
	w->reads++;
	if (got < 0 || (size_t)got < n)
		return NULL;
	w->m = m;
	w->off = off;
	w->len = (size_t)got;
	return w->buf;
}

const uint8_t *window_peek(
	struct window *w, const struct module *m, uint64_t off, size_t min, size_t *ret_len)
{
	const uint8_t *p = window_get(w, m, off, min);

	if (p)
		*ret_len = w->len - (off - w->off);
	return p;
}

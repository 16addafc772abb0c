/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/file.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

void unwind_file_init(struct unwind_file *w)
{
	*w = (struct unwind_file){0};
}

void unwind_file_deinit(struct unwind_file *w)
{
	int error = w->error;

	free(w->buf);
	unwind_file_init(w);
	w->error = error;
}

void unwind_file_drop(struct unwind_file *w)
{
	w->m = NULL;
	w->len = 0;
}

void unwind_file_trim(struct unwind_file *w)
{
	if (w->size > WINDOW_KEEP)
		unwind_file_deinit(w);
}

const uint8_t *unwind_file_get(
	struct unwind_file *w, const struct module *m, uint64_t off, size_t n)
{
	size_t want = MAX(n, (size_t)WINDOW_STEP);
	ssize_t got;

	if (n > WINDOW_MAX)
		return NULL;
	if (w->m == m && off >= w->off && off - w->off <= w->len && w->len - (off - w->off) >= n)
		return w->buf + (off - w->off);
	if (want > w->size) {
		uint8_t *buf = realloc(w->buf, want);

		if (!buf) {
			w->error = w->error ? w->error : -ENOMEM;
			return NULL;
		}
		w->buf = buf;
		w->size = want;
	}
	unwind_file_drop(w);
	got = module_read(m, off, w->buf, want);
	w->reads++;
	if (got < 0 && !w->error)
		w->error = (int)got;
	if (got < 0 || (size_t)got < n)
		return NULL;
	w->m = m;
	w->off = off;
	w->len = (size_t)got;
	return w->buf;
}

const uint8_t *unwind_file_peek(
	struct unwind_file *w, const struct module *m, uint64_t off, size_t min, size_t *ret_len)
{
	const uint8_t *p = unwind_file_get(w, m, off, min);

	if (p)
		*ret_len = w->len - (off - w->off);
	return p;
}

int unwind_file_take_error(struct unwind_file *w)
{
	int error = w->error;

	w->error = 0;
	return error;
}

bool unwind_file_is_failure(int r)
{
	return r < 0 && r != -ENOENT && r != -EINVAL && r != -ENOEXEC && r != -ENODATA &&
	       r != -ENOSPC;
}

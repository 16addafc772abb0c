/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/extents.h"

int extents_init(struct extents *e, uint32_t first, uint32_t end)
{
	e->used = 0;
	extent_vec_init(&e->free, end);
	return extents_add(e, first, end);
}

int extents_add(struct extents *e, uint32_t first, uint32_t end)
{
	return first < end ? extent_vec_push(&e->free, (struct extent){first, end - first}) : 0;
}

void extents_deinit(struct extents *e)
{
	extent_vec_deinit(&e->free);
	e->used = 0;
}

int extents_take(struct extents *e, uint32_t len, uint32_t *ret_off)
{
	if (!len)
		return -EINVAL;
	for (size_t i = 0; i < e->free.len; i++) {
		struct extent *x = &e->free.data[i];

		if (x->len < len)
			continue;
		*ret_off = x->off;
		x->off += len;
		x->len -= len;
		if (!x->len)
			extent_vec_remove(&e->free, i, 1);
		e->used += len;
		return 0;
	}
	return -ENOSPC;
}

int extents_give(struct extents *e, uint32_t off, uint32_t len)
{
	struct extent *v = e->free.data;
	size_t lo = 0, hi = e->free.len;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (v[mid].off < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	e->used -= len;
	if (lo && v[lo - 1].off + v[lo - 1].len == off) {
		v[lo - 1].len += len;
		if (lo < e->free.len && v[lo].off == off + len) {
			v[lo - 1].len += v[lo].len;
			extent_vec_remove(&e->free, lo, 1);
		}
		return 0;
	}
	if (lo < e->free.len && v[lo].off == off + len) {
		v[lo].off = off;
		v[lo].len += len;
		return 0;
	}
	return extent_vec_insert(&e->free, lo, (struct extent){off, len});
}

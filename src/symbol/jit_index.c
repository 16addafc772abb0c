/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/jit_index.h"

#include <errno.h>

/* Entries looked at before the address: more only overlap in hostile files. */
#define STEPS_BACK 256

void jit_index_init(struct jit_index *x)
{
	*x = (struct jit_index){.sorted = true};
	jit_entry_vec_init(&x->entries, JIT_ENTRIES_MAX);
}

void jit_index_deinit(struct jit_index *x)
{
	jit_entry_vec_deinit(&x->entries);
}

int jit_index_add(struct jit_index *x, uint64_t start, uint64_t size, uint64_t at)
{
	struct jit_entry e = {.start = start, .size = (uint32_t)size, .at = (uint32_t)at};
	int r;

	if (size == 0 || size > JIT_ENTRY_SIZE_MAX || start + size < start || at > UINT32_MAX)
		return -EINVAL;
	if (x->entries.len == JIT_ENTRIES_MAX && !x->sorted)
		jit_index_sort(x);
	r = jit_entry_vec_push(&x->entries, e);
	if (r)
		return r;
	x->sorted = false;
	x->biggest = MAX(x->biggest, e.size);
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct jit_entry *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

void jit_index_sort(struct jit_index *x)
{
	struct jit_entry *e = x->entries.data;
	size_t n = 0;

	if (x->sorted)
		return;
	qsort(e, x->entries.len, sizeof(*e), compare_entries);
	for (size_t i = 0; i < x->entries.len; i++) {
		if (n && e[n - 1].start == e[i].start)
			n--;
		e[n++] = e[i];
	}
	x->entries.len = n;
	x->sorted = true;
}

const struct jit_entry *jit_index_find(const struct jit_index *x, uint64_t addr)
{
	const struct jit_entry *e = x->entries.data, *best = NULL;
	size_t lo = 0, hi = x->entries.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (e[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (unsigned steps = 0; lo > 0 && steps < STEPS_BACK; steps++) {
		const struct jit_entry *c = &e[--lo];

		if (addr - c->start >= x->biggest)
			break;
		if (addr - c->start < c->size && (!best || c->at > best->at))
			best = c;
	}
	return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/prefetch.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "unwind/pages.h"

void prefetch_miss(struct unwind *u, struct build_module *bm, uint64_t page)
{
	struct prefetch *f = &u->prefetch;
	struct prefetch_want *want;

	if (++bm->misses < PREFETCH_MISSES_MIN)
		return;
	// The oldest is forgotten when the ring is full.
	f->head = (f->head + 1) % PREFETCH_WANTS;
	f->count = MIN(f->count + 1, (uint32_t)PREFETCH_WANTS);
	want = &f->wants[f->head];
	*want = (struct prefetch_want){.module = bm->id, .page = page};
	want->radius = MIN(bm->misses, (uint32_t)PREFETCH_RADIUS_MAX);
}

void prefetch_forget(struct unwind *u, const struct build_module *bm)
{
	for (unsigned i = 0; i < PREFETCH_WANTS; i++)
		if (u->prefetch.wants[i].module == bm->id)
			u->prefetch.wants[i].radius = 0;
}

static bool roomy(const struct unwind *u)
{
	return u->tables.pool.used < u->tables.pool_units / 4 * 3;
}

/* Return false if the module is of no more use to its want. */
static bool make_one(struct unwind *u, const struct prefetch_want *want, uint64_t page)
{
	struct module *m = module_get(u->processes->modules, want->module);
	struct build_module *bm;

	if (!m || m->state != MODULE_OPEN || pages_module(u, m, &bm))
		return false;
	if (!tables_spanned(&u->tables, bm->ranges, page) ||
		tables_page_get(&u->tables, bm->ranges, page))
		return true;
	// Where code has no source, what lies around it has none either.
	if (pages_make_ahead(u, m, bm, page))
		return false;
	u->prefetch.pages++;
	return true;
}

bool unwind_idle(struct unwind *u, uint64_t budget_ns)
{
	struct prefetch *f = &u->prefetch;
	uint64_t end;

	if (!f->count)
		return false;
	end = clock_mono_ns() + budget_ns;
	while (f->count && roomy(u) && clock_mono_ns() < end) {
		struct prefetch_want *want = &f->wants[f->head];
		uint64_t d = ++want->done;
		bool useful = d <= want->radius;

		// Code near the miss, as compilers lay out what is called together.
		if (useful)
			useful = make_one(u, want, want->page + d);
		if (useful && want->page >= d)
			useful = make_one(u, want, want->page - d);
		if (!useful) {
			f->head = (f->head + PREFETCH_WANTS - 1) % PREFETCH_WANTS;
			f->count--;
		}
	}
	return f->count && roomy(u);
}

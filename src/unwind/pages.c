/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODULES_MAX (1u << 20)
#define REFUSED_MAX 8 // a file that cannot be read so often in a row has gaps from then on

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int unwind_new_sized(const struct tables_config *config, struct process_table *processes,
	enum bpf_unwind_mode mode, struct unwind **ret)
{
	struct unwind *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->processes = processes;
	u->mode = mode;
	u->read_live = !strcmp(processes->proc_root, "/proc");
	build_module_vec_init(&u->modules, MODULES_MAX);
	builder_init(&u->builder, &u->tables);
	u->scratch = calloc(UW_MAPS_PER_PROCESS, sizeof(*u->scratch));
	u->page = malloc(PAGE_BYTES_MAX);
	r = tables_init(&u->tables, config);
	if (!r && (!u->scratch || !u->page))
		r = -ENOMEM;
	if (r) {
		unwind_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

int unwind_new(struct capture_source *source, struct process_table *processes,
	enum bpf_unwind_mode mode, struct unwind **ret)
{
	const struct tables_config config = {.source = source};

	return unwind_new_sized(&config, processes, mode, ret);
}

void unwind_free(struct unwind *u)
{
	if (!u)
		return;
	vec_foreach (m, &u->modules) {
		if (*m)
			build_close(*m);
		free(*m);
	}
	build_module_vec_deinit(&u->modules);
	builder_deinit(&u->builder);
	tables_deinit(&u->tables);
	free(u->scratch);
	free(u->page);
	free(u);
}

static int take_slot(struct unwind *u, struct build_module *bm, uint32_t *ret)
{
	int r;

	for (size_t i = 0; u->free_slots && i < u->modules.len; i++) {
		if (u->modules.data[i])
			continue;
		u->modules.data[i] = bm;
		u->free_slots--;
		*ret = (uint32_t)i + 1;
		return 0;
	}
	r = build_module_vec_push(&u->modules, bm);
	if (!r)
		*ret = (uint32_t)u->modules.len;
	return r;
}

int pages_module(struct unwind *u, struct module *m, struct build_module **ret)
{
	struct build_module *bm;
	int r;

	if (m->unwind_slot && m->unwind_slot <= u->modules.len) {
		*ret = u->modules.data[m->unwind_slot - 1];
		return 0;
	}
	bm = calloc(1, sizeof(*bm));
	if (!bm)
		return -ENOMEM;
	bm->id = m->id;
	r = take_slot(u, bm, &m->unwind_slot);
	if (r) {
		free(bm);
		return r;
	}
	*ret = bm;
	return 0;
}

bool unwind_forget_module(struct unwind *u, struct module *m)
{
	struct build_module *bm;

	// Windows of files know them by address, which may be another's next time.
	builder_drop(&u->builder);
	if (!m->unwind_slot)
		return true;
	bm = u->modules.data[m->unwind_slot - 1];
	if (!tables_forget(&u->tables, &bm->ranges))
		return false;
	prefetch_forget(u, bm);
	build_close(bm);
	free(bm);
	u->modules.data[m->unwind_slot - 1] = NULL;
	u->free_slots++;
	m->unwind_slot = 0;
	return true;
}

static bool is_gap(const struct page_rows *rows)
{
	return rows->len == 1 && rows->rows[0].rule == TABLES_RULE_NONE;
}

static int publish_rows(struct unwind *u, struct build_module *bm, uint64_t page, bool gap)
{
	const void *bytes = NULL;
	size_t len = 0;
	int r;

	if (!gap) {
		len = page_encode(&u->builder.rows, TABLES_RULE_COMPLEX, u->page);
		bytes = u->page;
	}
	r = tables_page_set(&u->tables, &bm->ranges, page, bytes, len);
	return r == -ENOENT ? 0 : r;
}

int pages_make(struct unwind *u, struct module *m, struct build_module *bm, uint64_t page)
{
	uint64_t began = cpu_ns();
	int r = build_page(&u->builder, m, bm, page);

	if (!r) {
		u->stats.pages_built++;
		bm->refused = 0;
		r = publish_rows(u, bm, page, is_gap(&u->builder.rows));
	} else if (r < 0) {
		u->stats.pages_failed++;
		if (r != -ENOMEM && ++bm->refused >= REFUSED_MAX)
			r = publish_rows(u, bm, page, true);
	}
	u->stats.build_ns += cpu_ns() - began;
	return r;
}

int pages_make_ahead(struct unwind *u, struct module *m, struct build_module *bm, uint64_t page)
{
	int r;

	u->builder.ahead = true;
	r = pages_make(u, m, bm, page);
	u->builder.ahead = false;
	return r;
}

int pages_load(struct unwind *u, struct process *p, const struct mapping *map, uint64_t off)
{
	struct module *m = module_get(u->processes->modules, map->module);
	uint64_t page = off >> UW_PAGE_SHIFT;
	struct build_module *bm;
	int r;

	if (!m)
		return -ENOENT;
	r = pages_module(u, m, &bm);
	if (r)
		return r;
	if (!process_open_module(u->processes, p, map)) {
		prefetch_miss(u, bm, page);
		return pages_make(u, m, bm, page);
	}
	u->stats.pages_failed++;
	// What may be readable later is asked for again by the next sample.
	return m->state == MODULE_UNREADABLE ? publish_rows(u, bm, page, true) : 0;
}

void pages_rule(struct unwind *u, struct process *p, const struct mapping *map, uint64_t off,
	struct uw_rule *ret)
{
	struct module *m = module_get(u->processes->modules, map->module);
	const struct uw_page *page;
	struct build_module *bm;

	*ret = (struct uw_rule){.cfa = UW_CFA_NONE};
	if (!m || pages_module(u, m, &bm))
		return;
	page = tables_page_get(&u->tables, bm->ranges, off >> UW_PAGE_SHIFT);
	if (!page) {
		if (pages_load(u, p, map, off))
			return;
		page = tables_page_get(&u->tables, bm->ranges, off >> UW_PAGE_SHIFT);
	}
	if (page)
		*ret = u->tables.mem.rules[page_find(page, off & (UW_PAGE_BYTES - 1))];
}

static bool has_tables(const struct unwind *u, const struct mapping *map)
{
	return (map->kind == MAPPING_FILE || map->kind == MAPPING_VDSO) &&
	       map->module != MODULE_NONE &&
	       (u->mode == BPF_UNWIND_TABLE || u->mode == BPF_UNWIND_SMART);
}

static void describe(struct unwind *u, const struct mapping *map, struct uw_mapping *ret)
{
	struct module *m = module_get(u->processes->modules, map->module);
	struct build_module *bm;
	uint64_t last = map->pgoff + (map->end - map->start) - 1;

	*ret = (struct uw_mapping){.start = map->start, .end = map->end, .pgoff = map->pgoff};
	if (!m || !has_tables(u, map) || last < map->pgoff || pages_module(u, m, &bm))
		return;
	if (!tables_range_get(&u->tables, &bm->ranges, map->pgoff >> UW_PAGE_SHIFT,
		    last >> UW_PAGE_SHIFT, &ret->dir))
		ret->flags = UW_MAP_FILE;
}

static int set_block(struct unwind *u, struct process *p, uint32_t pid)
{
	struct tables_block block = {p->unwind_slot, p->unwind_count};
	struct tables_process t = {.pid = pid, .maps = u->scratch, .seen = p->sampled};
	int r;

	if (p->maps.len > UW_MAPS_PER_PROCESS)
		u->stats.full++;
	p->unwind_told |= pid != 0;
	t.count = (uint32_t)MIN(p->maps.len, (size_t)UW_MAPS_PER_PROCESS);
	for (uint32_t i = 0; i < t.count; i++)
		describe(u, &p->maps.data[i], &u->scratch[i]);
	r = tables_process_set(&u->tables, &t, &block);
	p->unwind_slot = block.first;
	p->unwind_count = block.count;
	return r;
}

int pages_borrow_block(struct unwind *u, struct process *p)
{
	return set_block(u, p, 0);
}

int unwind_update_process(struct unwind *u, struct process *p)
{
	struct tables_block block = {p->unwind_slot, p->unwind_count};
	const struct process *now;

	if (!p->exit_time)
		return p->kernel_thread ? 0 : set_block(u, p, p->pid);
	// The pid may be another process's by now (an exec makes a new one under the same). And who came and went
	// between two looks at the records was never told of.
	now = process_table_find(u->processes, p->pid);
	tables_process_remove(
		&u->tables, p->unwind_told && !(now && now != p) ? p->pid : 0, &block);
	p->unwind_told = false;
	p->unwind_slot = block.first;
	p->unwind_count = block.count;
	return 0;
}

void unwind_get_stats(const struct unwind *u, struct unwind_stats *ret)
{
	*ret = u->stats;
	ret->pages_ahead = u->prefetch.pages;
	ret->pages_evicted = u->tables.stats.evicted;
	ret->pool_used = u->tables.pool.used * UW_POOL_ALIGN;
	ret->rules = u->tables.rules.len;
	ret->full += u->tables.stats.full;
}

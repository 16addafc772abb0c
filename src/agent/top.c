/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "export/export.h"

#define ROWS_MAX (1u << 20)
#define TEXT_BYTES_MAX (64u << 20)
#define FRAME_TEXT_MAX (1 << 16)
#define LINE_MAX_BYTES (1 << 16)
#define PROCESSES_SHOWN 10
#define LEAST_COLUMNS 10
#define LEAST_LINES 2
#define WIDE_COLUMNS 64 // room for all columns and some of the name
#define TITLE_LINES 2 // above processes, above functions

struct row_key {
	uint32_t process, text;
};

void top_view_init(struct top_view *v)
{
	*v = (struct top_view){0};
	intern_init(&v->texts, ROWS_MAX, TEXT_BYTES_MAX);
	intern_init(&v->uids, ROWS_MAX, TEXT_BYTES_MAX);
	intern_init(&v->keys, ROWS_MAX, TEXT_BYTES_MAX);
	top_process_vec_init(&v->processes, ROWS_MAX);
	top_row_vec_init(&v->rows, ROWS_MAX);
}

void top_view_deinit(struct top_view *v)
{
	intern_deinit(&v->texts);
	intern_deinit(&v->uids);
	intern_deinit(&v->keys);
	top_process_vec_deinit(&v->processes);
	top_row_vec_deinit(&v->rows);
}

static void forget(struct top_view *v)
{
	intern_clear(&v->texts);
	intern_clear(&v->uids);
	intern_clear(&v->keys);
	top_process_vec_clear(&v->processes);
	top_row_vec_clear(&v->rows);
	v->samples = v->cpu_ns = 0;
}

/* A control byte would be an order to the terminal: C0, DEL, and C1 in its two bytes of UTF-8. */
static void blank_controls(char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c == 0x7f)
			s[i] = '?';
		else if (c == 0xc2 && i + 1 < len && ((unsigned char)s[i + 1] & 0xe0) == 0x80)
			s[i] = s[i + 1] = '?';
		else if (c >= 0x80 && c < 0xa0 && (i == 0 || !((unsigned char)s[i - 1] & 0x80)))
			s[i] = '?';
	}
}

static int add_text(struct top_view *v, const char *s, size_t len, uint32_t *ret)
{
	_cleanup_free_ char *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, s, len);
	blank_controls(copy, len);
	return intern_add(&v->texts, copy, len, ret);
}

/* Frames differ by address and line; a function is what reads the same. */
static int take_texts(struct top_view *v, const struct profile *p, uint32_t *text_of)
{
	const struct export_collapsed_options options = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(FRAME_TEXT_MAX);

	for (uint32_t id = 1; id <= p->frames.len; id++) {
		int r;

		buf_clear(&text);
		r = export_frame_text(&text, p, id, &options);
		if (!r)
			r = add_text(v, buf_str(&text), text.len, &text_of[id - 1]);
		if (r)
			return r;
	}
	return 0;
}

static int find_process(
	struct top_view *v, const struct profile *p, const struct profile_context *c, uint32_t *ret)
{
	struct top_process fresh = {.pid = c->pid};
	const char *comm = profile_text(p, c->comm), *container = profile_text(p, c->container);
	int r = intern_add(&v->uids, &c->uid, sizeof(c->uid), ret);

	if (r || *ret <= v->processes.len)
		return r;
	r = add_text(v, comm, strlen(comm), &fresh.comm);
	if (!r)
		r = add_text(v, container, strlen(container), &fresh.container);
	return r ? r : top_process_vec_push(&v->processes, fresh);
}

static int find_row(struct top_view *v, const struct row_key *key, struct top_row **ret)
{
	struct top_row fresh = {.process = key->process, .text = key->text};
	uint32_t id;
	int r = intern_add(&v->keys, key, sizeof(*key), &id);

	if (!r && id > v->rows.len)
		r = top_row_vec_push(&v->rows, fresh);
	if (!r)
		*ret = &v->rows.data[id - 1];
	return r;
}

static int take_sample(
	struct top_view *v, const struct profile *p, uint32_t sample, const uint32_t *text_of)
{
	const struct profile_sample *s = &p->samples.data[sample - 1];
	uint64_t n = (uint64_t)s->values[0];
	bool leaf = true, clock = strcmp(profile_text(p, p->types[1].unit), "nanoseconds") == 0;
	struct top_process *process;
	struct row_key key;
	uint64_t ns;
	int r = find_process(v, p, profile_context_get(p, s->context), &key.process);

	if (r)
		return r;
	// Counters tick by their own time; the kernel keeps their rate near the frequency.
	ns = clock ? (uint64_t)s->values[1] : n * NSEC_PER_SEC / MAX(p->meta.frequency, 1u);
	process = &v->processes.data[key.process - 1];
	process->samples += n;
	process->cpu_ns += ns;
	v->samples += n;
	v->cpu_ns += ns;
	for (uint32_t node = s->node; node; node = profile_node_get(p, node)->parent) {
		struct top_row *row;

		key.text = text_of[profile_node_get(p, node)->frame - 1];
		r = find_row(v, &key, &row);
		if (r)
			return r;
		row->self += leaf ? n : 0;
		row->total += row->last != sample ? n : 0;
		row->last = sample;
		leaf = false;
	}
	return 0;
}

int top_view_take(struct top_view *v, const struct profile *p)
{
	_cleanup_free_ uint32_t *text_of = calloc(p->frames.len + 1u, sizeof(*text_of));
	int r = text_of ? 0 : -ENOMEM;

	forget(v);
	v->meta = p->meta;
	snprintf(v->event, sizeof(v->event), "%s", profile_text(p, p->meta.event));
	snprintf(v->source, sizeof(v->source), "%s", profile_text(p, p->meta.source));
	if (!r)
		r = take_texts(v, p, text_of);
	for (uint32_t id = 1; !r && id <= p->samples.len; id++)
		r = take_sample(v, p, id, text_of);
	return r;
}

static int descending(uint64_t x, uint64_t y)
{
	return x < y ? 1 : x > y ? -1 : 0;
}

static int by_self(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	int c = descending(x->self, y->self);

	c = c ? c : descending(x->total, y->total);
	c = c ? c : descending(y->text, x->text);
	return c ? c : descending(y->process, x->process);
}

static int by_total(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	int c = descending(x->total, y->total);

	return c ? c : by_self(a, b);
}

static int by_process(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	int c = descending(x->group, y->group);

	c = c ? c : descending(y->process, x->process);
	return c ? c : by_self(a, b);
}

static int by_function(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;
	int c = descending(x->group, y->group);

	c = c ? c : descending(y->text, x->text);
	return c ? c : by_self(a, b);
}

static int by_cpu(const void *a, const void *b)
{
	const struct top_process *const *x = a, *const *y = b;
	int c = descending((*x)->cpu_ns, (*y)->cpu_ns);

	return c ? c : descending((*y)->pid, (*x)->pid);
}

/* Return 0, -ENOMEM. The rows leave the order of their keys: find_row() is over until the next take. */
static int sort_rows(struct top_view *v, enum top_order order)
{
	static int (*const compare[])(const void *, const void *) = {
		[TOP_BY_SELF] = by_self,
		[TOP_BY_TOTAL] = by_total,
		[TOP_BY_PROCESS] = by_process,
		[TOP_BY_FUNCTION] = by_function,
	};
	_cleanup_free_ uint64_t *of_text = calloc(v->texts.len + 1u, sizeof(*of_text));

	if (!of_text)
		return -ENOMEM;
	vec_foreach (row, &v->rows)
		of_text[row->text] += row->self;
	vec_foreach (row, &v->rows)
		row->group = order == TOP_BY_PROCESS ? v->processes.data[row->process - 1].samples
						     : of_text[row->text];
	if (v->rows.len)
		qsort(v->rows.data, v->rows.len, sizeof(*v->rows.data), compare[order]);
	return 0;
}

/* The line goes out, cut behind `columns` characters; those of two columns are taken for one, and the
 * terminal cuts them. */
static void put_line(struct buf *out, const struct buf *line, unsigned columns)
{
	size_t n = 0;

	for (unsigned seen = 0; n < line->len; n++) {
		seen += ((unsigned char)line->data[n] & 0xc0) != 0x80;
		if (columns && seen > columns)
			break;
	}
	buf_append(out, buf_str(line), n);
	buf_append_char(out, '\n');
}

struct painter {
	const struct top_view *v;
	const struct top_screen *screen;
	struct buf *out;
	struct buf line;
};

static void end_line(struct painter *p)
{
	put_line(p->out, &p->line, p->screen->columns);
	buf_clear(&p->line);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void paint_head(struct painter *p)
{
	const struct profile_meta *m = &p->v->meta;
	char now[32];

	clock_iso_utc(m->start_real_ns + m->duration_ns, now);
	buf_printf(&p->line,
		"gprofiler top %s  CPU %.0f%% of %u%%  through %s: %s %u Hz  own %.1f%%", now + 11,
		percent(p->v->cpu_ns, m->duration_ns), p->screen->ncpus * 100, p->v->source,
		p->v->event, m->frequency, p->screen->own_cpu);
	end_line(p);
}

static void paint_count(struct painter *p, const char *what, uint64_t n)
{
	if (n)
		buf_printf(&p->line, ", %s %llu", what, (unsigned long long)n);
}

/* The ledger, in a line: what is lost comes before what is well. */
static void paint_ledger(struct painter *p)
{
	const struct profile_ledger *l = &p->v->meta.ledger;
	uint64_t lost = l->lost_ring + l->aggregation_full + l->not_delivered;

	buf_printf(&p->line, "lost %llu of %llu ticks", (unsigned long long)lost,
		(unsigned long long)MAX(l->expected, l->entries));
	paint_count(p, "broken", l->broken + l->finished_broken);
	paint_count(p, "truncated", l->truncated + l->finished_truncated);
	paint_count(p, "whole", l->complete + l->finished_complete);
	paint_count(p, "kernel only", l->kernel_only);
	paint_count(p, "32-bit", l->bits32);
	paint_count(p, "no user stack", l->no_user);
	paint_count(p, "idle", l->idle + l->idle_silent);
	paint_count(p, "not asked for", l->filtered);
	paint_count(p, "throttled", l->throttled);
	paint_count(p, "late: windows not shown", p->screen->skipped);
	buf_printf(&p->line, "; unnamed frames %.2f%%", percent(l->frames_unnamed, l->frames));
	end_line(p);
}

static void paint_keys(struct painter *p)
{
	static const char *const names[] = {
		[TOP_BY_SELF] = "self",
		[TOP_BY_TOTAL] = "total",
		[TOP_BY_PROCESS] = "process",
		[TOP_BY_FUNCTION] = "function",
	};

	if (p->screen->keys)
		buf_printf(&p->line, "by %s; keys: s self, t total, p process, f function, q quit",
			names[p->screen->order]);
	else
		buf_printf(&p->line, "by %s", names[p->screen->order]);
	end_line(p);
}

static int paint_processes(struct painter *p, size_t most)
{
	const struct top_view *v = p->v;
	_cleanup_free_ const struct top_process **sorted =
		calloc(v->processes.len + 1, sizeof(*sorted));

	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < v->processes.len; i++)
		sorted[i] = &v->processes.data[i];
	qsort(sorted, v->processes.len, sizeof(*sorted), by_cpu);
	buf_printf(&p->line, "%7s %7s  %s", "CPU", "PID", "PROCESS");
	end_line(p);
	for (size_t i = 0; i < v->processes.len && i < most; i++) {
		const char *container = intern_str(&v->texts, sorted[i]->container);

		buf_printf(&p->line, "%6.1f%% %7u  %s",
			percent(sorted[i]->cpu_ns, v->meta.duration_ns), sorted[i]->pid,
			intern_str(&v->texts, sorted[i]->comm));
		if (container[0])
			buf_printf(&p->line, "  in %s", container);
		end_line(p);
	}
	return 0;
}

/* What the order is about, and the function: nothing else has room. */
static void paint_narrow(struct painter *p, size_t most)
{
	const struct top_view *v = p->v;
	bool total = p->screen->order == TOP_BY_TOTAL;

	buf_printf(&p->line, "%6s FUNCTION", total ? "TOTAL" : "SELF");
	end_line(p);
	for (size_t i = 0; i < v->rows.len && i < most; i++) {
		const struct top_row *row = &v->rows.data[i];
		const struct top_process *process = &v->processes.data[row->process - 1];

		buf_printf(
			&p->line, "%5.1f%% ", percent(total ? row->total : row->self, v->samples));
		if (p->screen->order == TOP_BY_PROCESS)
			buf_printf(&p->line, "%s ", intern_str(&v->texts, process->comm));
		buf_append_str(&p->line, intern_str(&v->texts, row->text));
		end_line(p);
	}
}

static void paint_functions(struct painter *p, size_t most)
{
	const struct top_view *v = p->v;

	if (p->screen->columns && p->screen->columns < WIDE_COLUMNS) {
		paint_narrow(p, most);
		return;
	}

	buf_printf(
		&p->line, "%7s %7s %7s  %-15s  %s", "SELF", "TOTAL", "PID", "PROCESS", "FUNCTION");
	end_line(p);
	for (size_t i = 0; i < v->rows.len && i < most; i++) {
		const struct top_row *row = &v->rows.data[i];
		const struct top_process *process = &v->processes.data[row->process - 1];

		buf_printf(&p->line, "%6.1f%% %6.1f%% %7u  %-15s  %s",
			percent(row->self, v->samples), percent(row->total, v->samples),
			process->pid, intern_str(&v->texts, process->comm),
			intern_str(&v->texts, row->text));
		end_line(p);
	}
}

static void paint_rest(struct painter *p, size_t processes, size_t functions)
{
	const struct top_view *v = p->v;
	size_t np = v->processes.len - MIN(v->processes.len, processes);
	size_t nf = v->rows.len - MIN(v->rows.len, functions);

	buf_printf(&p->line, "not shown: %zu functions, %zu processes", nf, np);
	end_line(p);
}

/* A terminal: the functions need the room, processes have a third of it at most. Below that there are
 * functions only, and in the smallest the heads go, too. */
static int paint_screen(struct painter *p)
{
	const struct top_screen *screen = p->screen;
	unsigned left = screen->lines, processes = 0, functions = 0;
	int r = 0;

	if (screen->lines < LEAST_LINES || screen->columns < LEAST_COLUMNS) {
		buf_append_str(&p->line, "too small");
		end_line(p);
		return 0;
	}
	paint_head(p);
	left -= 1;
	if (left > 2) {
		paint_ledger(p);
		left--;
	}
	if (left > 6) {
		paint_keys(p);
		left--;
	}
	if (left > 8) {
		processes = MIN((left - TITLE_LINES - 1) / 3,
			MIN(PROCESSES_SHOWN, (unsigned)p->v->processes.len));
		r = paint_processes(p, processes);
		left -= processes + 1;
	}
	if (left > 2) {
		functions = left - 2;
		paint_functions(p, functions);
	}
	paint_rest(p, processes, functions);
	return r;
}

static int paint_text(struct painter *p)
{
	int r;

	paint_head(p);
	paint_ledger(p);
	r = paint_processes(p, PROCESSES_SHOWN);
	paint_keys(p);
	paint_functions(p, p->screen->functions);
	paint_rest(p, PROCESSES_SHOWN, p->screen->functions);
	return r;
}

int top_view_show(struct top_view *v, const struct top_screen *screen, struct buf *out)
{
	struct painter p = {.v = v, .screen = screen, .out = out, .line = BUF_INIT(LINE_MAX_BYTES)};
	int r = sort_rows(v, screen->order);

	if (!r)
		r = screen->lines ? paint_screen(&p) : paint_text(&p);
	if (!r && out->bad)
		r = -ENOMEM;
	buf_deinit(&p.line);
	return r;
}

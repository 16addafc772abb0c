/* SPDX-License-Identifier: Apache-2.0 */
/* Sorted output without sorting whole lines.
 *
 * Walking the tree with the children of each node in order gives sorted lines, if a node counts as
 * two entries among its siblings: its own line, whose text ends there, and the lines below it, whose
 * text goes on with ';'. ("b" < "b c" < "b;x", so the two are not neighbours.) */
#include "export/fold_sort.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/fold.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)

/* An entry: node id * 2, + 1 for what is below the node. */
static uint32_t entry_node(uint32_t entry)
{
	return entry / 2;
}

static bool entry_below(uint32_t entry)
{
	return entry & 1;
}

static int compare_text(const struct fold *f, uint32_t a, uint32_t b)
{
	size_t alen, blen;
	const char *at = intern_get(&f->texts, f->nodes[entry_node(a) - 1].text, &alen);
	const char *bt = intern_get(&f->texts, f->nodes[entry_node(b) - 1].text, &blen);
	int c = memcmp(at, bt, MIN(alen, blen)), ac, bc;

	if (c)
		return c;
	ac = alen > blen ? (unsigned char)at[blen] : entry_below(a) ? ';' : -1;
	bc = blen > alen ? (unsigned char)bt[alen] : entry_below(b) ? ';' : -1;
	return ac - bc;
}

static int compare_entries(const void *a, const void *b, void *arg)
{
	const struct fold *f = arg;
	uint32_t ea = *(const uint32_t *)a, eb = *(const uint32_t *)b;
	uint32_t pa = f->nodes[entry_node(ea) - 1].parent;
	uint32_t pb = f->nodes[entry_node(eb) - 1].parent;

	if (pa != pb)
		return pa < pb ? -1 : 1;
	return ea == eb ? 0 : compare_text(f, ea, eb);
}

/* Entries ordered by parent, then by text, in what was the hash table: it has two slots a node. */
static uint32_t make_entries(struct fold *f)
{
	uint32_t n = 0;

	for (uint32_t id = 1; id <= f->nnodes; id++) {
		if (f->nodes[id - 1].count & ~FOLD_HAS_CHILD)
			f->slots[n++] = id * 2;
		if (f->nodes[id - 1].count & FOLD_HAS_CHILD)
			f->slots[n++] = id * 2 + 1;
	}
	qsort_r(f->slots, n, sizeof(*f->slots), compare_entries, f);
	return n;
}

/* The first entry of a node's children. */
static uint32_t first_child(const struct fold *f, uint32_t n, uint32_t parent)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (f->nodes[entry_node(f->slots[mid]) - 1].parent < parent)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct line_writer {
	FILE *out;
	bool end_newline, any;
};

static void write_line(struct line_writer *w, const char *s, size_t len, uint64_t count)
{
	if (w->any && !w->end_newline)
		fputc('\n', w->out);
	w->any = true;
	fwrite(s, 1, len, w->out);
	fprintf(w->out, " %llu", (unsigned long long)count);
	if (w->end_newline)
		fputc('\n', w->out);
}

struct level {
	uint32_t at; // next entry
	uint32_t parent;
	size_t len; // of the line above
};
VEC_DEFINE(levels, struct level)

static int walk(struct fold *f, uint32_t n, struct levels *levels, struct line_writer *w)
{
	_cleanup_buf_ struct buf line = BUF_INIT(LINE_MAX_BYTES);
	int r = levels_push(levels, (struct level){0});

	while (!r && levels->len) {
		struct level *l = &levels->data[levels->len - 1];
		const struct fold_node *node;
		uint32_t entry;
		const char *s;
		size_t len;

		if (l->at == n || f->nodes[entry_node(f->slots[l->at]) - 1].parent != l->parent) {
			levels->len--;
			continue;
		}
		entry = f->slots[l->at++];
		node = &f->nodes[entry_node(entry) - 1];
		line.len = l->len;
		s = intern_get(&f->texts, node->text, &len);
		buf_append(&line, s, len);
		if (entry_below(entry)) {
			buf_append_char(&line, ';');
			r = levels_push(levels, (struct level){
							.at = first_child(f, n, entry_node(entry)),
							.parent = entry_node(entry),
							.len = line.len,
						});
		} else {
			write_line(w, line.data, line.len, node->count & ~FOLD_HAS_CHILD);
		}
		if (line.bad)
			r = -ENOSPC;
	}
	return r;
}

int fold_sort(struct fold *f, FILE *out, bool end_newline)
{
	struct line_writer w = {.out = out, .end_newline = end_newline};
	uint32_t n = make_entries(f);
	struct levels levels;
	int r;

	levels_init(&levels, UINT32_MAX);
	r = walk(f, n, &levels, &w);
	levels_deinit(&levels);
	return r;
}

struct run {
	FILE *file;
	char *line;
	size_t size, len; // len: of the stack
	uint64_t count;
	bool ended;
};

static int next_line(struct run *run)
{
	ssize_t n = getline(&run->line, &run->size, run->file);
	char *space;

	if (n <= 0) {
		run->ended = true;
		return ferror(run->file) ? -EIO : 0;
	}
	space = memrchr(run->line, ' ', (size_t)n);
	if (!space)
		return -EIO;
	run->len = (size_t)(space - run->line);
	run->count = strtoull(space + 1, NULL, 10);
	return 0;
}

static int compare_runs(const struct run *a, const struct run *b)
{
	int c = memcmp(a->line, b->line, MIN(a->len, b->len));

	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static struct run *least(struct run *runs, unsigned n)
{
	struct run *min = NULL;

	for (unsigned i = 0; i < n; i++)
		if (!runs[i].ended && (!min || compare_runs(&runs[i], min) < 0))
			min = &runs[i];
	return min;
}

static int merge(struct run *runs, unsigned n, struct line_writer *w)
{
	struct run *min;
	int r = 0;

	for (unsigned i = 0; i < n && !r; i++)
		r = next_line(&runs[i]);
	while (!r && (min = least(runs, n))) {
		uint64_t count = 0;

		for (unsigned i = 0; i < n && !r; i++) {
			if (runs[i].ended || &runs[i] == min || compare_runs(&runs[i], min) != 0)
				continue;
			if (__builtin_add_overflow(count, runs[i].count, &count))
				count = UINT64_MAX;
			r = next_line(&runs[i]);
		}
		if (__builtin_add_overflow(count, min->count, &count))
			count = UINT64_MAX;
		write_line(w, min->line, min->len, MIN(count, FOLD_HAS_CHILD - 1));
		if (!r)
			r = next_line(min);
	}
	return r;
}

int fold_merge(FILE *const *files, unsigned n, FILE *out, bool end_newline)
{
	struct line_writer w = {.out = out, .end_newline = end_newline};
	struct run *runs = calloc(n + 1, sizeof(*runs));
	int r;

	if (!runs)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		runs[i].file = files[i];
	r = merge(runs, n, &w);
	for (unsigned i = 0; i < n; i++)
		free(runs[i].line);
	free(runs);
	return r;
}

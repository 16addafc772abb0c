/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/kernel_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/vec.h"

#define ENTRIES_MAX (1u << 21)
#define TEXTS_MAX (64u << 20)
#define MODULES_MAX 4096u
#define MODULES_BYTES_MAX (256u << 10)
#define CHUNK (64u << 10)
#define NAME_MAX_BYTES 1024u // KSYM_NAME_LEN is 512 since Linux 6.1
/* No kernel function is longer; where the next symbol is another module's, the hole between them is
 * no function's. */
#define FUNCTION_MAX (256u << 10)
#define LAST_FUNCTION_MAX (64u << 10)
#define RANK_MARK 1 // of the linker script

struct line {
	uint64_t addr;
	char type;
	const char *name, *module;
	size_t name_len, module_len;
};

struct reading {
	struct kernel_index *x;
	bool any_address;
	bool sorted;
	int error;
};

void kernel_index_init(struct kernel_index *x)
{
	*x = (struct kernel_index){.texts = BUF_INIT(TEXTS_MAX)};
	intern_init(&x->modules, MODULES_MAX, MODULES_BYTES_MAX);
}

void kernel_index_deinit(struct kernel_index *x)
{
	free(x->entries);
	buf_deinit(&x->texts);
	intern_deinit(&x->modules);
	*x = (struct kernel_index){0};
}

void kernel_index_clear(struct kernel_index *x)
{
	kernel_index_deinit(x);
	kernel_index_init(x);
}

static bool parse_line(const char *p, const char *end, struct line *ret)
{
	const char *tab;
	unsigned digits = 0;

	memset(ret, 0, sizeof(*ret));
	for (; p < end && *p != ' '; p++, digits++) {
		unsigned c = (unsigned char)*p, d = c - '0' < 10 ? c - '0' : (c | 32) - 'a' + 10;

		if (d > 15 || digits >= 16)
			return false;
		ret->addr = ret->addr << 4 | d;
	}
	if (!digits || end - p < 4 || p[2] != ' ')
		return false;
	ret->type = p[1];
	ret->name = p + 3;
	tab = memchr(ret->name, '\t', (size_t)(end - ret->name));
	ret->name_len = (size_t)((tab ? tab : end) - ret->name);
	if (tab && tab + 1 < end) {
		ret->module = tab + 1;
		ret->module_len = (size_t)(end - ret->module);
	}
	return ret->name_len > 0 && ret->name_len <= NAME_MAX_BYTES && ret->module_len <= 128;
}

static bool ends_with(const struct line *l, const char *suffix)
{
	size_t n = strlen(suffix);

	return l->name_len >= n && memcmp(l->name + l->name_len - n, suffix, n) == 0;
}

/* 0 no text; a mark of the linker script; then local, weak, global. */
static uint8_t rank_of(const struct line *l)
{
	uint8_t rank = l->type == 't'			  ? 2
		       : l->type == 'w' || l->type == 'W' ? 3
		       : l->type == 'T'			  ? 4
							  : 0;

	if (rank && l->name[0] == '_' &&
		(ends_with(l, "text") || ends_with(l, "text_start") || ends_with(l, "text_end")))
		return RANK_MARK;
	return rank;
}

static int set_names(struct kernel_index *x, const struct line *l, struct kernel_entry *e)
{
	uint32_t module = 0;
	int r = l->module_len ? intern_add(&x->modules, l->module, l->module_len, &module) : 0;

	e->module = (uint16_t)module;
	e->name = (uint32_t)x->texts.len;
	if (!r && e->rank)
		r = buf_append(&x->texts, l->name, l->name_len);
	if (!r && e->rank)
		r = buf_append(&x->texts, "", 1);
	return r;
}

/* What does not fit is left out. */
static int take_line(struct reading *rd, const struct line *l)
{
	struct kernel_index *x = rd->x;
	struct kernel_entry e = {.start = l->addr, .rank = rank_of(l)};
	struct kernel_entry *last = x->count ? &x->entries[x->count - 1] : NULL;
	int r = 0;

	rd->any_address |= l->addr != 0;
	if (!l->addr || l->type == 'A' || l->type == 'a')
		return 0;
	// Of a row of data only the begin matters: text ends there.
	if (!e.rank && last && !last->rank && last->start <= e.start && rd->sorted)
		return 0;
	if (last && last->start > e.start)
		rd->sorted = false;
	r = vec_grow((void **)&x->entries, &x->size, x->count + 1, ENTRIES_MAX, sizeof(e));
	if (!r)
		r = set_names(x, l, &e);
	if (!r)
		x->entries[x->count++] = e;
	return r == -ENOMEM ? r : 0;
}

/* Whole lines of data; returns the bytes used. */
static size_t take_lines(struct reading *rd, const char *data, size_t len)
{
	size_t used = 0;

	for (;;) {
		const char *nl = memchr(data + used, '\n', len - used);
		struct line l;

		if (!nl || rd->error)
			return used;
		if (parse_line(data + used, nl, &l))
			rd->error = take_line(rd, &l);
		used = (size_t)(nl - data) + 1;
	}
}

static int read_lines(const char *path, struct reading *rd, uint64_t *ret_bytes)
{
	_cleanup_free_ char *data = malloc(CHUNK);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;

	if (!data)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, data + len, CHUNK - len);
		size_t used;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		*ret_bytes += (uint64_t)n;
		len += (size_t)n;
		used = take_lines(rd, data, len);
		if (rd->error)
			return rd->error;
		if (*ret_bytes >= CHUNK && !rd->any_address)
			return 0; // hidden: the rest is zeroes too
		memmove(data, data + used, len - used);
		len = len - used == CHUNK ? 0 : len - used; // a line without end is dropped
	}
}

static size_t underscores(const char *s)
{
	return strspn(s, "_");
}

static const char *name_of(const struct kernel_index *x, const struct kernel_entry *e)
{
	return x->texts.data + e->name;
}

static bool better_alias(
	const struct kernel_index *x, const struct kernel_entry *e, const struct kernel_entry *than)
{
	const char *a, *b;

	if (e->rank != than->rank || !e->rank)
		return e->rank > than->rank;
	a = name_of(x, e);
	b = name_of(x, than);
	if (underscores(a) != underscores(b))
		return underscores(a) < underscores(b);
	return strlen(a) > strlen(b);
}

static int compare(const void *a, const void *b)
{
	const struct kernel_entry *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* One entry an address. */
static void settle(struct kernel_index *x, bool sorted)
{
	struct kernel_entry *fit;
	size_t n = 0;

	if (!sorted)
		qsort(x->entries, x->count, sizeof(*x->entries), compare);
	for (size_t i = 0; i < x->count; i++) {
		const struct kernel_entry e = x->entries[i];

		if (!n || x->entries[n - 1].start != e.start)
			x->entries[n++] = e;
		else if (better_alias(x, &e, &x->entries[n - 1]))
			x->entries[n - 1] = e;
	}
	x->count = n;
	fit = n ? realloc(x->entries, n * sizeof(*fit)) : NULL;
	if (fit) {
		x->entries = fit;
		x->size = n;
	}
}

int kernel_index_build(struct kernel_index *x, const char *kallsyms, uint64_t *ret_bytes)
{
	struct reading rd = {.x = x, .sorted = true};
	int r;

	kernel_index_clear(x);
	*ret_bytes = 0;
	r = read_lines(kallsyms, &rd, ret_bytes);
	if (r || !rd.any_address) {
		kernel_index_clear(x);
		return r ? r : 1;
	}
	settle(x, rd.sorted);
	x->built = true;
	return 0;
}

/* "_etext" and its like end a section; what comes after them is no function. */
static bool is_end_mark(const char *name)
{
	return strcmp(name, "_etext") == 0 || strcmp(name, "_einittext") == 0;
}

bool kernel_index_find(const struct kernel_index *x, uint64_t addr, struct kernel_found *ret)
{
	const struct kernel_entry *e, *next;
	size_t lo = 0, hi = x->count;
	uint64_t max;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (x->entries[mid].start <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo)
		return false;
	e = &x->entries[lo - 1];
	next = lo < x->count ? e + 1 : NULL;
	max = next && next->module == e->module ? FUNCTION_MAX : LAST_FUNCTION_MAX;
	if (!e->rank || addr - e->start >= max ||
		(e->rank == RANK_MARK && is_end_mark(name_of(x, e))))
		return false;
	ret->start = e->start;
	ret->name = name_of(x, e);
	ret->module = e->module ? intern_str(&x->modules, e->module) : NULL;
	return true;
}

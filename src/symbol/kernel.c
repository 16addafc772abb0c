/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"

#define ANNOUNCED_MAX 4096u
#define CACHED_MAX 32768u
#define CACHED_BYTES_MAX (4u << 20)
#define MODULES_BYTES_MAX (1u << 20)
#define CHUNK (64u << 10)
#define HELD_MAX (64u << 20) // 10 MB on a kernel of a distribution
#define KSYM_NAME_MAX 1024u // KSYM_NAME_LEN is 512 since Linux 6.1
/* No kernel function is longer; where the next symbol is another module's, the hole between them is
 * no function's. */
#define FUNCTION_MAX (256u << 10)
#define LAST_FUNCTION_MAX (64u << 10)
#define CORE "[kernel.kallsyms]"

/* Text told by a ksymbol record. */
struct announced {
	uint64_t start, end;
	char *name;
	bool gone;
};
VEC_DEFINE(announced_vec, struct announced)

struct cached {
	uint64_t start, end;
	uint32_t name, module; // in texts; 0 = known to be nobody's
};
VEC_DEFINE(cached_vec, struct cached)

struct kernel_symbols {
	char *path, *modules_path;
	struct announced_vec announced; // sorted, no overlap
	struct cached_vec cached; // sorted, no overlap
	struct intern texts;
	uint64_t modules_hash;
	bool hidden;
	bool hold;
	struct buf held; // text of the table, until modules change
};

/* An address looked for in the stream. */
struct slot {
	uint64_t addr;
	uint64_t start; // nearest text symbol at or before addr
	uint64_t next; // nearest symbol after it, UINT64_MAX none
	uint64_t next_module; // hash of its module
	size_t owner; // slot that holds the name
	uint8_t rank; // 0 = none
	struct buf name, module;
};

struct line {
	uint64_t addr;
	char type;
	const char *name, *module;
	size_t name_len, module_len;
};

struct stream {
	struct slot *slots;
	size_t n;
	uint64_t bytes;
	bool any_address;
	int error;
};

int kernel_symbols_new(const char *kallsyms, struct kernel_symbols **ret)
{
	struct kernel_symbols *k = calloc(1, sizeof(*k));
	const char *slash = strrchr(kallsyms, '/');
	struct buf modules = BUF_INIT(4096);

	if (!k)
		return -ENOMEM;
	announced_vec_init(&k->announced, ANNOUNCED_MAX);
	cached_vec_init(&k->cached, CACHED_MAX);
	intern_init(&k->texts, CACHED_MAX, CACHED_BYTES_MAX);
	buf_printf(&modules, "%.*smodules", (int)(slash ? slash - kallsyms + 1 : 0), kallsyms);
	k->path = strdup(kallsyms);
	k->modules_path = buf_steal(&modules);
	if (!k->path || !k->modules_path) {
		kernel_symbols_free(k);
		return -ENOMEM;
	}
	*ret = k;
	return 0;
}

void kernel_symbols_free(struct kernel_symbols *k)
{
	if (!k)
		return;
	vec_foreach (a, &k->announced)
		free(a->name);
	announced_vec_deinit(&k->announced);
	cached_vec_deinit(&k->cached);
	intern_deinit(&k->texts);
	buf_deinit(&k->held);
	free(k->path);
	free(k->modules_path);
	free(k);
}

bool kernel_symbols_hidden(const struct kernel_symbols *k)
{
	return k->hidden;
}

/* Index of the first announced range that ends after addr. */
static size_t announced_at(const struct kernel_symbols *k, uint64_t addr)
{
	size_t lo = 0, hi = k->announced.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->announced.data[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t cached_at(const struct kernel_symbols *k, uint64_t addr)
{
	size_t lo = 0, hi = k->cached.len;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->cached.data[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static const struct cached *cached_find(const struct kernel_symbols *k, uint64_t addr)
{
	size_t i = cached_at(k, addr);

	return i < k->cached.len && k->cached.data[i].start <= addr ? &k->cached.data[i] : NULL;
}

static const struct announced *announced_find(const struct kernel_symbols *k, uint64_t addr)
{
	size_t i = announced_at(k, addr);

	return i < k->announced.len && k->announced.data[i].start <= addr ? &k->announced.data[i]
									  : NULL;
}

static void announced_drop(struct kernel_symbols *k, size_t at)
{
	free(k->announced.data[at].name);
	announced_vec_remove(&k->announced, at, 1);
}

/* Makes room at the cap: what is gone goes first. */
static void announced_evict(struct kernel_symbols *k)
{
	for (size_t i = 0; i < k->announced.len; i++) {
		if (k->announced.data[i].gone) {
			announced_drop(k, i);
			return;
		}
	}
	announced_drop(k, 0);
}

int kernel_symbols_add(
	struct kernel_symbols *k, uint64_t addr, uint32_t len, const char *name, bool gone)
{
	struct announced a = {.start = addr, .end = addr + (len ? len : 1), .gone = gone};
	size_t i, j;
	int r;

	if (a.end < a.start)
		return 0;
	if (k->announced.len >= ANNOUNCED_MAX)
		announced_evict(k);
	a.name = strndup(name, KSYM_NAME_MAX);
	if (!a.name)
		return -ENOMEM;
	i = announced_at(k, addr);
	while (i < k->announced.len && k->announced.data[i].start < a.end)
		announced_drop(k, i);
	// What kallsyms said of these addresses may have been about an earlier tenant.
	for (j = cached_at(k, addr); j < k->cached.len && k->cached.data[j].start < a.end;)
		cached_vec_remove(&k->cached, j, 1);
	r = announced_vec_insert(&k->announced, i, a);
	if (r)
		free(a.name);
	return r;
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
	return ret->name_len > 0 && ret->name_len <= KSYM_NAME_MAX && ret->module_len <= 128;
}

static bool ends_with(const struct line *l, const char *suffix)
{
	size_t n = strlen(suffix);

	return l->name_len >= n && memcmp(l->name + l->name_len - n, suffix, n) == 0;
}

/* 0 no text; 1 a mark of the linker script; then local, weak, global. */
static uint8_t rank_of(const struct line *l)
{
	uint8_t rank = l->type == 't'			  ? 2
		       : l->type == 'w' || l->type == 'W' ? 3
		       : l->type == 'T'			  ? 4
							  : 0;

	if (rank && l->name[0] == '_' &&
		(ends_with(l, "text") || ends_with(l, "text_start") || ends_with(l, "text_end")))
		return 1;
	return rank;
}

static size_t lower_bound(const struct stream *s, uint64_t addr)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->slots[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static size_t underscores(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[n] == '_')
		n++;
	return n;
}

static bool better_alias(const struct slot *slot, const struct line *l, uint8_t rank)
{
	size_t a, b;

	if (rank != slot->rank)
		return rank > slot->rank;
	a = underscores(l->name, l->name_len);
	b = underscores(slot->name.data, slot->name.len);
	if (a != b)
		return a < b;
	return l->name_len > slot->name.len;
}

static void take_line(struct stream *s, const struct line *l)
{
	uint8_t rank = rank_of(l);
	size_t i;

	if (!l->addr)
		return;
	s->any_address = true;
	if (l->type == 'A' || l->type == 'a')
		return;
	i = lower_bound(s, l->addr);
	if (i && l->addr < s->slots[i - 1].next) {
		s->slots[i - 1].next = l->addr;
		s->slots[i - 1].next_module = hash_bytes(l->module, l->module_len);
	}
	if (i >= s->n || !rank)
		return;
	if (s->slots[i].rank &&
		(l->addr < s->slots[i].start ||
			(l->addr == s->slots[i].start && !better_alias(&s->slots[i], l, rank))))
		return;
	s->slots[i].start = l->addr;
	s->slots[i].rank = rank;
	buf_clear(&s->slots[i].name);
	buf_clear(&s->slots[i].module);
	if (buf_append(&s->slots[i].name, l->name, l->name_len) ||
		buf_append(&s->slots[i].module, l->module, l->module_len))
		s->error = -ENOMEM;
}

/* Whole lines of data; returns the bytes used. */
static size_t take_lines(struct stream *s, const char *data, size_t len)
{
	size_t used = 0;

	for (;;) {
		const char *nl = memchr(data + used, '\n', len - used);
		struct line l;

		if (!nl)
			return used;
		if (parse_line(data + used, nl, &l))
			take_line(s, &l);
		used = (size_t)(nl - data) + 1;
	}
}

static int stream_file(const char *path, struct stream *s)
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
			return n < 0 ? -errno : s->error;
		s->bytes += (uint64_t)n;
		len += (size_t)n;
		used = take_lines(s, data, len);
		if (s->bytes >= CHUNK && !s->any_address)
			return 0; // hidden: the rest is zeroes too
		memmove(data, data + used, len - used);
		len = len - used == CHUNK ? 0 : len - used; // a line without end is dropped
	}
}

/* The kernel takes ten times as long to write its table as it takes to be searched. */
static int stream_held(struct kernel_symbols *k, struct stream *s)
{
	int r;

	if (!k->held.len) {
		k->held = BUF_INIT(HELD_MAX);
		r = fs_read_file(k->path, &k->held);
		if (r) {
			buf_deinit(&k->held);
			return r == -ENOSPC ? stream_file(k->path, s) : r;
		}
		s->bytes = k->held.len;
	}
	take_lines(s, k->held.data, k->held.len);
	return s->error;
}

/* Slots without a symbol of their own inherit from their neighbours. */
static void settle(struct stream *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct slot *a = &s->slots[i], *prev = i ? a - 1 : NULL;

		a->owner = i;
		if (prev && prev->rank && (!a->rank || prev->start > a->start)) {
			a->start = prev->start;
			a->rank = prev->rank;
			a->owner = prev->owner;
		}
	}
	for (size_t i = s->n; i-- > 1;) {
		if (s->slots[i].next < s->slots[i - 1].next) {
			s->slots[i - 1].next = s->slots[i].next;
			s->slots[i - 1].next_module = s->slots[i].next_module;
		}
	}
}

/* Remembered until modules change, so that an odd address does not cost a pass every window. */
static int cache_nobody(struct kernel_symbols *k, uint64_t addr)
{
	struct cached c = {.start = addr, .end = addr + 1};

	return cached_vec_insert(&k->cached, cached_at(k, addr), c) == -ENOMEM ? -ENOMEM : 0;
}

static bool is_end_mark(const char *name)
{
	return strcmp(name, "_etext") == 0 || strcmp(name, "_einittext") == 0;
}

static int cache_slot(struct kernel_symbols *k, const struct stream *s, const struct slot *slot)
{
	const struct slot *owner = &s->slots[slot->owner];
	const char *module = owner->module.len ? buf_str(&owner->module) : CORE;
	struct cached c = {.start = slot->start};
	uint64_t max;
	int r;

	if (cached_find(k, slot->addr))
		return 0;
	if (!slot->rank)
		return cache_nobody(k, slot->addr);
	max = slot->next != UINT64_MAX && slot->next_module == hash_bytes(buf_str(&owner->module),
								       owner->module.len)
		      ? FUNCTION_MAX
		      : LAST_FUNCTION_MAX;
	c.end = MIN(slot->next, slot->start + max);
	// "_etext" and its like end a section; what comes after them is no function.
	if (slot->addr >= c.end || (slot->rank == 1 && is_end_mark(buf_str(&owner->name))))
		return cache_nobody(k, slot->addr);
	r = intern_add(&k->texts, buf_str(&owner->name), owner->name.len, &c.name);
	if (!r)
		r = intern_add(&k->texts, module, strlen(module), &c.module);
	if (!r)
		r = cached_vec_insert(&k->cached, cached_at(k, c.start), c);
	return r == -ENOMEM ? r : 0;
}

static int find_missing(struct kernel_symbols *k, struct stream *s)
{
	int r = k->hold ? stream_held(k, s) : stream_file(k->path, s);

	if (r == -ENOMEM)
		return r;
	k->hidden = r != 0 || !s->any_address;
	if (k->hidden)
		return 0;
	settle(s);
	for (size_t i = 0; i < s->n; i++) {
		r = cache_slot(k, s, &s->slots[i]);
		if (r)
			return r;
	}
	return 0;
}

/* Forgets what was cached of modules if modules came or went. Their use counts change all the
 * time, so only names and addresses are compared. */
static void check_modules(struct kernel_symbols *k)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MODULES_BYTES_MAX);
	uint64_t hash = 1;
	size_t kept = 0;

	if (fs_read_file(k->modules_path, &text))
		return;
	for (const char *p = buf_str(&text); *p;) {
		size_t line = strcspn(p, "\n"), name = strcspn(p, " \n");
		const char *addr = memmem(p, line, " 0x", 3);

		hash = hash_u64(hash ^ hash_bytes(p, name));
		if (addr)
			hash = hash_u64(hash ^ hash_bytes(addr, strcspn(addr + 1, " \n")));
		p += line + (p[line] == '\n');
	}
	if (hash == k->modules_hash)
		return;
	k->modules_hash = hash;
	buf_deinit(&k->held);
	vec_foreach (c, &k->cached)
		if (strcmp(intern_str(&k->texts, c->module), CORE) == 0)
			k->cached.data[kept++] = *c;
	k->cached.len = kept;
}

static void lookup(const struct kernel_symbols *k, struct kernel_name *n)
{
	const struct announced *a = announced_find(k, n->addr);
	const struct cached *c;

	if (a) {
		n->start = a->start;
		n->name = a->name;
		n->module = strncmp(a->name, "bpf_", 4) == 0 ? "[bpf]" : CORE;
		return;
	}
	c = cached_find(k, n->addr);
	if (!c || !c->name)
		return;
	n->start = c->start;
	n->name = intern_str(&k->texts, c->name);
	n->module = intern_str(&k->texts, c->module);
}

static bool is_known(const struct kernel_symbols *k, uint64_t addr)
{
	return announced_find(k, addr) || cached_find(k, addr);
}

static void slots_free(struct slot *slots, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_deinit(&slots[i].name);
		buf_deinit(&slots[i].module);
	}
	free(slots);
}

void kernel_symbols_hold(struct kernel_symbols *k)
{
	k->hold = true;
}

int kernel_symbols_resolve(
	struct kernel_symbols *k, struct kernel_name *names, size_t n, uint64_t *ret_bytes_read)
{
	struct stream s = {0};
	int r = 0;

	check_modules(k);
	if (k->cached.len + n > CACHED_MAX || k->texts.len + 2 * n > CACHED_MAX ||
		k->texts.bytes_len > CACHED_BYTES_MAX / 2) {
		cached_vec_clear(&k->cached);
		intern_clear(&k->texts);
	}
	s.slots = calloc(n ? n : 1, sizeof(*s.slots));
	if (!s.slots)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!is_known(k, names[i].addr))
			s.slots[s.n++] = (struct slot){
				.addr = names[i].addr,
				.next = UINT64_MAX,
				.name = BUF_INIT(KSYM_NAME_MAX + 8),
				.module = BUF_INIT(256),
			};
	if (s.n)
		r = find_missing(k, &s);
	for (size_t i = 0; i < n; i++)
		lookup(k, &names[i]);
	*ret_bytes_read = s.bytes;
	slots_free(s.slots, s.n);
	return r;
}

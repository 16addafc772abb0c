/* SPDX-License-Identifier: Apache-2.0 */
#include "symbol/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "symbol/kernel_index.h"

#define ANNOUNCED_MAX 4096u
#define MODULES_BYTES_MAX (1u << 20)
#define KSYM_NAME_MAX 1024u // KSYM_NAME_LEN is 512 since Linux 6.1
#define CORE "[kernel.kallsyms]"

/* Text told by a ksymbol record. */
struct announced {
	uint64_t start, end;
	char *name;
	bool gone;
};
VEC_DEFINE(announced_vec, struct announced)

struct kernel_symbols {
	char *path, *modules_path;
	struct announced_vec announced; // sorted, no overlap
	struct kernel_index index;
	uint64_t modules_hash; // when the index was built
	bool hidden;
};

int kernel_symbols_new(const char *kallsyms, struct kernel_symbols **ret)
{
	struct kernel_symbols *k = calloc(1, sizeof(*k));
	const char *slash = strrchr(kallsyms, '/');
	struct buf modules = BUF_INIT(4096);

	if (!k)
		return -ENOMEM;
	announced_vec_init(&k->announced, ANNOUNCED_MAX);
	kernel_index_init(&k->index);
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
	kernel_index_deinit(&k->index);
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
	size_t i;
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
	r = announced_vec_insert(&k->announced, i, a);
	if (r)
		free(a.name);
	return r;
}

/* Of the loaded modules; their use counts change all the time, so only names and addresses count. 0 if
 * they cannot be told. */
static uint64_t hash_modules(const struct kernel_symbols *k)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MODULES_BYTES_MAX);
	uint64_t hash = 1;

	if (fs_read_file(k->modules_path, &text))
		return 0;
	for (const char *p = buf_str(&text); *p;) {
		size_t line = strcspn(p, "\n"), name = strcspn(p, " \n");
		const char *addr = memmem(p, line, " 0x", 3);

		hash = hash_u64(hash ^ hash_bytes(p, name));
		if (addr)
			hash = hash_u64(hash ^ hash_bytes(addr, strcspn(addr + 1, " \n")));
		p += line + (p[line] == '\n');
	}
	return hash;
}

static void lookup(const struct kernel_symbols *k, struct kernel_name *n)
{
	const struct announced *a = announced_find(k, n->addr);
	struct kernel_found found;

	if (a) {
		n->start = a->start;
		n->name = a->name;
		n->module = strncmp(a->name, "bpf_", 4) == 0 ? "[bpf]" : CORE;
		return;
	}
	if (!kernel_index_find(&k->index, n->addr, &found))
		return;
	n->start = found.start;
	n->name = found.name;
	n->module = found.module ? found.module : CORE;
}

/* The table is read once, and again when modules came or went. */
static int build_index(struct kernel_symbols *k, uint64_t *ret_bytes)
{
	uint64_t hash = hash_modules(k);
	int r;

	if (k->index.built && hash == k->modules_hash)
		return 0;
	r = kernel_index_build(&k->index, k->path, ret_bytes);
	k->modules_hash = hash;
	k->hidden = r != 0;
	return r == -ENOMEM ? r : 0;
}

int kernel_symbols_resolve(
	struct kernel_symbols *k, struct kernel_name *names, size_t n, uint64_t *ret_bytes_read)
{
	bool all_announced = true;
	int r = 0;

	*ret_bytes_read = 0;
	for (size_t i = 0; i < n && all_announced; i++)
		all_announced = announced_find(k, names[i].addr) != NULL;
	if (!all_announced)
		r = build_index(k, ret_bytes_read);
	for (size_t i = 0; i < n; i++)
		lookup(k, &names[i]);
	return r;
}

void kernel_symbols_shed(struct kernel_symbols *k)
{
	kernel_index_clear(&k->index);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fold.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "export/fold_sort.h"

#define STACK_MAX (1u << 20) // frames of one sample

/* Bytes of a node and its share of the hash table (load at most a half). */
#define NODE_BYTES (sizeof(struct fold_node) + 2 * sizeof(uint32_t))

int fold_init(struct fold *f, size_t cap, bool root_first)
{
	cap = MAX(cap, FOLD_CAP_MIN);
	*f = (struct fold){.root_first = root_first, .scratch = BUF_INIT((size_t)64 << 20)};
	// A quarter for texts with their table, the rest for the tree: names are few, paths many.
	intern_init(&f->texts, (uint32_t)MIN(cap / 128, UINT32_MAX / 2), cap / 4);
	fold_ids_init(&f->stack, STACK_MAX);
	fold_ids_init(&f->path_texts, STACK_MAX);
	fold_ids_init(&f->path_nodes, STACK_MAX);
	f->nslots = 1024;
	while ((size_t)f->nslots * 2 * NODE_BYTES / 2 <= cap && f->nslots < (1u << 30))
		f->nslots *= 2;
	f->max_nodes = f->nslots / 2;
	f->nodes = calloc(f->max_nodes, sizeof(*f->nodes));
	f->slots = calloc(f->nslots, sizeof(*f->slots));
	if (f->nodes && f->slots)
		return 0;
	fold_deinit(f);
	return -ENOMEM;
}

void fold_deinit(struct fold *f)
{
	intern_deinit(&f->texts);
	fold_ids_deinit(&f->stack);
	fold_ids_deinit(&f->path_texts);
	fold_ids_deinit(&f->path_nodes);
	buf_deinit(&f->scratch);
	free(f->nodes);
	free(f->slots);
	f->nodes = NULL;
	f->slots = NULL;
	while (f->nruns)
		fclose(f->runs[--f->nruns]);
}

static void clear(struct fold *f)
{
	intern_clear(&f->texts);
	memset(f->slots, 0, f->nslots * sizeof(*f->slots));
	f->nnodes = 0;
	f->path_texts.len = f->path_nodes.len = 0;
	f->generation++;
}

/* A file nobody else can see. */
static FILE *open_run(void)
{
	const char *dir = getenv("TMPDIR");
	char path[4096];
	FILE *file;
	int fd;

	if (!dir || !dir[0])
		dir = "/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		if (snprintf(path, sizeof(path), "%s/gprofiler-fold-XXXXXX", dir) >=
			(int)sizeof(path)) {
			errno = ENAMETOOLONG;
			return NULL;
		}
		fd = mkostemp(path, O_CLOEXEC);
		if (fd < 0)
			return NULL;
		unlink(path);
	}
	file = fdopen(fd, "w+");
	if (!file)
		close(fd);
	return file;
}

static int end_run(FILE *run)
{
	if (fflush(run) || ferror(run) || fseek(run, 0, SEEK_SET))
		return errno ? -errno : -EIO;
	return 0;
}

/* All runs become one, so that a merge never has more than FOLD_RUNS_MAX open. */
static int merge_runs(struct fold *f)
{
	FILE *all = open_run();
	int r;

	if (!all)
		return -errno;
	r = fold_merge(f->runs, f->nruns, all, true);
	if (!r)
		r = end_run(all);
	if (r) {
		fclose(all);
		return r;
	}
	while (f->nruns)
		fclose(f->runs[--f->nruns]);
	f->runs[f->nruns++] = all;
	return 0;
}

static int write_run(struct fold *f)
{
	FILE *run;
	int r;

	if (f->nruns == FOLD_RUNS_MAX) {
		r = merge_runs(f);
		if (r)
			return r;
	}
	run = open_run();
	if (!run)
		return -errno;
	r = fold_sort(f, run, true);
	if (!r)
		r = end_run(run);
	if (r) {
		fclose(run);
		return r;
	}
	f->runs[f->nruns++] = run;
	f->spills++;
	clear(f);
	return 0;
}

static int spill(struct fold *f)
{
	int r = write_run(f);

	f->run_failed = r != 0;
	return r;
}

/* Writes out everything but the sample at hand, whose texts are carried over. */
static int start_anew(struct fold *f)
{
	size_t at = 0, n = f->stack.len;
	int r;

	buf_clear(&f->scratch);
	for (size_t i = 0; i < n; i++) {
		size_t len;
		const char *s = intern_get(&f->texts, f->stack.data[i], &len);

		buf_append(&f->scratch, s, len);
		buf_append_char(&f->scratch, '\n');
	}
	r = spill(f);
	if (r)
		return r;
	if (f->scratch.bad)
		f->overflow = true;
	for (size_t i = 0; i < n && !f->overflow; i++) {
		const char *s = f->scratch.data + at;
		size_t len = (size_t)((const char *)memchr(s, '\n', f->scratch.len - at) - s);

		r = intern_add(&f->texts, s, len, &f->stack.data[i]);
		if (r == -ENOSPC)
			f->overflow = true;
		else if (r)
			return r;
		at += len + 1;
	}
	return 0;
}

int fold_text(struct fold *f, const char *s, size_t len, uint32_t *ret)
{
	int r = intern_add(&f->texts, s, len, ret);

	if (r != -ENOSPC)
		return r;
	r = start_anew(f);
	if (r)
		return r;
	r = intern_add(&f->texts, s, len, ret);
	if (r == -ENOSPC) {
		f->overflow = true;
		*ret = 0;
		return 0;
	}
	return r;
}

int fold_push(struct fold *f, uint32_t text)
{
	int r = fold_ids_push(&f->stack, text);

	if (r == -ENOSPC) {
		f->overflow = true;
		return 0;
	}
	return r;
}

static uint32_t hash_node(uint32_t parent, uint32_t text)
{
	uint64_t h = ((uint64_t)parent << 32 | text) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32 ^ h >> 13);
}

/* The child of a node with this text, added if new; 0 when full. */
static uint32_t child(struct fold *f, uint32_t parent, uint32_t text)
{
	uint32_t mask = f->nslots - 1, i = hash_node(parent, text) & mask;

	for (; f->slots[i]; i = (i + 1) & mask) {
		const struct fold_node *n = &f->nodes[f->slots[i] - 1];

		if (n->parent == parent && n->text == text)
			return f->slots[i];
	}
	if (f->nnodes == f->max_nodes)
		return 0;
	if (parent)
		f->nodes[parent - 1].count |= FOLD_HAS_CHILD;
	f->nodes[f->nnodes] = (struct fold_node){.parent = parent, .text = text};
	f->slots[i] = ++f->nnodes;
	return f->nnodes;
}

/* The leaf of the stack at hand in *ret, 0 when the tree is full. Return 0, -ENOMEM. */
static int insert(struct fold *f, uint32_t *ret)
{
	struct fold_ids *texts = &f->path_texts, *nodes = &f->path_nodes;
	bool same = true;
	uint32_t node = 0;

	for (size_t i = 0; i < f->stack.len; i++) {
		uint32_t text = f->stack.data[f->root_first ? i : f->stack.len - 1 - i];

		same = same && i < texts->len && texts->data[i] == text;
		if (same) {
			node = nodes->data[i];
			continue;
		}
		texts->len = nodes->len = MIN(i, texts->len);
		node = child(f, node, text);
		if (!node)
			break;
		if (fold_ids_push(texts, text) || fold_ids_push(nodes, node))
			return -ENOMEM;
	}
	*ret = node;
	return 0;
}

void fold_drop(struct fold *f)
{
	f->stack.len = 0;
	f->overflow = false;
}

int fold_commit(struct fold *f, uint64_t weight)
{
	uint32_t leaf = 0;
	int r;

	if (!f->stack.len) {
		fold_drop(f);
		return 0;
	}
	if (!f->overflow) {
		r = insert(f, &leaf);
		if (!r && !leaf) {
			r = start_anew(f);
			if (!r && !f->overflow)
				r = insert(f, &leaf);
		}
		if (r)
			return r;
	}
	if (leaf) {
		struct fold_node *n = &f->nodes[leaf - 1];
		uint64_t count = n->count & ~FOLD_HAS_CHILD;

		count = weight > FOLD_HAS_CHILD - 1 - count ? FOLD_HAS_CHILD - 1 : count + weight;
		n->count = (n->count & FOLD_HAS_CHILD) | count;
	} else {
		f->too_large++;
	}
	fold_drop(f);
	return 0;
}

int fold_write(struct fold *f, FILE *out, bool end_newline)
{
	int r;

	errno = 0;
	if (f->nruns == 0) {
		r = fold_sort(f, out, end_newline);
		clear(f);
	} else {
		r = f->nnodes ? spill(f) : 0;
		if (!r)
			r = fold_merge(f->runs, f->nruns, out, end_newline);
		while (f->nruns)
			fclose(f->runs[--f->nruns]);
	}
	if (!r && (fflush(out) || ferror(out)))
		r = errno ? -errno : -EIO;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "elf/module.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/cleanup.h"
#include "elf/headers.h"

#define DELETED " (deleted)"
#define PATH_BYTES_MEAN 256u // cap of the path store, a module
#define SWEEP_MIN 512u // modules, a descriptor and 1 KB and more each

/* What identities are interned as: no padding. */
struct identity {
	uint32_t kind; // enum identity_kind
	uint32_t len; // of the build id; id of the path
	uint64_t dev, ino;
	uint8_t build_id[24];
};
_Static_assert(sizeof(struct identity) == 48, "identities are compared bytewise");

enum identity_kind {
	IDENTITY_INODE = 1,
	IDENTITY_BUILD_ID,
	IDENTITY_PATH,
};

void module_table_init(struct module_table *t, size_t cap, unsigned max_open_fds)
{
	*t = (struct module_table){.cap = MIN(cap, UINT32_MAX / 8), .max_open_fds = max_open_fds};
	// Twice two identities a module: files that were copied or replaced leave old ones behind.
	intern_init(&t->keys, (uint32_t)t->cap * 4, t->cap * 4 * (sizeof(struct identity) + 8));
	map_init(&t->by_key, t->cap * 4);
	map_init(&t->by_id, t->cap);
	t->sweep_at = MIN(t->cap / 2, (size_t)SWEEP_MIN);
	intern_init(&t->strings, (uint32_t)t->cap * 2, t->cap * PATH_BYTES_MEAN + 65536);
}

static void module_close(struct module_table *t, struct module *m)
{
	if (m->fd >= 0) {
		close(m->fd);
		t->open_fds--;
	}
	m->fd = -1;
	free(m->image);
	m->image = NULL;
	m->size = 0;
}

static struct module *module_of(const struct map_slot *slot)
{
	return (struct module *)(uintptr_t)slot->value;
}

static void module_free(struct module_table *t, struct module *m)
{
	module_close(t, m);
	free(m);
}

void module_table_deinit(struct module_table *t)
{
	map_foreach (slot, &t->by_id)
		module_free(t, module_of(slot));
	map_deinit(&t->by_id);
	intern_deinit(&t->keys);
	map_deinit(&t->by_key);
	intern_deinit(&t->strings);
	*t = (struct module_table){.cap = t->cap, .max_open_fds = t->max_open_fds};
}

struct module *module_get(const struct module_table *t, uint32_t id)
{
	const uint64_t *found = id ? map_get(&t->by_id, id) : NULL;

	return found ? (struct module *)(uintptr_t)*found : NULL;
}

const char *module_path(const struct module_table *t, const struct module *m)
{
	return intern_str(&t->strings, m->path);
}

static struct identity identity_inode(const struct module_key *key)
{
	return (struct identity){.kind = IDENTITY_INODE, .dev = key->dev, .ino = key->ino};
}

static struct identity identity_build_id(const struct module_key *key)
{
	struct identity id = {.kind = IDENTITY_BUILD_ID, .len = key->build_id_len};

	memcpy(id.build_id, key->build_id, key->build_id_len);
	return id;
}

static struct module *lookup(const struct module_table *t, const struct identity *id)
{
	uint32_t key = intern_find(&t->keys, id, sizeof(*id));
	const uint64_t *found = key ? map_get(&t->by_key, key) : NULL;

	return found ? module_get(t, (uint32_t)*found) : NULL;
}

static int bind(struct module_table *t, const struct identity *id, const struct module *m)
{
	uint32_t key;
	int r = intern_add(&t->keys, id, sizeof(*id), &key);

	return r ? r : map_set(&t->by_key, key, m->id);
}

static bool same_build_id(const struct module_key *a, const struct module_key *b)
{
	return a->build_id_len == b->build_id_len &&
	       memcmp(a->build_id, b->build_id, a->build_id_len) == 0;
}

/* The inode is reused, or was overwritten in place: m is what it held before. */
static bool is_replaced(const struct module *m, const struct module_key *key)
{
	if (m->key.ino_generation && key->ino_generation &&
		m->key.ino_generation != key->ino_generation)
		return true;
	return m->key.build_id_len && key->build_id_len && !same_build_id(&m->key, key);
}

static int module_add(struct module_table *t, struct module **ret)
{
	_cleanup_free_ struct module *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	r = map_set(&t->by_id, t->last_id + 1, (uintptr_t)m);
	if (r)
		return r;
	m->id = ++t->last_id;
	m->fd = -1;
	*ret = steal_ptr(m);
	return 0;
}

static void merge_key(struct module *m, const struct module_key *key)
{
	if (!m->key.ino && key->ino) {
		m->key.dev = key->dev;
		m->key.ino = key->ino;
		m->key.ino_generation = key->ino_generation;
	} else if (m->key.ino == key->ino && m->key.dev == key->dev && !m->key.ino_generation) {
		m->key.ino_generation = key->ino_generation;
	}
	if (!m->key.build_id_len && key->build_id_len) {
		m->key.build_id_len = key->build_id_len;
		memcpy(m->key.build_id, key->build_id, key->build_id_len);
	}
}

/* Makes every identity in key lead to m. Failure costs a duplicate later, never a wrong module. */
static int bind_key(struct module_table *t, const struct module_key *key, const struct module *m)
{
	int r = 0;

	if (key->ino) {
		struct identity id = identity_inode(key);

		r = bind(t, &id, m);
	}
	if (key->build_id_len) {
		struct identity id = identity_build_id(key);
		int r2 = bind(t, &id, m);

		r = r ? r : r2;
	}
	return r;
}

static int intern_path(struct module_table *t, const char *path, uint32_t *ret, bool *ret_deleted)
{
	size_t len = strlen(path), suffix = strlen(DELETED);

	*ret_deleted = len > suffix && strcmp(path + len - suffix, DELETED) == 0;
	return intern_add(&t->strings, path, *ret_deleted ? len - suffix : len, ret);
}

static int by_path(struct module_table *t, uint32_t path, struct module **ret)
{
	struct identity id = {.kind = IDENTITY_PATH, .len = path};
	int r;

	*ret = lookup(t, &id);
	if (*ret)
		return 0;
	r = module_add(t, ret);
	return r ? r : bind(t, &id, *ret);
}

static int by_key(struct module_table *t, const struct module_key *key, struct module **ret)
{
	struct module *m = NULL;
	int r;

	if (key->build_id_len) {
		struct identity id = identity_build_id(key);

		m = lookup(t, &id);
	}
	if (!m && key->ino) {
		struct identity id = identity_inode(key);

		m = lookup(t, &id);
		if (m && is_replaced(m, key))
			m = NULL;
	}
	if (!m) {
		r = module_add(t, &m);
		if (r)
			return r;
	}
	merge_key(m, key);
	*ret = m;
	return bind_key(t, key, m);
}

int module_table_intern(
	struct module_table *t, const struct module_key *key, const char *path, struct module **ret)
{
	struct module *m = NULL;
	bool deleted = false;
	uint32_t id = 0;
	int r = 0;

	if (key->build_id_len > MODULE_BUILD_ID_MAX)
		return -EINVAL;
	if (path) {
		r = intern_path(t, path, &id, &deleted);
		if (r)
			return r;
	}
	r = key->ino || key->build_id_len ? by_key(t, key, &m) : by_path(t, id, &m);
	if (r && !m)
		return r;
	if (!m->path && id) {
		m->path = id;
		m->special = path[0] == '[';
	}
	m->deleted |= deleted;
	*ret = m;
	return 0;
}

bool module_table_wants_sweep(const struct module_table *t)
{
	return t->by_id.len >= t->sweep_at;
}

/* Identities and paths of what is still there, in `fresh`. */
static int move_names(const struct module_table *t, struct module_table *fresh)
{
	uint32_t id;
	int r = 0;

	map_foreach (slot, &t->by_id) {
		r = intern_move(&fresh->strings, &t->strings, module_of(slot)->path, &id);
		if (r)
			return r;
	}
	map_foreach (slot, &t->by_key) {
		const struct module *m = module_get(t, (uint32_t)slot->value);
		struct identity key;
		size_t len;

		if (!m)
			continue;
		memcpy(&key, intern_get(&t->keys, (uint32_t)slot->key, &len), sizeof(key));
		if (key.kind == IDENTITY_PATH)
			r = intern_move(&fresh->strings, &t->strings, key.len, &key.len);
		if (!r)
			r = bind(fresh, &key, m);
		if (r)
			return r;
	}
	return 0;
}

/* Nothing is ever removed from an intern: what is left moves to new ones. Without memory for them the
 * old ones stay, with what they hold too much. */
static void compact(struct module_table *t)
{
	struct module_table fresh;

	module_table_init(&fresh, t->cap, 0);
	if (move_names(t, &fresh)) {
		module_table_deinit(&fresh);
		return;
	}
	map_foreach (slot, &t->by_id) {
		struct module *m = module_of(slot);

		intern_move(&fresh.strings, &t->strings, m->path, &m->path);
	}
	intern_deinit(&t->keys);
	intern_deinit(&t->strings);
	map_deinit(&t->by_key);
	t->keys = fresh.keys;
	t->strings = fresh.strings;
	t->by_key = fresh.by_key;
}

void module_table_sweep(struct module_table *t, module_held_fn held, void *arg)
{
	_cleanup_free_ struct module **all = NULL;
	size_t n = 0;

	if (!module_table_wants_sweep(t))
		return;
	all = malloc((t->by_id.len + 1) * sizeof(*all));
	if (!all)
		return;
	map_foreach (slot, &t->by_id)
		all[n++] = module_of(slot);
	for (size_t i = 0; i < n; i++) {
		if (held(arg, all[i]))
			continue;
		map_remove(&t->by_id, all[i]->id);
		module_free(t, all[i]);
	}
	compact(t);
	// Of those that stayed most will stay.
	t->sweep_at = MAX(2 * t->by_id.len, (size_t)MIN(t->cap / 2, (size_t)SWEEP_MIN));
	t->sweep_at = MIN(t->sweep_at, t->cap - t->cap / 8);
}

void module_mark_unreadable(struct module *m, int error)
{
	m->state = MODULE_UNREADABLE;
	m->error = error;
}

/* Gives up one descriptor so that another fits: first among files that can be opened again. */
static void evict_one(struct module_table *t, const struct module *keep)
{
	for (int pass = 0; pass < 2; pass++) {
		for (size_t n = 0; n < t->by_id.size; n++) {
			const struct map_slot *slot =
				&t->by_id.slots[t->evict_hand++ % t->by_id.size];
			struct module *m = slot->used ? module_of(slot) : NULL;

			if (!m || m == keep || m->fd < 0 || (pass == 0 && m->deleted))
				continue;
			module_close(t, m);
			m->state = MODULE_NAMED;
			return;
		}
	}
}

/* Overlay and btrfs report a device of their own in stat(), while mapping records and
 * /proc/PID/maps tell the one below (show_map_vma() uses i_sb->s_dev); both have anonymous devices
 * (major 0). Overlay's xino puts a layer number into the upper bits of st_ino. */
static bool same_inode(const struct module_key *key, const struct stat *st)
{
	if (key->dev == st->st_dev)
		return key->ino == st->st_ino;
	if (major(key->dev) != 0 && major(st->st_dev) != 0)
		return false;
	return (uint32_t)key->ino == (uint32_t)st->st_ino;
}

/* Compares and completes the identity once the bytes are readable. */
static int check_identity(struct module_table *t, struct module *m, const struct stat *st)
{
	struct module_key own = {0};
	int r = module_read_build_id(m, own.build_id, &own.build_id_len);

	if (r && r != -ENOENT && r != -EINVAL)
		return r;
	if (m->key.build_id_len) {
		if (!same_build_id(&m->key, &own))
			return -ESTALE;
	} else if (st && m->key.ino && !same_inode(&m->key, st)) {
		return -ESTALE;
	}
	if (!m->key.build_id_len && own.build_id_len) {
		merge_key(m, &own);
		// A module that was met under its build id alone keeps the identity; both live on.
		struct identity id = identity_build_id(&own);

		if (!lookup(t, &id))
			bind(t, &id, m);
	}
	if (st && !m->key.ino) {
		struct module_key inode = {.dev = st->st_dev, .ino = st->st_ino};

		merge_key(m, &inode);
		bind_key(t, &inode, m);
	}
	return 0;
}

/* Common end of both ways to open: m->fd or m->image and m->size are set. */
static int finish_open(struct module_table *t, struct module *m, const struct stat *st)
{
	int r = module_read_headers(m);

	if (!r)
		r = check_identity(t, m, st);
	if (!r) {
		m->state = MODULE_OPEN;
		m->error = 0;
		return 0;
	}
	module_close(t, m);
	if (r == -EINVAL || r == -ENOEXEC)
		module_mark_unreadable(m, r);
	return r;
}

int module_open_fd(struct module_table *t, struct module *m, int fd)
{
	_cleanup_close_ int owned = fd;
	struct stat st;

	if (m->state == MODULE_OPEN)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		module_mark_unreadable(m, -EMEDIUMTYPE);
		return -EMEDIUMTYPE;
	}
	if (t->max_open_fds && t->open_fds >= t->max_open_fds)
		evict_one(t, m);
	m->fd = steal_fd(&owned);
	t->open_fds++;
	m->size = (uint64_t)st.st_size;
	return finish_open(t, m, &st);
}

int module_open_image(struct module_table *t, struct module *m, uint8_t *image, size_t len)
{
	if (m->state == MODULE_OPEN) {
		free(image);
		return 0;
	}
	m->image = image;
	m->size = len;
	return finish_open(t, m, NULL);
}

static int standalone(struct module *m, struct module **ret)
{
	int r = module_read_headers(m);

	if (r) {
		module_standalone_free(m);
		return r;
	}
	m->state = MODULE_OPEN;
	*ret = m;
	return 0;
}

int module_standalone_fd(int fd, struct module **ret)
{
	_cleanup_close_ int owned = fd;
	struct module *m;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->fd = steal_fd(&owned);
	m->size = (uint64_t)st.st_size;
	return standalone(m, ret);
}

int module_standalone_image(uint8_t *image, size_t len, struct module **ret)
{
	struct module *m = calloc(1, sizeof(*m));

	if (!m || !image) {
		free(m);
		free(image);
		return -ENOMEM;
	}
	m->fd = -1;
	m->image = image;
	m->size = len;
	return standalone(m, ret);
}

void module_standalone_free(struct module *m)
{
	if (!m)
		return;
	if (m->fd >= 0)
		close(m->fd);
	free(m->image);
	free(m);
}

ssize_t module_read(const struct module *m, uint64_t off, void *dst, size_t len)
{
	if (off >= m->size)
		return 0;
	len = (size_t)MIN(len, m->size - off);
	if (m->image) {
		memcpy(dst, m->image + off, len);
		return (ssize_t)len;
	}
	if (m->fd < 0)
		return -EBADF;
	return fs_pread_full(m->fd, dst, len, (off_t)off);
}

/* Executable segments first: where a page of the file holds the end of one segment and the start of
 * the next, the linker maps it twice. */
bool module_offset_to_vaddr(const struct module *m, uint64_t off, uint64_t *ret_vaddr)
{
	for (int pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < m->nsegments; i++) {
			const struct module_segment *s = &m->segments[i];

			if (((s->flags & PF_X) ? 0 : 1) != pass)
				continue;
			if (off >= s->offset && off - s->offset < s->filesz) {
				*ret_vaddr = s->vaddr + (off - s->offset);
				return true;
			}
		}
	}
	return false;
}

bool module_vaddr_to_offset(const struct module *m, uint64_t vaddr, uint64_t *ret_off)
{
	for (unsigned i = 0; i < m->nsegments; i++) {
		const struct module_segment *s = &m->segments[i];

		if (vaddr >= s->vaddr && vaddr - s->vaddr < s->filesz) {
			*ret_off = s->offset + (vaddr - s->vaddr);
			return true;
		}
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The file behind a mapping. Nothing but a regular file is ever opened (process/root.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/image.h"
#include "process/memory.h"
#include "process/root.h"
#include "process/table.h"

#define PATH_BYTES (MAPS_PATH_MAX + 128)
#define OTHERS_MAX 8 // other processes tried
#define OTHERS_SEEN_MAX 4096 // other processes looked at
#define VDSO_BYTES_MAX 65536
#define RETRY_NS NSEC_PER_SEC

static int open_regular(const char *path)
{
	int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? -errno : process_root_reopen(fd);
}

/* The name of the mapping, not of the module: one file has different names in different namespaces. */
static void path_of(const struct process_table *t, const struct mapping *m, char *ret)
{
	const char *path = intern_str(&t->strings, m->path);
	bool deleted;
	size_t len = MIN(maps_path_len(path, &deleted), (size_t)MAPS_PATH_MAX - 1);

	memcpy(ret, path, len);
	ret[len] = 0;
}

int process_open_path(const struct process_table *t, const struct process *p, const char *path)
{
	int r = p->exit_time ? -ESRCH : process_root_open(t->proc_root, p->pid, path);

	return r < 0 && r != -EMEDIUMTYPE ? open_regular(path) : r;
}

struct range {
	uint64_t addr, start, end;
};

static int find_range(void *arg, const struct maps_line *line)
{
	struct range *r = arg;

	if (line->start > r->addr || line->end <= r->addr)
		return 0;
	r->start = line->start;
	r->end = line->end;
	return 1;
}

/* /proc/PID/map_files names a mapping by its exact present range, of which ours may be a part. Needs
 * CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. */
static int open_map_file(const struct process_table *t, uint32_t pid, const struct mapping *m)
{
	struct range range = {.addr = m->start};
	_cleanup_close_ int maps = -1;
	char name[PATH_BYTES];
	int fd, r;

	snprintf(name, sizeof(name), "%s/%u/map_files/%llx-%llx", t->proc_root, pid,
		(unsigned long long)m->start, (unsigned long long)m->end);
	fd = open_regular(name);
	if (fd != -ENOENT)
		return fd;
	maps = process_open_maps(t, pid);
	r = maps < 0 ? maps : maps_read_fd(maps, find_range, &range);
	if (r != 1)
		return r < 0 ? r : -ENOENT;
	snprintf(name, sizeof(name), "%s/%u/map_files/%llx-%llx", t->proc_root, pid,
		(unsigned long long)range.start, (unsigned long long)range.end);
	return open_regular(name);
}

int process_open_mapped(
	const struct process_table *t, const struct process *p, const struct mapping *m)
{
	char path[MAPS_PATH_MAX];
	int r;

	if (m->kind != MAPPING_FILE)
		return -EMEDIUMTYPE;
	r = p->exit_time ? -ESRCH : open_map_file(t, p->pid, m);
	if (r >= 0 || r == -EMEDIUMTYPE)
		return r;
	path_of(t, m, path);
	return process_open_path(t, p, path);
}

static bool is_transient(int r)
{
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -EINTR || r == -EAGAIN;
}

/* Keeps the most telling error of a ladder: anything says more than "no such file". */
static int worse(int a, int b)
{
	if (is_transient(a) || a == -EMEDIUMTYPE)
		return a;
	return b == -ENOENT || b == -ESRCH ? (a ? a : b) : b;
}

struct attempt {
	struct process_table *t;
	struct module *mod;
	int error;
	bool hopeless; // the mapped file itself is not what we can read: no other way will help
};

/* A file found by name may be another one of that name: its faults are not the module's. */
static bool try_fd(struct attempt *a, int fd)
{
	int r = fd;
	struct stat st;

	if (fd >= 0 && a->mod->key.ino && fstat(fd, &st) == 0 &&
		(uint32_t)st.st_ino != (uint32_t)a->mod->key.ino) {
		close(fd);
		r = -ESTALE;
	} else if (fd >= 0) {
		r = module_open_fd(a->t->modules, a->mod, fd);
	}
	if (r == 0)
		return true;
	if (a->mod->state == MODULE_UNREADABLE)
		a->mod->state = MODULE_NAMED;
	a->error = worse(a->error, r);
	return false;
}

/* What the kernel itself resolved is the mapped file, whatever numbers a stacked file system
 * (overlayfs, btrfs subvolumes) gives it on one way and on the other: take the inode that fstat()
 * shows. */
static int open_proven(struct attempt *a, int fd)
{
	_cleanup_close_ int again = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct module_key saved = a->mod->key;
	int r = module_open_fd(a->t->modules, a->mod, fd);
	struct stat st;

	if (r != -ESTALE || again < 0 || saved.build_id_len || fstat(again, &st) < 0)
		return r;
	a->mod->key.dev = st.st_dev;
	a->mod->key.ino = st.st_ino;
	r = module_open_fd(a->t->modules, a->mod, steal_fd(&again));
	if (r)
		a->mod->key = saved;
	return r;
}

static bool try_map_file(struct attempt *a, uint32_t pid, const struct mapping *m)
{
	int r = open_map_file(a->t, pid, m);

	if (r >= 0)
		r = open_proven(a, r);
	if (r == 0)
		return true;
	a->error = worse(a->error, r);
	a->hopeless = r == -EINVAL || r == -ENOEXEC || r == -EMEDIUMTYPE;
	return false;
}

static const struct mapping *mapping_of(const struct process *p, uint32_t module)
{
	vec_foreach (m, &p->maps)
		if (m->module == module)
			return m;
	return NULL;
}

static bool try_process(struct attempt *a, const struct process *p, const struct mapping *m)
{
	char path[MAPS_PATH_MAX];

	if (try_map_file(a, p->pid, m))
		return true;
	path_of(a->t, m, path);
	return !a->hopeless && try_fd(a, process_root_open(a->t->proc_root, p->pid, path));
}

static bool try_own(struct attempt *a, const struct mapping *m)
{
	char path[MAPS_PATH_MAX];

	path_of(a->t, m, path);
	return try_fd(a, open_regular(path));
}

typedef bool (*other_fn)(struct attempt *a, const struct process *p, const struct mapping *m);

/* Other living processes that map the module. */
static bool try_others(struct attempt *a, const struct process * not, other_fn fn)
{
	unsigned tried = 0, seen = 0;

	map_foreach (slot, &a->t->by_pid) {
		const struct process *p = (const struct process *)(uintptr_t)slot->value;
		const struct mapping *m;

		if (a->hopeless || tried >= OTHERS_MAX || seen++ >= OTHERS_SEEN_MAX)
			return false;
		m = p == not ? NULL : mapping_of(p, a->mod->id);
		if (!m)
			continue;
		tried++;
		if (fn(a, p, m))
			return true;
	}
	return false;
}

static bool try_memory(struct attempt *a, const struct process *p, const struct mapping *m)
{
	uint8_t *image;
	size_t len;
	int r = process_image_read(a->t, p->pid, m->start, &image, &len);

	if (!r)
		r = module_open_image(a->t->modules, a->mod, image, len);
	if (!r) {
		a->t->stats.from_memory++;
		return true;
	}
	a->error = worse(a->error, r);
	return false;
}

static int open_vdso(struct process_table *t, const struct process *p, const struct mapping *m)
{
	struct module *mod = module_get(t->modules, t->vdso_module);
	size_t len = t->recorded ? t->vdso_len : m->end - m->start;
	uint8_t *image;
	int r;

	if (!mod || len == 0 || len > VDSO_BYTES_MAX)
		return -EINVAL;
	image = malloc(len);
	if (!image)
		return -ENOMEM;
	if (t->recorded)
		r = t->vdso ? (memcpy(image, t->vdso, len), 0) : -ENOENT;
	else
		r = p->exit_time ? -ESRCH : process_memory_read(p->pid, m->start, image, len);
	if (r) {
		free(image);
		return r;
	}
	return module_open_image(t->modules, mod, image, len);
}

static void remember_failure(struct process_table *t, struct module *mod, int error, bool final)
{
	if (final && !is_transient(error)) {
		module_mark_unreadable(mod, error);
		return;
	}
	if (map_set(&t->retry, mod->id, clock_mono_ns() + RETRY_NS) == -ENOSPC)
		map_clear(&t->retry);
}

static bool try_all(struct attempt *a, const struct process *p, const struct mapping *m)
{
	bool lives = !p->exit_time;

	if (lives && try_process(a, p, m))
		return true;
	if (!a->hopeless && try_others(a, p, try_process))
		return true;
	if (!a->hopeless && try_own(a, m))
		return true;
	if (a->hopeless || is_transient(a->error))
		return false;
	return (lives && try_memory(a, p, m)) || try_others(a, p, try_memory);
}

int process_open_module(struct process_table *t, struct process *p, const struct mapping *m)
{
	struct module *mod = module_get(t->modules, m->module);
	struct attempt a = {.t = t, .mod = mod};
	uint64_t *retry;

	if (m->kind == MAPPING_NOFILE)
		return -EMEDIUMTYPE;
	if (m->kind == MAPPING_ANON || !mod)
		return -ENOENT;
	if (mod->state == MODULE_OPEN)
		return 0;
	if (mod->state == MODULE_UNREADABLE)
		return mod->error ? mod->error : -ENOENT;
	retry = map_get(&t->retry, mod->id);
	if (retry && clock_mono_ns() < *retry)
		return -EAGAIN;
	if (m->kind == MAPPING_VDSO) {
		// Any other process has the same one.
		a.error = open_vdso(t, p, m);
		if (a.error)
			remember_failure(t, mod, a.error, false);
		return a.error;
	}
	if (try_all(&a, p, m))
		return 0;
	if (!a.error)
		a.error = -ENOENT;
	// A process that is gone proves nothing about the next one that maps the same file.
	remember_failure(t, mod, a.error, !p->exit_time || a.hopeless);
	return a.error;
}

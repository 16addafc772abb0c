/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/packages.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"

#define SITES_MAX 1024u // directories of packages on a machine
#define DISTS_MAX 4096u // packages of a directory
#define TOPS_MAX 65536u // their top-level names
#define FILES_MAX 65536u // files whose package is known
#define RECORD_MAX (8u << 20)
#define METADATA_MAX (256u << 10)
#define TEXTS_BYTES (4u << 20)
#define TOP_MAX 255u

/* An installed package of a directory. */
struct dist {
	uint32_t text; // in texts: "[name==version]"
	uint32_t record; // in texts: path of the record in the directory
	bool egg; // paths of the record are relative to the record's directory
};
VEC_DEFINE(dist_vec, struct dist)

/* A package owns files under a top-level name. */
struct top {
	uint64_t name; // hash
	uint32_t dist;
};
VEC_DEFINE(top_vec, struct top)

/* A site-packages or dist-packages directory, by identity: containers share them. */
struct site {
	uint64_t dev, ino;
	struct dist_vec dists;
	struct top_vec tops;
};
VEC_DEFINE(site_vec, struct site *)

struct py_packages {
	struct site_vec sites;
	struct map files; // hash of (site, path in it) -> id in texts, 0 none
	struct intern texts;
};

static void free_site(struct site *s)
{
	if (!s)
		return;
	dist_vec_deinit(&s->dists);
	top_vec_deinit(&s->tops);
	free(s);
}

void py_packages_free(struct py_packages *k)
{
	if (!k)
		return;
	vec_foreach (s, &k->sites)
		free_site(*s);
	site_vec_deinit(&k->sites);
	map_deinit(&k->files);
	intern_deinit(&k->texts);
	free(k);
}

static struct py_packages *new_packages(void)
{
	struct py_packages *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	site_vec_init(&k->sites, SITES_MAX);
	map_init(&k->files, FILES_MAX);
	intern_init(&k->texts, SITES_MAX * 64, TEXTS_BYTES);
	return k;
}

/* ---- files of the target ---- */

static int open_beneath(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* A directory as the process sees it; links stay inside its root. Linux 5.6. */
static int open_site(uint32_t pid, const char *path)
{
	_cleanup_close_ int root = -1;
	char name[64];

	snprintf(name, sizeof(name), "/proc/%u/root", pid);
	root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	return open_beneath(root, path, O_RDONLY | O_DIRECTORY | O_NONBLOCK,
		RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/* Reads a regular file under a directory. Nothing else is opened. */
static int read_under(int dir, const char *path, struct buf *ret)
{
	_cleanup_close_ int fd =
		open_beneath(dir, path, O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	char self[64];
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	buf_clear(ret);
	return fs_read_file(self, ret);
}

/* ---- what is installed ---- */

/* The value of a header line of METADATA. */
static bool header(const char *text, const char *name, char *ret, size_t size)
{
	size_t len = strlen(name);

	for (const char *line = text; *line && *line != '\n'; line++) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, name, len) == 0) {
			const char *v = line + len + strspn(line + len, " \t");
			size_t n = end > v ? (size_t)(end - v) : 0;

			while (n && (v[n - 1] == '\r' || v[n - 1] == ' '))
				n--;
			if (n == 0 || n >= size)
				return false;
			for (size_t i = 0; i < n; i++)
				ret[i] = (unsigned char)v[i] < 0x20 || v[i] == ';' ? '?' : v[i];
			ret[n] = 0;
			return true;
		}
		line = end;
		if (!*line)
			break;
	}
	return false;
}

/* Calls fn for each path of a record: the first column of RECORD (CSV), or a line of
 * installed-files.txt. Stops if fn returns true. */
static bool each_path(const struct dist *d, const struct buf *record,
	bool (*fn)(void *arg, const char *path, size_t len), void *arg)
{
	const char *p = buf_str(record);

	while (*p) {
		const char *end = strchrnul(p, '\n'), *stop;
		bool quoted = *p == '"';

		p += quoted;
		stop = quoted	? memchr(p, '"', (size_t)(end - p))
		       : d->egg ? NULL
				: memchr(p, ',', (size_t)(end - p));
		if (d->egg && strncmp(p, "../", 3) == 0)
			p += 3;
		if (!stop)
			stop = end > p && end[-1] == '\r' ? end - 1 : end;
		if (stop > p && fn(arg, p, (size_t)(stop - p)))
			return true;
		p = *end ? end + 1 : end;
	}
	return false;
}

struct add_top {
	struct site *site;
	uint32_t dist;
	uint64_t last;
};

static uint64_t top_of(const char *path, size_t len)
{
	const char *slash = memchr(path, '/', MIN(len, (size_t)TOP_MAX));

	return hash_bytes(path, slash ? (size_t)(slash - path) : len);
}

static bool add_top(void *arg, const char *path, size_t len)
{
	struct add_top *a = arg;
	uint64_t name = top_of(path, len);

	if (name == a->last || (len > 3 && strncmp(path, "../", 3) == 0))
		return false;
	a->last = name;
	for (size_t i = a->site->tops.len; i && a->site->tops.data[i - 1].dist == a->dist; i--)
		if (a->site->tops.data[i - 1].name == name)
			return false;
	return top_vec_push(&a->site->tops, (struct top){name, a->dist}) != 0;
}

static int add_dist(struct py_packages *k, struct site *s, int dir, const char *name)
{
	_cleanup_buf_ struct buf text = BUF_INIT(METADATA_MAX), record = BUF_INIT(RECORD_MAX);
	_cleanup_buf_ struct buf label = BUF_INIT(1024);
	size_t len = strlen(name);
	struct dist d = {.egg = len > 9 && strcmp(name + len - 9, ".egg-info") == 0};
	char path[NAME_MAX + 32], package[256], version[128];
	struct add_top a = {.site = s, .dist = (uint32_t)s->dists.len};
	int r;

	if (!d.egg && (len <= 10 || strcmp(name + len - 10, ".dist-info") != 0))
		return 0;
	snprintf(path, sizeof(path), "%s/%s", name, d.egg ? "PKG-INFO" : "METADATA");
	r = read_under(dir, path, &text);
	if (r && r != -ENOSPC)
		return r == -ENOMEM ? r : 0;
	if (!header(buf_str(&text), "Name:", package, sizeof(package)) ||
		!header(buf_str(&text), "Version:", version, sizeof(version)))
		return 0;
	snprintf(path, sizeof(path), "%s/%s", name, d.egg ? "installed-files.txt" : "RECORD");
	r = read_under(dir, path, &record);
	if (r && r != -ENOSPC)
		return r == -ENOMEM ? r : 0;
	r = buf_printf(&label, "[%s==%s]", package, version);
	if (!r)
		r = intern_add(&k->texts, buf_str(&label), label.len, &d.text);
	if (!r)
		r = intern_add(&k->texts, path, strlen(path), &d.record);
	if (!r)
		r = dist_vec_push(&s->dists, d);
	if (!r)
		each_path(&d, &record, add_top, &a);
	return r == -ENOMEM ? r : 0;
}

static int read_site(struct py_packages *k, int dir, struct site *s)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *list = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	int r = 0;

	if (!list && copy >= 0)
		close(copy);
	while (!r && list && (e = readdir(list)))
		r = add_dist(k, s, dir, e->d_name);
	return r;
}

/* The site behind an open directory, read if it is new. Return 0, -ENOMEM, -ENOSPC. */
static int find_site(struct py_packages *k, int dir, const struct site **ret)
{
	struct site *s;
	struct stat st;
	int r;

	if (fstat(dir, &st) < 0)
		return -errno;
	vec_foreach (i, &k->sites) {
		if ((*i)->dev == st.st_dev && (*i)->ino == st.st_ino) {
			*ret = *i;
			return 0;
		}
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	dist_vec_init(&s->dists, DISTS_MAX);
	top_vec_init(&s->tops, TOPS_MAX);
	r = read_site(k, dir, s);
	if (!r)
		r = site_vec_push(&k->sites, s);
	if (r) {
		free_site(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct same_path {
	const char *path;
	size_t len;
};

static bool is_path(void *arg, const char *path, size_t len)
{
	const struct same_path *s = arg;

	return len == s->len && memcmp(path, s->path, len) == 0;
}

/* Id in texts of the package that owns a path in a site, 0 none. */
static int find_owner(
	struct py_packages *k, const struct site *s, int dir, const char *path, uint32_t *ret)
{
	_cleanup_buf_ struct buf record = BUF_INIT(RECORD_MAX);
	struct same_path same = {path, strlen(path)};
	uint64_t name = top_of(path, same.len);

	*ret = 0;
	vec_foreach (t, &s->tops) {
		const struct dist *d = &s->dists.data[t->dist];
		int r;

		if (t->name != name)
			continue;
		r = read_under(dir, intern_str(&k->texts, d->record), &record);
		if (r == -ENOMEM)
			return r;
		if ((!r || r == -ENOSPC) && each_path(d, &record, is_path, &same)) {
			*ret = d->text;
			return 0;
		}
	}
	return 0;
}

/* ---- the question ---- */

/* Length of the path of the directory of packages that a file is in, 0 none. */
static size_t site_len(const char *file)
{
	static const char *const names[] = {"/site-packages/", "/dist-packages/"};
	size_t len = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		for (const char *p = strstr(file, names[i]); p; p = strstr(p + 1, names[i]))
			len = MAX(len, (size_t)(p - file) + strlen(names[i]) - 1);
	return len;
}

/* In 2.7 and in caches co_filename may end in .pyc. */
static bool is_source(const char *file)
{
	size_t len = strlen(file);

	return file[0] == '/' && len > 3 && strcmp(file + len - 3, ".py") == 0;
}

static int standard_library(
	struct py_runtime *rt, const struct py_proc *proc, const char *file, uint32_t *ret)
{
	uint32_t hex = py_proc_module(rt, proc)->hex;
	char text[64];
	int n;

	snprintf(text, sizeof(text), "/python%u.%u/", hex >> 24, hex >> 16 & 0xff);
	if (!strstr(file, text) || PY_HEX_MICRO(hex) == PY_MICRO_UNKNOWN)
		return 0;
	n = snprintf(text, sizeof(text), "[standard-library==%u.%u.%u]", hex >> 24,
		hex >> 16 & 0xff, hex >> 8 & 0xff);
	n = intern_add(rt->strings, text, (size_t)n, ret);
	return n == -ENOMEM ? n : 0;
}

static int package_in(struct py_runtime *rt, int dir, const char *path, uint32_t *ret)
{
	struct py_packages *k = rt->packages;
	const struct site *site = NULL;
	const uint64_t *known;
	uint32_t text;
	uint64_t key;
	int r = find_site(k, dir, &site);

	if (r)
		return r;
	key = hash_bytes(path, strlen(path)) ^ hash_u64(site->ino ^ hash_u64(site->dev));
	known = map_get(&k->files, key);
	if (known) {
		text = (uint32_t)*known;
	} else {
		r = find_owner(k, site, dir, path, &text);
		if (r)
			return r;
		map_set(&k->files, key, text);
	}
	if (text)
		r = intern_add(rt->strings, intern_str(&k->texts, text),
			strlen(intern_str(&k->texts, text)), ret);
	return r;
}

int py_package_of(struct py_runtime *rt, struct process *p, const struct py_proc *proc,
	const char *file, uint32_t *ret)
{
	char path[PATH_MAX];
	_cleanup_close_ int dir = -1;
	size_t len;
	int r;

	*ret = 0;
	if (!is_source(file))
		return 0;
	len = site_len(file);
	if (!len)
		return standard_library(rt, proc, file, ret);
	if (len >= sizeof(path))
		return 0;
	if (!rt->packages)
		rt->packages = new_packages();
	if (!rt->packages)
		return -ENOMEM;
	memcpy(path, file, len);
	path[len] = 0;
	dir = open_site(p->pid, path);
	if (dir < 0)
		return 0;
	r = package_in(rt, dir, file + len + 1, ret);
	return r == -ENOMEM ? r : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroups.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "base/clock.h"
#include "base/fs.h"

#define FILE_MAX (4u << 20)
#define PATHS_BYTES_MAX (8u << 20)
#define FIRST_GAP_NS (200 * NSEC_PER_MSEC)
#define CPU_WEIGHT 10.0 // against memory, as the reference weighs them (gprofiler-agent.md 2.10)

static const char *const cpu_files[] = {"cpuacct.usage"};

/* The next word of a line, NUL-terminated in place; NULL at its end. */
static char *word(char **at)
{
	char *start = *at + strspn(*at, " ");

	if (!*start)
		return NULL;
	*at = start + strcspn(start, " ");
	if (**at)
		*(*at)++ = 0;
	return start;
}

static bool listed(const char *options, const char *name)
{
	size_t n = strlen(name);

	for (const char *o = options; o; o = strchr(o, ',')) {
		o += *o == ',';
		if (!strncmp(o, name, n) && (!o[n] || o[n] == ','))
			return true;
	}
	return false;
}

static int keep_mount(struct cgroups *c, enum cgroups_where where, const char *point)
{
	char **slot = &c->mounts[__builtin_ctz(where)];

	if (*slot)
		return 0;
	*slot = strdup(point);
	return *slot ? 0 : -ENOMEM;
}

/* "36 35 98:0 /root /point options optional... - type source super-options", proc_pid_mountinfo(5).
 * Blanks in mount points are escaped, and no cgroup is mounted below such a one. */
static int take_mount(struct cgroups *c, char *line)
{
	char *dash = strstr(line, " - "), *fields, *type, *super = NULL, *point = NULL;
	int r = 0;

	if (!dash)
		return 0;
	*dash = 0;
	fields = dash + 3;
	for (unsigned i = 0; i < 5; i++)
		point = word(&line);
	type = word(&fields);
	for (unsigned i = 0; i < 2; i++)
		super = word(&fields);
	if (!point || !type)
		return 0;
	if (!strcmp(type, "cgroup2"))
		return keep_mount(c, CGROUPS_V2, point);
	if (strcmp(type, "cgroup") != 0 || !super)
		return 0;
	if (listed(super, "cpuacct"))
		r = keep_mount(c, CGROUPS_CPU, point);
	if (!r && listed(super, "memory"))
		r = keep_mount(c, CGROUPS_MEMORY, point);
	return r;
}

int cgroups_init(struct cgroups *c, const char *mountinfo)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	int r = fs_read_file(mountinfo, &text);

	*c = (struct cgroups){0};
	intern_init(&c->paths, CGROUPS_MAX, PATHS_BYTES_MAX);
	intern_init(&c->last_paths, CGROUPS_MAX, PATHS_BYTES_MAX);
	cgroups_vec_init(&c->groups, CGROUPS_MAX);
	map_init(&c->ids, CGROUPS_MAX);
	map_init(&c->pids, CGROUPS_PIDS_MAX);
	for (char *line = text.data, *end; !r && line && *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = 0;
		r = take_mount(c, line);
	}
	if (!r && !c->mounts[0] && !c->mounts[1] && !c->mounts[2])
		r = -ENOENT;
	if (r)
		cgroups_deinit(c);
	return r;
}

void cgroups_deinit(struct cgroups *c)
{
	for (unsigned i = 0; i < CGROUPS_WHERES; i++)
		free(c->mounts[i]);
	intern_deinit(&c->paths);
	intern_deinit(&c->last_paths);
	cgroups_vec_deinit(&c->groups);
	free(c->last_usage);
	map_deinit(&c->ids);
	map_deinit(&c->pids);
	*c = (struct cgroups){0};
}

static size_t hex_run(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]) || (s[n] >= 'a' && s[n] <= 'f'))
		n++;
	return n;
}

/* Docker and containerd by hand: ID; systemd: docker-ID.scope, cri-containerd-ID.scope, crio-ID.scope,
 * libpod-ID.scope. The monitors of CRI-O and Podman carry the id too, and are no containers. */
static bool is_container(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t n = hex_run(name + i);

		if (n == CGROUPS_CONTAINER_ID && !memmem(name, i, "conmon", 6))
			return true;
		i += n;
	}
	return false;
}

size_t cgroups_container(const char *path)
{
	for (const char *at = path; *at;) {
		const char *name = at + (*at == '/');
		size_t len = strcspn(name, "/");

		if (is_container(name, len))
			return (size_t)(name + len - path);
		at = name + len;
	}
	return 0;
}

static const char *path_of(const struct cgroups *c, const struct cgroups_group *g)
{
	return intern_str(&c->paths, g->path);
}

static int read_group_file(const struct cgroups *c, enum cgroups_where where, const char *group,
	const char *name, struct buf *text)
{
	char path[PATH_MAX];

	buf_clear(text);
	if ((size_t)snprintf(path, sizeof(path), "%s%s/%s", c->mounts[__builtin_ctz(where)], group,
		    name) >= sizeof(path))
		return -ENAMETOOLONG;
	return fs_read_file(path, text);
}

static uint64_t read_number(const struct cgroups *c, enum cgroups_where where, const char *group,
	const char *name, const char *key)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	const char *at;

	if (read_group_file(c, where, group, name, &text))
		return 0;
	at = key ? strstr(buf_str(&text), key) : buf_str(&text);
	return at ? strtoull(at + (key ? strlen(key) : 0), NULL, 10) : 0;
}

static bool has_processes(const struct cgroups *c, enum cgroups_where where, const char *group)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);

	return !read_group_file(c, where, group, "cgroup.procs", &text) && text.len;
}

/* A group as one hierarchy shows it. */
static void read_group(struct cgroups *c, struct cgroups_group *g, enum cgroups_where where)
{
	const char *path = path_of(c, g);

	g->where |= where;
	g->populated |= has_processes(c, where, path);
	switch (where) {
	case CGROUPS_V2:
		g->usage_ns = read_number(c, where, path, "cpu.stat", "usage_usec ") * 1000;
		g->memory = read_number(c, where, path, "memory.current", NULL);
		break;
	case CGROUPS_CPU:
		g->usage_ns = read_number(c, where, path, cpu_files[0], NULL);
		break;
	default:
		g->memory = read_number(c, where, path, "memory.usage_in_bytes", NULL);
		break;
	}
}

static struct cgroups_group *find_group(const struct cgroups *c, const char *path, size_t len)
{
	uint32_t id = intern_find(&c->paths, path, len);

	return id ? &c->groups.data[id - 1] : NULL;
}

/* Index + 1 of the nearest group above, in whatever hierarchy. */
static uint32_t find_parent(const struct cgroups *c, const char *path)
{
	for (size_t len = strlen(path); len > 0; len--) {
		const struct cgroups_group *g = path[len] == '/' ? find_group(c, path, len) : NULL;

		if (g)
			return (uint32_t)(g - c->groups.data) + 1;
	}
	return 0;
}

static int add_group(struct cgroups *c, const char *path, enum cgroups_where where)
{
	struct cgroups_group g = {0};
	size_t container = cgroups_container(path);
	int r = 0;

	if (!find_group(c, path, strlen(path))) {
		g.container = container && !path[container];
		g.inside = container && path[container];
		g.parent = find_parent(c, path);
		r = intern_add(&c->paths, path, strlen(path), &g.path);
		if (!r)
			r = cgroups_vec_push(&c->groups, g);
	}
	if (!r)
		read_group(c, find_group(c, path, strlen(path)), where);
	return r;
}

typedef int (*visit_fn)(struct cgroups *c, const char *path, enum cgroups_where where);

/* Visits every group below `path`, parents before children. Groups that go meanwhile are no error. */
static int visit_below(
	struct cgroups *c, enum cgroups_where where, const char *path, unsigned depth, visit_fn fn)
{
	char full[PATH_MAX], below[PATH_MAX];
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int r = 0;

	if (depth == CGROUPS_DEPTH_MAX ||
		(size_t)snprintf(full, sizeof(full), "%s%s", c->mounts[__builtin_ctz(where)],
			path) >= sizeof(full))
		return 0;
	dir = opendir(full);
	while (!r && dir && (d = readdir(dir))) {
		if (d->d_type != DT_DIR || d->d_name[0] == '.' ||
			(size_t)snprintf(below, sizeof(below), "%s/%s", path, d->d_name) >=
				sizeof(below))
			continue;
		r = fn(c, below, where);
		if (!r)
			r = visit_below(c, where, below, depth + 1, fn);
	}
	return r;
}

static int read_all(struct cgroups *c)
{
	intern_clear(&c->paths);
	cgroups_vec_clear(&c->groups);
	for (unsigned i = 0; i < CGROUPS_WHERES; i++) {
		int r = c->mounts[i] ? visit_below(c, 1u << i, "", 0, add_group) : 0;

		if (r && r != -ENOSPC)
			return r;
	}
	return 0;
}

/* What is read now is what the next reading is compared with. */
static int remember(struct cgroups *c, uint64_t now)
{
	uint64_t *usage = realloc(c->last_usage, (c->groups.len + 1) * sizeof(*usage));

	if (!usage)
		return -ENOMEM;
	c->last_usage = usage;
	c->read_ns = now;
	intern_clear(&c->last_paths);
	vec_foreach (g, &c->groups) {
		const char *path = path_of(c, g);
		uint32_t id;
		int r = intern_add(&c->last_paths, path, strlen(path), &id);

		if (r)
			return r;
		usage[id - 1] = g->usage_ns;
	}
	return 0;
}

static void rate(struct cgroups *c, uint64_t now)
{
	double gap = (double)MAX(now - c->read_ns, 1u);
	struct sysinfo si;
	double memory;

	sysinfo(&si);
	memory = (double)MAX(si.totalram, 1u) * si.mem_unit;
	vec_foreach (g, &c->groups) {
		const char *path = path_of(c, g);
		uint32_t id = intern_find(&c->last_paths, path, strlen(path));
		uint64_t before = id ? c->last_usage[id - 1] : 0;

		g->rate = g->usage_ns > before ? 100.0 * (double)(g->usage_ns - before) / gap : 0;
		g->memory_share = 100.0 * (double)g->memory / memory;
	}
}

/* Children come after their parents, so from the end each group's sum is still whole when it is taken
 * off its parent's. A container keeps what is below it. */
static void score(struct cgroups *c)
{
	for (size_t i = c->groups.len; i > 0; i--) {
		struct cgroups_group *g = &c->groups.data[i - 1];
		struct cgroups_group *up = g->parent ? &c->groups.data[g->parent - 1] : NULL;

		g->score = CPU_WEIGHT * g->rate + g->memory_share;
		if (!up || g->inside)
			continue;
		up->rate = up->rate > g->rate ? up->rate - g->rate : 0;
		up->memory_share =
			up->memory_share > g->memory_share ? up->memory_share - g->memory_share : 0;
	}
}

static bool below(
	const struct cgroups *c, const struct cgroups_group *g, const struct cgroups_group *above)
{
	while (g->parent) {
		g = &c->groups.data[g->parent - 1];
		if (g == above)
			return true;
	}
	return false;
}

static bool related_to_chosen(const struct cgroups *c, const struct cgroups_group *g)
{
	vec_foreach (other, &c->groups)
		if (other->chosen && (below(c, g, other) || below(c, other, g)))
			return true;
	return false;
}

/* The best that may be chosen, or NULL. */
static struct cgroups_group *best(struct cgroups *c, bool containers, bool others)
{
	struct cgroups_group *top = NULL;

	vec_foreach (g, &c->groups) {
		bool fit = g->container ? containers : others && g->populated && !g->inside;

		if (fit && !g->chosen && (!top || g->score > top->score) &&
			!related_to_chosen(c, g))
			top = g;
	}
	return top;
}

static void choose(struct cgroups *c, const struct cgroups_limits *limits)
{
	struct cgroups_group *g;

	c->chosen = c->containers = 0;
	while (c->containers < limits->containers && (g = best(c, true, false))) {
		g->chosen = true;
		c->containers++;
		c->chosen++;
	}
	while (c->chosen < limits->total && (g = best(c, !limits->containers, true))) {
		g->chosen = true;
		c->containers += g->container;
		c->chosen++;
	}
}

static int take_id(struct cgroups *c, const char *path, enum cgroups_where where)
{
	char full[PATH_MAX];
	struct stat st;
	int r;

	if ((size_t)snprintf(full, sizeof(full), "%s%s", c->mounts[__builtin_ctz(where)], path) >=
			sizeof(full) ||
		stat(full, &st) < 0)
		return 0;
	// kernfs: on 64-bit kernels the inode number is the cgroup's id (fs/kernfs, kernfs_ino()).
	r = map_set(&c->ids, st.st_ino, 1);
	return r == -ENOSPC ? 0 : r;
}

static int take_pids(struct cgroups *c, const char *path, enum cgroups_where where)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	int r = 0;

	if (read_group_file(c, where, path, "cgroup.procs", &text))
		return 0;
	for (char *at = text.data, *end; at && *at && !r; at = end + (*end == '\n')) {
		unsigned long pid = strtoul(at, &end, 10);

		if (end == at)
			break;
		r = map_set(&c->pids, pid, 1);
	}
	return r == -ENOSPC ? 0 : r;
}

static int take_members(struct cgroups *c, const struct cgroups_group *g)
{
	enum cgroups_where where = g->where & CGROUPS_V2    ? CGROUPS_V2
				   : g->where & CGROUPS_CPU ? CGROUPS_CPU
							    : CGROUPS_MEMORY;
	visit_fn fn = where == CGROUPS_V2 ? take_id : take_pids;
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s", path_of(c, g));
	r = fn(c, path, where);
	return r ? r : visit_below(c, where, path, 0, fn);
}

/* A group of the same name in v2 that holds nobody (the other controllers are v1's) says nothing. */
static void prefer_members(struct cgroups *c, struct cgroups_group *g)
{
	if (g->where & CGROUPS_V2 && g->where != CGROUPS_V2 && !g->container &&
		!has_processes(c, CGROUPS_V2, path_of(c, g)))
		g->where &= (uint8_t)~CGROUPS_V2;
}

int cgroups_refresh(struct cgroups *c)
{
	int r = 0;

	map_clear(&c->pids);
	vec_foreach (g, &c->groups)
		if (g->chosen && !(g->where & CGROUPS_V2) && !r)
			r = take_members(c, g);
	return r;
}

int cgroups_choose(struct cgroups *c, const struct cgroups_limits *limits)
{
	uint64_t now = clock_mono_ns();
	int r = 0;

	if (!c->read_ns) {
		r = read_all(c);
		if (!r)
			r = remember(c, now);
		clock_sleep_ns(FIRST_GAP_NS);
		now = clock_mono_ns();
	}
	if (!r)
		r = read_all(c);
	if (r)
		return r;
	rate(c, now);
	r = remember(c, now);
	score(c);
	choose(c, limits);
	map_clear(&c->ids);
	map_clear(&c->pids);
	vec_foreach (g, &c->groups) {
		if (!g->chosen || r)
			continue;
		prefer_members(c, g);
		r = take_members(c, g);
	}
	return r;
}

bool cgroups_has(const struct cgroups *c, uint64_t id, uint32_t pid)
{
	return map_get(&c->ids, id) || map_get(&c->pids, pid);
}

bool cgroups_forked(struct cgroups *c, uint32_t parent, uint32_t child)
{
	return map_get(&c->pids, parent) && !map_set(&c->pids, child, 1);
}

bool cgroups_made(struct cgroups *c, const char *path, uint64_t id)
{
	for (size_t len = strlen(path); len > 0; len--) {
		const struct cgroups_group *g =
			path[len] == '/' || !path[len] ? find_group(c, path, len) : NULL;

		if (g && g->chosen && g->where & CGROUPS_V2)
			return !map_set(&c->ids, id, 1);
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "elf/debug_find.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "elf/headers.h"
#include "elf/section_data.h"
#include "elf/symtab.h"

#define PATH_CAP 4096u
#define DEBUGLINK_MAX 512u

/* CRC-32 of ISO 3309, reflected, a nibble at a time: what gdb's manual gives for .gnu_debuglink. */
static uint32_t crc32_update(uint32_t crc, const uint8_t *p, size_t len)
{
	static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8,
		0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

	crc = ~crc;
	for (; len; len--, p++) {
		crc = table[(crc ^ *p) & 15] ^ (crc >> 4);
		crc = table[(crc ^ (*p >> 4)) & 15] ^ (crc >> 4);
	}
	return ~crc;
}

int module_debuglink(const struct module *m, char ret_name[static 256], uint32_t *ret_crc)
{
	struct module_section s;
	uint8_t raw[DEBUGLINK_MAX];
	struct cursor c;
	const char *name;
	ssize_t n;
	int r = module_section(m, ".gnu_debuglink", &s);

	if (r)
		return r;
	if (s.type == SHT_NOBITS)
		return -ENOENT;
	n = module_read(m, s.offset, raw, (size_t)MIN(s.size, sizeof(raw)));
	if (n < 0)
		return (int)n;
	c = cursor_make(raw, (size_t)n);
	name = cursor_cstr(&c);
	if (!name || !*name || strlen(name) > 255 || strchr(name, '/') || strcmp(name, "..") == 0)
		return -EINVAL;
	cursor_skip(&c, -cursor_offset(&c) & 3u);
	*ret_crc = cursor_u32(&c);
	if (c.bad)
		return -EINVAL;
	memcpy(ret_name, name, strlen(name) + 1);
	return 0;
}

/* Opens path below root; absolute links in it lead back into root. The file is looked at before it
 * is opened, since opening a device or a FIFO has effects. */
static int open_regular(const char *root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	_cleanup_close_ int dir = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = -1;
	char self[64];
	struct stat st;
	int file;

	if (dir < 0)
		return -errno;
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS) { // before Linux 5.6
		while (*path == '/')
			path++;
		fd = openat(dir, path, O_PATH | O_CLOEXEC);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	file = open(self, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return file < 0 ? -errno : file;
}

static int crc_matches(const struct module *m, uint32_t want)
{
	size_t size = 64u << 10;
	_cleanup_free_ uint8_t *chunk = malloc(size);
	uint32_t crc = 0;
	ssize_t n;

	if (!chunk)
		return -ENOMEM;
	for (uint64_t off = 0; (n = module_read(m, off, chunk, size)) > 0; off += (uint64_t)n)
		crc = crc32_update(crc, chunk, (size_t)n);
	return n == 0 && crc == want;
}

struct candidate {
	const struct module *m; // whose debug file is looked for
	const char *root;
	const uint32_t *crc; // of the link, NULL when the path is a build id's
	bool alt; // DWARF alone: it has no symbols
};

/* Takes the file if it is the right one. Return 0, -ENOENT, -ENOMEM, -EMFILE, -ENFILE. */
static int try_path(const struct candidate *c, const char *path, struct module **ret)
{
	_cleanup_(module_standalone_cleanup) struct module *d = NULL;
	uint8_t id[MODULE_BUILD_ID_MAX], len = 0;
	struct module_symtab symtab;
	int r, fd = open_regular(c->root, path);

	if (fd < 0) // out of descriptors is no answer
		return fd == -EMFILE || fd == -ENFILE ? fd : -ENOENT;
	r = module_standalone_fd(fd, &d);
	if (r)
		return r == -ENOMEM ? r : -ENOENT;
	if (module_read_build_id(d, id, &len))
		len = 0;
	if (len && c->m->key.build_id_len) {
		if (len != c->m->key.build_id_len || memcmp(id, c->m->key.build_id, len) != 0)
			return -ENOENT;
	} else if (!c->crc || crc_matches(d, *c->crc) != 1) {
		return -ENOENT;
	}
	if (!c->alt && module_symtab_open(d, SHT_SYMTAB, &symtab))
		return -ENOENT;
	*ret = steal_ptr(d);
	return 0;
}

static int try_build_id(
	const struct candidate *c, const char *dir, size_t dir_len, struct module **ret)
{
	const struct module_key *key = &c->m->key;
	char hex[2 * MODULE_BUILD_ID_MAX + 1];
	_cleanup_buf_ struct buf path = BUF_INIT(PATH_CAP);

	if (key->build_id_len < 2)
		return -ENOENT;
	for (unsigned i = 0; i < key->build_id_len; i++)
		snprintf(hex + (size_t)i * 2, 3, "%02x", key->build_id[i]);
	if (buf_printf(&path, "%.*s/.build-id/%.2s/%s.debug", (int)dir_len, dir, hex, hex + 2))
		return -ENOENT;
	return try_path(c, path.data, ret);
}

/* prefix + directory of the module + sub + name */
static int try_link(const struct candidate *c, const char *prefix, size_t prefix_len,
	const char *dir_and_name, struct module **ret)
{
	_cleanup_buf_ struct buf path = BUF_INIT(PATH_CAP);

	if (buf_printf(&path, "%.*s%s", (int)prefix_len, prefix, dir_and_name))
		return -ENOENT;
	return try_path(c, path.data, ret);
}

/* Calls the search for each directory of a colon list until one gives something. */
static int in_dirs(
	const struct candidate *c, const char *dirs, const char *link_path, struct module **ret)
{
	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");
		int r = -ENOENT;

		if (len && link_path)
			r = try_link(c, dirs, len, link_path, ret);
		else if (len)
			r = try_build_id(c, dirs, len, ret);
		if (r != -ENOENT)
			return r;
		dirs += len + (dirs[len] == ':');
	}
	return -ENOENT;
}

static int by_link(struct candidate *c, const struct module_debug_search *s, const char *name,
	struct module **ret)
{
	_cleanup_buf_ struct buf beside = BUF_INIT(PATH_CAP), sub = BUF_INIT(PATH_CAP);
	const char *slash = s->path ? strrchr(s->path, '/') : NULL;
	int dir_len, r;

	if (!slash || s->path[0] != '/')
		return -ENOENT;
	dir_len = (int)(slash - s->path);
	if (buf_printf(&beside, "%.*s/%s", dir_len, s->path, name) ||
		buf_printf(&sub, "%.*s/.debug/%s", dir_len, s->path, name))
		return -ENOENT;
	r = try_path(c, beside.data, ret);
	if (r == -ENOENT)
		r = try_path(c, sub.data, ret);
	return r == -ENOENT ? in_dirs(c, s->dirs, beside.data, ret) : r;
}

int module_debug_find(
	const struct module *m, const struct module_debug_search *search, struct module **ret)
{
	char name[256];
	uint32_t crc;
	bool link = module_debuglink(m, name, &crc) == 0;

	for (unsigned i = 0; i < MODULE_DEBUG_ROOTS_MAX && search->roots[i]; i++) {
		struct candidate c = {.m = m, .root = search->roots[i]};
		int r = in_dirs(&c, search->dirs, NULL, ret);

		if (r == -ENOENT && link) {
			c.crc = &crc;
			r = by_link(&c, search, name, ret);
		}
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

/* Where the link leads, and the build id of what is there. Return 0, -ENODATA none, -ENOENT malformed. */
static int read_altlink(
	const struct module *m, char ret_path[static PATH_CAP], struct module *ret_wanted)
{
	char data[PATH_CAP + MODULE_BUILD_ID_MAX];
	struct module_section s;
	size_t path_len, id_len;

	if (module_section(m, ".gnu_debugaltlink", &s))
		return -ENODATA;
	if (s.size > sizeof(data) || module_read(m, s.offset, data, s.size) != (ssize_t)s.size)
		return -ENOENT;
	path_len = strnlen(data, s.size);
	if (path_len >= MIN((size_t)PATH_CAP, (size_t)s.size))
		return -ENOENT;
	id_len = s.size - path_len - 1;
	if (id_len < 2 || id_len > MODULE_BUILD_ID_MAX)
		return -ENOENT;
	memcpy(ret_path, data, path_len + 1);
	memcpy(ret_wanted->key.build_id, data + path_len + 1, id_len);
	ret_wanted->key.build_id_len = (uint8_t)id_len;
	return 0;
}

int module_debug_alt(
	const struct module *m, const struct module_debug_search *search, struct module **ret)
{
	struct module wanted = {0};
	char path[PATH_CAP];
	int r = read_altlink(m, path, &wanted);

	if (r)
		return r;
	for (unsigned i = 0; i < MODULE_DEBUG_ROOTS_MAX && search->roots[i]; i++) {
		const struct candidate c = {.m = &wanted, .root = search->roots[i], .alt = true};

		r = path[0] == '/' ? try_path(&c, path, ret) : -ENOENT;
		if (r == -ENOENT)
			r = in_dirs(&c, search->dirs, NULL, ret);
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

int module_minidebug_open(const struct module *m, struct module **ret)
{
	_cleanup_buf_ struct buf data = BUF_INIT(MODULE_MINIDEBUG_MAX);
	struct module_section s;
	size_t len;
	int r = module_section(m, ".gnu_debugdata", &s);

	if (r)
		return r;
	r = module_section_read_xz(m, &s, &data);
	if (r)
		return r;
	len = data.len;
	return module_standalone_image((uint8_t *)buf_steal(&data), len, ret);
}

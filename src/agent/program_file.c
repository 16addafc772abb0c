/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/program_file.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cursor.h"
#include "base/sha1.h"
#include "elf/headers.h"
#include "elf/symtab.h"
#include "runtime/python/locate.h"

#define FILES_MAX 1024
#define SHA1_MAX ((uint64_t)128 << 20) // bytes; larger files have no id
#define SCAN_MAX ((uint64_t)256 << 20)
#define CHUNK 65536u
#define OVERLAP 32u
#define NODE_MARK "node.js/v"
#define GO_MAGIC "\xff Go buildinf:"
#define GO_INLINE 2 // flags: the texts follow

struct file_key {
	uint64_t dev, ino, size, sec, nsec;
};

static struct file_key key_of(const struct stat *st)
{
	return (struct file_key){st->st_dev, st->st_ino, (uint64_t)st->st_size,
		(uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec};
}

void program_files_init(struct program_files *p)
{
	intern_init(&p->keys, FILES_MAX, FILES_MAX * sizeof(struct file_key));
	program_file_vec_init(&p->files, FILES_MAX);
}

void program_files_deinit(struct program_files *p)
{
	intern_deinit(&p->keys);
	program_file_vec_deinit(&p->files);
}

static void hex_text(const char *name, const uint8_t *id, size_t len, char ret[64])
{
	size_t n = (size_t)snprintf(ret, 64, "%s:", name);

	for (size_t i = 0; i < len && n + 3 <= 64; i++)
		n += (size_t)snprintf(ret + n, 64 - n, "%02x", id[i]);
}

static void look_elf_id(const struct module *m, struct program_file *f)
{
	uint8_t id[MODULE_BUILD_ID_MAX], digest[SHA1_LEN], bytes[4096];
	struct sha1 sha;
	ssize_t n = 1;

	uint8_t len = 0;

	if (module_read_build_id(m, id, &len) == 0 && len) {
		hex_text("buildid", id, len, f->elf_id);
		return;
	}
	if (m->size > SHA1_MAX)
		return;
	sha1_init(&sha);
	for (uint64_t at = 0; at < m->size && n > 0; at += (uint64_t)n) {
		n = module_read(m, at, bytes, sizeof(bytes));
		if (n > 0)
			sha1_update(&sha, bytes, (size_t)n);
	}
	if (n <= 0)
		return;
	sha1_final(&sha, digest);
	hex_text("sha1", digest, sizeof(digest), f->elf_id);
}

static void look_headers(const struct module *m, struct program_file *f)
{
	struct module_section section;
	struct module_segment segment;

	f->machine = m->machine;
	f->dynamic = module_phdr(m, PT_DYNAMIC, 0, &segment) == 0;
	f->stripped = module_section_by_type(m, SHT_SYMTAB, &section) != 0;
}

static void look_python(const struct module *m, const char *path, struct program_file *f)
{
	struct module_symtab t;
	struct module_symbol symbol;
	struct py_module py = {0};

	if (py_locate(m, path, &py) || !py.hex)
		return;
	f->python = py.hex;
	if (py.hex >> 24 == 2 && module_symtab_open(m, SHT_DYNSYM, &t) == 0)
		f->ucs4 = module_symtab_find(&t, "PyUnicodeUCS4_FromUnicode", &symbol) == 0;
}

int program_go_inline(const void *data, size_t len, char ret[PROGRAM_TEXT_MAX])
{
	struct cursor c = cursor_make(data, len);
	const uint8_t *magic = cursor_bytes(&c, 14);
	const char *text;
	uint64_t n;

	if (!magic || memcmp(magic, GO_MAGIC, 14) != 0)
		return -ENOENT;
	cursor_skip(&c, 1); // size of a pointer
	if (!(cursor_u8(&c) & GO_INLINE) || !cursor_seek(&c, 32))
		return -ENOENT;
	n = cursor_uleb(&c); // a varint of Go is one of DWARF
	text = n && n < PROGRAM_TEXT_MAX ? cursor_bytes(&c, (size_t)n) : NULL;
	if (!text)
		return -ENOENT;
	memcpy(ret, text, (size_t)n);
	ret[n] = 0;
	return 0;
}

/* Before Go 1.18: a pointer to the header of a string. */
static void go_by_pointer(const struct module *m, const uint8_t *info, char *ret)
{
	struct cursor c = cursor_make(info, 32);
	uint8_t header[16];
	uint64_t addr, off, len;

	cursor_seek(&c, 14);
	if (cursor_u8(&c) != 8 || cursor_u8(&c) != 0)
		return;
	addr = cursor_u64(&c);
	if (!module_vaddr_to_offset(m, addr, &off) ||
		module_read(m, off, header, sizeof(header)) != sizeof(header))
		return;
	c = cursor_make(header, sizeof(header));
	addr = cursor_u64(&c);
	len = cursor_u64(&c);
	if (len >= PROGRAM_TEXT_MAX || !module_vaddr_to_offset(m, addr, &off) ||
		module_read(m, off, ret, (size_t)len) != (ssize_t)len)
		len = 0;
	ret[len] = 0;
}

static void look_go(const struct module *m, struct program_file *f)
{
	uint8_t info[512] = {0};
	struct module_section section;
	ssize_t n;

	f->is_go = module_section(m, ".note.go.buildid", &section) == 0;
	if (module_section(m, ".go.buildinfo", &section))
		return;
	f->is_go = true;
	n = module_read(m, section.offset, info, MIN(sizeof(info), (size_t)section.size));
	if (n < 32 || program_go_inline(info, (size_t)n, f->go) == 0)
		return;
	if (memcmp(info, GO_MAGIC, 14) == 0)
		go_by_pointer(m, info, f->go);
}

static void look_ruby(const struct module *m, struct program_file *f)
{
	struct module_symbol symbol;
	struct module_symtab t;
	uint64_t off;
	ssize_t n;

	if (module_symtab_open(m, SHT_DYNSYM, &t) ||
		module_symtab_find(&t, "ruby_description", &symbol) ||
		!module_vaddr_to_offset(m, symbol.value, &off))
		return;
	n = module_read(m, off, f->ruby, sizeof(f->ruby) - 1);
	f->ruby[n < 0 ? 0 : n] = 0;
}

static size_t digits(const uint8_t *s, const uint8_t *end)
{
	const uint8_t *p = s;

	while (p < end && isdigit(*p))
		p++;
	return (size_t)(p - s);
}

bool program_node_scan(const uint8_t *bytes, size_t len, char ret[32])
{
	const uint8_t *end = bytes + len, *p = bytes;

	// What the inspector answers to GET /json/version; in every Node since 8.
	while ((p = memmem(p, (size_t)(end - p), NODE_MARK, strlen(NODE_MARK)))) {
		const uint8_t *version = p + strlen(NODE_MARK) - 1, *q = version + 1;
		unsigned parts = 0;

		for (; parts < 3; parts++) {
			size_t n = digits(q, end);

			if (!n || n > 3)
				break;
			q += n;
			if (parts < 2 && (q == end || *q++ != '.'))
				break;
		}
		if (parts == 3 && q < end && !*q) {
			memcpy(ret, version, (size_t)(q - version) + 1);
			return true;
		}
		p = version;
	}
	return false;
}

/* Its version stands in read-only data, among a hundred megabytes; once a file. */
static void look_node(const struct module *m, struct program_file *f)
{
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK + OVERLAP);
	struct module_section section;
	ssize_t n;

	if (!chunk || module_section(m, ".rodata", &section) || section.size > SCAN_MAX)
		return;
	for (uint64_t at = 0; at < section.size; at += CHUNK) {
		n = module_read(m, section.offset + at, chunk,
			(size_t)MIN(section.size - at, (uint64_t)CHUNK + OVERLAP));
		if (n <= 0 || program_node_scan(chunk, (size_t)n, f->node))
			return;
	}
}

static int look_at(struct program_file *f, int fd, const char *path, unsigned look)
{
	_cleanup_(module_standalone_cleanup) struct module *m = NULL;
	int r = module_standalone_fd(fd, &m);

	if (r)
		return r;
	if (look & PROGRAM_HEADERS)
		look_headers(m, f);
	if (look & PROGRAM_ELF_ID)
		look_elf_id(m, f);
	if (look & PROGRAM_PYTHON)
		look_python(m, path, f);
	if (look & PROGRAM_GO)
		look_go(m, f);
	if (look & PROGRAM_RUBY)
		look_ruby(m, f);
	if (look & PROGRAM_NODE)
		look_node(m, f);
	return 0;
}

int program_files_look(struct program_files *p, int fd, const char *path, unsigned look,
	const struct program_file **ret)
{
	_cleanup_close_ int file = fd;
	struct program_file *f;
	struct file_key key;
	struct stat st;
	uint32_t id;
	int r = 0;

	if (file < 0)
		return file;
	if (fstat(file, &st) < 0)
		return -errno;
	key = key_of(&st);
	if (p->keys.len == FILES_MAX) {
		intern_clear(&p->keys);
		program_file_vec_clear(&p->files);
	}
	r = program_file_vec_reserve(&p->files, 1);
	if (!r)
		r = intern_add(&p->keys, &key, sizeof(key), &id);
	if (r)
		return r;
	if (id > p->files.len)
		program_file_vec_push(&p->files, (struct program_file){0});
	f = &p->files.data[id - 1];
	look &= ~f->looked;
	if (look) {
		f->looked |= look;
		r = look_at(f, file, path, look | PROGRAM_HEADERS);
		file = -1; // consumed
		f->looked |= PROGRAM_HEADERS;
	}
	*ret = f;
	return f->machine ? 0 : r ? r : -EINVAL;
}

static uint32_t find(const struct program_files *p, const struct stat *st)
{
	const struct file_key key = key_of(st);

	return intern_find(&p->keys, &key, sizeof(key));
}

bool program_files_plain(const struct program_files *p, const struct stat *st)
{
	uint32_t id = find(p, st);

	return id && id <= p->files.len && p->files.data[id - 1].plain;
}

void program_files_set_plain(struct program_files *p, const struct stat *st)
{
	uint32_t id = find(p, st);

	if (id && id <= p->files.len)
		p->files.data[id - 1].plain = true;
}

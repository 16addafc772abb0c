/* SPDX-License-Identifier: Apache-2.0 */
/* Symbol tables, debug files, MiniDebugInfo and compressed sections. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/fs.h"
#include "elf/debug_find.h"
#include "elf/section_data.h"
#include "elf/symtab.h"
#include "tests/elf/elf_writer.h"

static const uint8_t id_a[20] = {0xaa, 0xbb, 3};
static const uint8_t id_b[20] = {0xaa, 0xbb, 4};

static struct module *open_writer(struct elf_writer *w)
{
	struct buf out = BUF_INIT(64 << 20);
	struct module *m = NULL;
	size_t len;

	elf_writer_finish(w, &out);
	len = out.len;
	assert_ok(module_standalone_image((uint8_t *)buf_steal(&out), len, &m));
	return m;
}

static void add_function(struct elf_writer *w, const char *name, uint64_t value, uint64_t size)
{
	elf_writer_symbol(w, &(struct elf_writer_symbol){
				     .name = name,
				     .value = value,
				     .size = size,
				     .bind = STB_GLOBAL,
				     .type = STT_FUNC,
				     .section = 1,
			     });
}

static int count_symbol(void *arg, const struct module_symbol *sym, uint64_t index)
{
	uint64_t *n = arg;

	assert_int_equal(index, (*n)++);
	if (index)
		assert_int_equal(sym->value, 0x1000 + index);
	return 0;
}

static void symtab__streams_past_one_chunk(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	_cleanup_buf_ struct buf name = BUF_INIT(256);
	struct module_symtab t;
	struct module_symbol sym;
	struct module *m;
	uint64_t n = 0;
	char text[32];

	(void)state;
	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 16);
	for (unsigned i = 1; i <= 10000; i++) {
		snprintf(text, sizeof(text), "f%u@@VERS_%u", i, i % 7);
		add_function(&w, text, 0x1000 + i, 1);
	}
	m = open_writer(&w);
	assert_ok(module_symtab_open(m, SHT_SYMTAB, &t));
	assert_int_equal(t.count, 10001);
	assert_ok(module_symtab_stream(&t, count_symbol, &n));
	assert_int_equal(n, 10001);
	assert_ok(module_symtab_at(&t, 9999, &sym));
	assert_ok(module_symtab_name(&t, sym.name, &name));
	assert_string_equal(buf_str(&name), "f9999");
	assert_int_equal(module_symtab_at(&t, 10001, &sym), -ENOENT);
	assert_int_equal(module_symtab_open(m, SHT_DYNSYM, &t), -ENOENT);
	module_standalone_free(m);
}

static void symtab__finds_by_name(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module_symtab t;
	struct module_symbol sym;
	struct module *m;

	(void)state;
	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 64);
	add_function(&w, "_PyRuntime2", 0x1000, 8);
	add_function(&w, "_PyRuntime", 0x1010, 8);
	m = open_writer(&w);
	assert_ok(module_symtab_open(m, SHT_SYMTAB, &t));
	assert_ok(module_symtab_find(&t, "_PyRuntime", &sym));
	assert_int_equal(sym.value, 0x1010);
	assert_int_equal(module_symtab_find(&t, "_PyRunti", &sym), -ENOENT);
	module_standalone_free(m);
}

/* sstrip'ed files and images from memory have no section headers. */
static void symtab__dynamic_without_sections(void **state)
{
	const char path[] = "/proc/self/exe";
	struct module_symtab with, without;
	struct module *m;
	struct stat st;
	uint8_t *image;
	int fd = open(path, O_RDONLY);

	(void)state;
	assert_true(fd >= 0);
	assert_ok(fstat(fd, &st));
	image = malloc((size_t)st.st_size);
	assert_int_equal(fs_pread_full(fd, image, (size_t)st.st_size, 0), st.st_size);
	close(fd);
	assert_ok(module_standalone_image(image, (size_t)st.st_size, &m));
	assert_ok(module_symtab_open(m, SHT_DYNSYM, &with));
	((Elf64_Ehdr *)(void *)image)->e_shoff = 0;
	assert_ok(module_symtab_open(m, SHT_DYNSYM, &without));
	assert_int_equal(with.offset, without.offset);
	assert_int_equal(with.str_offset, without.str_offset);
	// DT_GNU_HASH leaves out trailing undefined symbols only if nothing is defined.
	assert_true(without.count && without.count <= with.count);
	module_standalone_free(m);
}

/* A stripped program with a build id and a debug link. */
static struct module *stripped(const uint8_t *id, const char *link, uint32_t crc)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct elf_writer_section s = {.name = ".gnu_debuglink", .type = SHT_PROGBITS};
	char raw[64] = {0};
	struct module *m;
	size_t at;

	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 64);
	if (id)
		elf_writer_build_id(&w, id, 20);
	if (link) {
		strncpy(raw, link, sizeof(raw) - 5);
		at = (strlen(raw) + 4) & ~(size_t)3;
		memcpy(raw + at, &crc, 4);
		elf_writer_section(&w, &s, raw, at + 4);
	}
	m = open_writer(&w);
	if (id) {
		m->key.build_id_len = 20;
		memcpy(m->key.build_id, id, 20);
	}
	return m;
}

/* Writes a debug file; returns its CRC. */
static uint32_t write_debug(const char *path, const uint8_t *id)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	_cleanup_buf_ struct buf bytes = BUF_INIT(1 << 20);

	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 64);
	add_function(&w, "from_debug", 0x1000, 64);
	if (id)
		elf_writer_build_id(&w, id, 20);
	assert_ok(fs_mkdir_parents(path, 0755));
	elf_writer_save(&w, path);
	assert_ok(fs_read_file(path, &bytes));
	return (uint32_t)crc32(0, (const Bytef *)bytes.data, (uInt)bytes.len);
}

static void join(char *dst, size_t size, const char *root, const char *path)
{
	assert_true((size_t)snprintf(dst, size, "%s%s", root, path) < size);
}

#define BY_ID "/usr/lib/debug/.build-id/aa/bb030000000000000000000000000000000000.debug"

static void debug__build_id_directory_and_wrong_build(void **state)
{
	char root[] = "/tmp/test_symtab_XXXXXX", path[256], link[256];
	struct module *m = stripped(id_a, NULL, 0), *d = NULL;
	struct module_debug_search search = {.dirs = "/nowhere:/usr/lib/debug", .path = "/bin/x"};

	(void)state;
	assert_non_null(mkdtemp(root));
	search.roots[0] = root;
	assert_int_equal(module_debug_find(m, &search, &d), -ENOENT);
	join(path, sizeof(path), root, BY_ID);
	write_debug(path, id_b);
	assert_int_equal(module_debug_find(m, &search, &d), -ENOENT); // of another build
	unlink(path);
	// An absolute link leads to a place inside the root, not on our side.
	join(link, sizeof(link), root, "/store/real.debug");
	write_debug(link, id_a);
	assert_ok(symlink("/store/real.debug", path));
	assert_ok(module_debug_find(m, &search, &d));
	module_standalone_free(d);
	unlink(path);
	assert_ok(symlink("/dev/zero", path));
	assert_int_equal(module_debug_find(m, &search, &d), -ENOENT);
	unlink(path);
	assert_ok(mkfifo(path, 0600)); // must not block
	assert_int_equal(module_debug_find(m, &search, &d), -ENOENT);
	unlink(path);
	unlink(link);
	module_standalone_free(m);
}

static void debug__link_needs_its_crc(void **state)
{
	static const char *const places[] = {
		"/opt/app/prog.debug",
		"/opt/app/.debug/prog.debug",
		"/usr/lib/debug/opt/app/prog.debug",
	};
	char root[] = "/tmp/test_symtab_XXXXXX", path[256];
	struct module_debug_search search = {.dirs = "/usr/lib/debug", .path = "/opt/app/prog"};

	(void)state;
	assert_non_null(mkdtemp(root));
	search.roots[0] = root;
	for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
		struct module *good, *bad, *d = NULL;
		uint32_t crc;

		join(path, sizeof(path), root, places[i]);
		crc = write_debug(path, NULL);
		good = stripped(NULL, "prog.debug", crc);
		bad = stripped(NULL, "prog.debug", crc + 1);
		assert_int_equal(module_debug_find(bad, &search, &d), -ENOENT);
		assert_ok(module_debug_find(good, &search, &d));
		module_standalone_free(d);
		module_standalone_free(good);
		module_standalone_free(bad);
		unlink(path);
	}
}

static void debug__link_with_slashes_is_refused(void **state)
{
	struct module *m = stripped(NULL, "../../etc/passwd", 1);
	char name[256];
	uint32_t crc;

	(void)state;
	assert_int_equal(module_debuglink(m, name, &crc), -EINVAL);
	module_standalone_free(m);
}

static struct module *with_section(struct elf_writer_section *s, const void *data, size_t len)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;

	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 64);
	elf_writer_section(&w, s, data, len);
	return open_writer(&w);
}

static void debug__minidebuginfo(void **state)
{
	struct elf_writer_section s = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	_cleanup_buf_ struct buf inner = BUF_INIT(1 << 20);
	uint8_t xz[8192];
	struct module_symtab t;
	struct module *m, *mini = NULL;
	size_t len = 0;

	(void)state;
	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x1000, 64);
	add_function(&w, "hidden_function", 0x1000, 64);
	elf_writer_finish(&w, &inner);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL,
				 (const uint8_t *)inner.data, inner.len, xz, &len, sizeof(xz)),
		LZMA_OK);
	m = with_section(&s, xz, len);
	assert_ok(module_minidebug_open(m, &mini));
	assert_ok(module_symtab_open(mini, SHT_SYMTAB, &t));
	assert_int_equal(t.count, 2);
	module_standalone_free(mini);
	module_standalone_free(m);
	m = with_section(&s, xz, len / 2); // cut short
	assert_int_equal(module_minidebug_open(m, &mini), -EINVAL);
	module_standalone_free(m);
}

static void debug__minidebuginfo_bomb(void **state)
{
	struct elf_writer_section s = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	size_t size = MODULE_MINIDEBUG_MAX + 4096, cap = 1 << 20, len = 0;
	uint8_t *zeroes = calloc(1, size), *xz = malloc(cap);
	struct module *m, *mini = NULL;

	(void)state;
	assert_int_equal(
		lzma_easy_buffer_encode(0, LZMA_CHECK_NONE, NULL, zeroes, size, xz, &len, cap),
		LZMA_OK);
	m = with_section(&s, xz, len);
	assert_int_equal(module_minidebug_open(m, &mini), -ENOSPC);
	module_standalone_free(m);
	free(zeroes);
	free(xz);
}

static void debug__compressed_sections(void **state)
{
	struct elf_writer_section s = {
		.name = ".debug_line",
		.type = SHT_PROGBITS,
		.flags = SHF_COMPRESSED,
	};
	static char text[100000], packed[20000];
	Elf64_Chdr *h = (Elf64_Chdr *)(void *)packed;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	for (unsigned method = 1; method <= 2; method++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), small = BUF_INIT(1000);
		struct module_section section;
		struct module *m;
		uLongf z = sizeof(packed) - sizeof(*h);

		*h = (Elf64_Chdr){.ch_type = method, .ch_size = sizeof(text), .ch_addralign = 1};
		if (method == 1)
			assert_int_equal(
				compress((Bytef *)(h + 1), &z, (Bytef *)text, sizeof(text)), Z_OK);
		else
			z = ZSTD_compress(h + 1, z, text, sizeof(text), 3);
		m = with_section(&s, packed, sizeof(*h) + z);
		assert_ok(module_section(m, ".debug_line", &section));
		assert_ok(module_section_read(m, &section, &out));
		assert_int_equal(out.len, sizeof(text));
		assert_memory_equal(out.data, text, sizeof(text));
		assert_int_equal(module_section_read(m, &section, &small), -ENOSPC);
		module_standalone_free(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(symtab__streams_past_one_chunk),
		cmocka_unit_test(symtab__finds_by_name),
		cmocka_unit_test(symtab__dynamic_without_sections),
		cmocka_unit_test(debug__build_id_directory_and_wrong_build),
		cmocka_unit_test(debug__link_needs_its_crc),
		cmocka_unit_test(debug__link_with_slashes_is_refused),
		cmocka_unit_test(debug__minidebuginfo),
		cmocka_unit_test(debug__minidebuginfo_bomb),
		cmocka_unit_test(debug__compressed_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation, open and read fails once while a file on disk, its separate debug file and its
 * MiniDebugInfo are opened and their symbols streamed. What is answered all the same is right. */
#include "tests/harness.h"

#include <elf.h>
#include <lzma.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "elf/debug_find.h"
#include "elf/symtab.h"
#include "tests/elf/elf_writer.h"
#include "tests/torture_io.h"

#define BUILD_ID "\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01"
#define DEBUG_DIR "debug/.build-id/ab"

struct input {
	char dir[32];
	char path[64];
	char debug[128];
	ino_t ino;
	dev_t dev;
};

static void add_text(struct elf_writer *w, const char *name)
{
	struct elf_writer_symbol s = {name, 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};

	elf_writer_init(w, ET_EXEC);
	elf_writer_code(w, ".text", 0x401000, 0x100);
	elf_writer_symbol(w, &s);
}

static void add_mini(struct elf_writer *w)
{
	struct elf_writer_section s = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	_cleanup_(cleanup_elf_writer) struct elf_writer mini;
	_cleanup_buf_ struct buf inner = BUF_INIT(1 << 20);
	uint8_t xz[8192];
	size_t len = 0;

	add_text(&mini, "in_mini");
	elf_writer_finish(&mini, &inner);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL,
				 (const uint8_t *)inner.data, inner.len, xz, &len, sizeof(xz)),
		LZMA_OK);
	elf_writer_section(w, &s, xz, len);
}

static void write_input(struct input *in)
{
	struct elf_writer_symbol exported = {"exported", 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};
	_cleanup_(cleanup_elf_writer) struct elf_writer w, d;
	struct stat st;

	snprintf(in->dir, sizeof(in->dir), "/tmp/test_torture.XXXXXX");
	assert_non_null(mkdtemp(in->dir));
	snprintf(in->path, sizeof(in->path), "%s/program", in->dir);
	snprintf(in->debug, sizeof(in->debug), "%s/" DEBUG_DIR, in->dir);
	assert_ok(fs_mkdir_p(in->debug, 0755));
	snprintf(in->debug, sizeof(in->debug),
		"%s/" DEBUG_DIR "/cdef0123456789abcdef0123456789abcdef01.debug", in->dir);
	elf_writer_init(&w, ET_EXEC);
	elf_writer_code(&w, ".text", 0x401000, 0x100);
	add_mini(&w);
	elf_writer_build_id(&w, BUILD_ID, 20);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_segment(&w, PT_NOTE, PF_R, 3, 3);
	elf_writer_dynamic_symbol(&w, &exported);
	elf_writer_save(&w, in->path);
	add_text(&d, "in_debug");
	elf_writer_build_id(&d, BUILD_ID, 20);
	elf_writer_segment(&d, PT_NOTE, PF_R, 2, 2);
	elf_writer_save(&d, in->debug);
	assert_ok(stat(in->path, &st));
	in->ino = st.st_ino;
	in->dev = st.st_dev;
}

static void remove_input(const struct input *in)
{
	static const char *const dirs[] = {("/" DEBUG_DIR), "/debug/.build-id", "/debug", ""};
	char path[128];

	unlink(in->path);
	unlink(in->debug);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", in->dir, dirs[i]);
		assert_ok(rmdir(path));
	}
}

static int count_symbol(void *arg, const struct module_symbol *sym, uint64_t index)
{
	unsigned *n = arg;

	(void)index;
	*n += sym->value == 0x401000;
	return 0;
}

/* 1 right, 0 a failure was reported, -1 wrong. */
static int has_symbol(const struct module *m, uint32_t type, const char *name)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);
	struct module_symbol sym;
	struct module_symtab t;
	unsigned n = 0;

	if (module_symtab_open(m, type, &t) || module_symtab_stream(&t, count_symbol, &n) ||
		module_symtab_find(&t, name, &sym) || module_symtab_name(&t, sym.name, &text))
		return 0;
	return n == 1 && sym.value == 0x401000 && !strcmp(buf_str(&text), name) ? 1 : -1;
}

static int debug_symbol(const struct module *m, const struct input *in)
{
	struct module_debug_search search = {
		.dirs = "/debug", .roots = {in->dir}, .path = "/program"};
	struct module *debug = NULL;
	int good;

	if (module_debug_find(m, &search, &debug))
		return 0;
	good = has_symbol(debug, SHT_SYMTAB, "in_debug");
	module_standalone_free(debug);
	return good;
}

static int mini_symbol(const struct module *m)
{
	struct module *mini = NULL;
	int good;

	if (module_minidebug_open(m, &mini))
		return 0;
	good = has_symbol(mini, SHT_SYMTAB, "in_mini");
	module_standalone_free(mini);
	return good;
}

/* Asks for everything twice: what failed once must not stay broken. */
static bool ask(const struct input *in, const struct module *m)
{
	struct module_section text;

	for (unsigned i = 0; i < 2; i++)
		if (has_symbol(m, SHT_DYNSYM, "exported") < 0 || debug_symbol(m, in) < 0 ||
			mini_symbol(m) < 0 ||
			(!module_section(m, ".text", &text) && text.vaddr != 0x401000))
			return false;
	return torture_at > torture_count ||
	       (has_symbol(m, SHT_DYNSYM, "exported") == 1 && debug_symbol(m, in) == 1 &&
		       mini_symbol(m) == 1);
}

static bool run(const struct input *in)
{
	struct module_key key = {.dev = in->dev, .ino = in->ino};
	struct module_table t;
	struct module *m = NULL;
	bool good = true;
	int fd, e;

	module_table_init(&t, 16, 4);
	e = module_table_intern(&t, &key, "/bin/written", &m);
	if (!e) {
		fd = open(in->path, O_RDONLY | O_CLOEXEC);
		e = fd < 0 ? -errno : module_open_fd(&t, m, fd);
	}
	if (!e)
		good = ask(in, m);
	module_table_deinit(&t);
	return good;
}

static void torture__files_and_symbols(void **state)
{
	struct input in;
	unsigned long failed;

	(void)state;
	write_input(&in);
	failed = torture_each(run(&in));
	printf("# %lu calls failed\n", failed);
	assert_true(failed > 60);
	remove_input(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__files_and_symbols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

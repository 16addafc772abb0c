/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver over ELF files that test code writes, and over this program itself. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "symbol/demangle.h"
#include "symbol/resolver.h"
#include "tests/elf/elf_writer.h"

struct room {
	struct module_table modules;
	struct process_table processes;
	struct resolver resolver;
};

static int setup(void **state)
{
	struct room *x = calloc(1, sizeof(*x));
	struct resolver_config config = {.debug_dirs = "/nowhere"};

	module_table_init(&x->modules, 64, 16);
	assert_ok(resolver_init(&x->resolver, &x->modules, &x->processes, &config));
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct room *x = *state;

	resolver_deinit(&x->resolver);
	module_table_deinit(&x->modules);
	free(x);
	return 0;
}

static struct module *open_path(struct room *x, const char *path)
{
	struct module *m = NULL;
	struct module_key key = {0};
	struct stat st;

	assert_ok(stat(path, &st));
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	assert_ok(module_table_intern(&x->modules, &key, path, &m));
	assert_ok(module_open_fd(&x->modules, m, open(path, O_RDONLY | O_CLOEXEC)));
	return m;
}

static struct module *open_writer(struct room *x, struct elf_writer *w)
{
	struct buf out = BUF_INIT(1 << 20);
	struct module_key key = {0};
	struct module *m = NULL;
	size_t len;

	elf_writer_finish(w, &out);
	len = out.len;
	assert_ok(module_table_intern(&x->modules, &key, "/bin/written", &m));
	assert_ok(module_open_image(&x->modules, m, (uint8_t *)buf_steal(&out), len));
	return m;
}

/* The name of one virtual address, "" if none; the query's other answers are in *ret. */
static const char *name_at(
	struct room *x, const struct module *m, uint64_t vaddr, struct symbol_query *ret)
{
	struct symbol_query q = {.space = SYMBOL_MODULE, .owner = m->id};

	assert_true(module_vaddr_to_offset(m, vaddr, &q.addr));
	assert_ok(resolver_resolve(&x->resolver, &q, 1));
	if (ret)
		*ret = q;
	return intern_str(&x->resolver.strings, q.name);
}

static void add(struct elf_writer *w, const char *name, uint64_t value, uint64_t size, int bind)
{
	struct elf_writer_symbol s = {
		.name = name,
		.value = value,
		.size = size,
		.bind = (uint8_t)(bind & 15),
		.type = bind & 16 ? STT_NOTYPE : STT_FUNC,
		.section = (uint16_t)(bind >> 8),
	};

	elf_writer_symbol(w, &s);
}

#define TEXT (1 << 8)
#define INIT (2 << 8)
#define LABEL 16

static void write_program(struct elf_writer *w)
{
	elf_writer_init(w, ET_EXEC);
	elf_writer_code(w, ".text", 0x401000, 0x200);
	elf_writer_code(w, ".init", 0x402000, 0x100);
	elf_writer_segment(w, PT_LOAD, PF_R | PF_X, 1, 2);
	add(w, "file.c", 0, 0, STB_LOCAL | LABEL | 0xf100);
	add(w, "__read", 0x401000, 0x40, STB_GLOBAL | TEXT);
	add(w, "__read_alias", 0x401000, 0x40, STB_LOCAL | TEXT);
	add(w, "read", 0x401000, 0x40, STB_WEAK | TEXT);
	add(w, "_weak_one", 0x401040, 0x10, STB_WEAK | TEXT);
	add(w, "weak", 0x401040, 0x10, STB_WEAK | TEXT);
	add(w, "outer", 0x401080, 0x40, STB_LOCAL | TEXT);
	add(w, "outer_label", 0x401090, 0, STB_LOCAL | LABEL | TEXT);
	add(w, "inner", 0x4010a0, 0x8, STB_LOCAL | TEXT);
	add(w, "asm_entry", 0x401100, 0, STB_GLOBAL | LABEL | TEXT);
	add(w, "_ZN3foo3barEi", 0x401140, 0x10, STB_GLOBAL | TEXT);
	add(w, "data_like", 0x401180, 0, STB_GLOBAL | LABEL | INIT);
	add(w, "$x", 0x401160, 0, STB_LOCAL | LABEL | TEXT);
	add(w, "to_the_end", 0x401190, 0, STB_LOCAL | TEXT);
	add(w, "undefined", 0, 0, STB_GLOBAL);
}

static void resolver__which_symbol(void **state)
{
	static const struct {
		uint64_t vaddr;
		const char *name;
	} cases[] = {
		{0x401000, "__read"}, // global before weak before local
		{0x40103f, "__read"}, {0x401048, "weak"}, // fewer underscores
		{0x401060, ""}, // a gap after a sized symbol
		{0x401080, "outer"}, {0x401098, "outer"}, // a label inside does not split it
		{0x4010a4, "inner"}, // the innermost
		{0x4010b0, "outer"}, {0x4010c0, ""},
		{0x401100, "asm_entry"}, // no size: to the next symbol
		{0x40113f, "asm_entry"}, {0x401145, "foo::bar"},
		{0x401170, ""}, // mapping symbols name nothing
		{0x4011ff, "to_the_end"}, {0x402000, ""}, // not across the end of its section
	};
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module *m;

	write_program(&w);
	m = open_writer(*state, &w);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(name_at(*state, m, cases[i].vaddr, NULL), cases[i].name);
}

static void resolver__answers(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct room *x = *state;
	struct symbol_query q;
	struct module *m;
	uint64_t start;

	write_program(&w);
	m = open_writer(x, &w);
	name_at(x, m, 0x401145, &q);
	assert_int_equal(q.kind, SYMBOL_KIND_CPP);
	assert_string_equal(intern_str(&x->resolver.strings, q.module), "/bin/written");
	assert_true(module_vaddr_to_offset(m, 0x401140, &start));
	assert_int_equal(q.func_start, start);
	// A call as the last instruction of a function returns to the next one.
	q = (struct symbol_query){
		.space = SYMBOL_MODULE,
		.owner = m->id,
		.addr = start,
		.return_address = true,
		.cookie = 77,
	};
	assert_ok(resolver_resolve(&x->resolver, &q, 1));
	assert_string_equal(intern_str(&x->resolver.strings, q.name), "asm_entry");
	assert_int_equal(q.cookie, 77);
	assert_int_equal(q.addr, start);
}

static void resolver__unknown_owners_and_offsets(void **state)
{
	struct symbol_query q[] = {
		{.space = SYMBOL_MODULE, .owner = 999, .addr = 1},
		{.space = SYMBOL_MODULE, .owner = 0},
		{.space = SYMBOL_PROCESS, .owner = 5, .addr = 0x1000},
		{.space = 77},
		{.space = SYMBOL_KERNEL, .addr = 5},
	};
	struct room *x = *state;

	assert_ok(resolver_resolve(&x->resolver, q, ARRAY_SIZE(q)));
	for (size_t i = 0; i < ARRAY_SIZE(q); i++)
		assert_int_equal(q[i].name, 0);
	assert_int_equal(x->resolver.stats.unnamed, ARRAY_SIZE(q));
	assert_ok(resolver_resolve(&x->resolver, NULL, 0));
}

static void resolver__ksymbol_is_named(void **state)
{
	struct capture_event e = {.type = CAPTURE_KSYMBOL};
	struct symbol_query q = {.space = SYMBOL_KERNEL, .addr = 0xffffffffc1234010};
	struct room *x = *state;

	e.ksymbol.addr = 0xffffffffc1234000;
	e.ksymbol.len = 0x100;
	e.ksymbol.name = "bpf_prog_0123_sampler";
	assert_ok(resolver_ksymbol(&x->resolver, &e));
	e.ksymbol.gone = true;
	assert_ok(resolver_ksymbol(&x->resolver, &e));
	assert_ok(resolver_resolve(&x->resolver, &q, 1));
	assert_string_equal(intern_str(&x->resolver.strings, q.name), "bpf_prog_0123_sampler");
	assert_string_equal(intern_str(&x->resolver.strings, q.module), "[bpf]");
	assert_int_equal(q.kind, SYMBOL_KIND_KERNEL);
}

/* What libelf reads from the same file: names of all functions that cover an address. */
struct oracle {
	GElf_Sym *syms;
	char **names;
	size_t n;
	GElf_Shdr text;
	Elf *elf;
	int fd;
};

static void oracle_load(struct oracle *o, const char *path, GElf_Word type)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr sh;
	size_t names;

	memset(o, 0, sizeof(*o));
	elf_version(EV_CURRENT);
	o->fd = open(path, O_RDONLY | O_CLOEXEC);
	o->elf = elf_begin(o->fd, ELF_C_READ, NULL);
	assert_non_null(o->elf);
	assert_ok(elf_getshdrstrndx(o->elf, &names));
	while ((scn = elf_nextscn(o->elf, scn))) {
		assert_non_null(gelf_getshdr(scn, &sh));
		if (strcmp(elf_strptr(o->elf, names, sh.sh_name), ".text") == 0)
			o->text = sh;
		if (sh.sh_type != type)
			continue;
		Elf_Data *data = elf_getdata(scn, NULL);

		o->n = sh.sh_size / sh.sh_entsize;
		o->syms = calloc(o->n, sizeof(*o->syms));
		o->names = calloc(o->n, sizeof(*o->names));
		for (size_t i = 0; i < o->n; i++) {
			gelf_getsym(data, (int)i, &o->syms[i]);
			o->names[i] = elf_strptr(o->elf, sh.sh_link, o->syms[i].st_name);
		}
	}
}

static void oracle_free(struct oracle *o)
{
	free(o->syms);
	free(o->names);
	elf_end(o->elf);
	close(o->fd);
}

/* The resolver shows names demangled: a sanitizer's runtime, which is a part of this program then, is C++. */
static bool same_name(const char *raw, const char *name)
{
	_cleanup_buf_ struct buf text = BUF_INIT(DEMANGLE_MAX + 1);

	if (!strcmp(raw, name))
		return true;
	symbol_demangle(raw, &text);
	return !strcmp(buf_str(&text), name);
}

/* 1 the name covers the address, 0 none does, -1 others do. */
static int oracle_check(const struct oracle *o, uint64_t vaddr, const char *name)
{
	bool covered = false;

	for (size_t i = 0; i < o->n; i++) {
		const GElf_Sym *s = &o->syms[i];

		if (GELF_ST_TYPE(s->st_info) != STT_FUNC &&
			GELF_ST_TYPE(s->st_info) != STT_GNU_IFUNC)
			continue;
		if (!s->st_shndx || vaddr < s->st_value || vaddr - s->st_value >= s->st_size)
			continue;
		covered = true;
		if (same_name(o->names[i], name))
			return 1;
	}
	return covered ? -1 : 0;
}

static void compare_with_oracle(struct room *x, const char *path, GElf_Word type, size_t n)
{
	struct symbol_query *q = calloc(n, sizeof(*q));
	struct module *m = open_path(x, path);
	struct oracle o;
	size_t covered = 0;
	uint64_t seed = 12345;

	oracle_load(&o, path, type);
	assert_true(o.n && o.text.sh_size);
	for (size_t i = 0; i < n; i++) {
		seed = hash_u64(seed + i);
		q[i] = (struct symbol_query){
			.space = SYMBOL_MODULE,
			.owner = m->id,
			.addr = o.text.sh_offset + seed % o.text.sh_size,
		};
	}
	assert_ok(resolver_resolve(&x->resolver, q, n));
	for (size_t i = 0; i < n; i++) {
		const char *name = intern_str(&x->resolver.strings, q[i].name);
		uint64_t vaddr = q[i].addr - o.text.sh_offset + o.text.sh_addr;
		int verdict = oracle_check(&o, vaddr, name);

		if (verdict < 0)
			print_error("%s: 0x%lx named %s\n", path, (unsigned long)vaddr, name);
		assert_true(verdict >= 0);
		covered += verdict == 1;
	}
	printf("# %s: %zu of %zu addresses inside functions\n", path, covered, n);
	assert_true(covered > n / 10);
	oracle_free(&o);
	free(q);
}

static void resolver__agrees_with_libelf_on_this_program(void **state)
{
	compare_with_oracle(*state, "/proc/self/exe", SHT_SYMTAB, 5000);
}

static void resolver__agrees_with_libelf_on_a_stripped_libc(void **state)
{
	static const char path[] = "/lib/x86_64-linux-gnu/libc.so.6";

	if (access(path, R_OK))
		test_skip("no %s", path);
	compare_with_oracle(*state, path, SHT_DYNSYM, 5000);
}

/* Every stub of this program that jumps through the GOT; getpid is called to have one. */
static void resolver__plt_stubs(void **state)
{
	struct room *x = *state;
	struct module *m = open_path(x, "/proc/self/exe");
	struct symbol_query q[512];
	struct module_section plt;
	size_t n, named = 0;
	bool getpid_seen = false;

	assert_true(getpid() > 0);
	if (module_section(m, ".plt.sec", &plt) && module_section(m, ".plt", &plt) &&
		module_section(m, ".plt.got", &plt))
		test_skip("built without PLT");
	n = MIN(plt.size / 16, ARRAY_SIZE(q));
	for (size_t i = 0; i < n; i++)
		q[i] = (struct symbol_query){
			.space = SYMBOL_MODULE,
			.owner = m->id,
			.addr = plt.offset + i * 16 + 4,
		};
	assert_ok(resolver_resolve(&x->resolver, q, n));
	for (size_t i = 0; i < n; i++) {
		const char *name = intern_str(&x->resolver.strings, q[i].name);

		named += strstr(name, "@plt") != NULL;
		getpid_seen |= strcmp(name, "getpid@plt") == 0;
	}
	assert_true(named + 1 >= n); // but the first, which has no function
	assert_true(getpid_seen);
}

/* Stubs written by hand: one through the GOT, one that only pushes its relocation's number, and the
 * common first one. */
static void resolver__plt_by_slot_and_by_number(void **state)
{
	static const uint8_t plt[48] = {[0] = 0xff,
		0x35,
		[16] = 0xff,
		0x25,
		0xe2,
		0x0f,
		[32] = 0xf3,
		0x0f,
		0x1e,
		0xfa,
		0x68,
		1};
	static const Elf64_Rela relas[] = {
		{0x402ff8, ELF64_R_INFO(1, R_X86_64_JUMP_SLOT), 0},
		{0x403000, ELF64_R_INFO(2, R_X86_64_JUMP_SLOT), 0},
	};
	struct elf_writer_section s = {
		.name = ".plt",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC | SHF_EXECINSTR,
		.vaddr = 0x402000,
		.entsize = 16,
	};
	struct elf_writer_section r = {.name = ".rela.plt", .type = SHT_RELA, .entsize = 24};
	struct elf_writer_symbol puts_sym = {"puts", 0, 0, STB_GLOBAL, STT_FUNC, 0};
	struct elf_writer_symbol cpp_sym = {"_ZN3foo3barEv", 0, 0, STB_GLOBAL, STT_FUNC, 0};
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module *m;

	elf_writer_init(&w, ET_DYN);
	elf_writer_section(&w, &s, plt, sizeof(plt));
	elf_writer_section(&w, &r, relas, sizeof(relas));
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_dynamic_symbol(&w, &puts_sym);
	elf_writer_dynamic_symbol(&w, &cpp_sym);
	m = open_writer(*state, &w);
	assert_string_equal(name_at(*state, m, 0x402000, NULL), "");
	assert_string_equal(name_at(*state, m, 0x402012, NULL), "puts@plt");
	assert_string_equal(name_at(*state, m, 0x402024, NULL), "foo::bar@plt");
}

/* An image from memory, as of the vDSO: no file behind it. */
static void resolver__vdso_of_this_process(void **state)
{
	struct room *x = *state;
	_cleanup_fclose_ FILE *f = fopen("/proc/self/maps", "re");
	struct module_key key = {0};
	struct module_section dyn;
	struct module *m;
	unsigned long start = 0, end = 0;
	char line[512];
	uint8_t *image;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *dash;

		if (!strstr(line, "[vdso]"))
			continue;
		start = strtoul(line, &dash, 16);
		end = strtoul(dash + 1, NULL, 16);
	}
	if (!start)
		test_skip("no vDSO");
	image = malloc(end - start);
	memcpy(image, (const void *)start, end - start);
	assert_ok(module_table_intern(&x->modules, &key, "[vdso]", &m));
	assert_ok(module_open_image(&x->modules, m, image, end - start));
	assert_ok(module_section(m, ".dynsym", &dyn));
	struct symbol_query q = {.space = SYMBOL_MODULE, .owner = m->id};
	bool found = false;

	for (q.addr = 0; q.addr < m->size && !found; q.addr += 16) {
		struct symbol_query one = q;

		assert_ok(resolver_resolve(&x->resolver, &one, 1));
		found = strstr(intern_str(&x->resolver.strings, one.name), "clock_gettime");
		if (found)
			assert_string_equal(intern_str(&x->resolver.strings, one.module), "[vdso]");
	}
	assert_true(found);
}

/* As Fedora builds programs: .dynsym has the exported names, .gnu_debugdata the others. */
static void resolver__minidebuginfo_beside_dynsym(void **state)
{
	struct elf_writer_section s = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	struct elf_writer_symbol exported = {"exported", 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};
	_cleanup_(cleanup_elf_writer) struct elf_writer w, mini;
	_cleanup_buf_ struct buf inner = BUF_INIT(1 << 20);
	uint8_t xz[8192];
	struct module *m;
	size_t len = 0;

	elf_writer_init(&mini, ET_EXEC);
	elf_writer_code(&mini, ".text", 0x401000, 0x100);
	add(&mini, "only_in_minidebug", 0x401040, 16, STB_LOCAL | TEXT);
	elf_writer_finish(&mini, &inner);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL,
				 (const uint8_t *)inner.data, inner.len, xz, &len, sizeof(xz)),
		LZMA_OK);
	elf_writer_init(&w, ET_EXEC);
	elf_writer_code(&w, ".text", 0x401000, 0x100);
	elf_writer_section(&w, &s, xz, len);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_dynamic_symbol(&w, &exported);
	m = open_writer(*state, &w);
	assert_string_equal(name_at(*state, m, 0x401004, NULL), "exported");
	assert_string_equal(name_at(*state, m, 0x401044, NULL), "only_in_minidebug");
	assert_string_equal(name_at(*state, m, 0x401080, NULL), "");
}

/* A table of zeroes: nothing is named, and the caller can tell why. */
static void resolver__hidden_kernel_is_counted(void **state)
{
	char path[] = "/tmp/test_resolver_XXXXXX";
	struct resolver_config config = {.kallsyms = path};
	struct symbol_query q[3] = {
		{.space = SYMBOL_KERNEL, .addr = 0xffffffff81000010},
		{.space = SYMBOL_KERNEL, .addr = 0xffffffff81000020},
		{.space = SYMBOL_KERNEL, .addr = 0xffffffff81000030},
	};
	struct room *x = *state;
	_cleanup_close_ int fd = mkstemp(path);

	assert_ok(fs_write_full(fd, "0000000000000000 T do_thing\n", 28));
	resolver_deinit(&x->resolver);
	assert_ok(resolver_init(&x->resolver, &x->modules, &x->processes, &config));
	assert_ok(resolver_resolve(&x->resolver, q, 3));
	assert_int_equal(x->resolver.stats.kernel_hidden, 3);
	assert_int_equal(q[0].name, 0);
	assert_string_equal(intern_str(&x->resolver.strings, q[0].module), "[kernel.kallsyms]");
	unlink(path);
}

static void resolver__strings_cap_leaves_unnamed(void **state)
{
	struct resolver_config config = {.strings_cap = 64, .debug_dirs = "/nowhere"};
	struct room *x = *state;
	struct symbol_query q[200];
	struct module *m;
	struct module_section text;

	resolver_deinit(&x->resolver);
	assert_ok(resolver_init(&x->resolver, &x->modules, &x->processes, &config));
	m = open_path(x, "/proc/self/exe");
	assert_ok(module_section(m, ".text", &text));
	for (size_t i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = (struct symbol_query){
			.space = SYMBOL_MODULE,
			.owner = m->id,
			.addr = text.offset + i * (text.size / ARRAY_SIZE(q)),
		};
	assert_ok(resolver_resolve(&x->resolver, q, ARRAY_SIZE(q)));
	assert_true(x->resolver.stats.unnamed > 0);
	assert_true(x->resolver.strings.bytes_len <= 64);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(resolver__which_symbol),
		CASE(resolver__answers),
		CASE(resolver__unknown_owners_and_offsets),
		CASE(resolver__ksymbol_is_named),
		CASE(resolver__agrees_with_libelf_on_this_program),
		CASE(resolver__agrees_with_libelf_on_a_stripped_libc),
		CASE(resolver__plt_stubs),
		CASE(resolver__plt_by_slot_and_by_number),
		CASE(resolver__vdso_of_this_process),
		CASE(resolver__minidebuginfo_beside_dynsym),
		CASE(resolver__hidden_kernel_is_counted),
		CASE(resolver__strings_cap_leaves_unnamed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

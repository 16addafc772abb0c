/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once while a written program and the kernel are named. */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <lzma.h>
#include <unistd.h>

#include "base/fs.h"
#include "symbol/resolver.h"
#include "tests/elf/elf_writer.h"
#include "tests/torture.h"

struct input {
	struct buf elf;
	char kallsyms[32];
};

static void write_input(struct input *in)
{
	struct elf_writer_section s = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	struct elf_writer_symbol exported = {"exported", 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};
	struct elf_writer_symbol alias = {"_exported", 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};
	struct elf_writer_symbol hidden = {"_ZN3foo3barEv", 0x401040, 16, STB_LOCAL, STT_FUNC, 1};
	_cleanup_(cleanup_elf_writer) struct elf_writer w, mini;
	_cleanup_buf_ struct buf inner = BUF_INIT(1 << 20);
	_cleanup_close_ int fd = -1;
	uint8_t xz[8192];
	size_t len = 0;

	elf_writer_init(&mini, ET_EXEC);
	elf_writer_code(&mini, ".text", 0x401000, 0x100);
	elf_writer_symbol(&mini, &hidden);
	elf_writer_finish(&mini, &inner);
	assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, NULL,
				 (const uint8_t *)inner.data, inner.len, xz, &len, sizeof(xz)),
		LZMA_OK);
	elf_writer_init(&w, ET_EXEC);
	elf_writer_code(&w, ".text", 0x401000, 0x100);
	elf_writer_section(&w, &s, xz, len);
	elf_writer_build_id(&w, "0123456789abcdefghij", 20);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_segment(&w, PT_NOTE, PF_R, 3, 3);
	elf_writer_dynamic_symbol(&w, &exported);
	elf_writer_dynamic_symbol(&w, &alias);
	in->elf = BUF_INIT(1 << 20);
	elf_writer_finish(&w, &in->elf);
	snprintf(in->kallsyms, sizeof(in->kallsyms), "/tmp/test_torture_XXXXXX");
	fd = mkstemp(in->kallsyms);
	assert_ok(fs_write_full(fd, "ffffffff81000000 T do_thing\nffffffff81001000 T end\n", 51));
}

static bool named(const struct resolver *r, const struct symbol_query *q, size_t n)
{
	static const char *const names[] = {"exported", "foo::bar", "do_thing", "bpf_prog_x"};
	bool good = true;

	for (size_t i = 0; i < n; i++)
		good &= strcmp(intern_str(&r->strings, q[i].name), names[q[i].cookie]) == 0;
	return good;
}

static int ask(struct resolver *r, struct module *m, bool *ret_named)
{
	struct symbol_query q[] = {
		{.space = SYMBOL_MODULE, .owner = m->id, .cookie = 0},
		{.space = SYMBOL_MODULE, .owner = m->id, .cookie = 1},
		{.space = SYMBOL_KERNEL, .addr = 0xffffffff81000004, .cookie = 2},
		{.space = SYMBOL_KERNEL, .addr = 0xffffffffc0000004, .cookie = 3},
	};
	struct capture_event e = {.type = CAPTURE_KSYMBOL};
	int error;

	module_vaddr_to_offset(m, 0x401004, &q[0].addr);
	module_vaddr_to_offset(m, 0x401044, &q[1].addr);
	e.ksymbol.addr = 0xffffffffc0000000;
	e.ksymbol.len = 64;
	e.ksymbol.name = "bpf_prog_x";
	error = resolver_ksymbol(r, &e);
	if (!error)
		error = resolver_resolve(r, q, ARRAY_SIZE(q));
	*ret_named = !error && named(r, q, ARRAY_SIZE(q));
	return error;
}

/* True if everything was named, or lack of memory was reported. */
static bool run(const struct input *in)
{
	struct resolver_config config = {.kallsyms = in->kallsyms, .debug_dirs = "/nowhere"};
	struct module_key key = {.dev = 1, .ino = 2};
	struct module_table t;
	struct resolver r;
	struct module *m;
	uint8_t *image;
	bool good = false;
	int e;

	module_table_init(&t, 16, 4);
	e = module_table_intern(&t, &key, "/bin/written", &m);
	image = e ? NULL : malloc(in->elf.len);
	if (image) {
		memcpy(image, in->elf.data, in->elf.len);
		e = module_open_image(&t, m, image, in->elf.len);
	} else {
		e = -ENOMEM;
	}
	if (!e) {
		e = resolver_init(&r, &t, NULL, &config);
		if (!e)
			e = ask(&r, m, &good);
		resolver_deinit(&r);
	}
	module_table_deinit(&t);
	return good || e == -ENOMEM;
}

static void torture__names_under_failing_allocations(void **state)
{
	struct input in;
	unsigned long failed;

	(void)state;
	write_input(&in);
	failed = torture_each(run(&in));
	printf("# %lu allocations failed\n", failed);
	assert_true(failed > 20);
	unlink(in.kallsyms);
	buf_deinit(&in.elf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torture__names_under_failing_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

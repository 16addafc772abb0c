/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "elf/debug_find.h"
#include "elf/headers.h"
#include "elf/section_data.h"
#include "elf/symtab.h"
#include "tests/elf/elf_writer.h"

static int visit_symbol(void *arg, const struct module_symbol *sym, uint64_t index)
{
	struct buf name = BUF_INIT(MODULE_SYMBOL_NAME_MAX + 1);

	(void)arg;
	if (index < 64)
		module_symtab_name(arg, sym->name, &name);
	buf_deinit(&name);
	return 0;
}

static void visit_sections(const struct module *m)
{
	struct module_section_iter it;

	if (module_section_iter_init(&it, m))
		return;
	while (module_section_iter_next(&it) == 1) {
		struct buf data = BUF_INIT(1 << 16);

		if (it.index < 64)
			module_section_read(m, &it.section, &data);
		buf_deinit(&data);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct module_table t;
	struct module *m, *mini;
	struct module_key key = {0};
	struct module_symtab symtab;
	uint8_t *image = malloc(len ? len : 1);
	uint64_t x;
	char name[256];
	uint32_t crc;

	if (!image)
		return 0;
	if (len)
		memcpy(image, data, len);
	module_table_init(&t, 4, 4);
	if (module_table_intern(&t, &key, "/fuzz", &m) || module_open_image(&t, m, image, len)) {
		module_table_deinit(&t);
		return 0;
	}
	visit_sections(m);
	module_debuglink(m, name, &crc);
	if (module_symtab_open(m, SHT_SYMTAB, &symtab) == 0)
		module_symtab_stream(&symtab, visit_symbol, &symtab);
	if (module_symtab_open(m, SHT_DYNSYM, &symtab) == 0)
		module_symtab_stream(&symtab, visit_symbol, &symtab);
	if (module_minidebug_open(m, &mini) == 0)
		module_standalone_free(mini);
	for (unsigned i = 0; i < 64; i++) {
		module_offset_to_vaddr(m, i << 12, &x);
		module_vaddr_to_offset(m, 0x400000 + (i << 12), &x);
	}
	module_table_deinit(&t);
	return 0;
}

static void seed_sections(struct elf_writer *w, unsigned n)
{
	static const char xz_magic[] = "\xfd"
				       "7zXZ\0\0\4";
	struct elf_writer_section link = {.name = ".gnu_debuglink", .type = SHT_PROGBITS};
	struct elf_writer_section mini = {.name = ".gnu_debugdata", .type = SHT_PROGBITS};
	struct elf_writer_section packed = {
		.name = ".debug_line",
		.type = SHT_PROGBITS,
		.flags = SHF_COMPRESSED,
	};
	Elf64_Chdr h = {.ch_type = 1 + n % 2, .ch_size = 100};
	uint8_t id[20] = {1, 2, 3};
	unsigned note;

	elf_writer_code(w, ".text", 0x401000, 64);
	note = elf_writer_build_id(w, id, sizeof(id));
	elf_writer_segment(w, PT_LOAD, PF_R | PF_X, 1, 1);
	elf_writer_segment(w, PT_NOTE, PF_R, note, note);
	elf_writer_section(w, &link, "prog.debug\0\0\1\2\3\4", 16);
	elf_writer_section(w, &mini, xz_magic, sizeof(xz_magic));
	elf_writer_section(w, &packed, &h, sizeof(h));
}

/* Tables found through PT_DYNAMIC, DT_HASH and DT_GNU_HASH. */
static void seed_dynamic(struct elf_writer *w)
{
	static const uint32_t hash[] = {1, 3, 1, 0, 0, 0};
	static const uint32_t gnu_hash[] = {1, 1, 1, 0, 0, 0, 1, 2, 3};
	static const Elf64_Dyn dynamic[] = {
		{DT_SYMTAB, {0x402000}},
		{DT_STRTAB, {0x402040}},
		{DT_STRSZ, {16}},
		{DT_HASH, {0x403000}},
		{DT_GNU_HASH, {0x404000}},
		{DT_NULL, {0}},
	};
	struct elf_writer_section s = {
		.name = ".a",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC,
		.vaddr = 0x402000,
	};
	char syms[80] = {0};
	unsigned first;

	first = elf_writer_section(w, &s, syms, sizeof(syms));
	s.vaddr = 0x403000;
	elf_writer_section(w, &s, hash, sizeof(hash));
	s.vaddr = 0x404000;
	elf_writer_section(w, &s, gnu_hash, sizeof(gnu_hash));
	s.vaddr = 0x405000;
	elf_writer_section(w, &s, dynamic, sizeof(dynamic));
	elf_writer_segment(w, PT_LOAD, PF_R, first, first + 3);
	elf_writer_segment(w, PT_DYNAMIC, PF_R, first + 3, first + 3);
}

int fuzz_seed(unsigned n, struct buf *out)
{
	struct elf_writer_symbol sym = {"main", 0x401000, 16, STB_GLOBAL, STT_FUNC, 1};
	struct elf_writer w;

	if (n >= 4)
		return -1;
	elf_writer_init(&w, n % 2 ? ET_DYN : ET_EXEC);
	seed_sections(&w, n);
	if (n >= 2)
		seed_dynamic(&w);
	if (n != 3) {
		elf_writer_symbol(&w, &sym);
		elf_writer_dynamic_symbol(&w, &sym);
	}
	elf_writer_finish(&w, out);
	if (n == 3) // no section headers: everything through program headers
		memset(out->data + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
	elf_writer_deinit(&w);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver over a hostile ELF image: symbol choice, PLT decoding, demangling. */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/resolver.h"
#include "tests/elf/elf_writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct resolver_config config = {.kallsyms = "/dev/null", .debug_dirs = "/nowhere"};
	struct symbol_query q[64];
	struct module_table modules;
	struct module_key key = {0};
	struct resolver r;
	struct module *m;
	uint8_t *image = malloc(len ? len : 1);

	if (!image)
		return 0;
	if (len)
		memcpy(image, data, len);
	module_table_init(&modules, 4, 4);
	if (resolver_init(&r, &modules, NULL, &config))
		abort();
	// Without a mount namespace to search, so that no input leads to files of this machine.
	if (module_table_intern(&modules, &key, "[vdso]", &m) == 0)
		module_open_image(&modules, m, image, len);
	else
		free(image);
	for (size_t i = 0; i < ARRAY_SIZE(q); i++)
		q[i] = (struct symbol_query){
			.space = SYMBOL_MODULE,
			.owner = 1,
			.return_address = i % 2,
			.addr = i < 32 ? 0x1000 + i * 8 : 0x2000 + (i - 32) * 2,
		};
	resolver_resolve(&r, q, ARRAY_SIZE(q));
	resolver_deinit(&r);
	module_table_deinit(&modules);
	return 0;
}

/* Two lazy stubs in .plt, one through the GOT in .plt.sec, and their relocations. */
static void seed_plt(struct elf_writer *w)
{
	static const uint8_t plt[48] = {
		[16] = 0xff, 0x25, 0xe2, 0x0f, 0, 0, 0x68, 0, 0, 0, 0, [32] = 0x68, 1};
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
	struct elf_writer_section r = {
		.name = ".rela.plt",
		.type = SHT_RELA,
		.entsize = sizeof(Elf64_Rela),
	};
	struct elf_writer_symbol sym = {"_ZN3foo3barEv", 0, 0, STB_GLOBAL, STT_FUNC, 0};
	unsigned n = elf_writer_section(w, &s, plt, sizeof(plt));

	elf_writer_section(w, &r, relas, sizeof(relas));
	elf_writer_segment(w, PT_LOAD, PF_R | PF_X, n, n);
	elf_writer_dynamic_symbol(w, &sym);
	elf_writer_dynamic_symbol(w, &sym);
}

static void seed_symbols(struct elf_writer *w)
{
	static const char *const names[] = {"main", "_Z1fIiEvT_", "_RNvC6_123foo3bar",
		"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "_D3foo3barFiZv", "__alias"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct elf_writer_symbol s = {
			.name = names[i],
			.value = 0x401000 + i / 2 * 0x20,
			.size = i % 3 * 0x10,
			.bind = (uint8_t)(i % 3),
			.type = i == 4 ? STT_NOTYPE : STT_FUNC,
			.section = 1,
		};

		elf_writer_symbol(w, &s);
	}
}

int fuzz_seed(unsigned n, struct buf *out)
{
	struct elf_writer w;

	if (n >= 3)
		return -1;
	elf_writer_init(&w, ET_DYN);
	elf_writer_code(&w, ".text", 0x401000, 0x100);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	if (n != 1)
		seed_symbols(&w);
	if (n != 0)
		seed_plt(&w);
	elf_writer_finish(&w, out);
	elf_writer_deinit(&w);
	return 0;
}

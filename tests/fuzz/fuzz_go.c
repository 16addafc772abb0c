/* SPDX-License-Identifier: Apache-2.0 */
/* Go tables of every known version, inside ELF files made here. */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/go_names.h"
#include "tests/elf/elf_writer.h"

#define TEXT 0x401000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint64_t asked[] = {
		0, TEXT, TEXT + 0x18, TEXT + 0x40, TEXT + 0xff, UINT64_MAX};
	struct buf text = BUF_INIT(GO_NAME_MAX + 1);
	uint8_t *image = malloc(len + 1);
	struct go_function f;
	struct module *m;
	struct go_names t;
	uint32_t line;

	if (!image)
		abort();
	if (len)
		memcpy(image, data, len);
	if (module_standalone_image(image, len, &m))
		return 0;
	if (go_names_open(m, &t) == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
			if (go_names_find(&t, asked[i], &f))
				continue;
			go_function_name(&t, &f, &text);
			go_function_start_line(&t, &f);
			go_function_line(&t, &f, asked[i], &text, &line);
		}
		go_names_close(&t);
	}
	module_standalone_free(m);
	buf_deinit(&text);
	return 0;
}

static void put(struct buf *b, uint64_t v, size_t bytes)
{
	buf_append(b, &v, bytes);
}

/* Two functions of 64 bytes that share a struct, one file, one line. Layout: header 72, functab 20 or
 * 40, struct 48, names, file, pc tables. */
static void make_table(struct buf *b, uint32_t magic)
{
	bool small = magic == 0xfffffff0 || magic == 0xfffffff1;
	size_t field = small ? 4 : 8, functab = 5 * field;

	put(b, magic, 4);
	put(b, 0x08010000, 4);
	put(b, 2, 8); // functions
	put(b, 1, 8); // files
	if (small)
		put(b, TEXT, 8);
	put(b, 72 + functab + 48, 8); // names
	put(b, 72 + functab + 64, 8); // units
	put(b, 72 + functab + 72, 8); // files
	put(b, 72 + functab + 88, 8); // pc tables
	put(b, 72, 8); // functions
	if (!small)
		put(b, 0, 8);
	put(b, small ? 0 : TEXT, field);
	put(b, functab, field);
	put(b, small ? 0x40 : TEXT + 0x40, field);
	put(b, functab, field);
	put(b, small ? 0x80 : TEXT + 0x80, field);
	put(b, small ? 0 : TEXT, field); // of the struct: entry
	put(b, 0, 4); // name
	put(b, 0, 8);
	put(b, 0, 4);
	put(b, 1, 4); // file table
	put(b, 5, 4); // line table
	put(b, 0, 4);
	put(b, 0, 4); // unit
	put(b, 7, 4); // start line
	put(b, 0, 12 - field);
	buf_append(b, "main.function\0\0\0", 16);
	put(b, 0, 8);
	buf_append(b, "/tmp/main.go\0\0\0\0", 16);
	buf_append(b, "\0\x02\x80\x01\0\x14\x40\x02\x40\0", 10);
	put(b, 0, 8);
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const uint32_t magics[] = {0xfffffffb, 0xfffffffa, 0xfffffff0, 0xfffffff1};
	struct buf table = BUF_INIT(4096);
	struct elf_writer_section s = {
		.name = ".gopclntab", .type = SHT_PROGBITS, .flags = SHF_ALLOC, .vaddr = 0x500000};
	struct elf_writer w;
	unsigned code;

	if (n >= ARRAY_SIZE(magics))
		return -1;
	make_table(&table, magics[n]);
	elf_writer_init(&w, ET_EXEC);
	code = elf_writer_code(&w, ".text", TEXT, 0x100);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, code, code);
	elf_writer_section(&w, &s, table.data, table.len);
	elf_writer_finish(&w, out);
	elf_writer_deinit(&w);
	buf_deinit(&table);
	return 0;
}

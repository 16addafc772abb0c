/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile file that looks like CPython: symbols, version, code of accessors, outlined parts. */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/python/attach.h"
#include "runtime/python/locate.h"
#include "tests/elf/elf_writer.h"
#include "tests/runtime/debug_offsets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *image = malloc(len ? len : 1);
	struct py_module py;
	struct py_slot slot;
	struct module *m;

	if (!image)
		return 0;
	if (len)
		memcpy(image, data, len);
	if (module_standalone_image(image, len, &m))
		return 0;
	if (py_locate(m, "libpython3.8.so", &py) == 0 && py.nranges > PY_EVAL_RANGES)
		abort();
	py_slot_locate(m, &slot);
	module_standalone_free(m);
	return 0;
}

static void add_symbol(struct elf_writer *w, const char *name, uint64_t value, uint64_t size)
{
	struct elf_writer_symbol s = {name, value, size, STB_GLOBAL, STT_FUNC, 1};

	elf_writer_dynamic_symbol(w, &s);
}

/* jcc out of the eval function, to two places in a small function far away. */
static void write_code(uint8_t *code, size_t len)
{
	static const uint8_t get[] = {0x64, 0x48, 0x8b, 0x04, 0x25, 0xf8, 0xff, 0xff, 0xff, 0xc3};

	memset(code, 0xcc, len);
	for (unsigned i = 0; i < 8; i++) {
		int32_t rel = 0x6000 + (int32_t)(i % 2) * 4 - (int32_t)(0x100 + i * 16 + 6);

		code[0x100 + i * 16] = 0x0f;
		code[0x101 + i * 16] = 0x84;
		memcpy(code + 0x102 + i * 16, &rel, 4);
	}
	memcpy(code + 0x7000, get, sizeof(get));
}

int fuzz_seed(unsigned n, struct buf *out)
{
	static const struct elf_writer_section text = {.name = ".text",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC | SHF_EXECINSTR,
		.vaddr = 0x401000};
	static const struct elf_writer_section data = {.name = ".PyRuntime",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC | SHF_WRITE,
		.vaddr = 0x410000};
	static uint8_t code[0x8000];
	struct elf_writer w;

	if (n >= 3)
		return -1;
	write_code(code, sizeof(code));
	memcpy(code + 0x7800,
		"\0"
		"3.8.10\0",
		8);
	elf_writer_init(&w, ET_DYN);
	elf_writer_section(&w, &text, code, sizeof(code));
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	if (n) {
		unsigned s = elf_writer_section(&w, &data,
			n == 1 ? debug_offsets_313 : debug_offsets_314,
			n == 1 ? sizeof(debug_offsets_313) : sizeof(debug_offsets_314));

		elf_writer_segment(&w, PT_LOAD, PF_R | PF_W, s, s);
	}
	add_symbol(&w, "_PyEval_EvalFrameDefault", 0x401000, 0x5000);
	add_symbol(&w, n ? "_Py_NoneStruct" : "_PyRuntime", 0x410000, 16);
	add_symbol(&w, "_PyThreadState_GetCurrent", 0x408000, 10);
	add_symbol(&w, "PyGILState_GetThisThreadState", 0x408000, 10);
	add_symbol(&w, "pthread_getspecific", 0x408000, 10);
	elf_writer_finish(&w, out);
	elf_writer_deinit(&w);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* DWARF of a file, through libdw: what it makes of lines, functions and inlined calls. The seed is a
 * small program's, written here (DWARF 4 sections 6.2.4 and 7.5). */
#include "tests/fuzz/fuzz.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "symbol/dwarf_lines.h"
#include "tests/elf/elf_writer.h"

#define TEXT 0x401000u
#define QUESTIONS 32

static int touch(void *arg, const struct dwarf_answer *a)
{
	size_t *sum = arg;

	*sum += a->file ? strlen(a->file) : 0;
	for (unsigned i = 0; i < a->ninlines; i++)
		*sum += strlen(a->inlines[i].name) +
			(a->inlines[i].file ? strlen(a->inlines[i].file) : 0);
	return 0;
}

static void ask(struct dwarf_lines *d, bool inlines, size_t *sum)
{
	struct dwarf_question q[QUESTIONS];
	const struct dwarf_batch batch = {.questions = q, .n = QUESTIONS, .inlines = inlines};

	for (uint32_t i = 0; i < QUESTIONS; i++)
		q[i] = (struct dwarf_question){TEXT + 2 * i, i};
	dwarf_lines_ask(d, &batch, touch, sum);
}

/* Bytes of all names and places that the file tells. */
static size_t tell(const uint8_t *data, size_t len)
{
	uint8_t *image = malloc(len ? len : 1);
	struct dwarf_lines *d;
	struct module *m;
	size_t sum = 0;

	if (!image)
		return 0;
	if (len)
		memcpy(image, data, len);
	if (module_standalone_image(image, len, &m))
		return 0;
	if (!dwarf_lines_open(m, NULL, &d)) {
		ask(d, false, &sum);
		ask(d, true, &sum);
		dwarf_lines_free(d);
	}
	module_standalone_free(m);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t sum = tell(data, len);

	// Keeps the reads from being optimised away.
	__asm__ volatile("" : : "r"(sum));
	return 0;
}

static void put(struct buf *b, uint64_t value, unsigned bytes)
{
	buf_append(b, &value, bytes);
}

static void put_abbreviations(struct buf *b)
{
	static const uint8_t all[] = {1, 0x11, 1, 0x03, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0,
		0, // unit
		2, 0x2e, 1, 0x03, 0x08, 0x3b, 0x0b, 0x11, 0x01, 0x12, 0x06, 0, 0, // function
		3, 0x1d, 0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06, 0x58, 0x0b, 0x59, 0x0b, 0, 0, 4,
		0x2e, 0, 0x03, 0x08, 0x20, 0x0b, 0, 0, // a function that was inlined
		0};

	buf_append(b, all, sizeof(all));
}

static void put_range(struct buf *b, uint64_t start, uint32_t len)
{
	put(b, start, 8);
	put(b, len, 4);
}

static void put_entries(struct buf *b)
{
	uint32_t origin;

	put(b, 0, 4); // length, set below
	put(b, 4, 2);
	put(b, 0, 4); // abbreviations
	put(b, 8, 1);
	put(b, 1, 1);
	buf_append(b, "a.c", 4);
	put(b, 0, 4); // lines
	put_range(b, TEXT, 64);
	origin = (uint32_t)b->len;
	put(b, 4, 1);
	buf_append(b, "inner", 6);
	put(b, 1, 1);
	put(b, 2, 1);
	buf_append(b, "outer", 6);
	put(b, 7, 1);
	put_range(b, TEXT, 48);
	put(b, 3, 1);
	put(b, origin, 4);
	put_range(b, TEXT + 8, 16);
	put(b, 1, 1);
	put(b, 9, 1);
	put(b, 0, 2); // ends of both
	origin = (uint32_t)b->len - 4;
	memcpy(b->data, &origin, 4);
}

static void put_lines(struct buf *b)
{
	static const uint8_t head[] = {1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0,
		'a', '.', 'c', 0, 0, 0, 0, 0};
	static const uint8_t program[] = {
		0x4b, 2, 4, 0x14, 2, 8, 0x22, 2, 16, 0, 1, 1}; // special, advance, ..., end
	uint32_t len;

	put(b, 0, 4); // length, set below
	put(b, 4, 2);
	put(b, sizeof(head), 4);
	buf_append(b, head, sizeof(head));
	put(b, 0x020900, 3); // DW_LNE_set_address
	put(b, TEXT, 8);
	buf_append(b, program, sizeof(program));
	len = (uint32_t)b->len - 4;
	memcpy(b->data, &len, 4);
}

static void add(struct elf_writer *w, const char *name, void (*fill)(struct buf *b))
{
	const struct elf_writer_section s = {.name = name, .type = SHT_PROGBITS};
	struct buf b = BUF_INIT(4096);

	fill(&b);
	elf_writer_section(w, &s, b.data, b.len);
	buf_deinit(&b);
}

int fuzz_seed(unsigned n, struct buf *out)
{
	struct elf_writer w;

	if (n)
		return -1;
	elf_writer_init(&w, ET_EXEC);
	elf_writer_code(&w, ".text", TEXT, 64);
	elf_writer_segment(&w, PT_LOAD, PF_R | PF_X, 1, 1);
	add(&w, ".debug_abbrev", put_abbreviations);
	add(&w, ".debug_info", put_entries);
	add(&w, ".debug_line", put_lines);
	elf_writer_finish(&w, out);
	elf_writer_deinit(&w);
	// A seed of which libdw makes nothing would test nothing.
	return tell((const uint8_t *)out->data, out->len) > 40 ? 0 : -1;
}

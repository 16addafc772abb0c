/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile file's unwind information: .eh_frame_hdr, .eh_frame and .gopclntab, by way of the page
 * builder, and the full evaluation of its rows. The input is the file's image; its first bytes are
 * the header's table. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "unwind/build.h"
#include "unwind/evaluate.h"

#define SEED_BYTES 512
#define TEXT_AT 0x1000

static bool read_memory(void *arg, uint64_t addr, uint64_t *ret)
{
	(void)arg;
	*ret = addr * 3;
	return addr % 5 != 0;
}

static int on_row(void *arg, uint64_t start, uint64_t end, const struct cfi_row *row)
{
	static const struct evaluate_memory mem = {read_memory, NULL};
	struct evaluate_regs in = {.valid = 0xffff}, out;

	(void)arg;
	if (start < end)
		evaluate_row(row, &in, &mem, &out);
	return 0;
}

static int on_fde(void *arg, const struct cfi_cie *cie, const struct cfi_fde *fde)
{
	return cfi_run(cie, fde, on_row, arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct tables_config config = {.pool_bytes = 4096, .dir_entries = 16, .maps = 16};
	struct build_module bm = {.id = 1};
	struct module m = {.id = 1, .state = MODULE_OPEN, .fd = -1, .machine = 62};
	struct build_address a = {.m = &m, .bm = &bm, .vaddr = TEXT_AT};
	struct builder builder;
	struct tables tables;
	static uint8_t page[PAGE_BYTES_MAX];

	if (!len || tables_init(&tables, &config))
		return 0;
	// The image is read-only text and data at once; addresses are offsets.
	m.image = (uint8_t *)data;
	m.size = len;
	m.entry = TEXT_AT;
	m.segments[0] = (struct module_segment){0, 0, 3 * UW_PAGE_BYTES, 3 * UW_PAGE_BYTES, 5};
	m.segments[1] = (struct module_segment){0, 0, len, len, 4};
	m.nsegments = 2;
	m.eh_frame_hdr_len = len;
	builder_init(&builder, &tables);
	for (uint64_t p = 0; p < 2; p++)
		if (!build_page(&builder, &m, &bm, p))
			page_encode(&builder.rows, TABLES_RULE_COMPLEX, page);
	build_find(&builder, &a, on_fde, NULL);
	build_close(&bm);
	builder_deinit(&builder);
	tables_deinit(&tables);
	return 0;
}

static void put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
}

/* Header with two entries, a CIE, a plain FDE and one with expressions. */
static void seed_frames(uint8_t *b, bool signal)
{
	static const uint8_t hdr[] = {1, 0x1b, 3, 0x3b, 0x1c, 0, 0, 0, 2, 0, 0, 0, //
		0, 0x10, 0, 0, 0x38, 0, 0, 0, 0, 0x12, 0, 0, 0x58, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t cie[] = {0x14, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1,
		0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0};
	static const uint8_t fde[] = {0x1c, 0, 0, 0, 0x1c, 0, 0, 0, 0xc0, 0x0f, 0, 0, 0x80, 0, 0, 0,
		0, 0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x0a, 0x02, 0x20, 0x0c, 7, 8, 0x0b};
	static const uint8_t exprs[] = {0x24, 0, 0, 0, 0x3c, 0, 0, 0, 0xa0, 0x11, 0, 0, 0x40, 0, 0,
		0, 0, 0x0f, 3, 0x76, 0x78, 6, 0x10, 6, 2, 0x76, 0, 0x16, 3, 4, 0x77, 8, 0x73, 0,
		0x45, 0x2e, 16, 0x07, 16, 0};

	put(b, hdr, sizeof(hdr));
	put(b + 0x20, cie, sizeof(cie));
	put(b + 0x38, fde, sizeof(fde));
	put(b + 0x58, exprs, sizeof(exprs));
	if (signal)
		put(b + 0x20 + 9, "zS", 2);
}

static void put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

/* A table of two functions, as Go 1.20 writes it. */
static void seed_go(uint8_t *b)
{
	static const uint8_t magic[] = {0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8};
	static const uint32_t functab[] = {0, 24, 0x100, 68, 0x200};
	static const uint32_t func[] = {0, 1, 0, 0, 1, 0, 0};
	static const uint8_t pcsp[] = {0, 2, 16, 0x40, 32, 0x20, 15, 0x40, 0};

	put(b, magic, sizeof(magic));
	put64(b + 8, 2);
	put64(b + 24, TEXT_AT);
	put64(b + 32, 80); // names
	put64(b + 56, 110); // pctab
	put64(b + 64, 130); // functab
	put(b + 81, "runtime.systemstack", 20);
	put(b + 110, pcsp, sizeof(pcsp));
	put(b + 130, functab, sizeof(functab));
	put(b + 130 + 24, func, sizeof(func));
	put(b + 130 + 68, func, sizeof(func));
}

int fuzz_seed(unsigned n, struct buf *out)
{
	uint8_t b[SEED_BYTES] = {0};

	switch (n) {
	case 0:
	case 1:
		seed_frames(b, n == 1);
		break;
	case 2:
		seed_go(b);
		break;
	case 3: // both in one file
		seed_frames(b, false);
		seed_go(b + 256);
		break;
	default:
		return -1;
	}
	return buf_append(out, b, sizeof(b));
}

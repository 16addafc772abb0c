/* SPDX-License-Identifier: Apache-2.0 */
/* What is given back is no more resident, and is there again when it is used. */
#include "tests/harness.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/resident.h"

#define LARGE ((size_t)8 << 20)
#define GLIBC_MALLOC 1
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#undef GLIBC_MALLOC
#define GLIBC_MALLOC 0
#endif
#endif

/* In the program's file. */
static const unsigned char constants[LARGE] = {1, [4096] = 7, [LARGE - 1] = 9};

static unsigned long field(const char *name)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long kb = 0;
	char line[256];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			kb = strtoul(line + strlen(name), NULL, 10);
	fclose(f);
	return kb;
}

static unsigned long sum(void)
{
	const volatile unsigned char *p = constants;
	unsigned long total = 0;

	for (size_t i = 0; i < LARGE; i += 512)
		total += p[i];
	return total + p[LARGE - 1];
}

static void resident__constants_go_and_come_back(void **state)
{
	unsigned long before, after;

	(void)state;
	assert_int_equal(sum(), 17);
	before = field("RssFile:");
	resident_give_back();
	after = field("RssFile:");
	if (after + LARGE / 2048 > before)
		fail_msg("%lu kB of files, then %lu", before, after);
	assert_int_equal(sum(), 17);
	assert_true(field("RssFile:") >= after + LARGE / 2048);
}

/* Freed blocks that the thread keeps for itself, one here and one there, keep no pages. */
static void resident__freed_blocks_are_no_longer_spread(void **state)
{
	enum { SIZES = 64, EACH = 700, KEPT = 7 };
	static void *blocks[SIZES][EACH];
	unsigned long before, after;

	(void)state;
	for (size_t i = 0; i < EACH; i++)
		for (size_t n = 0; n < SIZES; n++)
			assert_non_null(blocks[n][i] = memset(malloc(24 + 16 * n), 1, 24 + 16 * n));
	// The first to be freed are the ones that are kept.
	for (size_t n = 0; n < SIZES; n++)
		for (size_t k = 0; k < KEPT; k++) {
			free(blocks[n][k * 100 + n]);
			blocks[n][k * 100 + n] = NULL;
		}
	for (size_t n = 0; n < SIZES; n++)
		for (size_t i = 0; i < EACH; i++)
			free(blocks[n][i]);
	malloc_trim(0);
	before = field("RssAnon:");
	resident_empty_cache();
	after = field("RssAnon:");
	// What the thread itself takes is far less. (Another allocator has no such cache.)
	if (GLIBC_MALLOC && after + 1024 > before)
		fail_msg("%lu kB anonymous, then %lu", before, after);
}

static void resident__what_is_in_use_stays(void **state)
{
	char *heap = malloc(LARGE);
	static char data[4096] = "data", zero[4096];

	(void)state;
	assert_non_null(heap);
	memset(heap, 3, LARGE);
	memcpy(zero, "zero", sizeof("zero"));
	resident_give_back();
	for (size_t i = 0; i < LARGE; i += 4096)
		assert_int_equal(heap[i], 3);
	assert_string_equal(data, "data");
	assert_string_equal(zero, "zero");
	free(heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(resident__constants_go_and_come_back),
		cmocka_unit_test(resident__freed_blocks_are_no_longer_spread),
		cmocka_unit_test(resident__what_is_in_use_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

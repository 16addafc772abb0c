/* SPDX-License-Identifier: Apache-2.0 */
/* The replay driver of a fuzz target; see fuzz.h. Prints TAP: one line a seed.
 * FUZZ_MUTATIONS in the environment: mutations a seed (default 2000). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tests/fuzz/fuzz.h"

#define MUTATIONS_DEFAULT 2000
#define TRUNCATIONS_MAX 512
#define INPUT_MAX (1 << 20)

static uint64_t rng_next(uint64_t *s)
{
	// xorshift64*, Vigna 2016: deterministic, so that a failure can be run again.
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static void run(const char *data, size_t len)
{
	// A tight copy, so that AddressSanitizer sees a read of one byte too many.
	uint8_t *tight = malloc(len ? len : 1);

	if (!tight)
		abort();
	if (len)
		memcpy(tight, data, len);
	LLVMFuzzerTestOneInput(tight, len);
	free(tight);
}

static void mutate(struct buf *b, uint64_t *rng)
{
	static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x40, 0x20};
	unsigned edits = 1 + (unsigned)(rng_next(rng) % 8);

	while (edits-- && b->len) {
		size_t at = rng_next(rng) % b->len;
		size_t n = 1 + rng_next(rng) % 8;

		switch (rng_next(rng) % 5) {
		case 0:
			b->data[at] ^= (char)(1u << (rng_next(rng) % 8));
			break;
		case 1:
			b->data[at] = (char)edges[rng_next(rng) % sizeof(edges)];
			break;
		case 2:
			memset(b->data + at, (int)edges[rng_next(rng) % sizeof(edges)],
				MIN(n, b->len - at));
			break;
		case 3:
			b->len = rng_next(rng) % 4 ? b->len : at;
			break;
		default:
			memmove(b->data + at, b->data + rng_next(rng) % b->len, 1);
		}
	}
}

int main(void)
{
	const char *env = getenv("FUZZ_MUTATIONS");
	long mutations = env ? strtol(env, NULL, 10) : MUTATIONS_DEFAULT;
	struct buf seed = BUF_INIT(INPUT_MAX), input = BUF_INIT(INPUT_MAX);
	uint64_t rng = 0x9e3779b97f4a7c15ull;
	unsigned n = 0;

	for (; buf_clear(&seed), fuzz_seed(n, &seed) == 0; n++) {
		size_t step = seed.len / TRUNCATIONS_MAX + 1;

		for (size_t len = 0; len <= seed.len; len += step)
			run(buf_str(&seed), len);
		run(buf_str(&seed), seed.len);
		for (long i = 0; i < mutations; i++) {
			buf_clear(&input);
			buf_append(&input, buf_str(&seed), seed.len);
			mutate(&input, &rng);
			run(buf_str(&input), input.len);
		}
		printf("ok %u - seed %u (%zu bytes, %ld mutations)\n", n + 1, n, seed.len,
			mutations);
	}
	printf("1..%u\n", n);
	buf_deinit(&seed);
	buf_deinit(&input);
	return n ? 0 : 1;
}

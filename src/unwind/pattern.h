/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/pattern.h -- code known by its bytes: where a thread begins in a C library without CFI, and
 * signal trampolines. Any thread. */
#ifndef GP_UNWIND_PATTERN_H
#define GP_UNWIND_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_BYTES 16 // the longest

struct pattern {
	unsigned before, len; // the rule holds from p - before to p + len
	uint8_t cfa; // enum uw_cfa
	bool weak; // only where the frame is not known otherwise
};

/* p: at least PATTERN_BYTES. */
bool pattern_match(const uint8_t *p, struct pattern *ret);

/* A few bytes, found by the one of them that is rare in code: as memmem(), which is slow for short ones. */
struct pattern_bytes {
	uint8_t bytes[4];
	uint8_t len, rare; // index
};
const uint8_t *pattern_find(const uint8_t *p, const uint8_t *end, const struct pattern_bytes *b);

/* Calls fn for each pattern in code, with the offset of its first byte; in no order. The bytes that make
 * them rare are searched for, not each place looked at: most code holds none. */
typedef void (*pattern_fn)(void *arg, size_t at, const struct pattern *found);
void pattern_search(const uint8_t *code, size_t len, pattern_fn fn, void *arg);

#endif

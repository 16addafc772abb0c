/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/pattern.h -- code known by its bytes: where a thread begins in a C library without CFI, and
 * signal trampolines. Any thread. */
#ifndef GP_UNWIND_PATTERN_H
#define GP_UNWIND_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#define PATTERN_BYTES 16 // the longest

struct pattern {
	unsigned before, len; // the rule holds from p - before to p + len
	uint8_t cfa; // enum uw_cfa
	bool weak; // only where the frame is not known otherwise
};

/* p: at least PATTERN_BYTES. */
bool pattern_match(const uint8_t *p, struct pattern *ret);

#endif

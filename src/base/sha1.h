/* SPDX-License-Identifier: Apache-2.0 */
/* base/sha1.h -- SHA-1 (FIPS 180-4), for names of files that have no build id; no protection of
 * anything. One thread a state. */
#ifndef GP_BASE_SHA1_H
#define GP_BASE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_LEN 20

struct sha1 {
	uint32_t h[5];
	uint64_t len; // bytes taken
	uint8_t block[64];
};

void sha1_init(struct sha1 *s);
void sha1_update(struct sha1 *s, const void *data, size_t len);
/* The digest; the state is used up. */
void sha1_final(struct sha1 *s, uint8_t ret[SHA1_LEN]);

#endif

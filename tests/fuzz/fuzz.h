/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz/fuzz.h -- one fuzz target a file.
 *
 * A target defines LLVMFuzzerTestOneInput() (libFuzzer's entry) and fuzz_seed(). `make fuzz` links it
 * with libFuzzer; in every test run fuzz_main.c links it instead: it replays all seeds, their
 * truncations and a fixed number of deterministic mutations under the sanitizers. Seeds are made
 * by code, never committed as blobs; an input that once failed becomes a seed. */
#ifndef GP_TESTS_FUZZ_H
#define GP_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Appends the n-th seed to out. Return 0, or -1 if there is no n-th. */
int fuzz_seed(unsigned n, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/perf_map.h -- /tmp/perf-PID.map: names that a runtime writes for its JIT code.
 *
 * Format: Linux tools/perf/Documentation/jit-interface.txt: a line a function, "START SIZE NAME",
 * START and SIZE in hexadecimal. The file grows while the process runs; what was read once is not
 * read again. Hostile text. Owned by the resolver's thread. */
#ifndef GP_SYMBOL_PERF_MAP_H
#define GP_SYMBOL_PERF_MAP_H

#include "base/buf.h"
#include "symbol/jit_index.h"

#define PERF_MAP_NAME_MAX 1024 // longer names are cut
#define PERF_MAP_BYTES_MAX (512u << 20) // of the file; the rest is not read

struct perf_map {
	int fd; // owned, -1 none
	uint64_t done; // bytes parsed: whole lines
	struct jit_index index;
	uint64_t malformed; // lines
};

/* Takes the descriptor over. */
void perf_map_init(struct perf_map *m, int fd);
void perf_map_deinit(struct perf_map *m);
/* Reads what was appended since the last call; starts again if the file was truncated.
 * Return 0, -ENOSPC cut at a cap, -ENOMEM, -errno. */
int perf_map_update(struct perf_map *m);
/* Replaces ret's text with the name at an address. Return 0, -ENOENT, -ENOMEM, -errno. */
int perf_map_name(const struct perf_map *m, uint64_t addr, struct buf *ret, uint64_t *ret_start);

/* The parser alone: adds the whole lines of text, which stands at file offset `at`.
 * Return the bytes of whole lines, -ENOSPC, -ENOMEM. */
ssize_t perf_map_parse(struct perf_map *m, const char *text, size_t len, uint64_t at);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/jitdump.h -- jit-PID.dump: what a runtime writes about its JIT code for perf inject.
 *
 * Format: Linux tools/perf/Documentation/jitdump-specification.txt, version 1. Found through the
 * mapping that the runtime makes of it. Grows while the process runs; hostile. Used: code loads and
 * moves (names) and debug information (lines). Owned by the resolver's thread. */
#ifndef GP_SYMBOL_JITDUMP_H
#define GP_SYMBOL_JITDUMP_H

#include "base/buf.h"
#include "symbol/jit_index.h"

#define JITDUMP_NAME_MAX 1024
#define JITDUMP_RECORDS_MAX (1u << 22)

struct jitdump {
	int fd; // owned, -1 none
	bool checked; // the file header was read and is right
	uint64_t done; // bytes parsed: whole records
	uint64_t records;
	struct jit_index index; // of names
	struct jit_index lines; // of debug records, by the code address they are for
};

struct jitdump_line {
	uint32_t line; // 0 unknown
	char file[JITDUMP_NAME_MAX];
};

/* Takes the descriptor over. */
void jitdump_init(struct jitdump *d, int fd);
void jitdump_deinit(struct jitdump *d);
/* Reads what was appended. Return 0, -EINVAL not a jitdump or broken from here on, -ENOSPC,
 * -ENOMEM, -errno. */
int jitdump_update(struct jitdump *d);
/* Replaces ret's text with the name at an address. Return 0, -ENOENT, -ENOMEM, -errno. */
int jitdump_name(const struct jitdump *d, uint64_t addr, struct buf *ret, uint64_t *ret_start);
/* The line of an address. Return 0, -ENOENT, -errno. */
int jitdump_line(const struct jitdump *d, uint64_t addr, struct jitdump_line *ret);

#endif

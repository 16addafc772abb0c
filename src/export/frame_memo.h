/* SPDX-License-Identifier: Apache-2.0 */
/* export/frame_memo.h -- {symbol, module} as written -> texts of a fold, so that a line that was
 * seen before costs one look-up. A cache: emptied when it is full or when the fold's ids die.
 * One thread. */
#ifndef GP_EXPORT_FRAME_MEMO_H
#define GP_EXPORT_FRAME_MEMO_H

#include <stddef.h>
#include <stdint.h>

#include "export/perf_script.h"

#define FRAME_MEMO_TEXTS_MAX 64 // frames of one line, "a->b->c"

struct frame_memo_entry {
	uint64_t hash;
	uint32_t offset, symbol_len, dso_len; // of the key in bytes
	uint32_t variant; // callers' part of the key
	uint32_t first, count; // in ids
};

struct frame_memo {
	uint32_t nslots, max_entries, nentries;
	uint32_t *slots; // entry number or 0
	struct frame_memo_entry *entries;
	char *bytes;
	uint32_t nbytes, max_bytes;
	uint32_t *ids;
	uint32_t nids, max_ids;
};

/* About `bytes` in all. Return 0, -ENOMEM. */
int frame_memo_init(struct frame_memo *m, size_t bytes);
void frame_memo_deinit(struct frame_memo *m);
void frame_memo_clear(struct frame_memo *m);

uint64_t frame_memo_hash(const struct perf_script_frame *frame, uint32_t variant);
/* The texts, root first, or NULL. Dies at the next add or clear. */
const uint32_t *frame_memo_find(const struct frame_memo *m, const struct perf_script_frame *frame,
	uint32_t variant, uint64_t hash, uint32_t *ret_count);

struct frame_memo_texts {
	uint32_t ids[FRAME_MEMO_TEXTS_MAX];
	uint32_t count;
};
/* Remembers; does nothing when the entry alone is too large. */
void frame_memo_add(struct frame_memo *m, const struct perf_script_frame *frame, uint32_t variant,
	uint64_t hash, const struct frame_memo_texts *texts);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/weave.h -- interpreter frames and native frames of one sample become one stack.
 *
 * Each run of interpreter frames takes the place of the eval frame that runs it. Where the
 * interpreter leaves a mark on the C stack (REC_FRAME_ENTRY), the place is exact: the mark lies inside
 * of that eval's C frame. Where it leaves none, runs and eval frames are paired from the leaf. An
 * eval frame without a run (just being entered or left) stays the native frame it is; runs without an
 * eval frame (the native part is cut, broken or was not asked for) stand at the root. Nothing is
 * dropped. Any thread. */
#ifndef GP_UNWIND_WEAVE_H
#define GP_UNWIND_WEAVE_H

#include <stdint.h>

#include "bpf/abi/record.h"

#define WEAVE_WORDS_MAX (REC_RUNTIME_WORDS_MAX + REC_USER_WORDS_MAX)

/* All leaf first. ret holds WEAVE_WORDS_MAX words: frames of the kinds NATIVE and of interpreters.
 * Return how many words there are. Malformed words are left out. */
unsigned weave(const uint64_t *runtime, unsigned nruntime, const uint64_t *native, unsigned nnative,
	uint64_t *ret);

/* Words of the frame that begins with this one, in any of the three lists. */
static inline unsigned weave_words(uint64_t word)
{
	unsigned kind = REC_FRAME_KIND(word);

	return kind == REC_FRAME_NATIVE || kind == REC_FRAME_ENTRY ? 1 : 2;
}

#endif

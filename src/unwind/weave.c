/* SPDX-License-Identifier: Apache-2.0 */
#include "unwind/weave.h"

#include <stdbool.h>

struct weave {
	const uint64_t *runtime;
	unsigned nruntime, at; // at: the first run that has no place yet
	uint64_t *out;
	unsigned n;
};

struct run {
	unsigned end; // index of the word after its frames
	unsigned next; // of the run after it
	bool marked; // it ends in an entry mark
	uint64_t mark;
};

static struct run run_at(const struct weave *w, unsigned at)
{
	while (at < w->nruntime) {
		uint64_t word = w->runtime[at];
		unsigned words = weave_words(word);

		if (REC_FRAME_KIND(word) == REC_FRAME_ENTRY)
			return (struct run){at, at + 1, true, word & REC_FRAME_DATA_MASK};
		if (at + words > w->nruntime)
			break;
		at += words;
		if (word & REC_FRAME_RUN_END)
			return (struct run){.end = at, .next = at};
	}
	return (struct run){.end = at, .next = w->nruntime};
}

static void take(struct weave *w, const struct run *run)
{
	for (unsigned i = w->at; i < run->end && w->n < WEAVE_WORDS_MAX; i++)
		w->out[w->n++] = w->runtime[i];
	w->at = run->next;
}

/* The runs of the eval frame whose C frame ends at `end`, and those before it whose own eval frame
 * was not seen. */
static bool take_runs(struct weave *w, uint64_t end)
{
	unsigned before = w->n;

	while (w->at < w->nruntime) {
		struct run run = run_at(w, w->at);

		// Of another eval frame, or no mark to say that it is not.
		if (run.marked ? run.mark >= end : w->n != before)
			break;
		take(w, &run);
		if (!run.marked)
			break;
	}
	return w->n != before;
}

static void take_native(struct weave *w, uint64_t word)
{
	if (w->n < WEAVE_WORDS_MAX)
		w->out[w->n++] = word & ~((uint64_t)15 << REC_FRAME_KIND_SHIFT);
}

unsigned weave(const uint64_t *runtime, unsigned nruntime, const uint64_t *native, unsigned nnative,
	uint64_t *ret)
{
	struct weave w = {.runtime = runtime, .nruntime = nruntime, .out = ret};

	for (unsigned i = 0; i < nnative;) {
		uint64_t word = native[i++];

		if (REC_FRAME_KIND(word) == REC_FRAME_NATIVE) {
			take_native(&w, word);
			continue;
		}
		if (i == nnative)
			break;
		if (REC_FRAME_KIND(word) == REC_FRAME_EVAL && !take_runs(&w, native[i]))
			take_native(&w, word);
		i++;
	}
	while (w.at < w.nruntime) {
		struct run run = run_at(&w, w.at);

		take(&w, &run);
	}
	return w.n;
}

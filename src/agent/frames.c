/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/frames.h"

#include "symbol/resolver.h"

int frames_init(struct frames *f, struct process_table *processes, struct runtimes *runtimes,
	enum bpf_unwind_mode mode)
{
	f->processes = processes;
	f->runtimes = runtimes;
	f->mode = mode;
	f->count = 0;
	return 0;
}

static void push_meta(struct frames *f, enum window_meta what, uint64_t aux)
{
	f->frames[f->count++] =
		(struct window_frame){.space = WINDOW_META, .addr = what, .aux = aux};
}

/* Why the stack does not begin where the thread did, as its root frame. */
static void push_outcome(struct frames *f, const struct frames_stack *stack)
{
	switch (stack->outcome) {
	case REC_OUT_TRUNCATED:
		push_meta(f, WINDOW_TRUNCATED, 0);
		break;
	case REC_OUT_BROKEN:
		push_meta(f, WINDOW_BROKEN, stack->reason);
		break;
	case REC_OUT_BITS32:
		push_meta(f, WINDOW_BITS32, 0);
		break;
	default:
		break;
	}
}

static int push_native(struct frames *f, const struct frames_stack *stack, uint64_t word)
{
	struct window_frame frame = {
		.space = SYMBOL_PROCESS,
		.owner = stack->process->uid,
		.addr = word & REC_FRAME_DATA_MASK,
		.kind = stack->process->interpreter,
		.mark = REC_FRAME_MARK(word),
		.return_address = !(word & REC_FRAME_EXACT),
	};
	// A call may be the last instruction of its mapping: the return address is then past it.
	uint64_t inside = frame.addr - frame.return_address;
	const struct mapping *m =
		process_mapping_resync(f->processes, stack->process, inside, stack->now);
	int r = 0;

	if (m && m->module != MODULE_NONE) {
		struct module *module = module_get(f->processes->modules, m->module);

		frame.space = SYMBOL_MODULE;
		frame.owner = m->module;
		frame.addr = frame.addr - m->start + m->pgoff;
		if (module && module->state == MODULE_NAMED)
			process_open_module(f->processes, stack->process, m);
		if (module && module->state == MODULE_OPEN)
			r = runtimes_meet(f->runtimes, stack->process, m);
	} else if (m) {
		frame.path = m->path;
	}
	f->frames[f->count++] = frame;
	return r;
}

static int push_runtime(struct frames *f, struct process *p, const uint64_t *words)
{
	uint32_t id;
	int r = runtime_frames_id(&f->runtimes->frames, p, words, &id);

	if (!r)
		f->frames[f->count++] = (struct window_frame){
			.space = WINDOW_RUNTIME,
			.kind = (uint8_t)REC_FRAME_KIND(words[0]),
			.addr = id,
		};
	return r;
}

/* The frames from `first` on, which are leaf first, to root first. */
static void turn_over(struct frames *f, size_t first)
{
	for (size_t lo = first, hi = f->count; hi > lo + 1; lo++) {
		struct window_frame frame = f->frames[--hi];

		f->frames[hi] = f->frames[lo];
		f->frames[lo] = frame;
	}
}

/* The user part, from its words, which are leaf first. */
static int push_user(struct frames *f, const struct frames_stack *stack)
{
	const struct rec_sample *rec = stack->sample->rec;
	unsigned nruntime = f->runtimes->set ? rec->runtime_words : 0;
	unsigned n = weave(stack->sample->runtime, nruntime, stack->words, stack->nwords, f->words);
	size_t first = f->count;
	int r = 0;

	if (nruntime)
		r = runtimes_learn(f->runtimes, stack->process, stack->words, stack->nwords);
	for (unsigned i = 0; i < n && !r; i += weave_words(f->words[i])) {
		if (REC_FRAME_KIND(f->words[i]) == REC_FRAME_NATIVE)
			r = push_native(f, stack, f->words[i]);
		else
			r = push_runtime(f, stack->process, f->words + i);
	}
	turn_over(f, first);
	return r;
}

int frames_read(struct frames *f, struct process *p, const uint64_t *words, size_t nwords)
{
	int r = 0;

	f->count = 0;
	for (size_t i = 0; i < nwords && f->count < FRAMES_MAX && !r;
		i += runtime_frame_words((uint8_t)REC_FRAME_KIND(words[i])))
		r = push_runtime(f, p, words + i);
	turn_over(f, 0);
	return r;
}

int frames_build(struct frames *f, const struct frames_stack *stack)
{
	const struct capture_sample *sample = stack->sample;
	unsigned nkernel = MIN(sample->rec->kernel_words, REC_KERNEL_WORDS_MAX);

	f->count = 0;
	if (stack->process) {
		int r;

		push_outcome(f, stack);
		r = push_user(f, stack);
		if (r)
			return r;
	}
	for (unsigned i = nkernel; i > 0; i--)
		f->frames[f->count++] = (struct window_frame){
			.space = SYMBOL_KERNEL,
			.addr = sample->kernel[i - 1],
			.return_address = i > 1,
		};
	return 0;
}

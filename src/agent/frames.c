/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/frames.h"

#include "symbol/resolver.h"

int frames_init(struct frames *f, struct process_table *processes, enum bpf_unwind_mode mode)
{
	f->processes = processes;
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

static void push_native(struct frames *f, const struct frames_stack *stack, uint64_t word)
{
	struct window_frame frame = {
		.space = SYMBOL_PROCESS,
		.owner = stack->process->uid,
		.addr = word & REC_FRAME_DATA_MASK,
		.mark = REC_FRAME_MARK(word),
		.return_address = !(word & REC_FRAME_EXACT),
	};
	// A call may be the last instruction of its mapping: the return address is then past it.
	uint64_t inside = frame.addr - frame.return_address;
	const struct mapping *m =
		process_mapping_resync(f->processes, stack->process, inside, stack->now);

	if (m && m->module != MODULE_NONE) {
		struct module *module = module_get(f->processes->modules, m->module);

		frame.space = SYMBOL_MODULE;
		frame.owner = m->module;
		frame.addr = frame.addr - m->start + m->pgoff;
		if (module && module->state == MODULE_NAMED)
			process_open_module(f->processes, stack->process, m);
	} else if (m) {
		frame.path = m->path;
	}
	f->frames[f->count++] = frame;
}

int frames_build(struct frames *f, const struct frames_stack *stack)
{
	const struct capture_sample *sample = stack->sample;
	unsigned nwords = MIN(stack->nwords, REC_USER_WORDS_MAX);
	unsigned nkernel = MIN(sample->rec->kernel_words, REC_KERNEL_WORDS_MAX);

	f->count = 0;
	if (stack->process) {
		push_outcome(f, stack);
		for (unsigned i = nwords; i > 0; i--)
			push_native(f, stack, stack->words[i - 1]);
	}
	for (unsigned i = nkernel; i > 0; i--)
		f->frames[f->count++] = (struct window_frame){
			.space = SYMBOL_KERNEL,
			.addr = sample->kernel[i - 1],
			.return_address = i > 1,
		};
	return 0;
}

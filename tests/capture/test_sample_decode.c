/* SPDX-License-Identifier: Apache-2.0 */
/* Perf's samples as bytes, and what is made of them. */
#include "tests/harness.h"

#include <errno.h>

#include "capture/sample_decode.h"
#include "tests/capture/ring_bytes.h"

#define NREGS 17
#define STACK 64

struct made {
	struct sample_format format;
	struct sample_parts parts;
	struct perf_event_attr attr;
	struct buf record;
	struct capture_event event;
};

static struct made *new_made(enum bpf_unwind_mode mode)
{
	struct made *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->format = (struct sample_format){.mode = mode, .kernel_stacks = true, .event = 3};
	m->record = BUF_INIT(65536);
	sample_format_make(&m->format, &m->attr, STACK + 5);
	return m;
}

static void free_made(struct made *m)
{
	buf_deinit(&m->record);
	free(m);
}

static void begin(struct made *m, uint32_t pid, uint32_t tid, bool in_kernel)
{
	record_begin(&m->record, PERF_RECORD_SAMPLE,
		in_kernel ? PERF_RECORD_MISC_KERNEL : PERF_RECORD_MISC_USER);
	put_u32(&m->record, pid);
	put_u32(&m->record, tid);
	put_u64(&m->record, 123456789);
	put_u64(&m->record, 9); // CPU by the kernel's account
	put_u64(&m->record, 10101010);
}

static void put_chain(struct made *m, unsigned kernel, unsigned user)
{
	put_u64(&m->record, kernel + user + (kernel ? 1 : 0) + (user ? 1 : 0));
	if (kernel)
		put_u64(&m->record, (uint64_t)PERF_CONTEXT_KERNEL);
	for (unsigned i = 0; i < kernel; i++)
		put_u64(&m->record, 0xffffffff81000000 + i);
	if (user)
		put_u64(&m->record, (uint64_t)PERF_CONTEXT_USER);
	for (unsigned i = 0; i < user; i++)
		put_u64(&m->record, 0x401000 + i);
}

static void put_regs(struct made *m, uint64_t abi, unsigned n)
{
	put_u64(&m->record, abi);
	for (unsigned i = 0; abi && i < n; i++)
		put_u64(&m->record, 100 + i);
}

static void put_stack(struct made *m, uint64_t size, uint64_t used)
{
	put_u64(&m->record, size);
	for (uint64_t i = 0; i < size; i++)
		buf_append_char(&m->record, (char)i);
	if (size)
		put_u64(&m->record, used);
}

static int decode(struct made *m)
{
	put_u64(&m->record, 4242); // cgroup
	((struct perf_event_header *)m->record.data)->size = (uint16_t)m->record.len;
	return sample_decode(&m->format, (void *)m->record.data, 5, &m->parts, &m->event);
}

static void sample__handed_off_at_the_leaf(void **state)
{
	// Perf's order is ax bx cx dx si di bp sp ip r8..r15; DWARF's numbers of these:
	static const uint8_t dwarf[NREGS] = {
		0, 3, 2, 1, 4, 5, 6, 7, 16, 8, 9, 10, 11, 12, 13, 14, 15};
	struct made *m = new_made(BPF_UNWIND_SMART);
	const struct rec_sample *rec;

	(void)state;
	assert_int_equal(m->attr.sample_stack_user, STACK);
	assert_true(m->attr.exclude_callchain_user);
	assert_int_equal(__builtin_popcountll(m->attr.sample_regs_user), NREGS);
	begin(m, 10, 11, true);
	put_chain(m, 3, 0);
	put_regs(m, PERF_SAMPLE_REGS_ABI_64, NREGS);
	put_stack(m, STACK, 40);
	assert_ok(decode(m));
	rec = m->event.sample.rec;
	assert_int_equal(m->event.type, CAPTURE_SAMPLE);
	assert_int_equal(m->event.pid, 10);
	assert_int_equal(m->event.tid, 11);
	assert_int_equal(m->event.cpu, 5);
	assert_int_equal(m->event.time, 123456789);
	assert_int_equal(rec->outcome, REC_OUT_HANDOFF);
	assert_int_equal(rec->reason, REC_WHY_NO_PROCESS);
	assert_int_equal(rec->flags, REC_F_HANDOFF | REC_F_IN_KERNEL);
	assert_int_equal(rec->weight, 10101010);
	assert_int_equal(rec->cgroup, 4242);
	assert_int_equal(rec->event, 3);
	assert_int_equal(rec->kernel_words, 3);
	assert_int_equal(m->event.sample.kernel[2], 0xffffffff81000002);
	assert_int_equal(rec->user_words, 0);
	for (unsigned i = 0; i < NREGS; i++)
		assert_int_equal(m->event.sample.handoff->regs[dwarf[i]], 100 + i);
	assert_int_equal(m->event.sample.handoff->valid, 0x1ffff);
	assert_int_equal(m->event.sample.handoff->stack_base, 107);
	assert_int_equal(m->event.sample.handoff->stack_len, 40);
	assert_int_equal(m->event.sample.stack[39], 39);
	free_made(m);
}

static void sample__outcomes(void **state)
{
	static const struct {
		uint32_t tid;
		uint64_t abi;
		enum rec_outcome outcome;
	} cases[] = {
		{0, PERF_SAMPLE_REGS_ABI_NONE, REC_OUT_IDLE},
		{8, PERF_SAMPLE_REGS_ABI_NONE, REC_OUT_KERNEL_ONLY},
		{8, PERF_SAMPLE_REGS_ABI_32, REC_OUT_BITS32},
		{8, PERF_SAMPLE_REGS_ABI_64, REC_OUT_HANDOFF},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made *m = new_made(BPF_UNWIND_TABLE);

		begin(m, cases[i].tid, cases[i].tid, true);
		put_chain(m, 2, 0);
		put_regs(m, cases[i].abi, NREGS);
		put_stack(m, cases[i].abi ? STACK : 0, 8);
		assert_ok(decode(m));
		assert_int_equal(m->event.sample.rec->outcome, cases[i].outcome);
		assert_int_equal(m->event.sample.rec->kernel_words, 2);
		assert_int_equal(
			m->event.sample.handoff != NULL, cases[i].outcome == REC_OUT_HANDOFF);
		free_made(m);
	}
	// No user stacks: no registers either.
	struct made *m = new_made(BPF_UNWIND_OFF);

	assert_int_equal(m->attr.sample_regs_user, 0);
	begin(m, 8, 8, true);
	put_chain(m, 2, 0);
	assert_ok(decode(m));
	assert_int_equal(m->event.sample.rec->outcome, REC_OUT_NO_USER);
	free_made(m);
}

static void sample__frame_pointer_chain(void **state)
{
	static const struct {
		unsigned kernel, user, max;
		enum rec_outcome outcome;
		unsigned kernel_words, user_words;
	} cases[] = {
		{2, 5, 0, REC_OUT_COMPLETE, 2, 5},
		{0, 1, 0, REC_OUT_COMPLETE, 0, 1},
		{2, 0, 0, REC_OUT_BROKEN, 2, 0},
		{0, 5, 3, REC_OUT_TRUNCATED, 0, 3},
		{3, 124, 0, REC_OUT_TRUNCATED, 3, 124},
		// kernel.perf_event_max_stack was raised.
		{200, 1600, 0, REC_OUT_TRUNCATED, REC_KERNEL_WORDS_MAX, REC_USER_WORDS_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct made *m = new_made(BPF_UNWIND_FP);
		const struct rec_sample *rec = &m->parts.rec;

		m->format.max_frames = cases[i].max;
		assert_false(m->attr.exclude_callchain_user);
		assert_int_equal(m->attr.sample_stack_user, 0);
		begin(m, 10, 11, false);
		put_chain(m, cases[i].kernel, cases[i].user);
		put_regs(m, PERF_SAMPLE_REGS_ABI_64, 1);
		assert_ok(decode(m));
		assert_int_equal(rec->outcome, cases[i].outcome);
		assert_int_equal(rec->kernel_words, cases[i].kernel_words);
		assert_int_equal(rec->user_words, cases[i].user_words);
		assert_int_equal(
			!!(rec->flags & REC_F_KERNEL_CUT), cases[i].kernel > cases[i].kernel_words);
		if (rec->user_words)
			assert_int_equal(m->parts.user[0],
				REC_FRAME(REC_FRAME_NATIVE, REC_MARK_LEAF, 1, 0x401000));
		if (rec->user_words > 1)
			assert_int_equal(m->parts.user[1],
				REC_FRAME(REC_FRAME_NATIVE, REC_MARK_FP, 0, 0x401001));
		free_made(m);
	}
}

/* Cut at every word, and with counts that promise more than there is. */
static void sample__malformed(void **state)
{
	struct made *m = new_made(BPF_UNWIND_SMART);

	(void)state;
	begin(m, 10, 11, true);
	put_chain(m, 3, 0);
	put_regs(m, PERF_SAMPLE_REGS_ABI_64, NREGS);
	put_stack(m, STACK, STACK);
	assert_ok(decode(m));
	for (size_t size = 8; size < m->record.len; size += 8) {
		char *tight = malloc(size);

		memcpy(tight, m->record.data, size);
		((struct perf_event_header *)tight)->size = (uint16_t)size;
		assert_int_equal(
			sample_decode(&m->format, (void *)tight, 0, &m->parts, &m->event), -EINVAL);
		free(tight);
	}
	for (int i = 0; i < 3; i++) {
		begin(m, 10, 11, true);
		if (i == 0)
			put_u64(&m->record, UINT64_MAX / 8);
		else
			put_chain(m, 3, 0);
		put_regs(m, PERF_SAMPLE_REGS_ABI_64, NREGS);
		if (i == 1)
			put_u64(&m->record, UINT64_MAX - 7);
		else
			put_stack(m, STACK, STACK + 1);
		assert_int_equal(decode(m), -EINVAL);
	}
	free_made(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sample__handed_off_at_the_leaf),
		cmocka_unit_test(sample__outcomes),
		cmocka_unit_test(sample__frame_pointer_chain),
		cmocka_unit_test(sample__malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's walker of Python frames, over memory that the test wrote: every way to a thread's state,
 * every kind of chain, and nothing of another thread. */
#include "tests/harness.h"

#include <errno.h>

#include "base/cleanup.h"

#define MEMORY_BASE 0x10000000ull
#define MEMORY_BYTES 65536

struct memory {
	uint8_t bytes[MEMORY_BYTES];
};

static int read_memory(struct memory *m, void *dst, size_t len, uint64_t addr)
{
	if (addr < MEMORY_BASE || len > MEMORY_BYTES || addr - MEMORY_BASE > MEMORY_BYTES - len)
		return -EFAULT;
	memcpy(dst, m->bytes + (addr - MEMORY_BASE), len);
	return 0;
}

#define WALK_ENV struct memory *
#define WALK_READ(env, dst, len, addr) read_memory((env), (dst), (len), (addr))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "bpf/walk/python.h"
#pragma GCC diagnostic pop

#define AT(off) (MEMORY_BASE + (off))
#define TP AT(0x8000) // our thread
#define OTHER AT(0x9000) // another one

static void put(struct memory *m, uint64_t addr, uint64_t value)
{
	memcpy(m->bytes + (addr - MEMORY_BASE), &value, 8);
}

static void put32(struct memory *m, uint64_t addr, uint32_t value)
{
	memcpy(m->bytes + (addr - MEMORY_BASE), &value, 4);
}

/* Walks to the end; words as "c<code>@<lasti>", "." at the end of a run, "|<mark>". */
static void expect(struct memory *m, struct py_walk *p, const char *want)
{
	char got[512] = "";
	unsigned steps = 0;

	p->tp = TP;
	py_start(p);
	while (py_more(p) && steps++ < 1000) {
		py_step(m, p);
		for (unsigned i = 0; i < p->nout; i++) {
			size_t at = strlen(got), room = sizeof(got) - at;
			uint64_t data = p->out[i] & REC_FRAME_DATA_MASK;

			if (REC_FRAME_KIND(p->out[i]) == REC_FRAME_ENTRY) {
				snprintf(got + at, room, "|%llx ",
					(unsigned long long)(data - MEMORY_BASE));
				continue;
			}
			assert_int_equal(REC_FRAME_KIND(p->out[i]), REC_FRAME_PYTHON);
			snprintf(got + at, room, "c%llx@%d%s ",
				(unsigned long long)(data - MEMORY_BASE),
				PY_FRAME_LASTI(p->out[i + 1]),
				p->out[i] & REC_FRAME_RUN_END ? "." : "");
			i++;
		}
	}
	assert_true(steps < 1000);
	assert_string_equal(got, want);
}

static struct memory *memory(void **state)
{
	memset(*state, 0, sizeof(struct memory));
	return *state;
}

/* 3.12: shims on the C stack. */
static void interp_frame(struct memory *m, uint64_t at, uint64_t code, uint64_t back, uint8_t owner)
{
	put(m, at, code);
	put(m, at + 8, back);
	put(m, at + 56, code + 192 + 10);
	m->bytes[at + 70 - MEMORY_BASE] = owner;
}

static struct py_walk walk_312(void)
{
	return (struct py_walk){
		.proc = {.tstate_by = PY_TSTATE_TLS,
			.tls_offset = -64,
			.slot_by = PY_SLOT_DIRECT,
			.slot_offset = 0x310,
			.slot_stride = 16,
			.key_addr = AT(0x104)},
		.layout = {.chain = PY_CHAIN_CFRAME,
			.entry_kind = 2,
			.tstate_frame = 56,
			.tstate_thread_id = 136,
			.frame_back = 8,
			.frame_lasti = 56,
			.frame_entry = 70,
			.code_argcount = 52,
			.code_kwonlyargcount = 60,
			.code_flags = 48,
			.code_firstlineno = 68,
			.code_adaptive = 192},
	};
}

static void chain_312(struct memory *m, uint64_t tstate)
{
	put(m, tstate + 56, AT(0x1000));
	put(m, AT(0x1000), AT(0x2000));
	interp_frame(m, AT(0x2000), AT(0x3000), AT(0x2100), 0);
	interp_frame(m, AT(0x2100), AT(0x3100), AT(0x7100), 0);
	interp_frame(m, AT(0x7100), 0, AT(0x2200), 3);
	interp_frame(m, AT(0x2200), AT(0x3200), AT(0x7200), 1);
	interp_frame(m, AT(0x7200), 0, 0, 3);
}

static void python__shims_end_runs(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_312();

	put(m, TP - 64, AT(0x500));
	chain_312(m, AT(0x500));
	put32(m, AT(0x3000) + 52, 2);
	put32(m, AT(0x3000) + 60, 1);
	put32(m, AT(0x3000) + 48, 3);
	put32(m, AT(0x3000) + 68, 77);
	expect(m, &p, "c3000@10 c3100@10 |7100 c3200@10 |7200 ");
	assert_false(p.lost);
}

/* While the lock is released the thread-local word is empty. */
static void python__the_slot_stands_in(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_312();

	put32(m, AT(0x104), 3);
	put(m, TP + 0x310 + 3 * 16, AT(0x500));
	chain_312(m, AT(0x500));
	expect(m, &p, ""); // no key was made: the slot is another library's
	p.proc.key_plain = 1;
	expect(m, &p, "c3000@10 c3100@10 |7100 c3200@10 |7200 ");
	p.proc.key_plain = 0;
	put32(m, AT(0x100), 1);
	expect(m, &p, "c3000@10 c3100@10 |7100 c3200@10 |7200 ");
	put32(m, AT(0x104), 32);
	expect(m, &p, "");
	p.proc.slot_by = PY_SLOT_INDIRECT;
	p.proc.slot_stride = 8;
	put(m, TP + 0x310, AT(0xa000));
	put(m, AT(0xa000) + 32 * 8, AT(0x500));
	expect(m, &p, "c3000@10 c3100@10 |7100 c3200@10 |7200 ");
	p.proc.slot_by = PY_SLOT_NONE;
	expect(m, &p, "");
}

static void python__state_in_a_late_library(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_312();

	p.proc.tstate_by = PY_TSTATE_DTV;
	p.proc.slot_by = PY_SLOT_NONE;
	p.proc.dtv_entry = 32;
	p.proc.tls_offset = 24;
	put(m, TP + PY_DTV_AT, AT(0xb000));
	put(m, AT(0xb000) + 32, ~0ull);
	expect(m, &p, "");
	put(m, AT(0xb000) + 32, AT(0xc000));
	put(m, AT(0xc000) + 24, AT(0x500));
	chain_312(m, AT(0x500));
	expect(m, &p, "c3000@10 c3100@10 |7100 c3200@10 |7200 ");
}

static struct py_walk walk_old(void)
{
	return (struct py_walk){
		.proc = {.tstate_by = PY_TSTATE_CURRENT, .current_addr = AT(0x200)},
		.layout = {.chain = PY_CHAIN_FRAME,
			.tstate_frame = 24,
			.tstate_thread_id = 176,
			.frame_back = 24,
			.frame_code = 32,
			.frame_lasti = 96,
			.lasti_scale = 2},
	};
}

static void chain_old(struct memory *m, uint64_t tstate, uint64_t thread)
{
	put(m, tstate + 176, thread);
	put(m, tstate + 24, AT(0x2000));
	put(m, AT(0x2000) + 24, AT(0x2200));
	put(m, AT(0x2000) + 32, AT(0x3000));
	put32(m, AT(0x2000) + 96, 21);
	put(m, AT(0x2200) + 32, AT(0x3100));
	put32(m, AT(0x2200) + 96, ~0u);
}

static void python__one_frame_a_run_to_310(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_old();

	put(m, AT(0x200), AT(0x500));
	chain_old(m, AT(0x500), TP);
	expect(m, &p, "c3000@42. c3100@-1. ");
}

static void python__never_another_threads_state(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_old();

	put(m, AT(0x200), AT(0x500));
	chain_old(m, AT(0x500), OTHER);
	expect(m, &p, "");
}

/* 2.7, with the lock released: the list of all threads. */
static void python__the_list_of_threads(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_old();

	p.proc.head_addr = AT(0x300);
	p.proc.interp_tstate_head = 8;
	put(m, AT(0x300), AT(0x400));
	put(m, AT(0x400) + 8, AT(0x600));
	put(m, AT(0x600), AT(0x800));
	put(m, AT(0x600) + 176, OTHER);
	put(m, AT(0x400), AT(0x480));
	put(m, AT(0x800) + 176, OTHER);
	put(m, AT(0x480) + 8, AT(0xa00));
	chain_old(m, AT(0xa00), TP);
	expect(m, &p, "c3000@42. c3100@-1. ");
	// A ring of threads, none of them ours.
	put(m, AT(0xa00) + 176, OTHER);
	put(m, AT(0x800), AT(0x600));
	expect(m, &p, "");
	assert_true(p.lost);
}

/* 3.11: marked entry frames, and the C stack's records of them. */
static void python__entry_frames_of_311(void **state)
{
	struct memory *m = memory(state);
	struct py_walk p = walk_312();

	p.layout.entry_kind = 1;
	p.layout.cframe_current = 8;
	p.layout.frame_code = 32;
	p.layout.frame_back = 48;
	p.layout.frame_entry = 68;
	put(m, TP - 64, AT(0x500));
	put(m, AT(0x500) + 56, AT(0x7000));
	put(m, AT(0x7000) + 8, AT(0x2000));
	put(m, AT(0x7000) + 16, AT(0x7400));
	put(m, AT(0x7400) + 8, AT(0x2200));
	for (uint64_t at = AT(0x2000); at <= AT(0x2200); at += 0x100) {
		put(m, at + 32, AT(0x3000) + (at - AT(0x2000)));
		put(m, at + 48, at == AT(0x2200) ? 0 : at + 0x100);
		put(m, at + 56, AT(0x3000) + (at - AT(0x2000)) + 192 - 2);
	}
	m->bytes[0x2100 + 68] = 1;
	m->bytes[0x2200 + 68] = 1;
	expect(m, &p, "c3000@-1 c3100@-1 |7000 c3200@-1 |7400 ");
}

/* Whatever the offsets and the memory, nothing is read out of bounds, and the walk can be ended. */
static void python__nonsense(void **state)
{
	struct memory *m = memory(state);
	uint32_t seed = 1;

	for (unsigned round = 0; round < 2000; round++) {
		struct py_walk p = {.tp = TP};
		uint8_t *raw = (uint8_t *)&p;

		for (size_t i = 0; i < sizeof(p.proc) + sizeof(p.layout); i++) {
			seed = seed * 1103515245 + 12345;
			raw[i] = (uint8_t)(seed >> 16);
		}
		for (size_t i = 0; i < MEMORY_BYTES; i += 8)
			put(m, AT(i), AT((i * 31 + round * 8) % MEMORY_BYTES));
		p.proc.tstate_by %= 5;
		p.proc.slot_by %= 3;
		p.layout.chain %= 3;
		p.proc.head_addr = p.proc.current_addr = p.proc.key_addr = AT(round * 8);
		py_start(&p);
		for (unsigned i = 0; i < 3000 && py_more(&p); i++) {
			py_step(m, &p);
			assert_true(p.nout <= PY_WORDS_A_STEP);
		}
	}
}

static void python__eval_ranges(void **state)
{
	struct py_process p = {.eval = {{0x1000, 0x2000}, {0x5000, 0x5001}}};

	(void)state;
	assert_false(py_in_eval(&p, 0xfff));
	assert_true(py_in_eval(&p, 0x1000));
	assert_true(py_in_eval(&p, 0x1fff));
	assert_false(py_in_eval(&p, 0x2000));
	assert_true(py_in_eval(&p, 0x5000));
	assert_false(py_in_eval(&p, 0x5001));
	assert_false(py_in_eval(&p, 0));
	assert_false(py_in_eval(&p, 0xffffffffff600000ull));
}

int main(void)
{
	static struct memory m;
	struct CMUnitTest tests[] = {
		cmocka_unit_test(python__shims_end_runs),
		cmocka_unit_test(python__the_slot_stands_in),
		cmocka_unit_test(python__state_in_a_late_library),
		cmocka_unit_test(python__one_frame_a_run_to_310),
		cmocka_unit_test(python__never_another_threads_state),
		cmocka_unit_test(python__the_list_of_threads),
		cmocka_unit_test(python__entry_frames_of_311),
		cmocka_unit_test(python__nonsense),
		cmocka_unit_test(python__eval_ranges),
	};

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		tests[i].initial_state = &m;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

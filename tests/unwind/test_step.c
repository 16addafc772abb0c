/* SPDX-License-Identifier: Apache-2.0 */
/* Steps a program instruction by instruction and unwinds at every one of them. The truth is a shadow
 * stack: what each call instruction pushed, as long as the stack pointer has not moved past it. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "process/memory.h"
#include "tests/harness.h"
#include "unwind/unwind.h"

#define SHADOW_MAX 4096
#define STACK_COPY 65536
#define INSN_MAX 15
#define SKIP_MAX 2 // frames hidden by one change of stacks
#define SHOWN_MAX 12 // mismatches printed
#define OTHERS_MAX 16

struct entry {
	uint64_t slot; // where the return address lies
	uint64_t value;
	bool exact; // an interrupted instruction
};

struct stepper {
	pid_t pid;
	pid_t others[OTHERS_MAX]; // threads that are held
	unsigned nothers;
	bool go; // the runtime changes stacks
	size_t copy; // bytes of the stack that a sample carries
	unsigned long late;
	struct module_table modules;
	struct process_table processes;
	struct process *process;
	struct unwind *unwind;
	struct user_regs_struct regs;
	struct entry shadow[SHADOW_MAX];
	unsigned depth;
	struct rec_handoff handoff;
	uint8_t stack[STACK_COPY];
	struct unwind_result result;
	unsigned long steps, calls, signals, mismatches, switched, jumping, runtime;
	unsigned long crossed; // whole from g0's stack to the goroutine's first frame
	unsigned long own; // cut on the goroutine's own stack
	unsigned deepest;
	uint64_t base_sp;
};

static void get_regs(struct stepper *s)
{
	assert_int_equal(ptrace(PTRACE_GETREGS, s->pid, NULL, &s->regs), 0);
}

static uint64_t peek(struct stepper *s, uint64_t addr)
{
	uint64_t v = 0;

	process_memory_read((uint32_t)s->pid, addr, &v, sizeof(v));
	return v;
}

static void take_registers(const struct user_regs_struct *r, struct rec_handoff *h)
{
	const uint64_t regs[] = {r->rax, r->rdx, r->rcx, r->rbx, r->rsi, r->rdi, r->rbp, r->rsp,
		r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip};

	memcpy(h->regs, regs, sizeof(regs));
	h->valid = (1u << ARRAY_SIZE(regs)) - 1;
}

/* Copies what the kernel would hand over. */
static void take_sample(struct stepper *s)
{
	ssize_t n;

	s->handoff = (struct rec_handoff){.stack_base = s->regs.rsp};
	take_registers(&s->regs, &s->handoff);
	n = process_memory_read_some((uint32_t)s->pid, s->regs.rsp, s->stack, s->copy);
	s->handoff.stack_len = n < 0 ? 0 : (uint32_t)n;
}

static void finish_sample(struct stepper *s)
{
	struct rec_sample rec = {.type = REC_SAMPLE, .pid = (uint32_t)s->pid, .handoff_exact = 1};
	struct capture_sample sample = {.rec = &rec, .handoff = &s->handoff, .stack = s->stack};

	assert_ok(unwind_finish(s->unwind, s->process, &sample, clock_mono_ns(), &s->result));
	s->late += s->result.late;
}

static void unwind_now(struct stepper *s)
{
	take_sample(s);
	finish_sample(s);
}

static uint64_t word_at(const struct stepper *s, unsigned i)
{
	return s->result.words[i] & REC_FRAME_DATA_MASK;
}

static void show(struct stepper *s)
{
	if (s->mismatches++ >= SHOWN_MAX)
		return;
	printf("# step %lu at %#llx sp %#llx: outcome %d reason %d, %u frames, expected %u\n",
		s->steps, s->regs.rip, s->regs.rsp, s->result.outcome, s->result.reason,
		s->result.nwords, s->depth + 1);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t want = !i		? s->regs.rip
				: i <= s->depth ? s->shadow[s->depth - i].value
						: 0;
		uint64_t have = i < s->result.nwords ? word_at(s, i) : 0;

		printf("#   %2u have %#lx want %#lx%s\n", i, (unsigned long)have,
			(unsigned long)want, have == want ? "" : " <--");
	}
}

/* Do frames `from`.. of the chain equal the shadow stack's lowest `depth` entries? In Go mode one may be
 * missing where the runtime moved to another stack: unwind/go_table.h says which. */
static bool matches(const struct stepper *s, unsigned from, unsigned depth, unsigned *ret_skipped)
{
	unsigned i = from, k = depth, skipped = 0;

	for (; i < s->result.nwords && k; i++) {
		k--;
		if (word_at(s, i) == s->shadow[k].value)
			continue;
		while (s->go && skipped < SKIP_MAX && k && word_at(s, i) != s->shadow[k].value) {
			skipped++;
			k--;
		}
		if (word_at(s, i) != s->shadow[k].value)
			return false;
	}
	*ret_skipped = skipped;
	return !k && i == s->result.nwords;
}

/* Go's runtime runs on g0's stack, which is the thread's; a goroutine's is in the heap. */
static bool on_g0(const struct stepper *s)
{
	return s->regs.rsp >> 36 != s->base_sp >> 36;
}

/* Only the current stack is copied: a walk that stopped where it would have gone to another one. */
static bool is_top(const struct stepper *s)
{
	if (s->result.nwords > s->depth + 1)
		return false;
	for (unsigned i = 1; i < s->result.nwords; i++)
		if (word_at(s, i) != s->shadow[s->depth - i].value)
			return false;
	return s->result.outcome == REC_OUT_BROKEN || s->result.nwords < s->depth + 1;
}

static void check(struct stepper *s)
{
	unsigned skipped = 0;

	unwind_now(s);
	s->deepest = s->depth > s->deepest ? s->depth : s->deepest;
	s->runtime += s->go && on_g0(s);
	// gogo() has loaded the stack pointer of the goroutine it is about to jump into.
	if (s->go && (on_g0(s) || s->result.nwords == 1) && is_top(s)) {
		s->switched++;
		s->own += !on_g0(s);
		return;
	}
	if (s->result.outcome != REC_OUT_COMPLETE || word_at(s, 0) != s->regs.rip)
		return show(s);
	if (matches(s, 1, s->depth, &skipped)) {
		s->crossed += s->go && on_g0(s);
		s->own += skipped && !on_g0(s);
		return;
	}
	// glibc's longjmp describes the frame it goes to (the one after setjmp's return), not the one
	// it was called from.
	for (unsigned d = s->depth + 2; !s->go && d > 1; d--) {
		if (s->result.nwords == d && matches(s, 2, d - 2, &skipped)) {
			s->jumping++;
			return;
		}
	}
	show(s);
}

static void push(struct stepper *s, uint64_t slot, uint64_t value, bool exact)
{
	assert_true(s->depth < SHADOW_MAX);
	s->shadow[s->depth++] = (struct entry){slot, value, exact};
}

/* Is this a near call? Prefixes: notrack, bnd, REX. */
static bool is_call(const uint8_t *p)
{
	while (*p == 0x3e || *p == 0xf2 || (*p & 0xf0) == 0x40)
		p++;
	return *p == 0xe8 || (*p == 0xff && (p[1] >> 3 & 7) == 2);
}

/* Follows what the last instruction did. */
static void follow(struct stepper *s, const uint8_t *insn, bool delivered, uint64_t interrupted)
{
	if (delivered) {
		s->signals++;
		// The kernel pushed struct rt_sigframe: return address, then struct ucontext.
		push(s, s->regs.rsp + 8, interrupted, true);
		push(s, s->regs.rsp, peek(s, s->regs.rsp), false);
		return;
	}
	if (is_call(insn)) {
		s->calls++;
		push(s, s->regs.rsp, peek(s, s->regs.rsp), false);
		return;
	}
	// A stack that was left for another one keeps its entries; g0's, which lies higher than any
	// goroutine's, is empty once a goroutine runs again.
	if (s->depth && s->shadow[s->depth - 1].slot == UINT64_MAX &&
		s->regs.rip == s->shadow[s->depth - 1].value)
		s->depth--; // one of those that were there at the start
	while (s->depth) {
		const struct entry *top = &s->shadow[s->depth - 1];
		bool same =
			!s->go || top->slot == UINT64_MAX || top->slot >> 36 == s->regs.rsp >> 36;

		if (same ? top->slot >= s->regs.rsp : top->slot < s->regs.rsp)
			break;
		s->depth--;
	}
}

static void nothing(int signal)
{
	(void)signal;
}

/* Go's monitor preempts who runs for 10 ms, which is a hundred steps here: its thread and all others stand still, so that
 * the one that is stepped gets ahead. */
static void hold_others(struct stepper *s)
{
	char path[32];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", s->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir)) && s->nothers < OTHERS_MAX) {
		pid_t tid = (pid_t)strtoul(d->d_name, NULL, 10);
		bool known = !tid || tid == s->pid;

		for (unsigned i = 0; i < s->nothers; i++)
			known = known || s->others[i] == tid;
		if (!known && ptrace(PTRACE_SEIZE, tid, NULL, 0) == 0)
			s->others[s->nothers++] = tid;
	}
	closedir(dir);
	for (unsigned i = 0; i < s->nothers; i++) {
		int status;

		ptrace(PTRACE_INTERRUPT, s->others[i], NULL, NULL);
		while (waitpid(s->others[i], &status, __WALL) < 0 && errno == EINTR)
			;
	}
}

/* Waits until the instruction was stepped over: one that waits for another thread, as the timer tells, has it run
 * meanwhile. */
static int await_step(struct stepper *s)
{
	unsigned late = 0;
	int status = 0;
	pid_t r;

	while ((r = waitpid(s->pid, &status, __WALL)) < 0 && errno == EINTR)
		if (++late == 2)
			for (unsigned i = 0; i < s->nothers; i++)
				ptrace(PTRACE_CONT, s->others[i], NULL, NULL);
	assert_int_equal(r, s->pid);
	if (late >= 2 && WIFSTOPPED(status))
		hold_others(s);
	return status;
}

static void set_timer(long ms)
{
	const struct itimerval t = {{0, ms * 1000}, {0, ms * 1000}};
	const struct sigaction a = {.sa_handler = nothing};

	assert_ok(sigaction(SIGALRM, &a, NULL));
	assert_ok(setitimer(ITIMER_REAL, &t, NULL));
}

/* One instruction. Returns false at the closing int3 or at the program's end. */
static bool step(struct stepper *s, int *signal)
{
	uint8_t insn[INSN_MAX + 1] = {0};
	uint64_t interrupted = s->regs.rip;
	int status, deliver = *signal;

	process_memory_read_some((uint32_t)s->pid, s->regs.rip, insn, INSN_MAX);
	if (insn[0] == 0xcc)
		return false;
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, s->pid, NULL, deliver), 0);
	status = await_step(s);
	if (!WIFSTOPPED(status))
		return false;
	get_regs(s);
	*signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
	if (deliver == SIGURG)
		deliver = 0;
	// A stop to tell of a signal comes before the instruction has run.
	if (*signal && s->regs.rip == interrupted && !is_call(insn))
		return true;
	follow(s, insn, deliver != 0, interrupted);
	s->steps++;
	return true;
}

static void start(struct stepper *s, const char *path)
{
	int status;

	s->pid = fork();
	if (!s->pid) {
		char *const argv[] = {(char *)path, NULL};
		char *const env[] = {(char *)"GODEBUG=asyncpreemptoff=1", (char *)"GOGC=off",
			(char *)"GOMAXPROCS=1", NULL};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execve(path, argv, env);
		_exit(127);
	}
	assert_true(s->pid > 0);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	for (int sig = 0;;) {
		assert_int_equal(ptrace(PTRACE_CONT, s->pid, NULL, sig), 0);
		assert_int_equal(waitpid(s->pid, &status, __WALL), s->pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) == SIGTRAP)
			break;
		sig = WSTOPSIG(status);
	}
	if (s->go) {
		hold_others(s);
		set_timer(200);
	}
	get_regs(s);
	module_table_init(&s->modules, 1000, 100);
	assert_ok(process_table_init(&s->processes, &s->modules, "/proc"));
	assert_ok(process_table_scan_pid(&s->processes, (uint32_t)s->pid));
	s->process = process_table_find(&s->processes, (uint32_t)s->pid);
	assert_non_null(s->process);
	assert_ok(unwind_new(NULL, &s->processes, BPF_UNWIND_SMART, &s->unwind));
	assert_ok(unwind_update_process(s->unwind, s->process));
}

static void stop(struct stepper *s)
{
	int status;

	if (s->go)
		set_timer(0);
	kill(s->pid, SIGKILL);
	while (waitpid(-1, &status, __WALL) > 0)
		;
	unwind_free(s->unwind);
	process_table_deinit(&s->processes);
	module_table_deinit(&s->modules);
}

/* The chain under main() is what the unwinder says; that it ends properly is checked. */
static void take_base(struct stepper *s)
{
	unwind_now(s);
	assert_int_equal(s->result.outcome, REC_OUT_COMPLETE);
	for (unsigned i = s->result.nwords; i-- > 1;)
		push(s, UINT64_MAX, word_at(s, i), false);
}

static void run(struct stepper *s, const char *path, unsigned long most)
{
	int signal = 0;

	start(s, path);
	s->base_sp = s->regs.rsp;
	take_base(s);
	uint64_t began = clock_mono_ns();

	do
		check(s);
	while (s->steps < most && step(s, &signal));
	printf("# %lu instructions, %lu calls, %lu signals, deepest %u, %lu on g0's stack, "
	       "%lu at a stack switch, %lu across one, "
	       "%lu inside longjmp, %lu mismatches, %.1f s\n",
		s->steps, s->calls, s->signals, s->deepest, s->runtime, s->switched, s->crossed,
		s->jumping, s->mismatches, (double)(clock_mono_ns() - began) / 1e9);
	stop(s);
}

static void step__c_program(void **state)
{
	struct stepper *s = *state;

	run(s, STEP_TARGET, 2000000);
	assert_true(s->steps > 5000);
	assert_true(s->signals == 2);
	assert_in_range(s->jumping, 1, 30);
	assert_int_equal(s->mismatches, 0);
}

/* Nearly nothing of the stack is copied: the rest is read from the process, which stands still. */
static void step__c_program_in_present_memory(void **state)
{
	struct stepper *s = *state;

	s->copy = 64;
	run(s, STEP_TARGET, 2000000);
	assert_int_equal(s->mismatches, 0);
	assert_true(s->late > s->steps / 2);
}

static void poke(struct stepper *s, uint64_t addr, uint64_t value)
{
	assert_int_equal(ptrace(PTRACE_POKEDATA, s->pid, addr, value), 0);
}

/* The stack was copied up to and with the return address of the frame `copied` calls above the leaf, before
 * word `at` of the process became `value`; 0: before it was killed. Return how many frames are believed. */
static unsigned believed(struct stepper *s, unsigned copied, uint64_t at, uint64_t value)
{
	uint64_t end = s->shadow[s->depth - copied].slot + 8, saved = peek(s, at);

	s->copy = end - s->regs.rsp;
	take_sample(s);
	if (at)
		poke(s, at, value);
	else
		kill(s->pid, SIGKILL);
	for (unsigned i = 0; !at && i < 5000 && peek(s, s->regs.rsp); i++)
		clock_sleep_ns(NSEC_PER_MSEC);
	finish_sample(s);
	if (at)
		poke(s, at, saved);
	for (unsigned i = 1; i < s->result.nwords && i <= s->depth; i++)
		assert_int_equal(word_at(s, i), s->shadow[s->depth - i].value);
	return s->result.nwords;
}

/* A thread that runs on changes its stack between the sample and the look at what was not copied. */
static void step__stack_that_has_changed(void **state)
{
	struct stepper *s = *state;
	int signal = 0;

	start(s, STEP_TARGET);
	take_base(s);
	unsigned base = s->depth;

	while (s->depth < base + 30)
		assert_true(step(s, &signal));
	const struct entry *top = &s->shadow[s->depth - 1];

	// Another frame of the same function would be believed, were it not for the last word copied.
	assert_int_equal(believed(s, 5, top[-10].slot, top[-10].value), s->depth + 1);
	assert_int_equal(s->result.outcome, REC_OUT_COMPLETE);
	assert_true(s->result.late);
	assert_int_equal(believed(s, 5, top[-4].slot, top[-4].value + 1), 6);
	assert_int_equal(s->result.outcome, REC_OUT_BROKEN);
	assert_int_equal(s->result.reason, REC_WHY_STACK_SHORT);
	assert_false(s->result.late);
	// Higher up: what is no address after a call.
	assert_int_equal(believed(s, 5, top[-10].slot, top[-10].value + 1), 11);
	assert_int_equal(s->result.outcome, REC_OUT_BROKEN);
	assert_int_equal(s->result.reason, REC_WHY_STACK_SHORT);
	assert_int_equal(believed(s, 5, top[-10].slot, s->regs.rsp), 11);
	assert_int_equal(s->result.reason, REC_WHY_STACK_SHORT);
	// The process is gone, and its stack with it.
	assert_int_equal(believed(s, 5, 0, 0), 6);
	assert_int_equal(s->result.reason, REC_WHY_STACK_SHORT);
	assert_false(s->result.late);
	stop(s);
}

#ifdef STEP_TARGET_MUSL
/* A C library without CFI and without frame pointers: rules come from its instructions. */
static void step__musl_program(void **state)
{
	struct stepper *s = *state;

	run(s, STEP_TARGET_MUSL, 2000000);
	assert_true(s->steps > 5000);
	// The last instruction of its longjmp: sp is the target's, its pc in memory that only that
	// instruction names.
	assert_in_range(s->mismatches, 0, 1);
}
#endif

#ifdef STEP_TARGET_GO
static void step__go_program(void **state)
{
	struct stepper *s = *state;

	s->go = true;
	run(s, STEP_TARGET_GO, 400000);
	assert_true(s->steps - s->runtime > 5000);
	assert_int_equal(s->mismatches, 0);
	// On the goroutine's own stack nearly every instruction has its whole chain.
	assert_true(s->own * 10 < s->steps - s->runtime);
	// From g0's stack the walk goes on in memory that no sample carries.
	assert_true(s->crossed * 10 > s->runtime * 9);
}
#endif

static int setup(void **state)
{
	struct stepper *s = calloc(1, sizeof(struct stepper));

	*state = s;
	if (!s)
		return -1;
	s->copy = STACK_COPY;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(step__c_program, setup, teardown),
		cmocka_unit_test_setup_teardown(step__c_program_in_present_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(step__stack_that_has_changed, setup, teardown),
#ifdef STEP_TARGET_MUSL
		cmocka_unit_test_setup_teardown(step__musl_program, setup, teardown),
#endif
#ifdef STEP_TARGET_GO
		cmocka_unit_test_setup_teardown(step__go_program, setup, teardown),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* sample.bpf.c -- the sampling program: one entry a tick of a perf event.
 *
 * filter -> kernel stack -> registers -> frames of the interpreter, if the process has one -> native
 * frames -> emit, on a per-CPU record. Two shapes of the same steps: sample_loop walks in one program
 * by bpf_loop (Linux 5.17); sample_tail walks in bounded pieces joined by tail calls, for kernels
 * without it. User space loads the one that works.
 * Every entry ends in exactly one outcome of struct rec_counters. */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi/config.h"
#include "bpf/abi/python.h"
#include "bpf/abi/record.h"
#include "bpf/abi/unwind_table.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000 // <linux/sched.h>
#define USER_CS32 0x23 // __USER32_CS, <asm/segment.h>
#define NR_EXECVE 59 // <asm/unistd_64.h>
#define NR_EXECVEAT 322
#define THREAD_SIZE 16384 // x86-64 without KASAN; only for kernels without bpf_task_pt_regs
#define FRAMES_A_PIECE 48 // frames walked between two tail calls
#define PIECES_MAX 30 // of 33 tail calls
#define PY_FRAMES_A_PIECE 96
#define STEPS_MAX (REC_RUNTIME_WORDS_MAX + REC_USER_WORDS_MAX + 2)
#define PIECE_NATIVE 0 // indices of `pieces`
#define PIECE_PYTHON 1
/* Whole pages of the stack copied after the first, partial one: as many as there is room for, and few
 * when the ring fills up. */
#define LARGE_PAGES 14
#define SMALL_PAGES 3
#define LARGE_HEAD 8192 // what comes before them: the record, its words, the registers
#define LARGE_BYTES (LARGE_HEAD + REC_STACK_PAGE + LARGE_PAGES * REC_STACK_PAGE)

#define WORDS_MAX (REC_KERNEL_WORDS_MAX + REC_RUNTIME_WORDS_MAX + REC_USER_WORDS_MAX)
#define WORDS_MASK 4095u
/* Words and, after them, what is handed over share this: a stack of very many frames leaves no room
 * for a slice of it. */
#define AREA_BYTES 30720

_Static_assert(WORDS_MAX <= WORDS_MASK, "a word index is masked");
_Static_assert(WORDS_MAX * 8 + sizeof(struct rec_handoff) <= AREA_BYTES, "all words and a handoff");
_Static_assert(SMALL_PAGES *REC_STACK_PAGE + REC_STACK_PAGE <= REC_STACK_SMALL, "slice fits");
_Static_assert(LARGE_PAGES *REC_STACK_PAGE + REC_STACK_PAGE <= REC_STACK_MAX, "slice fits");

struct sample_buf;
#define WALK_ENV struct sample_buf *
#define WALK_INLINE static __always_inline
#define WALK_READ(env, dst, len, addr) bpf_probe_read_user((dst), (len), (void *)(addr))
#include "bpf/walk/walk.h"
#include "bpf/walk/python.h"

struct sample_buf {
	struct walk_state w;
	struct py_walk py;
	struct pt_regs regs;
	__u32 pieces;
	__u32 walks; // 1: native frames are walked
	__u32 asks; // 1: frames of an interpreter are looked for
	__u32 pad;
	struct rec_sample rec;
	__u64 words[AREA_BYTES / 8];
};
_Static_assert(sizeof(struct sample_buf) <= 32768, "a per-CPU value is at most 32 KiB");
_Static_assert(__builtin_offsetof(struct sample_buf, words) ==
		       __builtin_offsetof(struct sample_buf, rec) + sizeof(struct rec_sample),
	"the record is contiguous");

const volatile struct bpf_config config = {};
const volatile struct bpf_task_layout layout = {}; // no relocations: capture/kernel_btf.h says why
const volatile __u32 have_task_pt_regs = 0;
const volatile __u32 have_attach_cookie = 0;
const volatile __u32 wake_bytes = 65536; // fill of the ring that wakes the reader

__u32 epoch = 0;
__u32 filter_groups = 0; // 1: only tasks of `groups` and `members`

/* A segment of it. */
struct big_pool {
	__u8 bytes[UW_POOL_SEGMENT_BYTES];
};
struct big_dir {
	__u32 entries[UW_DIR_ENTRIES];
};
struct big_used {
	__u8 entries[UW_DIR_ENTRIES];
};
struct big_rules {
	struct uw_rule rules[UW_RULES];
};
struct big_maps {
	struct uw_mapping maps[UW_MAPS];
};

#define VALUE_MAX (4u << 20) // KMALLOC_MAX_SIZE of Linux 5.10
_Static_assert(sizeof(struct big_pool) <= VALUE_MAX && sizeof(struct big_dir) <= VALUE_MAX &&
		       sizeof(struct big_rules) <= VALUE_MAX &&
		       sizeof(struct big_maps) <= VALUE_MAX,
	"old kernels take no larger map value");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UW_POOL_SEGMENTS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct big_pool);
} uw_pool SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct big_dir);
} uw_dir SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct big_used);
} uw_used SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct big_rules);
} uw_rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct big_maps);
} uw_maps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UW_PROCESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct uw_process);
} procs SEC(".maps");

/* The pids that were asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, UW_PROCESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u8);
} chosen SEC(".maps");

/* The cgroups that were chosen and all below them, by id; processes of those that have none (cgroup v1).
 * The value is user space's. Where nobody chooses cgroups, user space makes these two as small as they
 * can be. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REC_GROUPS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REC_MEMBERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} members SEC(".maps");

/* Without Python user space makes these two as small as they can be. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PY_PROCESSES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct py_process);
} py_procs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PY_LAYOUTS);
	__type(key, __u32);
	__type(value, struct py_layout);
} py_layouts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample_buf);
} bufs SEC(".maps");

/* One element an event. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REC_EVENTS_MAX);
	__type(key, __u32);
	__type(value, struct rec_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} pieces SEC(".maps");

static __always_inline void *pool_segment(__u32 n)
{
	return bpf_map_lookup_elem(&uw_pool, &n);
}

static __always_inline void *only(void *map)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(map, &zero);
}

#define WALK_POOL(env, n) ((const __u8 *)pool_segment(n))
#define WALK_DIR(env) ((const __u32 *)only(&uw_dir))
#define WALK_USED(env) ((__u8 *)only(&uw_used))
#define WALK_RULES(env) ((const struct uw_rule *)only(&uw_rules))
#define WALK_MAPS(env) ((const struct uw_mapping *)only(&uw_maps))
#define WALK_EPOCH(env) epoch
#include "bpf/walk/native.h"

/* A member of a struct of the kernel; zeroes where it cannot be read. */
static __always_inline __u64 kernel_u64(__u64 at, __u32 offset)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset));
	return value;
}

static __always_inline __u32 kernel_u32(__u64 at, __u32 offset)
{
	__u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset));
	return value;
}

static __always_inline struct rec_counters *counters_of(__u32 event)
{
	return bpf_map_lookup_elem(&counters, &event);
}

static __always_inline void count(const struct sample_buf *s, __u32 outcome, __u32 frames)
{
	struct rec_counters *c = counters_of(s->rec.event);
	__u32 reason = s->rec.reason;

	if (!c)
		return;
	c->outcomes[outcome < REC_OUT_MAX ? outcome : REC_OUT_BROKEN]++;
	c->user_frames += frames;
	if (outcome == REC_OUT_HANDOFF || outcome == REC_OUT_BROKEN)
		c->reasons[reason < REC_WHY_MAX ? reason : REC_WHY_NONE]++;
}

static __always_inline __u32 words_used(const struct sample_buf *s)
{
	return (__u32)s->rec.kernel_words + s->rec.runtime_words + s->rec.user_words;
}

static __always_inline void set_word(struct sample_buf *s, __u32 at, __u64 word)
{
	s->words[(at & WORDS_MASK) < WORDS_MAX ? at & WORDS_MASK : 0] = word;
}

static __always_inline void push_word(struct sample_buf *s, __u64 word)
{
	set_word(s, words_used(s), word);
	s->rec.user_words++;
}

/* The frame just left was the interpreter's: the word said before becomes that of an eval frame. */
static __always_inline void mark_eval(struct sample_buf *s, __u64 word)
{
	if (s->rec.user_words >= REC_USER_WORDS_MAX)
		return;
	set_word(s, words_used(s) - 1,
		(word & (REC_FRAME_DATA_MASK | REC_FRAME_EXACT | 7ull << REC_FRAME_MARK_SHIFT)) |
			(__u64)REC_FRAME_EVAL << REC_FRAME_KIND_SHIFT);
	push_word(s, s->w.sp);
}

/* One frame: emit it, go to its caller. 0: go on. */
static __always_inline int walk_frame(struct sample_buf *s)
{
	struct walk_state *w = &s->w;
	__u64 word, eval = 0;

	if (s->rec.user_words >= config.max_frames) {
		walk_stop(w, REC_OUT_TRUNCATED, REC_WHY_STEPS);
		return 1;
	}
	word = REC_FRAME(REC_FRAME_NATIVE, w->mark, w->exact, w->ip);
	if (s->py.on)
		eval = py_in_eval(&s->py.proc, w->ip - !w->exact);
	push_word(s, word);
	if (walk_native_step(s, w) == WALK_MORE) {
		if (eval)
			mark_eval(s, word);
		return 0;
	}
	// User space goes on from this very frame: it is not ours then.
	if (w->outcome == REC_OUT_HANDOFF)
		s->rec.user_words--;
	return 1;
}

/* What is known of the current process' interpreter. A child that was just forked, and has not begun
 * another program, nor its parent, is as its parent in all of it; user space says so some time later. */
static __always_inline const struct py_process *python_of(__u64 task, __u32 pid)
{
	const struct py_process *proc = bpf_map_lookup_elem(&py_procs, &pid);
	__u64 parent;
	__u32 id;

	if (proc)
		return proc;
	id = kernel_u32(task, layout.parent_exec_id);
	if (kernel_u32(task, layout.self_exec_id) != id)
		return NULL;
	parent = kernel_u64(task, layout.real_parent);
	if (kernel_u32(parent, layout.self_exec_id) != id)
		return NULL;
	pid = kernel_u32(parent, layout.tgid);
	return bpf_map_lookup_elem(&py_procs, &pid);
}

/* What this process has of an interpreter, and this thread's place in it. Not 0: nothing. */
static __always_inline int python_begin(struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	const struct py_process *proc = python_of(task, s->rec.pid);
	const struct py_layout *py;

	py_none(&s->py);
	if (!proc)
		return 1;
	__builtin_memcpy(&s->py.proc, proc, sizeof(*proc));
	py = bpf_map_lookup_elem(&py_layouts, &s->py.proc.layout);
	if (!py)
		return 1;
	__builtin_memcpy(&s->py.layout, py, sizeof(*py));
	s->py.tp = kernel_u64(task, layout.fsbase);
	py_start(&s->py);
	s->rec.flags |= REC_F_RUNTIME;
	return 0;
}

/* One frame of the interpreter. 0: go on. */
static __always_inline int python_frame(struct sample_buf *s)
{
	struct py_walk *p = &s->py;
	__u32 at = (__u32)s->rec.kernel_words + s->rec.runtime_words;

	if (!py_more(p))
		return 1;
	if (s->rec.runtime_words > REC_RUNTIME_WORDS_MAX - PY_WORDS_A_STEP) {
		p->lost = 1;
		return 1;
	}
	py_step(s, p);
	set_word(s, at, p->out[0]);
	set_word(s, at + 1, p->out[1]);
	set_word(s, at + 2, p->out[2]);
	s->rec.runtime_words += (__u16)p->nout;
	return 0;
}

static __always_inline void python_end(struct sample_buf *s)
{
	struct rec_counters *c = counters_of(s->rec.event);

	// By this address user space may learn that it is an interpreter.
	if (config.mode == BPF_UNWIND_OFF && s->w.outcome == REC_OUT_NO_USER && !s->py.on)
		push_word(s, REC_FRAME(REC_FRAME_NATIVE, s->w.mark, 1, s->w.ip));
	if (!s->py.on || !c)
		return;
	if (s->rec.runtime_words)
		c->runtime_samples++;
	else
		c->runtime_none++;
	c->runtime_frames += s->rec.runtime_words / PY_FRAME_WORDS;
	if (s->py.lost) {
		c->runtime_lost++;
		s->rec.flags |= REC_F_RUNTIME_LOST;
	}
}

/* The registers of the frame at which the walk stopped, after the words. Returns where they are. */
static __always_inline struct rec_handoff *attach_registers(struct sample_buf *s, __u64 words)
{
	const struct walk_state *w = &s->w;
	__u64 off = words * 8;
	struct rec_handoff *h;

	WALK_BAR(off);
	if (off > AREA_BYTES - sizeof(*h))
		return NULL;
	h = (struct rec_handoff *)((__u8 *)s->words + off);
	h->valid =
		w->regs_valid | 1ull << WALK_REG_FP | 1ull << WALK_REG_SP | 1ull << REC_REG_X86_IP;
	for (int i = 0; i < 17; i++)
		h->regs[i] = w->regs[i];
	h->regs[WALK_REG_FP] = w->fp;
	h->regs[WALK_REG_SP] = w->sp;
	h->regs[REC_REG_X86_IP] = w->ip;
	h->stack_base = w->sp;
	h->stack_len = 0;
	h->absent = 0;
	for (int i = 0; i < REC_EVAL_RANGES; i++) {
		h->eval[i].start = s->py.on ? s->py.proc.eval[i].start : 0;
		h->eval[i].end = s->py.on ? s->py.proc.eval[i].end : 0;
	}
	return h;
}

/* Copies a piece of the stack. Returns 1 if it is absent, without a jump: each would double the paths
 * that the verifier follows. */
static __always_inline __u64 copy_piece(void *dst, __u64 len, __u64 addr)
{
	__u64 r = (__u64)bpf_probe_read_user(dst, len, (void *)addr);

	WALK_BAR(r);
	r >>= 63;
	WALK_BAR(r);
	return r;
}

/* The stack above the frame at which the walk stopped, page by page: an absent page costs only itself,
 * two of them are the end of the stack. dst has room for a page and for `pages` more. */
static __always_inline void copy_stack(struct rec_handoff *h, __u8 *dst, __u64 addr, int pages)
{
	__u64 first = REC_STACK_PAGE - (addr & (REC_STACK_PAGE - 1));
	__u64 absent = copy_piece(dst, first, addr), before = 0;
	__u64 len = first;

	dst += first;
	addr += first;
#pragma unroll
	for (int i = 0; i < pages; i++) {
		__u64 bad = copy_piece(dst, REC_STACK_PAGE, addr);

		absent |= bad << (i + 1);
		len += REC_STACK_PAGE;
		dst += REC_STACK_PAGE;
		addr += REC_STACK_PAGE;
		// Not after each page: every way out is verified with all that follows.
		if ((i & 3) == 1 && (bad & before))
			break;
		before = bad;
	}
	h->stack_len = (__u32)len;
	h->absent = (__u32)absent;
}

/* Bytes of the stack above sp, or more: the main thread's begins where execve() put the arguments, another
 * one's below what the C library keeps of the thread, which the thread pointer leads to. */
static __always_inline __u64 stack_left(const struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	__u64 mm = kernel_u64(task, layout.mm);
	__u64 left = kernel_u64(mm, layout.start_stack) - s->w.sp;
	__u64 below_tp = kernel_u64(task, layout.fsbase) - s->w.sp;

	return left < below_tp ? left : below_tp;
}

/* A frame that is met for the first time may have many above it that are, too, and a process that goes
 * on running changes them before user space could look: so the slice is a large one, written right into
 * the ring. len: of the record, up to and with the registers. 0: there is no room. */
static __always_inline int emit_large(struct sample_buf *s, struct rec_handoff *h, __u64 len)
{
	__u8 *to;

	WALK_BAR(len);
	if (len > LARGE_HEAD)
		return 0;
	to = bpf_ringbuf_reserve(&ring, LARGE_BYTES, 0);
	if (!to)
		return 0;
	copy_stack(h, to + len, s->w.sp, LARGE_PAGES);
	s->rec.len = (__u32)len + h->stack_len;
	bpf_probe_read_kernel(to, len, &s->rec);
	bpf_ringbuf_submit(to, BPF_RB_FORCE_WAKEUP);
	return 1;
}

/* The slice beside the words; one: only up to the end of its first page. Returns the bytes after the
 * registers. */
static __always_inline __u32 attach_small(
	struct sample_buf *s, struct rec_handoff *h, __u64 words, int one)
{
	__u64 off = words * 8 + sizeof(*h);
	__u8 *dst;

	// The bound is to be on the very register that is added.
	WALK_BAR(off);
	if (off > AREA_BYTES - REC_STACK_SMALL)
		return 0;
	dst = (__u8 *)s->words + off;
	if (one)
		copy_stack(h, dst, s->w.sp, 0);
	else
		copy_stack(h, dst, s->w.sp, SMALL_PAGES);
	return h->stack_len;
}

static __always_inline void begin_walk(struct sample_buf *s)
{
	const struct pt_regs *r = &s->regs;
	struct walk_state *w = &s->w;

	w->ip = r->rip;
	w->sp = r->rsp;
	w->fp = r->rbp;
	w->regs[0] = r->rax;
	w->regs[1] = r->rdx;
	w->regs[2] = r->rcx;
	w->regs[3] = r->rbx;
	w->regs[4] = r->rsi;
	w->regs[5] = r->rdi;
	w->regs[8] = r->r8;
	w->regs[9] = r->r9;
	w->regs[10] = r->r10;
	w->regs[11] = r->r11;
	w->regs[12] = r->r12;
	w->regs[13] = r->r13;
	w->regs[14] = r->r14;
	w->regs[15] = r->r15;
	w->regs_valid = 0xff3f;
	w->exact = 1;
	w->mark = REC_MARK_LEAF;
	w->mode = (__u8)config.mode;
	w->map_start = 0;
	w->map_end = 0;
}

/* What user space goes on from is the frame at which the walk stopped, with two exceptions. A rule
 * that wants a register which only the leaf's frame still had is evaluated from the leaf, if the
 * frames between fit into the slice. And a twin test walks every sample again. */
static __always_inline int from_leaf(const struct sample_buf *s)
{
	if (config.stop_at_sample)
		return s->regs.rip != 0;
	return s->w.outcome == REC_OUT_HANDOFF && s->w.reason == REC_WHY_COMPLEX &&
	       s->w.sp - s->regs.rsp < REC_STACK_SMALL / 2;
}

/* Sends a sample that user space goes on with. Returns 0, or not 0: the ring is full. */
static __always_inline long hand_over(struct sample_buf *s, __u64 words)
{
	__u64 waiting = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	__u64 len = sizeof(s->rec) + words * 8; // 64 bits wide, or the bound lands on a copy of it
	struct rec_handoff *h = attach_registers(s, words);
	__u64 left = stack_left(s);

	if (!h)
		return 1;
	len += sizeof(*h);
	s->rec.flags |= REC_F_HANDOFF;
	s->rec.handoff_exact = s->w.exact;
	s->rec.handoff_mark = s->w.mark;
	if (config.stack_bytes > REC_STACK_SMALL && waiting <= wake_bytes &&
		left > SMALL_PAGES * REC_STACK_PAGE && emit_large(s, h, len))
		return 0;
	// A ring that fills up gets shorter pieces of more samples: outer frames can still be read from
	// the process, a lost sample cannot.
	len += attach_small(s, h, words,
		waiting > 2ull * wake_bytes ||
			left <= REC_STACK_PAGE - (s->w.sp & (REC_STACK_PAGE - 1)));
	WALK_BAR(len);
	if (len > sizeof(s->rec) + sizeof(s->words))
		return 1;
	s->rec.len = (__u32)len;
	return bpf_ringbuf_output(&ring, &s->rec, len, BPF_RB_FORCE_WAKEUP);
}

static __always_inline long send(struct sample_buf *s, __u64 words)
{
	__u64 len = sizeof(s->rec) + words * 8;
	__u64 flags = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > wake_bytes ? BPF_RB_FORCE_WAKEUP
									       : BPF_RB_NO_WAKEUP;

	WALK_BAR(len);
	if (len > sizeof(s->rec) + sizeof(s->words))
		return 1;
	s->rec.len = (__u32)len;
	return bpf_ringbuf_output(&ring, &s->rec, len, flags);
}

static __always_inline void emit(struct sample_buf *s)
{
	__u64 words;
	long lost;

	s->rec.outcome = s->w.outcome;
	s->rec.reason = s->w.reason;
	if (from_leaf(s)) {
		begin_walk(s);
		if (!config.stop_at_sample)
			s->rec.user_words = 0;
	}
	python_end(s);
	words = words_used(s);
	if (words > WORDS_MAX)
		words = WORDS_MAX;
	if (s->w.outcome == REC_OUT_HANDOFF || (config.stop_at_sample && s->regs.rip))
		lost = hand_over(s, words);
	else
		lost = send(s, words);
	count(s, lost ? REC_OUT_LOST_RING : s->w.outcome, lost ? 0 : s->rec.user_words);
	// To this very thread: it takes the signal before it runs on, another one would not stop it in
	// time.
	if (config.stop_at_sample)
		bpf_send_signal_thread(19); // SIGSTOP
}

/* The user registers of the current task, wherever the tick hit. 0: there are none. */
static __always_inline int user_regs(struct bpf_perf_event_data *ctx, struct sample_buf *s)
{
	__u64 task = bpf_get_current_task();
	struct pt_regs *r = &s->regs;

	if ((ctx->regs.cs & 3) == 3) {
		__builtin_memset(r, 0, sizeof(*r));
		r->rip = ctx->regs.rip;
		r->rsp = ctx->regs.rsp;
		r->rbp = ctx->regs.rbp;
		r->rax = ctx->regs.rax;
		r->rbx = ctx->regs.rbx;
		r->rcx = ctx->regs.rcx;
		r->rdx = ctx->regs.rdx;
		r->rsi = ctx->regs.rsi;
		r->rdi = ctx->regs.rdi;
		r->r8 = ctx->regs.r8;
		r->r9 = ctx->regs.r9;
		r->r10 = ctx->regs.r10;
		r->r11 = ctx->regs.r11;
		r->r12 = ctx->regs.r12;
		r->r13 = ctx->regs.r13;
		r->r14 = ctx->regs.r14;
		r->r15 = ctx->regs.r15;
		r->cs = ctx->regs.cs;
		return 1;
	}
	s->rec.flags |= REC_F_IN_KERNEL;
	if (have_task_pt_regs) {
		long p = bpf_task_pt_regs(bpf_get_current_task_btf());

		return !bpf_probe_read_kernel(r, sizeof(*r), (void *)p);
	}
	return !bpf_probe_read_kernel(
		r, sizeof(*r), (void *)(kernel_u64(task, layout.stack) + THREAD_SIZE - sizeof(*r)));
}

static __always_inline void kernel_stack(struct bpf_perf_event_data *ctx, struct sample_buf *s)
{
	long n;

	if (!config.kernel_stacks || (ctx->regs.cs & 3) == 3)
		return;
	n = bpf_get_stack(ctx, s->words, REC_KERNEL_WORDS_MAX * 8, 0);
	if (n <= 0)
		return;
	s->rec.kernel_words = (__u16)(n / 8);
	if (s->rec.kernel_words == REC_KERNEL_WORDS_MAX)
		s->rec.flags |= REC_F_KERNEL_CUT;
}

/* Past the point where execve() has let the old program go, and before it has set the new one's registers:
 * those of user mode are the old program's, whose memory is gone (begin_new_exec() of fs/exec.c). */
static __always_inline int amid_exec(const struct sample_buf *s)
{
	__u64 nr = s->regs.orig_rax;
	__u8 byte;

	if (!(s->rec.flags & REC_F_IN_KERNEL) || (nr != NR_EXECVE && nr != NR_EXECVEAT))
		return 0;
	return bpf_probe_read_user(&byte, sizeof(byte), (void *)s->regs.rip) != 0;
}

/* Everything before the walk. 1: walk; 0: the sample is finished. */
static __always_inline int begin(struct bpf_perf_event_data *ctx, struct sample_buf *s, __u32 event)
{
	__u64 task = bpf_get_current_task();
	const struct uw_process *p;
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32;

	__builtin_memset(&s->rec, 0, sizeof(s->rec));
	s->regs.rip = 0;
	py_none(&s->py);
	s->asks = 0;
	s->rec.type = REC_SAMPLE;
	s->rec.time = bpf_ktime_get_ns();
	s->rec.weight = ctx->sample_period;
	s->rec.cgroup = bpf_get_current_cgroup_id();
	s->rec.pid = pid;
	s->rec.tid = (__u32)id;
	s->rec.cpu = bpf_get_smp_processor_id();
	s->rec.event = (__u8)event;
	bpf_get_current_comm(s->rec.comm, sizeof(s->rec.comm));
	kernel_stack(ctx, s);
	walk_stop(&s->w, pid ? REC_OUT_KERNEL_ONLY : REC_OUT_IDLE, REC_WHY_NONE);
	if (!pid || kernel_u32(task, layout.flags) & PF_KTHREAD || !kernel_u64(task, layout.mm))
		return 0;
	walk_stop(&s->w, REC_OUT_NO_USER, REC_WHY_NONE);
	if (config.mode == BPF_UNWIND_OFF && !config.runtimes)
		return 0;
	walk_stop(&s->w, REC_OUT_KERNEL_ONLY, REC_WHY_STACK_READ);
	if (!user_regs(ctx, s))
		return 0;
	// Workers of io_uring and vhost have the address space of a process and no user mode: their
	// registers are zeroes (copy_thread() of arch/x86/kernel/process.c).
	walk_stop(&s->w, REC_OUT_KERNEL_ONLY, REC_WHY_NONE);
	if ((!s->regs.rip && !s->regs.rsp) || amid_exec(s))
		return 0;
	walk_stop(&s->w, REC_OUT_BITS32, REC_WHY_BITS32);
	if ((s->regs.cs & 0xffff) == USER_CS32)
		return 0;
	begin_walk(s);
	s->asks = config.runtimes >> REC_FRAME_PYTHON & 1;
	walk_stop(&s->w, REC_OUT_NO_USER, REC_WHY_NONE);
	if (config.mode == BPF_UNWIND_OFF)
		return 0;
	walk_stop(&s->w, REC_OUT_HANDOFF, REC_WHY_NO_PROCESS);
	p = bpf_map_lookup_elem(&procs, &pid);
	if (!p && config.mode != BPF_UNWIND_FP)
		return 0;
	s->w.map_first = p ? p->first : 0;
	s->w.map_count = p ? p->count : 0;
	walk_stop(&s->w, REC_OUT_TRUNCATED, REC_WHY_STEPS);
	return 1;
}

/* Which of the sampled events this is. */
static __always_inline __u32 event_of(struct bpf_perf_event_data *ctx)
{
	return have_attach_cookie && config.events > 1
		       ? bpf_get_attach_cookie(ctx) & (REC_EVENTS_MAX - 1)
		       : 0;
}

/* Is it in a cgroup that was chosen? A process that was just forked is where its parent is; user space
 * says so some time later. Interpreters are sampled wherever they are. */
static __always_inline int in_groups(__u32 pid)
{
	__u64 group = bpf_get_current_cgroup_id();
	__u64 parent;

	if (bpf_map_lookup_elem(&groups, &group) || bpf_map_lookup_elem(&members, &pid))
		return 1;
	if (config.runtimes && bpf_map_lookup_elem(&py_procs, &pid))
		return 1;
	parent = kernel_u64(bpf_get_current_task(), layout.real_parent);
	pid = kernel_u32(parent, layout.tgid);
	return bpf_map_lookup_elem(&members, &pid) != NULL;
}

/* Not for us: counted, nothing else is done. */
static __always_inline int filtered(__u32 event)
{
	struct rec_counters *c = counters_of(event);
	__u32 pid = bpf_get_current_pid_tgid() >> 32;

	if (!c)
		return 1;
	c->entries++;
	if (!pid && !config.include_idle) {
		c->outcomes[REC_OUT_IDLE]++;
		return 1;
	}
	if ((config.filter_pids && !bpf_map_lookup_elem(&chosen, &pid)) ||
		(filter_groups && !in_groups(pid))) {
		c->outcomes[REC_OUT_FILTERED]++;
		return 1;
	}
	return 0;
}

/* First the interpreter's frames, then the native ones. One callback for both: what follows a loop is
 * verified once for each way out of it, and that would be the other loop. */
static long walk_step(__u32 i, void *ctx)
{
	struct sample_buf *s = only(&bufs);

	if (!s)
		return 1;
	if (!s->asks)
		return !s->walks || walk_frame(s);
	if ((!s->py.on && python_begin(s)) || python_frame(s))
		s->asks = 0;
	return 0;
}

/* A function of its own: verified once, and not again for each way that leads to it. (The other shape has
 * tail calls, which older kernels do not allow beside functions everywhere.) */
__attribute__((noinline)) int emit_apart(void)
{
	struct sample_buf *s = only(&bufs);

	if (s)
		emit(s);
	return 0;
}

SEC("perf_event")
int sample_loop(struct bpf_perf_event_data *ctx)
{
	struct sample_buf *s = only(&bufs);
	__u32 event = event_of(ctx);

	if (filtered(event) || !s)
		return 0;
	s->walks = (__u32)begin(ctx, s, event);
	if (s->asks || s->walks)
		bpf_loop(STEPS_MAX, walk_step, NULL, 0);
	emit_apart();
	return 0;
}

SEC("perf_event")
int sample_tail(struct bpf_perf_event_data *ctx)
{
	struct sample_buf *s = only(&bufs);
	__u32 event = event_of(ctx);
	struct rec_counters *c = counters_of(event);

	if (filtered(event) || !s || !c)
		return 0;
	s->pieces = 0;
	s->walks = (__u32)begin(ctx, s, event);
	if (s->asks) {
		bpf_tail_call(ctx, &pieces, PIECE_PYTHON);
		c->tail_call_failed++;
	} else if (s->walks) {
		bpf_tail_call(ctx, &pieces, PIECE_NATIVE);
		c->tail_call_failed++;
	}
	emit(s);
	return 0;
}

SEC("perf_event")
int python_piece(struct bpf_perf_event_data *ctx)
{
	struct sample_buf *s = only(&bufs);

	if (!s)
		return 0;
	if (!s->py.on)
		python_begin(s);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PY_FRAMES_A_PIECE; i++) {
		if (python_frame(s))
			break;
	}
	s->pieces++;
	// The words are full at the latest after a third of the tail calls there are.
	if (py_more(&s->py) && !s->py.lost)
		bpf_tail_call(ctx, &pieces, PIECE_PYTHON);
	if (s->walks)
		bpf_tail_call(ctx, &pieces, PIECE_NATIVE);
	emit(s);
	return 0;
}

SEC("perf_event")
int walk_piece(struct bpf_perf_event_data *ctx)
{
	struct sample_buf *s = only(&bufs);

	if (!s)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < FRAMES_A_PIECE; i++) {
		if (walk_frame(s)) {
			emit(s);
			return 0;
		}
	}
	if (++s->pieces < PIECES_MAX)
		bpf_tail_call(ctx, &pieces, PIECE_NATIVE);
	emit(s);
	return 0;
}

// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* sample.bpf.c -- the sampling program: one entry a tick of a perf event.
 *
 * filter -> kernel stack -> registers -> frames of the interpreter, if the process has one -> native
 * frames -> emit, on a per-CPU record. Two shapes of the same steps: sample_loop walks in one program
 * by bpf_loop (Linux 5.17); sample_tail walks in bounded pieces joined by tail calls, for kernels
 * without it. User space loads the one that works.
 * Its maps and knobs stand in maps.h, its steps in kernel.h, frames.h and handoff.h.
 * Every entry ends in exactly one outcome of struct rec_counters. */
#include "bpf/handoff.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000 // <linux/sched.h>
#define USER_CS32 0x23 // __USER32_CS, <asm/segment.h>
#define FRAMES_A_PIECE 48 // frames walked between two tail calls
#define PIECES_MAX 30 // of 33 tail calls
#define PY_FRAMES_A_PIECE 96
#define STEPS_MAX (REC_RUNTIME_WORDS_MAX + REC_USER_WORDS_MAX + 2)
#define PIECE_NATIVE 0 // indices of `pieces`
#define PIECE_PYTHON 1

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

static __always_inline long send(struct sample_buf *s, __u64 words)
{
	__u64 len = sizeof(s->rec) + words * 8;
	__u64 flags = s->wakes || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > wake_bytes
			      ? BPF_RB_FORCE_WAKEUP
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

/* Everything before the walk. 1: walk; 0: the sample is finished. */
static __always_inline int begin(struct bpf_perf_event_data *ctx, struct sample_buf *s, __u32 event)
{
	__u64 task = bpf_get_current_task();
	struct uw_process *p;
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32;

	__builtin_memset(&s->rec, 0, sizeof(s->rec));
	s->regs.rip = 0;
	py_none(&s->py);
	s->asks = s->wakes = 0;
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
	// Who it is can only be asked while it lives.
	if (p && !p->seen)
		s->wakes = p->seen = 1;
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

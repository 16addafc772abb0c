/* SPDX-License-Identifier: Apache-2.0 */
/* capture/source.h -- where records come from: one interface, three rungs and a file.
 *
 *   bpf      source_bpf.c     in-kernel walker; samples through a BPF ring buffer
 *   ring     source_ring.c    perf rings; registers + stack copy, or the kernel's callchain
 *   replay   source_replay.c  a file that source_record.c wrote
 *   reader   source_none.c    nothing: runtime/reader.h brings the stacks
 *
 * The side band (sideband.c) belongs to the bpf and ring sources alike. A source is owned by the
 * session and used from its thread. Life: new -> prepare -> start -> drain ... -> stop -> drain ->
 * free. */
#ifndef GP_CAPTURE_SOURCE_H
#define GP_CAPTURE_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi/config.h"
#include "bpf/abi/unwind_table.h"
#include "capture/event.h"

#define CAPTURE_EVENTS_MAX REC_EVENTS_MAX

/* One thing to sample. */
struct capture_perf_event {
	const char *name; // "cycles", "cpu-clock", "instructions" ...
	uint32_t perf_type; // PERF_TYPE_*
	uint64_t perf_config;
};

struct capture_config {
	unsigned frequency; // Hz, 1..1000
	struct capture_perf_event events[CAPTURE_EVENTS_MAX];
	unsigned nevents; // 0: discover cycles, cpu-clock, task-clock
	enum bpf_unwind_mode mode;
	bool kernel_stacks;
	bool include_idle;
	const uint32_t *pids; // NULL: the whole machine
	size_t npids;
	unsigned stack_bytes; // stack copied a sample (ring), handed over (bpf)
	unsigned max_frames; // 0: default
	bool own_only; // unprivileged: exclude_kernel, own processes
	bool stop_at_sample; // twin tests
	bool python; // walk Python frames in the kernel
	bool groups; // set_groups() will be called
};

/* Whose tasks are sampled: a cgroup of the v2 tree by its id, and each below it by its own; processes of
 * groups that have no id (v1). */
struct capture_groups {
	const uint64_t *ids;
	size_t nids;
	const uint32_t *pids;
	size_t npids;
};

/* What the source counted; monotonic. */
struct capture_stats {
	struct rec_counters kernel; // exact outcomes; the ring source fills the same fields
	struct rec_counters events[CAPTURE_EVENTS_MAX]; // the same of each event: they sum to it
	uint64_t samples; // handed to the callback
	uint64_t records; // side-band records handed to the callback
	uint64_t lost_samples; // dropped in a sample ring
	uint64_t lost_records; // dropped in a side-band ring
	uint64_t throttled; // throttle notices
	uint64_t bpf_run_ns; // 0 if unknown
	uint64_t bpf_memory; // bytes of maps and rings
};

/* The memory that the in-kernel walker reads; for sources without BPF ordinary memory.
 * Written by unwind/, see abi/unwind_table.h. */
struct capture_tables {
	uint8_t *pool; // UW_POOL_BYTES
	uint32_t *dir; // UW_DIR_ENTRIES
	uint8_t *used; // UW_DIR_ENTRIES
	struct uw_rule *rules; // UW_RULES
	struct uw_recent *recent;
	struct uw_mapping *maps; // UW_MAPS
	uint32_t *epoch; // what the walker stores into used[]
};

struct capture_source;

struct capture_source_ops {
	const char *name;
	/* Gathers what the processes do, but takes no samples yet: so that who runs already can be told
	 * to the walkers before the first sample. May be NULL, or not be called: start() does it, too. */
	int (*prepare)(struct capture_source *s);
	int (*start)(struct capture_source *s);
	/* Stops sampling; what is in the rings can still be drained. Never fails. */
	void (*stop)(struct capture_source *s);
	/* Hands over, in time order, every record stamped up to `until` (ns); 0 = everything. */
	int (*drain)(struct capture_source *s, uint64_t until, capture_event_fn fn, void *arg);
	void (*stats)(struct capture_source *s, struct capture_stats *ret);
	void (*free)(struct capture_source *s);
	/* Samples at hz from now on, 0: not at all for now; source.frequency stays what was asked for.
	 * May be NULL: it cannot. Return 0 or -errno. */
	int (*set_rate)(struct capture_source *s, unsigned hz);
	/* The five that follow may be NULL: no in-kernel walker. */
	int (*set_process)(struct capture_source *s, uint32_t pid, const struct uw_process *p);
	int (*remove_process)(struct capture_source *s, uint32_t pid);
	/* Returns after every walker that may still read replaced tables has left. */
	void (*synchronize)(struct capture_source *s);
	/* What the walker of a runtime (kind: enum rec_frame_kind) must know of a process: struct
	 * py_process ...; NULL removes it. And a set of offsets, struct py_layout ..., that processes
	 * name by index; it is set before any process names it and never changes. Return 0, -ENOSPC,
	 * -EOPNOTSUPP without a walker of this kind, -errno. */
	int (*set_runtime)(
		struct capture_source *s, uint8_t kind, uint32_t pid, const void *process);
	int (*set_runtime_layout)(
		struct capture_source *s, uint8_t kind, uint32_t index, const void *layout);
	/* Only tasks of these cgroups are sampled from now on, instead of those said before; NULL: all.
	 * Others are counted as filtered, and nothing else is done for them. -ENOSPC: more than fit, and
	 * all are sampled. Both may be NULL: samples must be looked at by who gets them. */
	int (*set_groups)(struct capture_source *s, const struct capture_groups *groups);
	/* One more of either, the other is 0. */
	int (*add_group)(struct capture_source *s, uint64_t id, uint32_t pid);
	/* Keeps what a replay could not find out by itself (CAPTURE_NAMED). May be NULL: nothing is
	 * recorded. */
	void (*keep)(struct capture_source *s, const struct capture_event *event);
};

struct capture_source {
	const struct capture_source_ops *ops;
	struct capture_tables tables;
	struct capture_perf_event events[CAPTURE_EVENTS_MAX]; // what is really sampled
	unsigned nevents;
	unsigned frequency;
	unsigned ncpus; // CPUs sampled
	int poll_fd; // an epoll descriptor, readable when a drain is worthwhile; -1
	const uint8_t *vdso; // of a recording, NULL: it is this machine's, or was not recorded
	size_t vdso_len;
};

/* Each returns 0 with *ret, or -errno with a sentence for people (subject, reason, remedy) in why,
 * of at least CAPTURE_WHY bytes. -EPERM/-ENOSYS/-EOPNOTSUPP mean: try the next rung. */
#define CAPTURE_WHY 512
int capture_source_bpf_new(
	const struct capture_config *config, struct capture_source **ret, char *why);
int capture_source_ring_new(
	const struct capture_config *config, struct capture_source **ret, char *why);
int capture_source_none_new(
	const struct capture_config *config, struct capture_source **ret, char *why);
int capture_source_replay_new(const char *path, struct capture_source **ret, char *why);

#endif

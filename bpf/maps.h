/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* maps.h -- what the sampling program shares with user space and keeps between its steps: knobs, maps, the
 * record of each CPU. After it WALK_* and the walkers can be used. Included once, by sample.bpf.c. */
#ifndef GP_BPF_MAPS_H
#define GP_BPF_MAPS_H

#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi/config.h"
#include "bpf/abi/python.h"
#include "bpf/abi/record.h"
#include "bpf/abi/unwind_table.h"

#define WORDS_MAX (REC_KERNEL_WORDS_MAX + REC_RUNTIME_WORDS_MAX + REC_USER_WORDS_MAX)
#define WORDS_MASK 4095u
/* Words and, after them, what is handed over share this: a stack of very many frames leaves no room
 * for a slice of it. */
#define AREA_BYTES 30720

_Static_assert(WORDS_MAX <= WORDS_MASK, "a word index is masked");
_Static_assert(WORDS_MAX * 8 + sizeof(struct rec_handoff) <= AREA_BYTES, "all words and a handoff");

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
	__u32 wakes; // 1: user space is to look at it soon
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
	__type(value, struct uw_recent);
} uw_recent SEC(".maps");

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
#define WALK_RECENT(env) ((struct uw_recent *)only(&uw_recent))
#define WALK_MAPS(env) ((const struct uw_mapping *)only(&uw_maps))
#define WALK_EPOCH(env) epoch
#include "bpf/walk/native.h"

static __always_inline struct rec_counters *counters_of(__u32 event)
{
	return bpf_map_lookup_elem(&counters, &event);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* process/process.h -- who runs: processes, their executable mappings, names, cgroups.
 *
 * Fed by side-band records in time order and, once at start (and after lost records), from /proc.
 * A process keeps its record after it exits until the window that saw it is closed, so that its
 * samples can be resolved and named. Owned by the pipeline thread; pointers to a process are valid
 * until process_table_sweep(); other rooms keep {uid} or {pid, start_time}. */
#ifndef GP_PROCESS_PROCESS_H
#define GP_PROCESS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"
#include "capture/event.h"
#include "elf/module.h"

enum mapping_kind {
	MAPPING_FILE, // a regular file: module is set
	MAPPING_VDSO, // module is the vDSO's
	MAPPING_ANON, // anonymous executable memory: JIT
	MAPPING_NOFILE, // device, memfd, dma-buf: never opened or read
};

struct mapping {
	uint64_t start, end, pgoff;
	uint32_t module; // id, MODULE_NONE unless FILE or VDSO
	uint32_t path; // id in process_table.strings, as mapped
	uint8_t kind; // enum mapping_kind
};

VEC_DEFINE(mapping_vec, struct mapping)

struct thread_name {
	uint32_t tid;
	char comm[REC_COMM_LEN];
};
VEC_DEFINE(thread_name_vec, struct thread_name)

struct process {
	uint32_t pid;
	uint32_t uid; // unique in this run, from 1; a new one after exec (the old one ends)
	uint32_t ppid;
	uint64_t start_time; // ns since boot, of the pid (not of the exec); 0 if unknown
	uint64_t exit_time; // CLOCK_MONOTONIC ns, 0 while it lives
	uint64_t born; // the same of the fork or exec that began it, 0 not seen
	char comm[REC_COMM_LEN]; // at exec; the oldest known name if no exec was seen
	struct mapping_vec maps; // executable mappings, sorted, no overlap
	struct thread_name_vec threads; // names that differ from comm, capped
	uint32_t cgroup_path; // id in strings, 0 unknown
	uint32_t container; // id in strings: 64-hex id, 0 none
	uint64_t resync_time; // last time /proc/PID/maps was read, ns
	uint32_t nthreads; // living, as far as records and /proc tell
	uint32_t epoch; // process_table.lost_epoch when last known to be right
	bool leader_gone; // the group leader exited before its threads
	bool unsure; // made without /proc or a fork record: sweep looks whether it lives
	bool cgroup_stale; // inherited or before an exec: read again at the next sample
	bool kernel_thread;
	bool bits32; // its vDSO lies below 4 GiB
	bool dirty; // mappings changed since the last process_table_take_dirty()
	bool queued;
	bool sampled; // seen in the current window
	bool execed; // its program began by an exec that was seen
	uint32_t
		forked_from; // uid of the process it was forked from and whose program it runs, 0 unknown
	bool wanted; // the session's: born of the process that was asked for
	uint32_t refs;
	/* for the rooms below: one word each, 0 at birth, theirs to use */
	uint32_t unwind_slot; // first entry in uw_maps + 1
	uint32_t unwind_count;
	bool unwind_told; // the kernel's walker knows it, or was to know it
	uint32_t symbol_slot;
	uint32_t runtime_slot;
	uint32_t image; // uid of the interpreter's process that this one was forked from, 0 none
	uint8_t interpreter; // enum rec_frame_kind of the interpreter's frames it was sampled with
};

VEC_DEFINE(process_vec, struct process *)

struct process_table {
	struct map by_pid; // pid -> pointer, living
	struct map by_uid; // uid -> pointer, living and kept
	struct map ended_by_pid; // pid -> pointer, the newest one that ended and is kept
	struct map retry; // module id -> CLOCK_MONOTONIC ns before which it is not tried
	struct process *other; // stands for what the caps refused
	struct process_vec dirty; // mappings changed, or process gone
	struct process_vec kept; // ended, not yet swept
	size_t kept_left; // of them, could not be freed at the last attempt
	struct intern strings;
	struct module_table *modules;
	uint32_t next_uid;
	uint32_t lost_epoch; // grows with every loss of side-band records
	uint32_t swept_epoch;
	uint32_t vdso_module; // id, MODULE_NONE until met
	char proc_root[64]; // "/proc", or a fixture in tests
	bool recorded; // processes of a recording: whoever has such a pid now is another one
	const uint8_t *vdso; // that they had, NULL unknown; not owned
	size_t vdso_len;
	struct process_stats {
		uint64_t forks, execs, exits, mmaps, comms, lost;
		uint64_t reads; // of a process in /proc: all of it, or its cgroup
		uint64_t resyncs; // /proc/PID/maps re-read
		uint64_t full; // a cap was reached
		uint64_t races; // /proc reads that found the process gone
		uint64_t denied; // /proc/PID/maps we may not read
		uint64_t from_memory; // modules rebuilt from a target's memory
	} stats;
};

int process_table_init(
	struct process_table *t, struct module_table *modules, const char *proc_root);
void process_table_deinit(struct process_table *t);

/* Reads every living process (or the given ones) from /proc. Return 0 or -errno. */
int process_table_scan(struct process_table *t);
/* Those that are not known yet. */
int process_table_scan_new(struct process_table *t);
int process_table_scan_pid(struct process_table *t, uint32_t pid);

/* Applies one side-band record; other types are ignored. Return 0 or -ENOMEM. */
int process_table_apply(struct process_table *t, const struct capture_event *event);

/* Living process of a pid, or NULL. */
struct process *process_table_find(const struct process_table *t, uint32_t pid);
/* For a sample: the living process; else the one of this pid that ended last and is still kept (the
 * kernel takes samples of a task after it reported its exit); else what /proc tells; else an empty
 * record. After lost records each process is re-read here, at its next sample. Never NULL: past the
 * cap one record, "[other]", stands for all. Marks it sampled. */
struct process *process_table_ensure(struct process_table *t, uint32_t pid, const char *comm);
struct process *process_table_by_uid(const struct process_table *t, uint32_t uid);

/* The mapping that holds addr, or NULL. Never allocates. */
const struct mapping *process_mapping(const struct process *p, uint64_t addr);
/* The same; on a miss re-reads /proc/PID/maps, at most once in 100 ms a process. */
const struct mapping *process_mapping_resync(
	struct process_table *t, struct process *p, uint64_t addr, uint64_t now);

const char *process_thread_comm(const struct process *p, uint32_t tid);

/* Opens the file behind a mapping, in this order: /proc/PID/map_files, the target's mount namespace
 * through /proc/PID/root, other living processes that map it, our own mount namespace, the target's
 * memory. Nothing but a regular file is opened. Return 0 with the module open (or already open),
 * -ENOENT, -EMEDIUMTYPE, -errno; the module is then marked unreadable unless it may work later. */
int process_open_module(struct process_table *t, struct process *p, const struct mapping *m);

/* Opens, for reading, the file behind a mapping, or one of a name as the process sees it (else, and
 * once it is gone, as we do). Whose file it is, is for the caller to check. Nothing but a regular file
 * is opened. Return the descriptor, -EMEDIUMTYPE, -errno. */
int process_open_mapped(
	const struct process_table *t, const struct process *p, const struct mapping *m);
int process_open_path(const struct process_table *t, const struct process *p, const char *path);

/* Takes the list of processes whose mappings changed (or that ended: exit_time != 0) since the last
 * call; fn is called once for each. A process for which it returns 1 is shown again the next time. */
typedef int (*process_fn)(void *arg, struct process *p);
int process_table_take_dirty(struct process_table *t, process_fn fn, void *arg);

/* Forgets the modules that no process maps, now and then; when no window refers to them any more.
 * `drop` is asked before each: false keeps it. Return 0 or -ENOMEM. */
int process_table_sweep_modules(
	struct process_table *t, bool (*drop)(void *arg, struct module *m), void *arg);

/* Frees ended processes with no refs that take_dirty has shown; call when no window refers to them
 * any more. Clears `sampled`, and looks in /proc for processes whose exit may have been lost. String
 * ids may change here (the table of paths is compacted when nearly full). */
void process_table_sweep(struct process_table *t);

#endif

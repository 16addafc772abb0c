/* SPDX-License-Identifier: Apache-2.0 */
/* process/table.h -- inside of the process table: what table.c, records.c, scan.c and open.c share.
 * Other rooms include process/process.h. */
#ifndef GP_PROCESS_TABLE_H
#define GP_PROCESS_TABLE_H

#include "process/maps.h"
#include "process/process.h"

#define PROCESSES_MAX 32768 // living
#define PROCESSES_KEPT_MAX 65536 // ended, until the sweep
#define PROCESS_MAPPINGS_MAX 4096 // executable ones of a process
#define PROCESS_THREADS_MAX 1024 // names of a process
#define PROCESS_STRINGS_MAX (1u << 17)
#define PROCESS_STRINGS_BYTES (24u << 20)

/* A new living process of pid; an older one of that pid must have been ended. NULL at the cap (counted)
 * or without memory. */
struct process *process_new(struct process_table *t, uint32_t pid);
/* The living process ends: kept until the sweep, and shown by take_dirty. */
void process_end(struct process_table *t, struct process *p, uint64_t time);
/* Its program ends and a new one begins under the same pid, start time, parent and cgroup.
 * Return the new process, or the old one emptied when there is no room. */
struct process *process_exec(struct process_table *t, struct process *p, uint64_t time);
void process_mark_dirty(struct process_table *t, struct process *p);
void process_set_thread_name(
	struct process_table *t, struct process *p, uint32_t tid, const char *comm);
void process_forget_thread(struct process *p, uint32_t tid);
/* Copies at most 15 bytes and a NUL. */
void process_copy_comm(char *dst, const char *src);
/* Id of a text, 0 when the table is full (counted). */
uint32_t process_string(struct process_table *t, const char *s, size_t len);

/* A mapping as a record or a line of /proc/PID/maps names it. */
struct mapping_source {
	uint64_t start, end, pgoff;
	struct module_key key;
	const char *path;
};
/* Classifies it and interns its module and name. Return 0 or -ENOMEM. */
int process_make_mapping(
	struct process_table *t, const struct mapping_source *source, struct mapping *ret);
/* Puts it in, keeping count of caps. Return 0 or -ENOMEM. */
int process_put_mapping(struct process_table *t, struct process *p, const struct mapping *m);

/* /proc/PID/stat, proc_pid_stat(5). */
struct process_stat {
	char comm[REC_COMM_LEN];
	char state;
	uint32_t ppid, nthreads;
	bool kernel_thread;
	uint64_t start_time; // ns since boot
	uint64_t cpu_ns; // user and system time: of the process, or of the thread whose file it is
};
/* Parses the text of a stat file. Return false if malformed. */
bool process_stat_parse(const char *text, size_t len, struct process_stat *ret);
/* Where a thread left user mode, by its /proc/PID/task/TID/syscall. */
struct process_blocked {
	bool running; // it runs: nothing is known
	uint64_t sp, pc;
};
/* Parses the text of such a file. Return false if malformed. */
bool process_blocked_parse(const char *text, size_t len, struct process_blocked *ret);
/* The path of a process's cgroup and its container id (lengths 0 = none) from the text of
 * /proc/PID/cgroup, as slices of it. */
struct cgroup_slices {
	const char *path, *container;
	size_t path_len, container_len;
};
void process_cgroup_parse(const char *text, size_t len, struct cgroup_slices *ret);
/* Reads /proc/PID/cgroup again. */
void process_read_cgroup(struct process_table *t, struct process *p);
/* True if /proc knows the pid, and it is the process that started at start_time (0: any). */
bool process_alive(const struct process_table *t, uint32_t pid, uint64_t start_time);
/* Opens PROC/PID/name, or, when the leader is gone, of one of its threads. Return fd or -errno. */
int process_open_maps(const struct process_table *t, uint32_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* capture/probe.h -- what this machine allows this process, and the rung of the ladder (DESIGN.md)
 * that follows from it.
 *
 * Every fact that can be tried is tried (a program is loaded, an event is opened, a byte is read);
 * none is inferred from a version. Nothing is left behind: descriptors are closed, nothing is
 * attached for longer than the try. Takes some milliseconds; any thread. */
#ifndef GP_CAPTURE_PROBE_H
#define GP_CAPTURE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum probe_id {
	PROBE_KERNEL,
	PROBE_BTF,
	PROBE_BPF_LOAD,
	PROBE_BPF_RINGBUF,
	PROBE_BPF_ATTACH,
	PROBE_BPF_LOOP,
	PROBE_PERF_SYSTEM,
	PROBE_PERF_PROCESS,
	PROBE_PERF_OWN,
	PROBE_PERF_KERNEL,
	PROBE_PERF_CYCLES,
	PROBE_PERF_RING,
	PROBE_PERF_PARANOID,
	PROBE_PERF_MLOCK,
	PROBE_CAP_PERFMON,
	PROBE_CAP_BPF,
	PROBE_CAP_SYS_PTRACE,
	PROBE_CAP_SYSLOG,
	PROBE_CAP_DAC_READ_SEARCH,
	PROBE_CAP_CHECKPOINT_RESTORE,
	PROBE_CAP_SYS_ADMIN,
	PROBE_CAP_SYS_RESOURCE,
	PROBE_CAP_NET_ADMIN,
	PROBE_READ_OWN,
	PROBE_READ_OTHER,
	PROBE_MAP_FILES,
	PROBE_KALLSYMS,
	PROBE_CGROUP,
	PROBE_MEMLOCK,
	PROBE_NOFILE,
	PROBE_SECCOMP,
	PROBE_LOCKDOWN,
	PROBE_PSI,
	PROBE_PIDNS,
	PROBE_COUNT,
};

enum probe_verdict {
	PROBE_OK,
	PROBE_NOTE, // worth knowing; costs nothing by itself
	PROBE_LIMITED, // works in part
	PROBE_MISSING, // does not work
};

#define PROBE_TEXT 240

struct probe_fact {
	const char *id; // "bpf_load", for programs
	const char *name; // "load a BPF program", for people
	enum probe_verdict verdict;
	int error; // errno of the try, 0
	char value[PROBE_TEXT]; // what was found
	char consequence[PROBE_TEXT]; // what is lost; "" if nothing
	char remedy[PROBE_TEXT]; // what to do about it; "" if nothing is lost
};

/* The ladder, best first. */
enum probe_rung {
	PROBE_RUNG_BPF,
	PROBE_RUNG_RING,
	PROBE_RUNG_RING_OWN,
	PROBE_RUNG_READER,
	PROBE_RUNG_NONE,
};

struct probe_report {
	struct probe_fact facts[PROBE_COUNT];
	enum probe_rung rung;
	/* Index in facts of what keeps this machine from the next higher rung, or -1. */
	int obstacle;
};

/* root: put before the paths of /proc and /sys that are read; "" for this machine, a fixture in
 * tests. */
void probe_run(const char *root, struct probe_report *ret);
/* "bpf", "ring", "ring for own processes", "reader", "none" */
const char *probe_rung_name(enum probe_rung rung);
/* What the rung gives and what it loses, a sentence. */
const char *probe_rung_text(enum probe_rung rung);
/* "ok", "note", "limited", "missing" */
const char *probe_verdict_name(enum probe_verdict verdict);

/* The rung that the verdicts of r->facts allow, and the obstacle; for probe_run() and tests. */
void probe_judge(struct probe_report *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/probe.h"

#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>

#include "capture/probe_facts.h"

struct row {
	const char *id, *name;
	probe_fn fn; // NULL: a capability
	unsigned cap;
	/* What is lost without the capability; NULL: nothing, if the others are there. */
	const char *consequence;
};

static const struct row rows[PROBE_COUNT] = {
	[PROBE_KERNEL] = {"kernel", "kernel", probe_kernel},
	[PROBE_BTF] = {"btf", "type information (BTF)", probe_btf},
	[PROBE_BPF_LOAD] = {"bpf_load", "load a BPF program", probe_bpf_load},
	[PROBE_BPF_RINGBUF] = {"bpf_ringbuf", "BPF ring buffer", probe_bpf_ringbuf},
	[PROBE_BPF_ATTACH] = {"bpf_attach", "BPF on a perf event", probe_bpf_attach},
	[PROBE_BPF_LOOP] = {"bpf_loop", "BPF helper bpf_loop", probe_bpf_loop},
	[PROBE_PERF_SYSTEM] = {"perf_system", "perf events, machine", probe_perf_system},
	[PROBE_PERF_PROCESS] = {"perf_process", "perf events, process", probe_perf_process},
	[PROBE_PERF_OWN] = {"perf_own", "perf events, own", probe_perf_own},
	[PROBE_PERF_KERNEL] = {"perf_kernel", "perf events, kernel", probe_perf_kernel},
	[PROBE_PERF_CYCLES] = {"perf_cycles", "hardware cycles", probe_perf_cycles},
	[PROBE_PERF_RING] = {"perf_ring", "perf ring memory", probe_perf_ring},
	[PROBE_PERF_PARANOID] = {"perf_event_paranoid", "perf_event_paranoid", probe_perf_paranoid},
	[PROBE_PERF_MLOCK] = {"perf_event_mlock_kb", "perf_event_mlock_kb", probe_perf_mlock},
	[PROBE_CAP_PERFMON] = {"cap_perfmon", "CAP_PERFMON", NULL, CAP_PERFMON,
		"events of the machine and of other users"},
	[PROBE_CAP_BPF] = {"cap_bpf", "CAP_BPF", NULL, CAP_BPF, "stacks walked in the kernel"},
	[PROBE_CAP_SYS_PTRACE] = {"cap_sys_ptrace", "CAP_SYS_PTRACE", NULL, CAP_SYS_PTRACE,
		"maps and memory of other users' processes"},
	[PROBE_CAP_SYSLOG] = {"cap_syslog", "CAP_SYSLOG", NULL, CAP_SYSLOG,
		"names of kernel functions"},
	[PROBE_CAP_DAC_READ_SEARCH] = {"cap_dac_read_search", "CAP_DAC_READ_SEARCH", NULL,
		CAP_DAC_READ_SEARCH, "symbols of files that only their owner reads"},
	[PROBE_CAP_CHECKPOINT_RESTORE] = {"cap_checkpoint_restore", "CAP_CHECKPOINT_RESTORE", NULL,
		CAP_CHECKPOINT_RESTORE, "symbols of files deleted while in use"},
	[PROBE_CAP_SYS_ADMIN] = {"cap_sys_admin", "CAP_SYS_ADMIN", NULL, CAP_SYS_ADMIN, NULL},
	[PROBE_CAP_SYS_RESOURCE] = {"cap_sys_resource", "CAP_SYS_RESOURCE", NULL, CAP_SYS_RESOURCE,
		"raising limits of memory and open files beyond the hard limit"},
	[PROBE_CAP_NET_ADMIN] = {"cap_net_admin", "CAP_NET_ADMIN", NULL, CAP_NET_ADMIN, NULL},
	[PROBE_READ_OWN] = {"read_own", "read own processes", probe_read_own},
	[PROBE_READ_OTHER] = {"read_other", "read other processes", probe_read_other},
	[PROBE_MAP_FILES] = {"map_files", "deleted files", probe_map_files},
	[PROBE_KALLSYMS] = {"kallsyms", "kernel symbols", probe_kallsyms},
	[PROBE_CGROUP] = {"cgroup", "cgroups", probe_cgroup},
	[PROBE_MEMLOCK] = {"memlock", "locked memory limit", probe_memlock},
	[PROBE_NOFILE] = {"nofile", "open files limit", probe_nofile},
	[PROBE_SECCOMP] = {"seccomp", "seccomp", probe_seccomp},
	[PROBE_LOCKDOWN] = {"lockdown", "kernel lockdown", probe_lockdown},
	[PROBE_PSI] = {"psi", "pressure information", probe_psi},
	[PROBE_PIDNS] = {"pid_namespace", "pid namespace", probe_pidns},
};

void probe_set(struct probe_fact *f, enum probe_verdict verdict, const char *fmt, ...)
{
	va_list args;

	f->verdict = verdict;
	va_start(args, fmt);
	vsnprintf(f->value, sizeof(f->value), fmt, args);
	va_end(args);
}

void probe_loses(struct probe_fact *f, const char *consequence, const char *remedy)
{
	snprintf(f->consequence, sizeof(f->consequence), "%s", consequence);
	snprintf(f->remedy, sizeof(f->remedy), "%s", remedy);
}

static bool works(const struct probe_report *r, enum probe_id id)
{
	return r->facts[id].verdict < PROBE_MISSING;
}

/* The first of what a rung needs that does not work, or -1. */
static int first_missing(const struct probe_report *r, const enum probe_id *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!works(r, ids[i]))
			return (int)ids[i];
	return -1;
}

void probe_judge(struct probe_report *r)
{
	static const enum probe_id bpf[] = {
		PROBE_PERF_SYSTEM, PROBE_BPF_LOAD, PROBE_BPF_RINGBUF, PROBE_BTF, PROBE_BPF_ATTACH};
	static const enum probe_id ring[] = {PROBE_PERF_SYSTEM};
	static const enum probe_id own[] = {PROBE_PERF_OWN, PROBE_PERF_RING};
	static const enum probe_id reader[] = {PROBE_READ_OWN};
	static const struct {
		const enum probe_id *needs;
		size_t n;
	} rungs[PROBE_RUNG_NONE] = {
		[PROBE_RUNG_BPF] = {bpf, ARRAY_SIZE(bpf)},
		[PROBE_RUNG_RING] = {ring, ARRAY_SIZE(ring)},
		[PROBE_RUNG_RING_OWN] = {own, ARRAY_SIZE(own)},
		[PROBE_RUNG_READER] = {reader, ARRAY_SIZE(reader)},
	};

	r->obstacle = -1;
	for (r->rung = 0; r->rung < PROBE_RUNG_NONE; r->rung++) {
		int missing = first_missing(r, rungs[r->rung].needs, rungs[r->rung].n);

		if (missing < 0 || (r->rung == PROBE_RUNG_READER && works(r, PROBE_READ_OTHER)))
			return;
		r->obstacle = missing;
	}
}

void probe_run(const char *root, struct probe_report *ret)
{
	*ret = (struct probe_report){0};
	for (unsigned i = 0; i < PROBE_COUNT; i++) {
		struct probe_fact *f = &ret->facts[i];

		f->id = rows[i].id;
		f->name = rows[i].name;
		if (rows[i].fn) {
			rows[i].fn(root, f);
			continue;
		}
		probe_capability(f, rows[i].cap);
		if (f->verdict == PROBE_OK || !rows[i].consequence)
			continue;
		snprintf(f->consequence, sizeof(f->consequence), "%s", rows[i].consequence);
		snprintf(f->remedy, sizeof(f->remedy),
			"run as root, or setcap, AmbientCapabilities=, --cap-add=%s",
			rows[i].name + 4);
	}
	probe_judge(ret);
}

const char *probe_rung_name(enum probe_rung rung)
{
	static const char *const names[] = {
		"bpf", "ring", "ring for own processes", "reader", "none"};

	return rung <= PROBE_RUNG_NONE ? names[rung] : "?";
}

const char *probe_rung_text(enum probe_rung rung)
{
	static const char *const texts[] = {
		"every process of the machine, kernel and user stacks, walked in the kernel",
		"every process of the machine, kernel and native stacks, walked from a copy of the "
		"stack; deeper stacks than the copy are cut",
		"native user stacks of your own processes (--rootless --pids); no kernel frames, no "
		"time inside system calls, no other users",
		"stacks of runtimes, read by a timer; no native frames, no kernel",
		"nothing can be profiled here",
	};

	return rung <= PROBE_RUNG_NONE ? texts[rung] : "?";
}

const char *probe_verdict_name(enum probe_verdict verdict)
{
	static const char *const names[] = {"ok", "note", "limited", "missing"};

	return verdict <= PROBE_MISSING ? names[verdict] : "?";
}

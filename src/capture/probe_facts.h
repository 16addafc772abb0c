/* SPDX-License-Identifier: Apache-2.0 */
/* capture/probe_facts.h -- one function a fact, inside capture/.
 *
 * Each fills value, verdict, consequence and remedy of its row; `root` as in probe_run(). */
#ifndef GP_CAPTURE_PROBE_FACTS_H
#define GP_CAPTURE_PROBE_FACTS_H

#include "base/cleanup.h"
#include "capture/probe.h"

typedef void (*probe_fn)(const char *root, struct probe_fact *f);

void probe_set(struct probe_fact *f, enum probe_verdict verdict, const char *fmt, ...)
	_printf_(3, 4);
void probe_loses(struct probe_fact *f, const char *consequence, const char *remedy);

/* probe_try.c: system calls */
void probe_bpf_load(const char *root, struct probe_fact *f);
void probe_bpf_ringbuf(const char *root, struct probe_fact *f);
void probe_bpf_attach(const char *root, struct probe_fact *f);
void probe_bpf_loop(const char *root, struct probe_fact *f);
void probe_perf_system(const char *root, struct probe_fact *f);
void probe_perf_process(const char *root, struct probe_fact *f);
void probe_perf_own(const char *root, struct probe_fact *f);
void probe_perf_kernel(const char *root, struct probe_fact *f);
void probe_perf_cycles(const char *root, struct probe_fact *f);
void probe_perf_ring(const char *root, struct probe_fact *f);
void probe_read_own(const char *root, struct probe_fact *f);
void probe_read_other(const char *root, struct probe_fact *f);
void probe_map_files(const char *root, struct probe_fact *f);

/* probe_read.c: files and limits */
void probe_kernel(const char *root, struct probe_fact *f);
void probe_btf(const char *root, struct probe_fact *f);
void probe_perf_paranoid(const char *root, struct probe_fact *f);
void probe_perf_mlock(const char *root, struct probe_fact *f);
void probe_kallsyms(const char *root, struct probe_fact *f);
void probe_cgroup(const char *root, struct probe_fact *f);
void probe_memlock(const char *root, struct probe_fact *f);
void probe_nofile(const char *root, struct probe_fact *f);
void probe_seccomp(const char *root, struct probe_fact *f);
void probe_lockdown(const char *root, struct probe_fact *f);
void probe_psi(const char *root, struct probe_fact *f);
void probe_pidns(const char *root, struct probe_fact *f);
/* cap: CAP_* number. */
void probe_capability(struct probe_fact *f, unsigned cap);

#endif

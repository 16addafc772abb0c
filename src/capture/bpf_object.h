/* SPDX-License-Identifier: Apache-2.0 */
/* capture/bpf_object.h -- libbpf behind one wall: the sampling program, its maps and their memory.
 *
 * Life: open (configure, load, map the tables) -> attach once an event -> close. Owned by the
 * source. Sentences for people go to `why` (CAPTURE_WHY bytes). */
#ifndef GP_CAPTURE_BPF_OBJECT_H
#define GP_CAPTURE_BPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/source.h"

enum bpf_walk_shape {
	BPF_WALK_AUTO, // bpf_loop if this kernel has it
	BPF_WALK_LOOP,
	BPF_WALK_TAIL, // bounded loop and tail calls
};

struct bpf_object_config {
	struct bpf_config bpf; // knobs, abi/config.h
	enum bpf_walk_shape shape;
	uint32_t ring_bytes; // power of two
	bool groups; // bpf_sampler_set_groups() will be called
};

struct bpf_object_info {
	uint32_t verified_insns; // of the largest program
	uint64_t memory; // bytes of maps and rings
	uint64_t run_ns; // of the sampling program; 0 unless kernel.bpf_stats_enabled
	enum bpf_walk_shape shape;
	bool attach_cookie;
};

struct bpf_sampler;

/* Return 0; -EPERM, -ENOSYS, -EOPNOTSUPP this machine does not allow it; -errno; with why. */
int bpf_sampler_open(const struct bpf_object_config *config, struct bpf_sampler **ret, char *why);
void bpf_sampler_close(struct bpf_sampler *s);

/* Table memory; lives as long as the sampler. */
void bpf_sampler_tables(struct bpf_sampler *s, struct capture_tables *ret);

/* Lets the program run on an opened perf event, whose samples carry `event`. The descriptor stays
 * the caller's and must outlive the sampler's attachment. Return 0 or -errno. */
int bpf_sampler_attach(struct bpf_sampler *s, int perf_fd, uint8_t event);

int bpf_sampler_choose(struct bpf_sampler *s, uint32_t pid);
int bpf_sampler_set_process(struct bpf_sampler *s, uint32_t pid, const struct uw_process *p);
int bpf_sampler_remove_process(struct bpf_sampler *s, uint32_t pid);
/* As set_runtime and set_runtime_layout of struct capture_source_ops. */
int bpf_sampler_set_runtime(struct bpf_sampler *s, uint8_t kind, uint32_t pid, const void *process);
int bpf_sampler_set_layout(struct bpf_sampler *s, uint8_t kind, uint32_t index, const void *layout);

/* As set_groups and add_group of struct capture_source_ops. */
int bpf_sampler_set_groups(struct bpf_sampler *s, const struct capture_groups *groups);
int bpf_sampler_add_group(struct bpf_sampler *s, uint64_t id, uint32_t pid);

/* Readable when a drain is worthwhile. */
int bpf_sampler_fd(const struct bpf_sampler *s);
/* Hands over every record that is in the ring. fn as in libbpf: 0 goes on, else it ends and is
 * forwarded. */
typedef int (*bpf_record_fn)(void *arg, void *data, size_t len);
int bpf_sampler_drain(struct bpf_sampler *s, bpf_record_fn fn, void *arg);

/* Sums over CPUs, of one event. */
int bpf_sampler_counters(struct bpf_sampler *s, uint32_t event, struct rec_counters *ret);
void bpf_sampler_info(struct bpf_sampler *s, struct bpf_object_info *ret);

#endif

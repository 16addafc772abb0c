/* SPDX-License-Identifier: Apache-2.0 */
/* capture/event.h -- one captured record, whatever source it came from.
 *
 * Sources hand these out in time order (see capture/order.h). Pointers inside live until the
 * callback returns. Times are CLOCK_MONOTONIC ns; pids are of the initial pid namespace. */
#ifndef GP_CAPTURE_EVENT_H
#define GP_CAPTURE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/record.h"

#define CAPTURE_BUILD_ID_MAX 20
#define CAPTURE_NAMED_WORDS 3

enum capture_event_type {
	CAPTURE_SAMPLE,
	CAPTURE_MMAP, // an executable mapping appeared
	CAPTURE_COMM,
	CAPTURE_FORK, // a task was created: tid == pid means a process
	CAPTURE_EXIT, // a task ended
	CAPTURE_CGROUP, // a cgroup was created
	CAPTURE_KSYMBOL, // kernel text appeared or vanished (BPF program, trampoline)
	CAPTURE_LOST, // records of this CPU were dropped
	CAPTURE_THROTTLE, // the kernel throttled the event on this CPU
	CAPTURE_NAMED, // only in recordings: what a frame of an interpreter was called
};

struct capture_sample {
	const struct rec_sample *rec; // header; weight, outcome, reason, comm
	const uint64_t *kernel; // rec->kernel_words addresses, leaf first
	const uint64_t *user; // rec->user_words words, leaf first
	const struct rec_handoff *handoff; // NULL unless REC_F_HANDOFF
	const uint8_t *stack; // handoff->stack_len bytes
	const uint64_t *runtime; // rec->runtime_words words of interpreter frames, leaf first
};

struct capture_mmap {
	uint64_t start, len, pgoff; // bytes
	uint32_t maj, min; // device, 0 if a build id came instead
	uint64_t ino, ino_generation;
	uint32_t prot, flags;
	uint8_t build_id_len; // 0 if the record carries device and inode
	uint8_t build_id[CAPTURE_BUILD_ID_MAX];
	const char *path; // as the kernel wrote it: "//anon", "[vdso]", " (deleted)" ...
};

/* What the recording agent read in the process, which a replay cannot. Comes before the first sample
 * that has the frame. */
struct capture_named {
	const uint64_t *words; // of the frame, see abi/record.h
	uint32_t nwords; // at most CAPTURE_NAMED_WORDS
	uint32_t line, start_line; // 0 unknown
	bool stale;
	const char *comm; // of the process
	const char *name, *file, *package; // "" none
};

struct capture_event {
	enum capture_event_type type;
	uint32_t cpu;
	uint32_t pid, tid;
	uint64_t time;
	union {
		struct capture_sample sample;
		struct capture_mmap mmap;
		struct {
			const char *text;
			bool exec;
		} comm;
		struct {
			uint32_t ppid, ptid;
		} fork;
		struct {
			uint64_t id;
			const char *path; // relative to the cgroup v2 root
		} cgroup;
		struct {
			uint64_t addr;
			uint32_t len;
			bool gone;
			const char *name;
		} ksymbol;
		struct {
			uint64_t count; // records
			bool samples; // of the sample ring, else side band
		} lost;
		struct {
			bool on; // false: unthrottled
		} throttle;
		struct capture_named named;
	};
};

/* Return 0 or -errno, which ends the drain and is forwarded. */
typedef int (*capture_event_fn)(void *arg, const struct capture_event *event);

#endif

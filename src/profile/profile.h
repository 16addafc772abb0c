/* SPDX-License-Identifier: Apache-2.0 */
/* profile/profile.h -- a named profile: what exporters write and converters read.
 *
 * Strings, frames, a prefix tree of frames (node 0 = no frame), contexts (who) and samples
 * {context, leaf node, values}. Everything is an id; nothing is removed. Built by profile/naming
 * from a raw window, or by a reader of export/. Capped at birth; one thread. */
#ifndef GP_PROFILE_PROFILE_H
#define GP_PROFILE_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/map.h"
#include "base/pairs.h"
#include "base/vec.h"
#include "profile/timeline.h"

#define PROFILE_VALUES_MAX 4
/* Of a page, about 2 bytes each. */
#define PROFILE_TIMES_MAX ((size_t)1 << 17)

/* What kind of code a frame is: origin in the page, suffix in collapsed text. */
enum profile_frame_kind {
	PROFILE_FRAME_UNKNOWN = 0,
	PROFILE_FRAME_NATIVE,
	PROFILE_FRAME_KERNEL, // "_[k]"
	PROFILE_FRAME_CPP,
	PROFILE_FRAME_RUST,
	PROFILE_FRAME_GO,
	PROFILE_FRAME_JIT,
	PROFILE_FRAME_PYTHON, // "_[p]"
	PROFILE_FRAME_PYTHON_NATIVE, // "_[pn]"
	PROFILE_FRAME_JAVA,
	PROFILE_FRAME_RUBY, // "_[rb]"
	PROFILE_FRAME_PHP, // "_[php]"
	PROFILE_FRAME_NODE,
	PROFILE_FRAME_DOTNET, // "_[net]"
	PROFILE_FRAME_PERL,
	PROFILE_FRAME_META, // "[truncated]", "[Profiling ...]", appid
	PROFILE_FRAME_KIND_MAX,
};

enum profile_frame_flags {
	PROFILE_FRAME_INLINED = 1 << 0,
	PROFILE_FRAME_BY_FP = 1 << 1, // found by frame pointer
	PROFILE_FRAME_GUESSED = 1 << 2,
	PROFILE_FRAME_NO_SYMBOL = 1 << 3, // name is the "(path)" form
	PROFILE_FRAME_UNNAMED = 1 << 4, // the ledger's frames_unnamed counts it
	PROFILE_FRAME_UNNAMEABLE = 1 << 5, // and its frames_no_symbols
};

/* Interned as bytes: no padding, zero what is unknown. */
struct profile_frame {
	uint32_t name; // string: without suffix; "(path)" when there is no symbol
	uint32_t system_name; // string: mangled, 0 same as name
	uint32_t file; // string
	uint32_t module; // string: path of the file, "[kernel.kallsyms]", 0 none
	uint32_t build_id; // string: hex, 0 none
	uint32_t line; // executing line, 0 unknown
	uint32_t start_line; // first line of the function, 0 unknown
	uint16_t kind; // enum profile_frame_kind
	uint16_t flags; // enum profile_frame_flags
	uint64_t address; // file offset or kernel address; 0 when lines make it moot
};

struct profile_node {
	uint32_t parent; // node id, 0 = root
	uint32_t frame; // frame id
};

/* Who: interned as bytes. */
struct profile_context {
	uint32_t pid, tid;
	uint32_t comm; // string: process (exec) comm
	uint32_t thread_comm; // string
	uint32_t container; // string: name or id, 0 none
	uint32_t appid; // string, 0 none
	uint32_t app_metadata; // index in the header's application_metadata, 0 none
	uint32_t uid; // process uid: tells a reused pid
};

struct profile_sample_key {
	uint32_t context, node;
};

struct profile_sample {
	uint32_t context, node;
	int64_t values[PROFILE_VALUES_MAX];
};
VEC_DEFINE(profile_sample_vec, struct profile_sample)

struct profile_value_type {
	uint32_t type, unit; // strings: "samples"/"count", "cpu"/"nanoseconds"
};

/* The loss ledger (REQUIREMENTS O8): every tick accounted for. Counts of samples unless said. */
struct profile_ledger {
	uint64_t expected; // elapsed / period, over all CPUs
	uint64_t entries; // times the sampler ran
	uint64_t idle, filtered, kernel_only, complete, handoff, truncated, broken, lost_ring;
	uint64_t bits32, no_user;
	uint64_t finished_complete; // of handoff
	uint64_t finished_truncated;
	uint64_t finished_broken;
	uint64_t finished_late; // of finished: outer frames read from the target after the sample
	uint64_t broken_reasons[16]; // enum rec_reason
	uint64_t idle_silent; // by the clock idle, and the kernel sent no tick for it
	uint64_t not_delivered; // expected - entries - idle_silent, if positive
	uint64_t throttled;
	uint64_t side_band_lost; // records
	uint64_t frames, frames_unnamed; // occurrences, weighted by samples
	uint64_t frames_no_symbols; // of those unnamed: where nothing could name them
	uint64_t aggregation_full; // samples dropped at a cap
	uint64_t read, read_stacks, read_torn, read_failed,
		read_unseen; // by the reader, beside entries
	uint64_t left_out; // samples that only another profile taken at the same time asked for
};

/* Hardware counters of the machine, summed over its CPUs. */
enum profile_hw_counter {
	PROFILE_HW_CYCLES,
	PROFILE_HW_INSTRUCTIONS,
	PROFILE_HW_CACHE_REFERENCES,
	PROFILE_HW_CACHE_MISSES,
	PROFILE_HW_BRANCHES,
	PROFILE_HW_BRANCH_MISSES,
	PROFILE_HW_MAX,
};
struct profile_hw {
	uint64_t counts[PROFILE_HW_MAX];
};

struct profile_meta {
	uint64_t start_real_ns, duration_ns;
	uint64_t period; // of value 0's event: ns for clock events, else events
	unsigned frequency; // Hz, 0 unknown
	uint32_t event; // string
	uint32_t hostname; // string
	uint32_t source; // string: "bpf", "ring", "perf script", ...
	uint32_t command; // string: what was profiled, 0 = the machine
	uint32_t comment; // string
	bool has_usage; // the two below are known, where they are not negative
	double cpu_avg, mem_avg; // of the machine, percent
	bool has_hw;
	struct profile_hw hw;
	bool has_ledger;
	struct profile_ledger ledger;
};

struct profile {
	struct intern strings, frames, contexts;
	struct pairs nodes, sample_keys;
	struct profile_sample_vec samples; // samples[id of sample_keys - 1]
	struct timeline timeline; // of sample_keys and value 0; empty where times are not known
	struct intern app_metadata; // JSON objects; ids are indices of the header's list
	struct profile_value_type types[PROFILE_VALUES_MAX];
	unsigned ntypes;
	struct profile_meta meta;
	json_t *header; // the .col header object, or NULL
};

/* max_samples caps samples, nodes and frames alike; bytes caps the text. */
void profile_init(struct profile *p, size_t max_samples, size_t max_bytes);
void profile_deinit(struct profile *p);
/* It is complete, and only read from now on: the tables by which nodes and samples were found go back. What
 * is added nevertheless is -ENOSPC. */
void profile_seal(struct profile *p);

/* Ids of texts, frames, nodes, contexts. "" (or NULL) is text 0. Return 0; -ENOSPC at the cap,
 * -ENOMEM; profile_node -EINVAL for a parent or frame that is not there (a parent's id is always
 * below its child's). */
int profile_string(struct profile *p, const char *s, uint32_t *ret);
int profile_string_n(struct profile *p, const char *s, size_t len, uint32_t *ret);
static inline const char *profile_text(const struct profile *p, uint32_t id)
{
	return intern_str(&p->strings, id);
}
int profile_frame(struct profile *p, const struct profile_frame *frame, uint32_t *ret);
int profile_node(struct profile *p, uint32_t parent, uint32_t frame, uint32_t *ret);
int profile_context(struct profile *p, const struct profile_context *context, uint32_t *ret);
/* Adds values[0..ntypes) to the sample of (context, leaf node); sums saturate.
 * Return 0, -ENOSPC, -ENOMEM, -EINVAL for ids that are not there. */
int profile_add(struct profile *p, uint32_t context, uint32_t node, const int64_t *values);

/* The id of the sample of (context, leaf node) for the timeline, 0 if there is none. */
uint32_t profile_sample_id(const struct profile *p, uint32_t context, uint32_t node);

/* An unknown id yields an all-zero struct. Pointers die at the next insertion of their kind. */
const struct profile_frame *profile_frame_get(const struct profile *p, uint32_t id);
const struct profile_node *profile_node_get(const struct profile *p, uint32_t id);
const struct profile_context *profile_context_get(const struct profile *p, uint32_t id);

/* Frame ids root first, into ids[max]. Return the depth (may exceed max: the leaf-most are kept). */
size_t profile_stack(const struct profile *p, uint32_t node, uint32_t *ids, size_t max);

#endif

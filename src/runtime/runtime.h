/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/runtime.h -- interpreters: one folder each, behind one table of functions.
 *
 * A runtime finds itself in a process, tells the in-kernel walker where its structures lie, and
 * names its frames. Adding one: a folder, a row in runtime.c, a walker in bpf/walk/, a frame kind in
 * abi/record.h (HACKING.md). Owned by the pipeline thread. */
#ifndef GP_RUNTIME_RUNTIME_H
#define GP_RUNTIME_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/source.h"
#include "process/process.h"

/* A runtime frame's name; ids in runtime_set.strings. */
struct runtime_frame {
	uint32_t name; // without suffix
	uint32_t file;
	uint32_t line; // executing
	uint32_t start_line; // of the function
	bool stale; // the object behind it is not the one that was sampled: name says so
};

struct runtime_ops {
	const char *name; // "python"
	uint8_t kind; // enum rec_frame_kind
	/* A sample of p landed in this mapping, opened already, for the first time. Cheap and final for
	 * a (module, process) that is no such runtime. Return 0 (published or not ours), -errno. */
	int (*meet)(void *runtime, struct process *p, const struct mapping *m);
	/* p ended: forget it. */
	void (*forget)(void *runtime, struct process *p);
	/* Names the frame of a sample, while the process lives if possible: called once for each distinct
	 * frame as it is first seen. Return 0; -ENOMEM. */
	int (*name_frame)(
		void *runtime, struct process *p, const uint64_t *words, struct runtime_frame *ret);
	void (*free)(void *runtime);
};

struct runtime_set;

struct runtime_config {
	struct capture_source *source; // may lack in-kernel walkers
	struct process_table *processes;
	bool python;
};

int runtime_set_new(const struct runtime_config *config, struct runtime_set **ret);
void runtime_set_free(struct runtime_set *s);

/* A sample landed in a mapping of p whose module is open: every runtime looks at it once. */
int runtime_meet(struct runtime_set *s, struct process *p, const struct mapping *m);
void runtime_forget(struct runtime_set *s, struct process *p);

/* Words of one frame, kind's word first. */
unsigned runtime_frame_words(uint8_t kind);
int runtime_name_frame(
	struct runtime_set *s, struct process *p, const uint64_t *words, struct runtime_frame *ret);
const char *runtime_text(const struct runtime_set *s, uint32_t id);

#endif

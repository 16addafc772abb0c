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

#include "base/map.h"
#include "capture/source.h"
#include "process/process.h"

/* A runtime frame's name; ids for runtime_text(). */
struct runtime_frame {
	uint32_t name; // the function alone, without suffix
	uint32_t file; // 0: unknown
	uint32_t line; // executing, 0 unknown
	uint32_t start_line; // of the function, 0 unknown
	uint32_t package; // "[PyYAML==6.0]", 0 none: `name (file:start_line [PyYAML==6.0])`
	bool stale; // the object behind it is not the one that was sampled: name says so
};

/* One thread of a process that was read from outside. A thread that is in several interpreters, one
 * called from the other, is reported for each. */
struct runtime_thread {
	uint32_t tid; // in the initial pid namespace of ours, 0 unknown
	uint64_t interpreter; // number of the interpreter in the process, 0 the main one
	bool torn; // it moved under every attempt: words are the last one's
	bool holds_lock; // the interpreter's global lock, if that was asked for and can be told
	const uint64_t *words; // frames, leaf first, runtime_frame_words() each
	size_t nwords;
};
/* Who reads. want: is this thread's stack asked for (tid 0: unknown)? NULL: all. A nonzero return of fn
 * ends the reading. */
struct runtime_visitor {
	bool (*want)(void *arg, uint32_t tid);
	int (*fn)(void *arg, const struct runtime_thread *t);
	bool locks; // holds_lock is asked for
	bool marks; // words also say where runs of frames end, as in a sample (unwind/weave.h)
	void *arg;
};

#define RUNTIME_MEET_AGAIN 1

/* Code of an interpreter's loop, as addresses of a process. */
struct runtime_loop {
	uint64_t start, end;
};

struct runtime_ops {
	const char *name; // "python"
	uint8_t kind; // enum rec_frame_kind
	/* A sample of p landed in this mapping, opened already, for the first time. Cheap and final for
	 * a (module, process) that is no such runtime. Return 0 (published or not ours),
	 * RUNTIME_MEET_AGAIN, -errno. */
	int (*meet)(void *runtime, struct process *p, const struct mapping *m);
	/* p ended: forget it. */
	void (*forget)(void *runtime, struct process *p);
	/* Names the frame of a sample, while the process lives if possible: called once for each distinct
	 * frame as it is first seen. Return 0; -ENOMEM. */
	int (*name_frame)(
		void *runtime, struct process *p, const uint64_t *words, struct runtime_frame *ret);
	/* Stacks of the threads of p, now, without stopping it. Return 0, -ENOENT not of this runtime,
	 * -errno, or what fn returned if not 0. May be NULL. */
	int (*read_threads)(void *runtime, struct process *p, const struct runtime_visitor *v);
	/* Is there one in p, by the content of its files? Opens them. May be NULL, as may read_threads. */
	bool (*knows)(void *runtime, struct process *p);
	/* Where its loop lies in a process that was met or read. Return how many, at most REC_EVAL_RANGES. */
	unsigned (*loops)(void *runtime, const struct process *p, struct runtime_loop *ret);
	/* "CPython 3.11.7" of a process that was met or read. Return false: not of this runtime. */
	bool (*describe)(void *runtime, const struct process *p, char *ret, size_t size);
	/* "CPython 3.13.1", if p has one that cannot be read, by the content of its files: as knows. May
	 * be NULL. */
	bool (*refuses)(void *runtime, struct process *p, char *ret, size_t size);
	/* Ids of texts are about to die: forget what was named. */
	void (*trim)(void *runtime);
	void (*free)(void *runtime);
};

struct runtime_set;

struct runtime_config {
	struct capture_source *source; // may lack in-kernel walkers
	struct process_table *processes;
	bool python;
	bool python_versions; // [package==version] of frames
};

int runtime_set_new(const struct runtime_config *config, struct runtime_set **ret);
void runtime_set_free(struct runtime_set *s);

/* A sample landed in a mapping of p whose module is open: every runtime looks at it, unless p is of a
 * recording: whoever has its pid now is another one. Return 0: final;
 * RUNTIME_MEET_AGAIN: it is one, but still being loaded: show it again at a later sample (what is
 * known is published meanwhile; asking again is cheap); -errno. */
int runtime_meet(struct runtime_set *s, struct process *p, const struct mapping *m);
void runtime_forget(struct runtime_set *s, struct process *p);

/* Words of one frame, kind's word first. */
unsigned runtime_frame_words(uint8_t kind);
int runtime_name_frame(
	struct runtime_set *s, struct process *p, const uint64_t *words, struct runtime_frame *ret);
/* Text of an id of struct runtime_frame, "" if unknown. The pointer dies at the next call that
 * names, the id at runtime_trim(). */
const char *runtime_text(const struct runtime_set *s, uint32_t id);
/* The id of a text that was read elsewhere, 0 past the cap. Return 0, -ENOMEM. */
int runtime_intern(struct runtime_set *s, const char *text, uint32_t *ret_id);
/* "CPython 3.11.7", of a process that was met or read; "" if no runtime knows it. */
void runtime_describe(struct runtime_set *s, const struct process *p, char *ret, size_t size);
/* Call between windows, when no ids are held: empties the texts if they grew large. */
void runtime_trim(struct runtime_set *s);

/* May runtime_read_threads() succeed for p? Looks at the content of its files, the first time. */
bool runtime_knows(struct runtime_set *s, struct process *p);
/* Of one for which it does not: "CPython 3.13.1", an interpreter of a kind that cannot be read; "" if it has
 * none. */
void runtime_refuses(struct runtime_set *s, struct process *p, char *ret, size_t size);
/* Where the loop of a process's interpreter lies, for the walk of its native frames: ret holds
 * REC_EVAL_RANGES. Return how many there are, 0 for a process that no runtime knows. */
unsigned runtime_loops(struct runtime_set *s, const struct process *p, struct runtime_loop *ret);
/* Stacks of the threads of a process, now, as the first runtime that knows it sees them; the process
 * is never stopped. Mappings must be known (process_table_scan_pid); files are opened as needed.
 * Return 0, -ENOENT no runtime knows it, -errno, what fn returned. */
int runtime_read_threads(struct runtime_set *s, struct process *p, const struct runtime_visitor *v);

#endif

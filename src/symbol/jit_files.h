/* SPDX-License-Identifier: Apache-2.0 */
/* symbol/jit_files.h -- the perf maps and jitdumps of processes, held open between windows.
 *
 * Both are looked for once a process is asked about, and again in each window until found. A file is
 * only believed if it belongs to the process's user or to root, and was written since the process
 * started. A descriptor that is held stays readable after the process and its container are
 * gone: resolver_note_jit() (symbol/resolver.h) takes it when the first sample lands in anonymous code.
 * Owned by the resolver's thread. */
#ifndef GP_SYMBOL_JIT_FILES_H
#define GP_SYMBOL_JIT_FILES_H

#include "process/process.h"
#include "symbol/source.h"

#define JIT_PROCESSES_MAX 256 // with files held open

struct jit_files;

/* Return NULL without memory. */
struct jit_files *jit_files_new(void);
void jit_files_free(struct jit_files *f);
/* Opens what the process has by now; cheap when nothing changed. Return 0, -ENOENT, -ENOSPC, -ENOMEM. */
int jit_files_note(struct jit_files *f, const struct process_table *t, const struct process *p);
/* Drops what belongs to processes that the table no longer knows. */
void jit_files_sweep(struct jit_files *f, const struct process_table *t);

/* Sources for SYMBOL_PROCESS groups; the jitdump first: it has lines. */
int symbol_source_jitdump(struct symbol_group *g);
int symbol_source_perf_map(struct symbol_group *g);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/resident.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/thread.h"

/* Segments that nobody can write are as they are in the file: dropping their pages loses nothing. (What the
 * linker relocates, also where it is read-only afterwards, lies in a writable segment.) */
static int drop_segments(struct dl_phdr_info *object, size_t size, void *arg)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size, (void)arg;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t from = object->dlpi_addr + segment->p_vaddr;
		uintptr_t to = (from + segment->p_filesz) & ~(page - 1);

		// Inner pages only: the first and the last may be shared with a neighbour.
		from = (from + page - 1) & ~(page - 1);
		if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W) && from < to)
			(void)madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 0;
}

/* glibc keeps freed blocks for the thread that freed them: some of each size, up to this one. */
#define CACHED_SIZES 64
#define CACHED_EACH 7
#define CACHED_LEAST 24
#define CACHED_STEP 16
#define THREAD_STACK ((size_t)64 << 10)

struct blocks {
	void *all[CACHED_SIZES * CACHED_EACH];
};

static void *free_all(void *arg)
{
	struct blocks *b = arg;

	for (size_t i = 0; i < ARRAY_SIZE(b->all); i++)
		free(b->all[i]);
	return NULL;
}

/* What is taken out of our cache goes into that of a thread, and with the thread to the arena. */
void resident_empty_cache(void)
{
	struct blocks b;
	pthread_t thread;

	for (size_t i = 0; i < ARRAY_SIZE(b.all); i++)
		b.all[i] = malloc(CACHED_LEAST + i / CACHED_EACH * CACHED_STEP);
	if (thread_start(&thread, THREAD_STACK, free_all, &b) == 0)
		pthread_join(thread, NULL);
	else
		free_all(&b);
	malloc_trim(0);
}

void resident_give_back(void)
{
	resident_empty_cache();
	dl_iterate_phdr(drop_segments, NULL);
}

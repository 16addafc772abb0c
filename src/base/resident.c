/* SPDX-License-Identifier: Apache-2.0 */
#include "base/resident.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

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

void resident_give_back(void)
{
	malloc_trim(0);
	dl_iterate_phdr(drop_segments, NULL);
}

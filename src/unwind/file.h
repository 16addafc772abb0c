/* SPDX-License-Identifier: Apache-2.0 */
/* unwind/file.h -- a piece of a module in memory, moved along as it is read.
 *
 * Tables are made from small parts of large files: what is needed is read in pieces of a few KiB,
 * never mapped. Owned by whoever builds; pipeline thread. */
#ifndef GP_UNWIND_FILE_H
#define GP_UNWIND_FILE_H

#include "elf/module.h"

#define WINDOW_STEP 8192 // bytes read at a time
#define WINDOW_KEEP 32768 // bytes of buffer kept between pages
#define WINDOW_MAX (512 << 10) // the largest single request

struct unwind_file {
	const struct module *m; // whose bytes are in buf
	uint64_t off;
	size_t len, size;
	uint8_t *buf;
	uint64_t reads; // system calls
	int error; // -errno of a read that failed, or -ENOMEM, since it was last taken
};

void unwind_file_init(struct unwind_file *w);
void unwind_file_deinit(struct unwind_file *w);
/* Forgets the contents (the module may be freed or reopened). */
void unwind_file_drop(struct unwind_file *w);
/* Gives a buffer back that one large request made grow. */
void unwind_file_trim(struct unwind_file *w);
/* n bytes at a file offset, or NULL: past the end, n > WINDOW_MAX, or unreadable, which is noted. They
 * live until the next call. */
const uint8_t *unwind_file_get(
	struct unwind_file *w, const struct module *m, uint64_t off, size_t n);
/* At least min bytes; ret_len: all that are at hand. */
const uint8_t *unwind_file_peek(
	struct unwind_file *w, const struct module *m, uint64_t off, size_t min, size_t *ret_len);

/* The first failure since the last call, 0 none: what was made meanwhile may lack something. */
int unwind_file_take_error(struct unwind_file *w);
/* Is it an error of reading, not of what was read? */
bool unwind_file_is_failure(int r);

#endif

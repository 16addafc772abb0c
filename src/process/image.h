/* SPDX-License-Identifier: Apache-2.0 */
/* process/image.h -- an ELF file put together again from a target's memory, for files that are gone
 * and that map_files does not give us.
 *
 * What is mapped read-only or executable lies in memory as it lay in the file; section headers do
 * not, so those that can be told from the program headers and the dynamic segment are written anew
 * at the end: .dynsym, .dynstr, .eh_frame_hdr. Any thread. */
#ifndef GP_PROCESS_IMAGE_H
#define GP_PROCESS_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "process/process.h"

#define PROCESS_IMAGE_MAX (64u << 20) // span of file offsets; absent parts cost no memory
#define PROCESS_IMAGE_READ_MAX (24u << 20) // bytes read

/* The file mapped at addr in the process. *ret_image is malloc'ed. Return 0, -ENOENT no such mapping,
 * -EMEDIUMTYPE not a file, -EINVAL not a 64-bit ELF file, -EFBIG, -errno. */
int process_image_read(const struct process_table *t, uint32_t pid, uint64_t addr,
	uint8_t **ret_image, size_t *ret_len);

/* Bytes to have free past `len` for the section headers. */
#define PROCESS_IMAGE_ROOM 1024
/* Writes section headers behind an image of len bytes whose segments are in place (a multiple of 8).
 * base = address at which file offset 0 is mapped. Return the new length or -EINVAL. */
ssize_t process_image_add_sections(uint8_t *image, size_t len, uint64_t base);

#endif

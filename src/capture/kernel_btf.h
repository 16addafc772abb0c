/* SPDX-License-Identifier: Apache-2.0 */
/* capture/kernel_btf.h -- where members of the kernel's structs lie, by its type information (BTF;
 * Documentation/bpf/btf.rst of the kernel).
 *
 * libbpf would take in all of it to relocate a program: 126,000 types, 90 ms of CPU and 11 MB each start, for a
 * dozen offsets. Here it is read past once, and nothing of it is kept. docs/notes/0041. Any thread. */
#ifndef GP_CAPTURE_KERNEL_BTF_H
#define GP_CAPTURE_KERNEL_BTF_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"
#define KERNEL_BTF_MEMBERS_MAX 32

struct kernel_btf_member {
	const char *type, *name; // a struct, a member of it or of a nameless struct or union inside
	uint32_t offset; // filled: bytes from its start
	uint32_t found; // filled: 1
};

/* Return 0, -ENODATA a member was not found, -E2BIG too many are asked for, -EBADMSG malformed. */
int kernel_btf_find(FILE *f, struct kernel_btf_member *members, size_t n);

#endif

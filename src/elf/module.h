/* SPDX-License-Identifier: Apache-2.0 */
/* elf/module.h -- the files that code comes from, by identity; no pids here.
 *
 * A module is interned by identity (device + inode, or build id) the moment a mapping record names
 * it, and opened only when a sample lands in it: interning costs one hash entry. It is read through
 * pread (never mmap: a file truncated under us must not raise SIGBUS) or, for the vDSO and for
 * files that are gone, from a copy in memory. Addresses of frames are FILE OFFSETS; virtual
 * addresses appear only inside elf/ and symbol/.
 *
 * Owned by the pipeline thread. Ids count from 1 and are not used again; MODULE_NONE is "no file". */
#ifndef GP_ELF_MODULE_H
#define GP_ELF_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/map.h"

#define MODULE_NONE 0u
#define MODULE_BUILD_ID_MAX 20
#define MODULE_SEGMENTS_MAX 16

enum module_state {
	MODULE_NAMED, // identity and path only
	MODULE_OPEN, // headers read, bytes readable
	MODULE_UNREADABLE, // tried: gone, not a regular file, not ELF, hostile headers
};

/* Identity of a file. build_id_len 0 and ino 0 means: none (then path alone identifies). */
struct module_key {
	uint64_t dev; // makedev(maj, min)
	uint64_t ino;
	uint64_t ino_generation; // 0 if unknown
	uint8_t build_id_len;
	uint8_t build_id[MODULE_BUILD_ID_MAX];
};

struct module_segment {
	uint64_t offset, vaddr, filesz, memsz;
	uint32_t flags; // PF_X ...
};

struct module {
	uint32_t id;
	enum module_state state;
	struct module_key key;
	uint32_t path; // id in module_table.strings: as mapped, without " (deleted)"
	bool deleted;
	bool special; // [vdso], [vsyscall]: no file
	int error; // -errno of the failed open
	/* valid when MODULE_OPEN */
	int fd; // -1 if image holds the bytes, or if closed to save descriptors
	uint8_t *image; // in-memory copy, owned
	uint64_t size; // bytes readable
	uint16_t machine; // EM_*
	uint16_t elf_type; // ET_*
	uint64_t entry; // e_entry, virtual address
	struct module_segment segments[MODULE_SEGMENTS_MAX]; // PT_LOAD
	unsigned nsegments;
	uint64_t eh_frame_hdr_off, eh_frame_hdr_len; // PT_GNU_EH_FRAME, file offset; len 0 = none
	uint64_t eh_frame_hdr_vaddr;
	/* for the rooms below: one word each, 0 at birth, theirs to use */
	uint32_t unwind_slot;
	uint32_t symbol_slot;
	uint32_t runtime_slot;
};

struct module_table {
	struct map by_id; // id -> pointer; a module never moves
	uint32_t last_id;
	size_t cap;
	size_t sweep_at; // so many modules make a sweep worthwhile
	struct intern keys; // identities
	struct map by_key; // intern id -> module id
	struct intern strings; // paths
	unsigned open_fds, max_open_fds;
	size_t evict_hand; // where the search for a descriptor to give up goes on
};

void module_table_init(struct module_table *t, size_t cap, unsigned max_open_fds);
void module_table_deinit(struct module_table *t);

/* The module of this identity, made if new. A key with both forms joins them; path may be NULL.
 * Return 0, -ENOSPC at the cap, -ENOMEM. */
int module_table_intern(struct module_table *t, const struct module_key *key, const char *path,
	struct module **ret);
/* Forgets the modules for which `held` says false, once there are so many that it is worthwhile: nobody
 * may keep a pointer or an id of them. Files come and go (JIT libraries, build trees, containers); a
 * program that runs for months would fill up. */
typedef bool (*module_held_fn)(void *arg, struct module *m);
void module_table_sweep(struct module_table *t, module_held_fn held, void *arg);
bool module_table_wants_sweep(const struct module_table *t);

/* By id, or NULL. */
struct module *module_get(const struct module_table *t, uint32_t id);
const char *module_path(const struct module_table *t, const struct module *m);

/* Takes the descriptor of a regular file: checks that it is one and that it is this module (build
 * id where the key has one, else inode), reads its headers. fd is consumed either way. Return 0;
 * -ESTALE another file; -EINVAL not ELF or hostile; -ENOEXEC an ELF file of another class or byte
 * order (machine is set: EM_386 ...); -EMEDIUMTYPE not a regular file; -errno. After -EINVAL,
 * -ENOEXEC and -EMEDIUMTYPE the state is MODULE_UNREADABLE.
 * At max_open_fds another module gives up its descriptor (files that are not deleted first) and is
 * MODULE_NAMED again, to be opened anew by its next user; its segments stay valid. So hold no more
 * than one module at a time across an open. */
int module_open_fd(struct module_table *t, struct module *m, int fd);
/* The same from memory: image is malloc'ed and consumed. */
int module_open_image(struct module_table *t, struct module *m, uint8_t *image, size_t len);
void module_mark_unreadable(struct module *m, int error);

/* Modules outside any table: debug files, MiniDebugInfo. id is 0. fd and image are consumed either
 * way. Return 0, -EMEDIUMTYPE, -EINVAL, -ENOEXEC, -ENOMEM, -errno. */
int module_standalone_fd(int fd, struct module **ret);
int module_standalone_image(uint8_t *image, size_t len, struct module **ret);
void module_standalone_free(struct module *m);
static inline void module_standalone_cleanup(struct module **m)
{
	module_standalone_free(*m);
}

/* Reads up to len bytes at a file offset. Return bytes read (short at the end) or -errno. */
ssize_t module_read(const struct module *m, uint64_t off, void *dst, size_t len);

/* Translation through PT_LOAD. Return false if no segment holds it. */
bool module_offset_to_vaddr(const struct module *m, uint64_t off, uint64_t *ret_vaddr);
bool module_vaddr_to_offset(const struct module *m, uint64_t vaddr, uint64_t *ret_off);

/* A section by name. Return 0, -ENOENT, -EINVAL hostile headers, -errno. */
struct module_section {
	uint64_t offset, size, vaddr;
	uint32_t type, link, info;
	uint64_t flags, entsize;
};
int module_section(const struct module *m, const char *name, struct module_section *ret);

#endif

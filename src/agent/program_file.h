/* SPDX-License-Identifier: Apache-2.0 */
/* agent/program_file.h -- what the file of a program or an interpreter says of itself: identity,
 * linkage, versions. Read from the file, never by running it; once a file, whoever maps it.
 *
 * Capped; the oldest knowledge is dropped as a whole. Owned by one thread. */
#ifndef GP_AGENT_PROGRAM_FILE_H
#define GP_AGENT_PROGRAM_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/vec.h"
#include "process/process.h"

#define PROGRAM_TEXT_MAX 256

struct program_file {
	unsigned looked; // bits of enum program_look that are answered
	uint16_t machine; // EM_*, 0 no ELF file
	bool dynamic; // has a dynamic segment
	bool stripped; // no .symtab
	char elf_id[64]; // buildid:HEX or sha1:HEX, "" unknown
	uint32_t python; // PY_HEX, 0 none
	bool ucs4; // a Python 2 with wide characters
	char go[PROGRAM_TEXT_MAX]; // go1.22.1, "" no Go program or unknown
	bool is_go;
	char ruby[PROGRAM_TEXT_MAX]; // ruby_description
	char node[32]; // v18.19.0
	bool plain; // of a process that runs it there is nothing to tell
};
VEC_DEFINE(program_file_vec, struct program_file)

enum program_look {
	PROGRAM_HEADERS = 1 << 0, // machine, dynamic, stripped
	PROGRAM_ELF_ID = 1 << 1,
	PROGRAM_PYTHON = 1 << 2,
	PROGRAM_GO = 1 << 3,
	PROGRAM_RUBY = 1 << 4,
	PROGRAM_NODE = 1 << 5,
};

struct program_files {
	struct intern keys; // {device, inode, size, change time}
	struct program_file_vec files; // by key id - 1
};

void program_files_init(struct program_files *p);
void program_files_deinit(struct program_files *p);

/* Looks at an open regular file (fd is consumed, also when it is negative: it is then forwarded).
 * path: its name. *ret lives until the next call. Return 0; -EINVAL no ELF file of this machine's
 * class; -errno. */
int program_files_look(struct program_files *p, int fd, const char *path, unsigned look,
	const struct program_file **ret);

/* Whether the file of this status was found to be plain; that it is, if it was looked at before. */
bool program_files_plain(const struct program_files *p, const struct stat *st);
void program_files_set_plain(struct program_files *p, const struct stat *st);

/* Parts of it, for tests and fuzzing. */

/* The version in the bytes of a .go.buildinfo section of Go 1.18 and later. Return 0, -ENOENT. */
int program_go_inline(const void *data, size_t len, char ret[PROGRAM_TEXT_MAX]);
/* The version in the first text "node.js/v18.19.0" of these bytes. Return true if there is one. */
bool program_node_scan(const uint8_t *bytes, size_t len, char ret[32]);

#endif

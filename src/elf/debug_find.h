/* SPDX-License-Identifier: Apache-2.0 */
/* elf/debug_find.h -- the separate debug file of a module, and its MiniDebugInfo.
 *
 * Searched as gdb does ("Separate Debug Files"): ROOT/DIR/.build-id/xx/rest.debug, then by
 * .gnu_debuglink beside the module, in .debug/ beside it, and in ROOT/DIR/its directory. A file is
 * taken only if its build id is the module's, or, where one of them has none, if its CRC is that of
 * the link; and if it has a symbol table. Lookups stay inside ROOT (openat2 RESOLVE_IN_ROOT), and
 * only regular files are opened. Any thread that owns the module. */
#ifndef GP_ELF_DEBUG_FIND_H
#define GP_ELF_DEBUG_FIND_H

#include "elf/module.h"

#define MODULE_DEBUG_ROOTS_MAX 2u
#define MODULE_MINIDEBUG_MAX (32u << 20) // bytes unpacked

struct module_debug_search {
	const char *dirs; // colon list: "/usr/lib/debug"
	const char *roots[MODULE_DEBUG_ROOTS_MAX]; // "/proc/PID/root", "" for our own; NULL ends
	const char *path; // of the module, inside each root
};

/* Opens it as a module outside any table (module_standalone_free()).
 * Return 0, -ENOENT there is none, -ENOMEM, -EMFILE, -ENFILE. */
int module_debug_find(
	const struct module *m, const struct module_debug_search *search, struct module **ret);

/* The file that dwz moved what several modules share of m's DWARF to (.gnu_debugaltlink): by the link's path if that
 * is absolute, then by build id in ROOT/DIR. Taken only if it has the link's build id.
 * Return 0, -ENODATA no such link, -ENOENT the file is not there, -ENOMEM, -EMFILE, -ENFILE. */
int module_debug_alt(
	const struct module *m, const struct module_debug_search *search, struct module **ret);

/* .gnu_debugdata unpacked in memory: an ELF file with .symtab. Return 0, -ENOENT, -EINVAL, -ENOSPC
 * larger than MODULE_MINIDEBUG_MAX, -ENOMEM, -errno. */
int module_minidebug_open(const struct module *m, struct module **ret);

/* Name and CRC of .gnu_debuglink. The name is a file name, without slashes.
 * Return 0, -ENOENT, -EINVAL, -errno. */
int module_debuglink(const struct module *m, char ret_name[static 256], uint32_t *ret_crc);

#endif

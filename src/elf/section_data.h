/* SPDX-License-Identifier: Apache-2.0 */
/* elf/section_data.h -- the contents of a section, unpacked if they are SHF_COMPRESSED.
 *
 * gABI "Section Compression": Elf64_Chdr, then zlib (1) or zstd (2) data. Any thread that owns the
 * module. The wall around libzstd and, for .gnu_debugdata, liblzma. */
#ifndef GP_ELF_SECTION_DATA_H
#define GP_ELF_SECTION_DATA_H

#include "base/buf.h"
#include "elf/module.h"

/* Appends the contents to ret, up to its cap. Return 0, -EINVAL malformed or an unknown method,
 * -ENOSPC the cap was reached, -ENODATA the section has no bytes in the file, -ENOMEM, -errno. */
int module_section_read(const struct module *m, const struct module_section *s, struct buf *ret);

/* The same for contents that are an .xz file; memory of the decoder is bounded too. */
int module_section_read_xz(const struct module *m, const struct module_section *s, struct buf *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* runtime/python/packages.h -- which installed package a source file belongs to.
 *
 * Read from the target's own files, through its root: the standard library by the place of the file
 * and the interpreter's version; packages by their records, NAME.dist-info/RECORD (PEP 376, 627) and
 * NAME.egg-info/installed-files.txt, with name and version from METADATA or PKG-INFO. Nothing is run.
 * Owned by the pipeline thread. */
#ifndef GP_RUNTIME_PYTHON_PACKAGES_H
#define GP_RUNTIME_PYTHON_PACKAGES_H

#include "runtime/python/python.h"

void py_packages_free(struct py_packages *k);

/* Id in rt->strings of "[PyYAML==6.0]" or "[standard-library==3.11.7]", 0 unknown.
 * Return 0, -ENOMEM. */
int py_package_of(struct py_runtime *rt, struct process *p, const struct py_proc *proc,
	const char *file, uint32_t *ret);

#endif

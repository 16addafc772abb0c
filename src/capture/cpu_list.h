/* SPDX-License-Identifier: Apache-2.0 */
/* capture/cpu_list.h -- which CPUs are online. Any thread.
 *
 * Format "0-3,8,10-11" of /sys/devices/system/cpu/online (Linux
 * Documentation/admin-guide/cputopology.rst). */
#ifndef GP_CAPTURE_CPU_LIST_H
#define GP_CAPTURE_CPU_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/vec.h"

#define CPU_LIST_MAX 8192 // NR_CPUS of the largest distribution kernels
#define CPU_LIST_ONLINE "/sys/devices/system/cpu/online"

VEC_DEFINE(cpu_vec, uint32_t)

/* Appends the CPUs of the text, ascending. ret is inited by the caller.
 * Return 0, -EINVAL malformed, -ENOSPC, -ENOMEM. */
int cpu_list_parse(const char *text, struct cpu_vec *ret);
/* Reads a file of that format; without one, 0 .. sysconf(_SC_NPROCESSORS_CONF) - 1. */
int cpu_list_read(const char *path, struct cpu_vec *ret);

#endif

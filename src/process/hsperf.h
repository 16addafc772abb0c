/* SPDX-License-Identifier: Apache-2.0 */
/* process/hsperf.h -- what a HotSpot JVM publishes of itself: /tmp/hsperfdata_USER/PID.
 *
 * The file is the JVM's own memory, mapped; -XX:-UsePerfData leaves it out. Format: HotSpot's
 * perfMemory.hpp (PerfDataPrologue, PerfDataEntry), version 2. It is read below the target's root and
 * must belong to the target's user: /tmp is everyone's. Hostile all the same. Any thread. */
#ifndef GP_PROCESS_HSPERF_H
#define GP_PROCESS_HSPERF_H

#include <stddef.h>
#include <stdint.h>

#define HSPERF_BYTES_MAX (1u << 20)
#define HSPERF_TEXT_MAX 8192

/* All "" if absent; cut at their size. */
struct hsperf {
	char command[HSPERF_TEXT_MAX]; // sun.rt.javaCommand
	char vm_args[HSPERF_TEXT_MAX]; // java.rt.vmArgs
	char version[128]; // java.property.java.version: 17.0.9
	char vm_name[128]; // java.property.java.vm.name
	char vm_version[128]; // java.property.java.vm.version: the build
	char vm_info[128]; // java.property.java.vm.info: mixed mode, sharing
	char home[512]; // java.property.java.home
};

/* Return 0, -EINVAL. */
int hsperf_parse(const void *data, size_t len, struct hsperf *ret);
/* Finds and reads the file of a process. Return 0, -ENOENT none, -EINVAL, -errno. */
int hsperf_read(const char *proc, uint32_t pid, struct hsperf *ret);

#endif

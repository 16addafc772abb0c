/* SPDX-License-Identifier: Apache-2.0 */
/* process/cpu.h -- CPU time of processes and threads, asked for as cheaply as the kernel allows.
 * Pids are those of our pid namespace. Nothing is kept; any thread. */
#ifndef GP_PROCESS_CPU_H
#define GP_PROCESS_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi/record.h"

/* Run time of all threads of a process, also of those that ended, ns: its CPU clock, one system call
 * without a file. It advances with the scheduler's tick. Return 0, -ESRCH. */
int process_cpu_ns(uint32_t pid, uint64_t *ret);

/* A thread as /proc/PID/task/TID/stat tells. */
struct process_thread {
	char comm[REC_COMM_LEN];
	char state; // proc_pid_stat(5): 'R' runs or waits for a CPU
	uint32_t nthreads; // of its process
	uint64_t cpu_ns; // in whole ticks of the clock (10 ms)
};
/* Return 0, -ESRCH, -EINVAL, -errno. */
int process_thread_read(uint32_t pid, uint32_t tid, struct process_thread *ret);

/* CLOCK_BOOTTIME, by which start times of processes are stamped, ns. */
uint64_t process_boot_ns(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Facts that are found by trying: raw bpf(2), perf_event_open(2), process_vm_readv(2). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "capture/probe_facts.h"

#define RING_PAGES 64
#define SCAN_MAX 65536
#define READ_TRIES 32

static const char grant_bpf[] =
	"run as root or with CAP_BPF and CAP_PERFMON (in a container: --privileged, or both "
	"capabilities and a seccomp profile that allows bpf)";
static const char grant_perf[] =
	"run as root or with CAP_PERFMON (in a container: a seccomp profile that allows "
	"perf_event_open), or sysctl kernel.perf_event_paranoid=-1";

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* ret holds the name of an errno: "EPERM: Operation not permitted". */
static void failed(struct probe_fact *f, int error)
{
	f->error = error;
	probe_set(f, PROBE_MISSING, "%s: %s", strerrorname_np(error), strerror(error));
}

/* Loads instructions as a perf_event program. Return a descriptor or -errno. */
static int load(const struct bpf_insn *insns, unsigned n)
{
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_PERF_EVENT,
		.insns = (uintptr_t)insns,
		.insn_cnt = n,
		.license = (uintptr_t) "GPL",
	};
	int fd = sys_bpf(BPF_PROG_LOAD, &attr);

	return fd < 0 ? -errno : fd;
}

static int load_nothing(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return load(insns, ARRAY_SIZE(insns));
}

void probe_bpf_load(const char *root, struct probe_fact *f)
{
	_cleanup_close_ int fd = load_nothing();

	(void)root;
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "a program was loaded");
		return;
	}
	failed(f, -fd);
	probe_loses(f, "stacks are not walked in the kernel: rung ring or lower",
		fd == -ENOSYS ? "run a kernel built with CONFIG_BPF_SYSCALL" : grant_bpf);
}

void probe_bpf_ringbuf(const char *root, struct probe_fact *f)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_RINGBUF,
		.max_entries = (unsigned)sysconf(_SC_PAGESIZE),
	};
	_cleanup_close_ int fd = sys_bpf(BPF_MAP_CREATE, &attr);
	int error = errno;

	(void)root;
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "a map was made");
		return;
	}
	failed(f, error);
	probe_loses(f, "samples cannot leave a BPF program: rung ring or lower",
		error == EPERM ? grant_bpf : "run Linux 5.8 or later");
}

static int perf_open(struct perf_event_attr *attr, pid_t pid, int cpu)
{
	int fd = (int)syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static struct perf_event_attr clock_attr(void)
{
	return (struct perf_event_attr){
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.size = sizeof(struct perf_event_attr),
		.sample_period = 100000000, // ns; it stays disabled
		.sample_type = PERF_SAMPLE_IP,
		.disabled = 1,
	};
}

/* Events bind to a CPU we may not be allowed on, or that is offline: any one will do. */
static int perf_open_some_cpu(struct perf_event_attr *attr, pid_t pid)
{
	long ncpus = sysconf(_SC_NPROCESSORS_CONF);
	int fd = -ENODEV;

	for (int cpu = 0; cpu < ncpus && (fd == -ENODEV || fd == -EINVAL); cpu++)
		fd = perf_open(attr, pid, cpu);
	return fd;
}

void probe_bpf_attach(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int event = perf_open_some_cpu(&attr, -1);
	_cleanup_close_ int prog = load_nothing();

	(void)root;
	if (event < 0 || prog < 0) {
		failed(f, event < 0 ? -event : -prog);
		probe_loses(f, "no program runs at a sample: rung ring or lower", grant_bpf);
		return;
	}
	if (ioctl(event, PERF_EVENT_IOC_SET_BPF, prog) == 0) {
		probe_set(f, PROBE_OK, "a program was attached");
		return;
	}
	failed(f, errno);
	probe_loses(f, "no program runs at a sample: rung ring or lower",
		"run a kernel built with CONFIG_BPF_EVENTS");
}

/* Calls the helper with arguments of the wrong type: a kernel that has it complains of those
 * (EACCES), one that has not says so (EINVAL). */
void probe_bpf_loop(const char *root, struct probe_fact *f)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_1, .imm = 1},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_loop},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_close_ int fd = load(insns, ARRAY_SIZE(insns));

	(void)root;
	if (fd >= 0 || fd == -EACCES)
		probe_set(f, PROBE_OK, "the helper is there");
	else if (fd == -EINVAL)
		probe_set(f, PROBE_NOTE, "absent; it is not needed");
	else
		probe_set(f, PROBE_NOTE, "not known: %s", strerror(-fd));
}

void probe_perf_system(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int fd = perf_open_some_cpu(&attr, -1);

	(void)root;
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "an event was opened, with kernel");
		return;
	}
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	fd = perf_open_some_cpu(&attr, -1);
	if (fd >= 0) {
		probe_set(f, PROBE_LIMITED, "an event was opened, user mode only");
		probe_loses(f, "kernel frames and the time inside system calls", grant_perf);
		return;
	}
	failed(f, -fd);
	probe_loses(f, "the machine as a whole is not profiled, only chosen processes at best",
		fd == -ENOSYS ? "run a kernel built with CONFIG_PERF_EVENTS" : grant_perf);
}

/* Other processes than this one, of our own uid or of another, into pids[max]. Only those that have
 * memory: kernel threads can be read by nobody. Return how many. */
static unsigned find_processes(const char *root, bool own_uid, pid_t *pids, unsigned max)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *e;
	unsigned found = 0;

	if (asprintf(&path, "%s/proc", root) < 0)
		return 0;
	d = opendir(path);
	for (unsigned n = 0; d && n < SCAN_MAX && found < max && (e = readdir(d)); n++) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
		_cleanup_free_ char *cmdline = NULL;
		_cleanup_close_ int fd = -1;
		struct stat st;
		char c;

		if (pid <= 0 || pid == getpid() || asprintf(&cmdline, "%s/cmdline", e->d_name) < 0)
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, 0) < 0 || (st.st_uid == geteuid()) != own_uid)
			continue;
		fd = openat(dirfd(d), cmdline, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, &c, 1) == 1)
			pids[found++] = pid;
	}
	return found;
}

/* Foreign if there is one, else any; 0 if none. */
static pid_t other_process(const char *root)
{
	pid_t pid = 0;

	if (!find_processes(root, false, &pid, 1))
		find_processes(root, true, &pid, 1);
	return pid;
}

void probe_perf_process(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	pid_t pid = other_process(root);
	_cleanup_close_ int fd = -1;

	if (!pid) {
		probe_set(f, PROBE_NOTE, "there is no other process to try it on");
		return;
	}
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	fd = perf_open(&attr, pid, -1);
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "an event was opened on pid %d", (int)pid);
		return;
	}
	failed(f, -fd);
	probe_loses(f, "processes of other users are not profiled", grant_perf);
}

void probe_perf_own(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int fd = -1;

	(void)root;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	fd = perf_open(&attr, 0, -1);
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "an event was opened on this process");
		return;
	}
	failed(f, -fd);
	probe_loses(f, "nothing is sampled by the kernel: rung reader or none",
		fd == -ENOSYS ? "run a kernel built with CONFIG_PERF_EVENTS" : grant_perf);
}

void probe_perf_kernel(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int fd = perf_open(&attr, 0, -1);

	(void)root;
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "kernel mode may be sampled");
		return;
	}
	failed(f, -fd);
	probe_loses(f, "kernel frames and the time inside system calls", grant_perf);
}

void probe_perf_cycles(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int fd = -1;

	(void)root;
	attr.type = PERF_TYPE_HARDWARE;
	attr.config = PERF_COUNT_HW_CPU_CYCLES;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	fd = perf_open(&attr, 0, -1);
	if (fd >= 0) {
		probe_set(f, PROBE_OK, "a counter was opened");
		return;
	}
	f->error = -fd;
	if (fd == -ENOENT || fd == -EOPNOTSUPP || fd == -ENODEV) {
		probe_set(f, PROBE_NOTE, "this machine shows no hardware counters");
		probe_loses(f, "cpu-clock is sampled instead: code with interrupts off is not seen",
			"on a virtual machine, let the host give it a PMU");
	} else {
		probe_set(f, PROBE_LIMITED, "%s: %s", strerrorname_np(-fd), strerror(-fd));
		probe_loses(f, "cpu-clock is sampled instead", grant_perf);
	}
}

void probe_perf_ring(const char *root, struct probe_fact *f)
{
	struct perf_event_attr attr = clock_attr();
	_cleanup_close_ int fd = -1;
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (RING_PAGES + 1) * page;
	void *ring;

	(void)root;
	attr.exclude_kernel = 1;
	attr.exclude_hv = 1;
	fd = perf_open(&attr, 0, -1);
	if (fd < 0) {
		failed(f, -fd);
		probe_loses(f, "no event, so no ring", grant_perf);
		return;
	}
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ring == MAP_FAILED) {
		failed(f, errno);
		probe_loses(f, "rings of that size are refused",
			"raise kernel.perf_event_mlock_kb, or the limit of locked memory "
			"(ulimit -l)");
		return;
	}
	munmap(ring, size);
	probe_set(f, PROBE_OK, "a ring of %zu kB was mapped", RING_PAGES * page / 1024);
}

/* Asks for a byte that is not mapped: EFAULT comes only after the permission was given. */
static int try_read(pid_t pid)
{
	char byte;
	struct iovec local = {.iov_base = &byte, .iov_len = 1};
	struct iovec remote = {.iov_base = NULL, .iov_len = 1};

	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) >= 0 || errno == EFAULT)
		return 0;
	return -errno;
}

/* One process may be guarded (more capabilities than ours, not dumpable): several are tried. */
static void probe_read(const char *root, struct probe_fact *f, bool own_uid)
{
	pid_t pids[READ_TRIES];
	unsigned n = find_processes(root, own_uid, pids, READ_TRIES), reached = 0;
	pid_t denied = 0;

	if (!n) {
		// Nobody to try it on; whether the call is there at all is known of ourselves.
		int r = try_read(getpid());

		if (r)
			failed(f, -r);
		else
			probe_set(f, PROBE_NOTE, "there is no such process to try it on");
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		int r = try_read(pids[i]);

		// A process that has just ended says nothing.
		reached += r == 0 || r == -ESRCH;
		if (r && r != -ESRCH) {
			f->error = -r;
			denied = pids[i];
		}
	}
	if (!reached)
		failed(f, f->error);
	else if (denied)
		probe_set(f, PROBE_LIMITED, "%u of %u reached; pid %d: %s", reached, n, (int)denied,
			strerrorname_np(f->error));
	else
		probe_set(f, PROBE_OK, "memory of %u of %u was reached", reached, n);
}

void probe_read_own(const char *root, struct probe_fact *f)
{
	probe_read(root, f, true);
	if (f->verdict == PROBE_LIMITED)
		probe_loses(f, "runtime frames and deleted files of the guarded ones",
			"they have more capabilities than this process, or another user "
			"namespace: grant it what they have");
	else if (f->verdict == PROBE_MISSING)
		probe_loses(f, "runtime frames and deleted files of your own processes",
			"grant CAP_SYS_PTRACE, or sysctl kernel.yama.ptrace_scope=0");
}

void probe_read_other(const char *root, struct probe_fact *f)
{
	probe_read(root, f, false);
	if (f->verdict >= PROBE_LIMITED)
		probe_loses(f, "mappings, symbols and runtime frames of other users' processes",
			"run as root or with CAP_SYS_PTRACE");
}

/* A mapping of our own program, opened through its map_files link, is what a deleted library of a
 * target is read by; the capability is the same (proc_map_files_get_link(), fs/proc/base.c). */
void probe_map_files(const char *root, struct probe_fact *f)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_free_ char *path = NULL;
	struct dirent *e;
	int error = ENOENT;

	if (asprintf(&path, "%s/proc/self/map_files", root) < 0)
		return;
	d = opendir(path);
	if (!d)
		error = errno;
	while (d && (e = readdir(d))) {
		_cleanup_close_ int fd = -1;

		if (e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			probe_set(f, PROBE_OK, "map_files were opened");
			return;
		}
		error = errno;
		break;
	}
	failed(f, error);
	f->verdict = PROBE_LIMITED;
	probe_loses(f,
		"files deleted while in use are read from the target's memory, with what is "
		"mapped of them",
		"run as root or with CAP_CHECKPOINT_RESTORE");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Facts that are read: files of /proc and /sys, limits, capabilities. */
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "capture/probe_facts.h"

#define SMALL_FILE (64 << 10)
#define MOUNTINFO_MAX (4 << 20)
// PROC_PID_INIT_INO of include/linux/proc_ns.h.
#define INITIAL_PIDNS_INO 0xeffffffcu
#define BTF_MAGIC 0xeb9f
// What a machine of this many CPUs needs: rings and counters of each, and the files being read.
#define FILES_BASE 128
#define FILES_PER_CPU 4

/* Appends root + path to text. Return 0, -errno; a file cut at the cap is fine. */
static int read_text(const char *root, const char *path, struct buf *text)
{
	_cleanup_free_ char *full = NULL;
	int r;

	if (asprintf(&full, "%s%s", root, path) < 0)
		return -ENOMEM;
	r = fs_read_file(full, text);
	if (r == -ENOSPC)
		r = 0;
	while (!r && text->len && text->data[text->len - 1] == '\n')
		text->data[--text->len] = 0;
	return r;
}

static int read_number(const char *root, const char *path, long *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);
	int r = read_text(root, path, &text);
	char *end;
	long v;

	if (r)
		return r;
	errno = 0;
	v = strtol(buf_str(&text), &end, 10);
	if (end == buf_str(&text) || errno)
		return -EINVAL;
	*ret = v;
	return 0;
}

void probe_kernel(const char *root, struct probe_fact *f)
{
	struct utsname u;

	(void)root;
	if (uname(&u) < 0)
		u = (struct utsname){0};
	probe_set(f, PROBE_OK, "%.60s %.60s %.60s", u.sysname, u.release, u.machine);
}

void probe_btf(const char *root, struct probe_fact *f)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_fclose_ FILE *file = NULL;
	uint16_t magic = 0;
	struct stat st;

	if (asprintf(&path, "%s/sys/kernel/btf/vmlinux", root) < 0)
		return;
	file = fopen(path, "re");
	if (file && fread(&magic, sizeof(magic), 1, file) == 1 && magic == BTF_MAGIC) {
		if (fstat(fileno(file), &st) < 0)
			st.st_size = 0;
		probe_set(f, PROBE_OK, "of the running kernel, %ld kB", (long)(st.st_size / 1024));
		return;
	}
	f->error = file ? EINVAL : errno;
	probe_set(f, PROBE_MISSING, "no type information of the kernel: %s", strerror(f->error));
	probe_loses(f, "programs do not find the fields of kernel structures: rung ring or lower",
		"run a kernel built with CONFIG_DEBUG_INFO_BTF; in a container, mount /sys");
}

void probe_perf_paranoid(const char *root, struct probe_fact *f)
{
	long v;
	int r = read_number(root, "/proc/sys/kernel/perf_event_paranoid", &v);

	if (r) {
		probe_set(f, PROBE_NOTE, "not known: %s", strerror(-r));
		return;
	}
	if (v >= 3) {
		// Debian's and Ubuntu's own patch: no event at all without the capability.
		probe_set(f, PROBE_LIMITED, "%ld, set by the distribution", v);
		probe_loses(f, "without CAP_PERFMON or root not even own processes are sampled",
			"sysctl kernel.perf_event_paranoid=2 for own processes, -1 for all");
	} else if (v >= 0) {
		probe_set(f, PROBE_NOTE, "%ld: without CAP_PERFMON, %s", v,
			v == 2	 ? "own processes in user mode only"
			: v == 1 ? "own processes only"
				 : "no raw tracepoints");
	} else {
		probe_set(f, PROBE_OK, "%ld: no restriction", v);
	}
}

void probe_perf_mlock(const char *root, struct probe_fact *f)
{
	long kb, page_kb = sysconf(_SC_PAGESIZE) / 1024;
	int r = read_number(root, "/proc/sys/kernel/perf_event_mlock_kb", &kb);

	if (r) {
		probe_set(f, PROBE_NOTE, "not known: %s", strerror(-r));
		return;
	}
	probe_set(f, PROBE_OK, "%ld kB a CPU, without CAP_IPC_LOCK", kb);
	if (kb >= 128 + page_kb)
		return;
	f->verdict = PROBE_LIMITED;
	probe_loses(f, "small rings: bursts of records may be lost",
		"sysctl kernel.perf_event_mlock_kb=516");
}

/* Names are useless where addresses are shown as zero (kptr_restrict, kallsyms_show_value()). */
void probe_kallsyms(const char *root, struct probe_fact *f)
{
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	long restrict_level = -1;
	int r = read_text(root, "/proc/kallsyms", &text);
	const char *p;

	read_number(root, "/proc/sys/kernel/kptr_restrict", &restrict_level);
	for (p = buf_str(&text); *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (strtoull(p, NULL, 16)) {
			probe_set(f, PROBE_OK, "addresses are shown (kptr_restrict %ld)",
				restrict_level);
			return;
		}
	if (r)
		probe_set(f, PROBE_MISSING, "/proc/kallsyms: %s", strerror(-r));
	else
		probe_set(f, PROBE_MISSING, "addresses are hidden (kptr_restrict %ld)",
			restrict_level);
	probe_loses(f, "kernel frames have no names",
		restrict_level >= 2 ? "sysctl kernel.kptr_restrict=1 (or 0)"
				    : "run as root or with CAP_SYSLOG, or sysctl "
				      "kernel.kptr_restrict=0");
}

/* Type and mount point of a line of mountinfo (proc(5)): "... MOUNT ... - TYPE ...". */
static bool mount_line(char *line, const char **ret_type, const char **ret_point)
{
	char *dash = strstr(line, " - ");
	char *field = line, *end;

	for (int i = 0; i < 4 && field; i++) {
		field = strchr(field, ' ');
		if (field)
			field++;
	}
	if (!dash || !field || field > dash)
		return false;
	end = field + strcspn(field, " ");
	*end = 0;
	dash += 3;
	dash[strcspn(dash, " ")] = 0;
	*ret_type = dash;
	*ret_point = field;
	return true;
}

void probe_cgroup(const char *root, struct probe_fact *f)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MOUNTINFO_MAX);
	char unified[100] = "";
	unsigned legacy = 0;
	char *next;

	read_text(root, "/proc/self/mountinfo", &text);
	for (char *line = text.data; line && *line; line = next) {
		const char *type, *point;
		size_t n = strcspn(line, "\n");

		next = line + n + (line[n] == '\n');
		line[n] = 0;
		if (!mount_line(line, &type, &point))
			continue;
		if (strcmp(type, "cgroup2") == 0 && !*unified)
			snprintf(unified, sizeof(unified), "%s", point);
		legacy += strcmp(type, "cgroup") == 0;
	}
	if (*unified && !legacy)
		probe_set(f, PROBE_OK, "v2 at %s", unified);
	else if (*unified)
		probe_set(f, PROBE_OK, "hybrid: v2 at %s and %u of v1", unified, legacy);
	else if (legacy)
		probe_set(f, PROBE_OK, "v1, %u hierarchies", legacy);
	else {
		probe_set(f, PROBE_LIMITED, "none is mounted here");
		probe_loses(f, "containers are told by /proc alone",
			"in a container, mount /sys/fs/cgroup read-only");
	}
}

static void limit_text(rlim_t v, unsigned shift, char *ret, size_t size)
{
	if (v == RLIM_INFINITY)
		snprintf(ret, size, "unlimited");
	else
		snprintf(ret, size, "%llu", (unsigned long long)v >> shift);
}

void probe_memlock(const char *root, struct probe_fact *f)
{
	struct rlimit l = {0};
	char soft[32], hard[32];

	(void)root;
	getrlimit(RLIMIT_MEMLOCK, &l);
	limit_text(l.rlim_cur, 10, soft, sizeof(soft));
	limit_text(l.rlim_max, 10, hard, sizeof(hard));
	// Since 5.11 BPF memory is charged to the cgroup; before, it counts here.
	probe_set(f, PROBE_OK, "%s kB (hard %s)", soft, hard);
	if (l.rlim_cur != RLIM_INFINITY && l.rlim_cur < 8 << 20)
		f->verdict = PROBE_NOTE;
}

void probe_nofile(const char *root, struct probe_fact *f)
{
	long need = FILES_BASE + FILES_PER_CPU * sysconf(_SC_NPROCESSORS_CONF);
	struct rlimit l = {0};
	char soft[32], hard[32];

	(void)root;
	getrlimit(RLIMIT_NOFILE, &l);
	limit_text(l.rlim_cur, 0, soft, sizeof(soft));
	limit_text(l.rlim_max, 0, hard, sizeof(hard));
	probe_set(f, PROBE_OK, "%s (hard %s)", soft, hard);
	if (l.rlim_max >= (rlim_t)need)
		return;
	f->verdict = PROBE_LIMITED;
	snprintf(f->consequence, sizeof(f->consequence),
		"%ld are needed for every CPU: some CPUs or processes are left out", need);
	snprintf(f->remedy, sizeof(f->remedy), "ulimit -n %ld, or LimitNOFILE= of the unit", need);
}

/* The value of a "Name:\tvalue" line of /proc/self/status, or NULL. */
static const char *status_value(const struct buf *text, const char *name)
{
	const char *p = strstr(buf_str(text), name);

	return p && (p == text->data || p[-1] == '\n') ? p + strlen(name) : NULL;
}

void probe_seccomp(const char *root, struct probe_fact *f)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SMALL_FILE);
	const char *v;

	read_text(root, "/proc/self/status", &text);
	v = status_value(&text, "Seccomp:");
	if (!v) {
		probe_set(f, PROBE_NOTE, "not known to this kernel");
		return;
	}
	if (strtol(v, NULL, 10) == 0) {
		probe_set(f, PROBE_OK, "no filter on this process");
		return;
	}
	probe_set(f, PROBE_NOTE, "a filter is on this process");
	probe_loses(f, "calls it denies look like missing permissions above",
		"in a container: --security-opt seccomp=unconfined, or a profile that allows bpf, "
		"perf_event_open and process_vm_readv");
}

void probe_lockdown(const char *root, struct probe_fact *f)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SMALL_FILE);
	int r = read_text(root, "/sys/kernel/security/lockdown", &text);

	if (r == -ENOENT || r == -EACCES) {
		probe_set(f, r == -ENOENT ? PROBE_OK : PROBE_NOTE,
			r == -ENOENT ? "not in force" : "not known: not readable");
		return;
	}
	if (!strstr(buf_str(&text), "[confidentiality]")) {
		probe_set(f, PROBE_OK, "%.80s", buf_str(&text));
		return;
	}
	probe_set(f, PROBE_LIMITED, "confidentiality");
	probe_loses(f, "programs may not read kernel memory (LOCKDOWN_BPF_READ_KERNEL): rung ring",
		"boot with lockdown=integrity, or without Secure Boot");
}

void probe_psi(const char *root, struct probe_fact *f)
{
	_cleanup_buf_ struct buf text = BUF_INIT(SMALL_FILE);
	int r = read_text(root, "/proc/pressure/memory", &text);

	if (!r) {
		probe_set(f, PROBE_OK, "there");
		return;
	}
	f->error = -r;
	probe_set(f, PROBE_NOTE, "absent: %s", strerror(-r));
	probe_loses(f, "memory pressure of the machine is not seen early",
		"boot with psi=1, on a kernel built with CONFIG_PSI");
}

void probe_pidns(const char *root, struct probe_fact *f)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s/proc/self/ns/pid", root) < 0)
		return;
	if (stat(path, &st) < 0) {
		f->error = errno;
		probe_set(f, PROBE_NOTE, "not known: %s", strerror(errno));
		return;
	}
	if (st.st_ino == INITIAL_PIDNS_INO) {
		probe_set(f, PROBE_OK, "the initial one");
		return;
	}
	probe_set(f, PROBE_LIMITED, "not the initial one");
	probe_loses(f, "processes outside of this namespace have no names here",
		"docker run --pid=host, hostPID: true; or --disable-pidns-check");
}

void probe_capability(struct probe_fact *f, unsigned cap)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (syscall(SYS_capget, &head, data) < 0) {
		f->error = errno;
		probe_set(f, PROBE_NOTE, "not known: %s", strerror(errno));
		return;
	}
	if (data[cap / 32].effective & 1u << cap % 32)
		probe_set(f, PROBE_OK, "held");
	else
		probe_set(f, PROBE_NOTE, "not held");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Real processes: what /proc tells of them, and the files behind their mappings on every rung of
 * the ladder. Needs root for most cases. */
#include "tests/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "process/memory.h"
#include "process/process.h"
#include "process/table.h"

#define NOBODY 65534
#define ROOM "/mnt" // in our mount namespace; elsewhere it stays as it is

/* With root everything that the cases leave in the file system lies in a tmpfs that only this program and
 * its children see: however they end, nothing of it stays mounted or lies about. */
static const char *room(void)
{
	struct stat st;

	return stat(ROOM "/test_live", &st) == 0 ? ROOM : "/tmp";
}

static int enter_room(void **state)
{
	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS))
		return 0; // who may not mount has nothing to leave mounted
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("none", ROOM, "tmpfs", 0, "mode=755"))
		return 0;
	return mkdir(ROOM "/test_live", 0700);
}

struct world {
	char dir[48];
	struct module_table modules;
	struct process_table t;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "%s/test_live.XXXXXX", room());
	if (!mkdtemp(w->dir) || chmod(w->dir, 0755))
		return -1;
	module_table_init(&w->modules, 4096, 64);
	*state = w;
	return process_table_init(&w->t, &w->modules, "/proc");
}

static int teardown(void **state)
{
	static const char *const names[] = {"prog", "node", "proc", "lower/prog", "lower", "upper",
		"work/work", "work", "merged", "new", ""};
	struct world *w = *state;
	char path[128];

	process_table_deinit(&w->t);
	module_table_deinit(&w->modules);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", w->dir, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	free(w);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0)
		test_skip("needs root");
}

static void copy_file(const char *from, const char *to)
{
	struct buf b = BUF_INIT(64 << 20);
	int fd;

	assert_ok(fs_read_file(from, &b));
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_ok(fs_write_full(fd, b.data, b.len));
	close(fd);
	buf_deinit(&b);
}

/* Waits until the program of pid is `name` and sleeps. */
static void wait_asleep(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (int i = 0; i < 500; i++) {
		struct buf b = BUF_INIT(4096);
		struct process_stat st = {0};

		if (fs_read_file(path, &b) == 0)
			process_stat_parse(b.data, b.len, &st);
		buf_deinit(&b);
		if (strcmp(st.comm, name) == 0 && st.state == 'S')
			return;
		clock_sleep_ns(10 * NSEC_PER_MSEC);
	}
	fail_msg("%s did not start", name);
}

static pid_t start(const char *path, uid_t uid)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (uid && (setgid(uid) || setuid(uid)))
			_exit(1);
		execl(path, path, "60", (char *)NULL);
		_exit(1);
	}
	wait_asleep(pid, fs_basename(path));
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static const struct mapping *find_mapping(
	struct process_table *t, struct process *p, const char *name)
{
	vec_foreach (m, &p->maps)
		if (strstr(intern_str(&t->strings, m->path), name))
			return m;
	fail_msg("no mapping of %s", name);
	return NULL;
}

static struct process *scanned(struct process_table *t, pid_t pid)
{
	assert_ok(process_table_scan_pid(t, (uint32_t)pid));
	assert_non_null(process_table_find(t, (uint32_t)pid));
	return process_table_find(t, (uint32_t)pid);
}

/* The module's bytes are those of the file. */
static void assert_is_file(struct module *m, const char *path)
{
	static char a[4096], b[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	for (off_t off = 0;; off += (off_t)sizeof(a)) {
		ssize_t n = fs_pread_full(fd, a, sizeof(a), off);

		assert_int_equal(module_read(m, (uint64_t)off, b, sizeof(b)), n);
		assert_memory_equal(a, b, n);
		if (n < (ssize_t)sizeof(a))
			break;
	}
	close(fd);
}

static void scan__300_processes(void **state)
{
	struct world *w = *state;
	static pid_t pids[300];
	uint64_t t0, cpu0;

	fflush(stdout);
	for (int i = 0; i < 300; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
			_exit(0);
		}
	}
	t0 = clock_mono_ns();
	cpu0 = clock_cpu_ns();
	assert_ok(process_table_scan(&w->t));
	printf("# scan of %zu processes: %.1f ms wall, %.1f ms CPU\n", w->t.by_pid.len,
		(double)(clock_mono_ns() - t0) / 1e6, (double)(clock_cpu_ns() - cpu0) / 1e6);
	for (int i = 0; i < 300; i++)
		stop(pids[i]);
	for (int i = 0; i < 300; i++) {
		struct process *p = process_table_find(&w->t, (uint32_t)pids[i]);

		assert_non_null(p);
		assert_int_equal(p->ppid, getpid());
		assert_true(p->maps.len >= 3);
	}
}

static void open__every_file_of_this_process(void **state)
{
	struct world *w = *state;
	struct process *p = scanned(&w->t, getpid());
	unsigned files = 0;

	vec_foreach (m, &p->maps) {
		if (m->kind != MAPPING_FILE && m->kind != MAPPING_VDSO)
			continue;
		assert_ok(process_open_module(&w->t, p, m));
		files++;
	}
	assert_true(files >= 4); // program, libc, cmocka, vDSO
	p = scanned(&w->t, getpid());
	assert_int_equal(module_get(&w->modules, w->t.vdso_module)->state, MODULE_OPEN);
}

static void open__deleted_and_replaced(void **state)
{
	struct world *w = *state;
	char prog[64];
	struct process *p;
	const struct mapping *m;
	pid_t pid;

	need_root();
	snprintf(prog, sizeof(prog), "%s/prog", w->dir);
	copy_file("/bin/sleep", prog);
	pid = start(prog, 0);
	assert_ok(unlink(prog));
	copy_file("/bin/true", prog);
	p = scanned(&w->t, pid);
	m = find_mapping(&w->t, p, prog);
	assert_true(module_get(&w->modules, m->module)->deleted);
	assert_ok(process_open_module(&w->t, p, m));
	assert_is_file(module_get(&w->modules, m->module), "/bin/sleep");
	stop(pid);
}

/* The inside of open__from_memory, as nobody: no map_files. */
static int open_from_memory(struct world *w, pid_t pid, const char *prog)
{
	struct process *p = scanned(&w->t, pid);
	const struct mapping *m = find_mapping(&w->t, p, prog);
	struct module *mod = module_get(&w->modules, m->module), *real;
	struct module_section a, b;
	static char x[65536], y[65536];

	assert_ok(process_open_module(&w->t, p, m));
	assert_int_equal(w->t.stats.from_memory, 1);
	assert_non_null(mod->image);
	assert_ok(module_table_intern(&w->modules, &(struct module_key){0}, "/bin/sleep", &real));
	assert_ok(module_open_fd(&w->modules, real, open("/bin/sleep", O_RDONLY | O_CLOEXEC)));
	assert_int_equal(mod->eh_frame_hdr_off, real->eh_frame_hdr_off);
	assert_int_equal(mod->eh_frame_hdr_len, real->eh_frame_hdr_len);
	assert_true(mod->eh_frame_hdr_len > 0);
	assert_ok(module_section(mod, ".dynsym", &a));
	assert_ok(module_section(real, ".dynsym", &b));
	assert_int_equal(a.offset, b.offset);
	assert_int_equal(a.size, b.size);
	assert_ok(module_section(mod, ".dynstr", &a));
	assert_ok(module_section(real, ".dynstr", &b));
	assert_int_equal(a.offset, b.offset);
	assert_int_equal(a.size, b.size);
	assert_ok(module_section(real, ".eh_frame", &b));
	assert_true(b.size < sizeof(x));
	assert_int_equal(module_read(mod, b.offset, x, b.size), b.size);
	assert_int_equal(module_read(real, b.offset, y, b.size), b.size);
	assert_memory_equal(x, y, b.size);
	return 0;
}

static void open__from_memory(void **state)
{
	struct world *w = *state;
	char prog[64];
	pid_t pid, child;
	int status;

	need_root();
	snprintf(prog, sizeof(prog), "%s/prog", w->dir);
	copy_file("/bin/sleep", prog);
	pid = start(prog, NOBODY);
	assert_ok(unlink(prog));
	copy_file("/bin/true", prog);
	child = fork();
	if (child == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(3);
		_exit(open_from_memory(w, pid, prog));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	stop(pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A /proc without map_files, made of links: the next rungs show. */
static void fake_proc(struct world *w, pid_t pid, bool root)
{
	static const char *const names[] = {"stat", "maps", "cgroup", "root"};
	char from[64], to[128];

	snprintf(to, sizeof(to), "%s/proc", w->dir);
	mkdir(to, 0755);
	snprintf(to, sizeof(to), "%s/proc/%d", w->dir, pid);
	assert_ok(mkdir(to, 0755));
	for (size_t i = 0; i < ARRAY_SIZE(names) - !root; i++) {
		snprintf(from, sizeof(from), "/proc/%d/%s", pid, names[i]);
		snprintf(to, sizeof(to), "%s/proc/%d/%s", w->dir, pid, names[i]);
		assert_ok(symlink(from, to));
	}
	snprintf(w->t.proc_root, sizeof(w->t.proc_root), "%s/proc", w->dir);
}

static void drop_fake_proc(struct world *w, pid_t pid)
{
	static const char *const names[] = {"stat", "maps", "cgroup", "root", ""};
	char to[128];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(to, sizeof(to), "%s/proc/%d/%s", w->dir, pid, names[i]);
		if (unlink(to) < 0)
			rmdir(to);
	}
}

/* Started in its own mount and pid namespace, chroot'ed into a tmpfs that nobody else sees. */
static int enter_chroot(const char *dir)
{
	static const char *const files[][2] = {
		{"/bin/sleep", "prog"},
		{"/lib64/ld-linux-x86-64.so.2", "lib64/ld-linux-x86-64.so.2"},
		{"/lib/x86_64-linux-gnu/libc.so.6", "lib/x86_64-linux-gnu/libc.so.6"},
	};
	char path[128];

	if (unshare(CLONE_NEWNS | CLONE_NEWPID) ||
		mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("none", dir, "tmpfs", 0, NULL))
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i][1]);
		if (fs_mkdir_parents(path, 0755))
			return 1;
		copy_file(files[i][0], path);
	}
	return chroot(dir) || chdir("/");
}

static pid_t start_in_chroot(const char *dir)
{
	pid_t helper, pid;
	int fds[2];

	assert_ok(pipe(fds));
	helper = fork();
	if (helper == 0) {
		if (enter_chroot(dir))
			_exit(1);
		// The first child is pid 1 of the namespace; the write comes from out here, with
		// the pid that we see.
		pid = fork();
		if (pid == 0) {
			execl("/prog", "/prog", "60", (char *)NULL);
			_exit(1);
		}
		assert_int_equal(write(fds[1], &pid, sizeof(pid)), sizeof(pid));
		_exit(0);
	}
	assert_int_equal(waitpid(helper, NULL, 0), helper);
	assert_int_equal(read(fds[0], &pid, sizeof(pid)), sizeof(pid));
	close(fds[0]);
	close(fds[1]);
	return pid;
}

static void open__chroot_in_own_namespaces(void **state)
{
	struct world *w = *state;
	struct process *p;
	const struct mapping *m;
	pid_t pid;

	need_root();
	pid = start_in_chroot(w->dir);
	wait_asleep(pid, "prog");
	p = scanned(&w->t, pid);
	m = find_mapping(&w->t, p, "/prog");
	assert_ok(process_open_module(&w->t, p, m));
	assert_is_file(module_get(&w->modules, m->module), "/bin/sleep");
	assert_ok(process_open_module(&w->t, p, find_mapping(&w->t, p, "libc.so.6")));
	kill(pid, SIGKILL);
}

/* The record of a mapping names the path as the target sees it. */
static void open__through_the_targets_root(void **state)
{
	struct world *w = *state;
	struct process *p;
	struct stat st;
	char path[64];
	pid_t pid;

	need_root();
	pid = start_in_chroot(w->dir);
	wait_asleep(pid, "prog");
	fake_proc(w, pid, true);
	snprintf(path, sizeof(path), "/proc/%d/root/prog", pid);
	assert_ok(stat(path, &st));
	p = process_table_ensure(&w->t, (uint32_t)pid, "prog");
	assert_ok(process_table_apply(&w->t, &(struct capture_event){.type = CAPTURE_MMAP,
						     .pid = (uint32_t)pid,
						     .tid = (uint32_t)pid,
						     .time = UINT64_MAX,
						     .mmap = {.start = 0x10000,
							     .len = 0x1000,
							     .ino = st.st_ino,
							     .maj = major(st.st_dev),
							     .min = minor(st.st_dev),
							     .prot = PROT_EXEC,
							     .path = "/prog"}}));
	assert_ok(process_open_module(&w->t, p, process_mapping(p, 0x10000)));
	assert_is_file(module_get(&w->modules, process_mapping(p, 0x10000)->module), "/bin/sleep");
	drop_fake_proc(w, pid);
	kill(pid, SIGKILL);
}

/* The process that was sampled is dead and its file deleted; another one still maps it. */
static void open__through_another_process(void **state)
{
	struct world *w = *state;
	char prog[64];
	struct process *dead;
	struct mapping m;
	pid_t a, b;

	need_root();
	snprintf(prog, sizeof(prog), "%s/prog", w->dir);
	copy_file("/bin/sleep", prog);
	a = start(prog, 0);
	b = start(prog, 0);
	assert_ok(unlink(prog));
	dead = scanned(&w->t, a);
	dead->sampled = true;
	scanned(&w->t, b);
	stop(a);
	assert_ok(process_table_apply(&w->t,
		&(struct capture_event){
			.type = CAPTURE_EXIT, .pid = (uint32_t)a, .tid = (uint32_t)a, .time = 1}));
	assert_true(dead->exit_time != 0);
	m = *find_mapping(&w->t, dead, prog);
	assert_ok(process_open_module(&w->t, dead, &m));
	assert_is_file(module_get(&w->modules, m.module), "/bin/sleep");
	stop(b);
}

static void open__overlayfs(void **state)
{
	struct world *w = *state;
	char prog[96], opts[256], merged[64], path[96];
	struct process *p;
	const struct mapping *m;
	pid_t pid;

	need_root();
	if (strcmp(room(), ROOM) != 0)
		test_skip("no mount namespace of our own");
	snprintf(merged, sizeof(merged), "%s/merged", w->dir);
	for (const char **d = (const char *[]){"lower", "upper", "work", "merged", NULL}; *d; d++) {
		snprintf(path, sizeof(path), "%s/%s", w->dir, *d);
		assert_ok(mkdir(path, 0755));
	}
	snprintf(prog, sizeof(prog), "%s/lower/prog", w->dir);
	copy_file("/bin/sleep", prog);
	snprintf(opts, sizeof(opts), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", w->dir,
		w->dir, w->dir);
	if (mount("overlay", merged, "overlay", 0, opts))
		test_skip("no overlayfs: %s", strerror(errno));
	snprintf(prog, sizeof(prog), "%s/merged/prog", w->dir);
	pid = start(prog, 0);
	p = scanned(&w->t, pid);
	m = find_mapping(&w->t, p, "prog");
	assert_ok(process_open_module(&w->t, p, m));
	assert_is_file(module_get(&w->modules, m->module), "/bin/sleep");
	stop(pid);
	umount(merged);
}

/* A device node outside /dev, mapped executable: its name looks like a file's. The watch would see
 * any open of it. */
static void open__never_a_device(void **state)
{
	struct world *w = *state;
	char node[64], event[4096];
	struct process *p;
	const struct mapping *m;
	int fd, watch;
	void *mem;

	need_root();
	snprintf(node, sizeof(node), "%s/node", w->dir);
	if (mknod(node, S_IFCHR | 0600, makedev(1, 5))) // zero
		test_skip("mknod: %s", strerror(errno));
	fd = open(node, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		test_skip("device nodes do not open here: %s", strerror(errno));
	mem = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	assert_true(mem != MAP_FAILED);
	close(fd);
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(watch, node, IN_OPEN | IN_ACCESS) >= 0);
	p = scanned(&w->t, getpid());
	m = find_mapping(&w->t, p, node);
	assert_int_equal(m->kind, MAPPING_FILE);
	assert_int_equal(process_open_module(&w->t, p, m), -EMEDIUMTYPE);
	assert_int_equal(process_open_module(&w->t, p, m), -EMEDIUMTYPE);
	assert_int_equal(read(watch, event, sizeof(event)), -1);
	assert_int_equal(errno, EAGAIN);
	// The watch works: an open is seen.
	close(open(node, O_RDONLY | O_CLOEXEC));
	assert_true(read(watch, event, sizeof(event)) > 0);
	close(watch);
	munmap(mem, 4096);
}

/* The file is gone and its path is now a FIFO, which would block who opens it. */
static void open__never_a_fifo(void **state)
{
	struct world *w = *state;
	char prog[64], event[4096];
	struct process *p;
	int watch;
	pid_t pid;

	need_root();
	snprintf(prog, sizeof(prog), "%s/prog", w->dir);
	copy_file("/bin/sleep", prog);
	pid = start(prog, 0);
	assert_ok(unlink(prog));
	assert_ok(mkfifo(prog, 0666));
	fake_proc(w, pid, true);
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(watch, prog, IN_OPEN) >= 0);
	p = scanned(&w->t, pid);
	assert_ok(process_open_module(&w->t, p, find_mapping(&w->t, p, prog)));
	assert_int_equal(w->t.stats.from_memory, 1);
	assert_int_equal(read(watch, event, sizeof(event)), -1);
	close(watch);
	drop_fake_proc(w, pid);
	stop(pid);
}

static void *outlive(void *arg)
{
	(void)arg;
	pause();
	return NULL;
}

static void leader__gone_before_its_thread(void **state)
{
	struct world *w = *state;
	static const char secret[] = "still here";
	char got[sizeof(secret)];
	struct process *p;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t thread;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pthread_create(&thread, NULL, outlive, NULL);
		pthread_exit(NULL);
	}
	for (int i = 0; i < 500; i++) {
		struct process_stat st = {0};
		struct buf b = BUF_INIT(4096);
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		assert_ok(fs_read_file(path, &b));
		assert_true(process_stat_parse(b.data, b.len, &st));
		buf_deinit(&b);
		if (st.state == 'Z')
			break;
		clock_sleep_ns(10 * NSEC_PER_MSEC);
	}
	p = scanned(&w->t, pid);
	assert_true(p->leader_gone);
	assert_int_equal(p->nthreads, 1);
	assert_true(p->maps.len >= 3);
	assert_ok(process_memory_read((uint32_t)pid, (uintptr_t)secret, got, sizeof(got)));
	assert_string_equal(got, secret);
	stop(pid);
	assert_int_not_equal(process_table_scan_pid(&w->t, (uint32_t)pid), 0);
	process_table_sweep(&w->t);
	assert_null(process_table_find(&w->t, (uint32_t)pid));
}

static void dlopen__seen_by_resync(void **state)
{
	struct world *w = *state;
	struct process *p = scanned(&w->t, getpid());
	char *mem;

	// What dlopen does to the address space, without a record of it.
	mem = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE,
		open("/bin/sleep", O_RDONLY | O_CLOEXEC), 0);
	assert_true(mem != MAP_FAILED);
	assert_null(process_mapping(p, (uintptr_t)mem));
	assert_non_null(
		process_mapping_resync(&w->t, p, (uintptr_t)mem, clock_mono_ns() + NSEC_PER_SEC));
	munmap(mem, 4096);
}

static void nobody__is_denied_and_counted(void **state)
{
	struct world *w = *state;
	int status;
	pid_t pid, child;

	need_root();
	child = start("/bin/sleep", 0);
	pid = fork();
	if (pid == 0) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(3);
		assert_ok(process_table_scan(&w->t));
		assert_true(w->t.stats.denied > 0);
		assert_string_equal(process_table_find(&w->t, (uint32_t)child)->comm, "sleep");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	stop(child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void pid__reuse(void **state)
{
	struct world *w = *state;
	pid_t first, again = 0;
	uint32_t uid;
	char text[16];

	need_root();
	first = start("/bin/sleep", 0);
	uid = scanned(&w->t, first)->uid;
	stop(first);
	clock_sleep_ns(100 * NSEC_PER_MSEC); // more than the slack of start times
	for (int i = 0; i < 200 && again != first; i++) {
		int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
		int n = snprintf(text, sizeof(text), "%d", first - 1);

		if (fd < 0 || write(fd, text, (size_t)n) != n)
			test_skip("ns_last_pid: %s", strerror(errno));
		close(fd);
		again = fork();
		if (again == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
			_exit(0);
		}
		if (again != first)
			stop(again);
	}
	if (again != first)
		test_skip("pid %d was taken by another process each time", first);
	assert_int_not_equal(scanned(&w->t, again)->uid, uid);
	assert_true(process_table_by_uid(&w->t, uid)->exit_time != 0);
	stop(again);
}

static void memory__pieces_and_holes(void **state)
{
	enum { N = 1000 };
	static struct process_memory_piece pieces[N];
	static uint64_t got[N], values[N];
	char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static char many[8192];
	uint32_t self = (uint32_t)getpid();

	(void)state;
	assert_true(two != MAP_FAILED);
	munmap(two + 4096, 4096);
	for (size_t i = 0; i < N; i++) {
		values[i] = i * 7;
		pieces[i] = (struct process_memory_piece){
			.addr = i % 10 == 3 ? 4096 : (uintptr_t)&values[i],
			.dst = &got[i],
			.len = 8};
	}
	assert_ok(process_memory_read_many(self, pieces, N));
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(pieces[i].result, i % 10 == 3 ? -EFAULT : 0);
		assert_int_equal(got[i], i % 10 == 3 ? 0 : i * 7);
	}
	assert_int_equal(process_memory_read_some(self, (uintptr_t)two + 100, many, 8192), 3996);
	assert_int_equal(process_memory_read(self, (uintptr_t)two + 100, many, 8192), -EFAULT);
	assert_int_equal(process_memory_read_some(self, 4096, many, 8), 0);
	assert_int_equal(process_memory_read_some(self, UINT64_MAX - 4, many, 8), 0);
	assert_int_equal(process_memory_read(0x3ffffff, 4096, many, 8), -ESRCH);
	munmap(two, 4096);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(scan__300_processes),
		CASE(open__every_file_of_this_process),
		CASE(open__deleted_and_replaced),
		CASE(open__from_memory),
		CASE(open__chroot_in_own_namespaces),
		CASE(open__through_the_targets_root),
		CASE(open__through_another_process),
		CASE(open__overlayfs),
		CASE(open__never_a_device),
		CASE(open__never_a_fifo),
		CASE(leader__gone_before_its_thread),
		CASE(dlopen__seen_by_resync),
		CASE(nobody__is_denied_and_counted),
		CASE(pid__reuse),
		CASE(memory__pieces_and_holes),
	};

	return cmocka_run_group_tests(tests, enter_room, NULL);
}

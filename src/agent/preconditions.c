/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/preconditions.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"

#define LEAVE(status) ((status) + 1)

int precondition_root(bool rootless)
{
	if (geteuid() != 0 && !rootless) {
		fprintf(stderr, "Not running as root, rerun with --rootless or as root.\n");
		return LEAVE(1);
	}
	if (geteuid() == 0 && rootless) {
		fprintf(stderr, "Conflict, running with --rootless and as root, rerun with "
				"--rootless or as root (but not both).\n");
		return LEAVE(1);
	}
	return 0;
}

int precondition_pid_namespace(void)
{
	_cleanup_buf_ struct buf comm = BUF_INIT(64);

	// The initial pid namespace is the one where pid 2 is kthreadd.
	fs_read_file("/proc/2/comm", &comm);
	if (!strcmp(buf_str(&comm), "kthreadd\n"))
		return 0;
	fprintf(stderr, "Please run me in the init PID namespace! In Docker, make sure you pass "
			"'--pid=host'.\nYou can disable this check with --disable-pidns-check.\n");
	return LEAVE(1);
}

/* The reference's name is a NUL more than an abstract name needs: NUL, NUL, "gprofiler_lock", 16 bytes
 * (gprofiler-agent.md 2.1). */
static socklen_t lock_address(const char *name, struct sockaddr_un *addr)
{
	size_t n = MIN(strlen(name), sizeof(addr->sun_path) - 2);

	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(addr->sun_path + 2, name, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 2 + n);
}

/* A socket in the network namespace of pid 1, so that agents in different containers meet. */
static int lock_socket(void)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int init = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC);
	bool moved = own >= 0 && init >= 0 && setns(init, CLONE_NEWNET) == 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : fd;

	if (moved && setns(own, CLONE_NEWNET) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
	}
	return r;
}

int precondition_lock(const char *name, int *ret_fd)
{
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);
	_cleanup_close_ int fd = lock_socket();
	int r = fd < 0 ? fd : bind(fd, (struct sockaddr *)&addr, len) < 0 ? -errno : 0;

	if (!r) {
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	if (r == -EADDRINUSE) {
		fprintf(stderr,
			"Could not acquire gProfiler's lock. Is it already running? Try 'sudo "
			"netstat -xp | grep gprofiler' to see which process holds the lock.\n");
		return LEAVE(0);
	}
	fprintf(stderr,
		"%s\nCould not acquire gProfiler's lock due to an error. Are you running gProfiler in "
		"privileged mode?\n",
		strerror(-r));
	return LEAVE(1);
}

int precondition_lock_connect(const char *name, int *ret_fd)
{
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);
	_cleanup_close_ int fd = lock_socket();

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

bool precondition_lock_held(const char *name)
{
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);
	_cleanup_close_ int fd = lock_socket();

	return fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) < 0 && errno == EADDRINUSE;
}

int pid_file_write(const char *path)
{
	_cleanup_close_ int fd = -1;
	char text[16];
	int r = fs_mkdir_parents(path, 0755);

	if (r)
		return r;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	return fs_write_full(fd, text, (size_t)snprintf(text, sizeof(text), "%d", (int)getpid()));
}

void core_files_disable(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
}

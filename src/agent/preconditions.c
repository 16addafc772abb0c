/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/preconditions.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "agent/other_agent.h"
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

/* A socket in a network namespace, or in our own where that is closed to us (or fd is none). *ret_net: which
 * it became, 0 unknown. */
static int socket_in(int net, uint64_t *ret_net)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	bool moved = own >= 0 && net >= 0 && setns(net, CLONE_NEWNET) == 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = fd < 0 ? -errno : fd;
	struct stat st;

	if (moved && setns(own, CLONE_NEWNET) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
	}
	*ret_net = fstat(moved ? net : own, &st) == 0 ? st.st_ino : 0;
	return r;
}

/* Where agents of different containers meet. */
static int lock_socket(uint64_t *ret_net)
{
	_cleanup_close_ int init = open("/proc/1/ns/net", O_RDONLY | O_CLOEXEC);

	return socket_in(init, ret_net);
}

static int taken(void)
{
	fprintf(stderr,
		"Could not acquire gProfiler's lock. Is it already running? Try 'sudo netstat "
		"-xp | grep gprofiler' to see which process holds the lock.\n");
	return LEAVE(0);
}

int precondition_lock(const char *name, int *ret_fd)
{
	struct other_agent other;
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);
	uint64_t net;
	_cleanup_close_ int fd = lock_socket(&net);
	int r = fd;

	if (fd >= 0) {
		if (other_agent_find(name, net, &other))
			return taken();
		r = bind(fd, (struct sockaddr *)&addr, len) < 0 ? -errno : 0;
	}
	if (r == -EADDRINUSE)
		return taken();
	if (r) {
		fprintf(stderr,
			"%s\nCould not acquire gProfiler's lock due to an error. Are you running "
			"gProfiler in privileged mode?\n",
			strerror(-r));
		return LEAVE(1);
	}
	// Two that begin at the same time in two namespaces: one of them gives way, and it is clear which.
	if (other_agent_find(name, net, &other) && other.net < net)
		return taken();
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int connect_in(int fd, const char *name, int *ret_fd)
{
	_cleanup_close_ int owned = fd;
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	*ret_fd = steal_fd(&owned);
	return 0;
}

int precondition_lock_connect(const char *name, int *ret_fd)
{
	_cleanup_close_ int other_net = -1;
	struct other_agent other;
	char path[32];
	uint64_t net, there;
	int r = connect_in(lock_socket(&net), name, ret_fd);

	if (r != -ECONNREFUSED || !other_agent_find(name, net, &other))
		return r;
	snprintf(path, sizeof(path), "/proc/%u/ns/net", other.pid);
	other_net = open(path, O_RDONLY | O_CLOEXEC);
	r = socket_in(other_net, &there);
	if (r >= 0 && there != other.net) {
		close(r);
		return -EACCES;
	}
	return connect_in(r, name, ret_fd);
}

bool precondition_lock_held(const char *name)
{
	struct other_agent other;
	struct sockaddr_un addr;
	socklen_t len = lock_address(name, &addr);
	uint64_t net;
	_cleanup_close_ int fd = lock_socket(&net);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) < 0 && errno == EADDRINUSE)
		return true;
	return other_agent_find(name, net, &other);
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

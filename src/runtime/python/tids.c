/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/tids.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fs.h"
#include "process/memory.h"

#define TIDS_MAX 65536
#define PTHREAD_BYTES 1024 // of struct pthread looked at
#define PTHREAD_TID_GLIBC 0x2d0 // nptl/descr.h, x86-64: header of 704 bytes, list of 16
#define STATUS_MAX 8192

/* The last word of the NSpid line of /proc/PID/task/TID/status (proc_pid_status(5), Linux 4.1). */
static uint32_t inner_tid(uint32_t pid, uint32_t tid)
{
	_cleanup_buf_ struct buf b = BUF_INIT(STATUS_MAX);
	char path[64];
	const char *line, *end;

	snprintf(path, sizeof(path), "/proc/%u/task/%u/status", pid, tid);
	if (fs_read_file(path, &b))
		return tid;
	line = strstr(buf_str(&b), "\nNSpid:");
	if (!line)
		return tid;
	end = strchrnul(line + 1, '\n');
	while (end > line && end[-1] >= '0' && end[-1] <= '9')
		end--;
	return (uint32_t)strtoul(end, NULL, 10);
}

int py_tids_read(struct py_tids *t, uint32_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	bool nested = inner_tid(pid, pid) != pid;
	char path[64];
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	t->pid = pid;
	py_tid_vec_init(&t->tids, TIDS_MAX);
	while (!r && (d = readdir(dir))) {
		uint32_t tid = (uint32_t)strtoul(d->d_name, NULL, 10);

		if (tid)
			r = py_tid_vec_push(
				&t->tids, (struct py_tid){tid, nested ? inner_tid(pid, tid) : tid});
	}
	if (r == -ENOMEM) {
		py_tids_deinit(t);
		return r;
	}
	return 0;
}

void py_tids_deinit(struct py_tids *t)
{
	py_tid_vec_deinit(&t->tids);
}

static uint32_t by_inner(const struct py_tids *t, uint32_t inner)
{
	vec_foreach (i, &t->tids)
		if (inner && i->inner == inner)
			return i->tid;
	return 0;
}

uint32_t py_tids_find(const struct py_tids *t, uint32_t native, uint64_t pthread)
{
	uint8_t bytes[PTHREAD_BYTES] = {0};
	struct cursor c = cursor_make(bytes, sizeof(bytes));
	ssize_t n;
	uint32_t tid;

	if (native)
		return by_inner(t, native);
	n = process_memory_read_some(t->pid, pthread, bytes, sizeof(bytes));
	if (n <= PTHREAD_TID_GLIBC)
		return t->tids.len == 1 ? t->tids.data[0].tid : 0;
	cursor_seek(&c, PTHREAD_TID_GLIBC);
	tid = by_inner(t, cursor_u32(&c));
	// Another C library: the first word that is the number of a thread.
	cursor_seek(&c, 0);
	while (!tid && cursor_left(&c) >= 4)
		tid = by_inner(t, cursor_u32(&c));
	return tid;
}

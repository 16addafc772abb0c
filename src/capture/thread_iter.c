/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/thread_iter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "threads.skel.h"

#define RECORDS 16 // read at a time

struct thread_iter {
	struct threads_bpf *skel;
	struct bpf_link *link;
};

/* Linux 6.1 visits the threads of one process; before it all are visited, and the program chooses. */
static int attach(struct thread_iter *it, uint32_t pid)
{
	union bpf_iter_link_info info = {.task.pid = pid};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));

	it->link = bpf_program__attach_iter(it->skel->progs.each_thread, &opts);
	if (!it->link)
		it->link = bpf_program__attach_iter(it->skel->progs.each_thread, NULL);
	return it->link ? 0 : -errno;
}

static int load(struct thread_iter *it, uint32_t pid)
{
	int r;

	// Its words are the verifier's: what people can do about it is in `why`.
	libbpf_set_print(NULL);
	it->skel = threads_bpf__open();
	if (!it->skel)
		return -errno;
	*(__s32 *)&it->skel->rodata->wanted = (__s32)pid;
	r = threads_bpf__load(it->skel);
	return r ? r : attach(it, pid);
}

static void refused(int r, char *why)
{
	if (r == -EPERM || r == -EACCES)
		snprintf(why, CAPTURE_WHY,
			"the kernel does not let this process load BPF programs (%s): run as root or "
			"give it CAP_BPF and CAP_PERFMON",
			strerror(-r));
	else
		snprintf(why, CAPTURE_WHY,
			"the kernel cannot iterate over threads by BPF (%s): it takes Linux 5.15 with "
			"BTF",
			strerror(-r));
}

int thread_iter_open(uint32_t pid, struct thread_iter **ret, char *why)
{
	struct thread_iter *it = calloc(1, sizeof(*it));
	int r = it ? load(it, pid) : -ENOMEM;

	if (r) {
		refused(r, why);
		thread_iter_close(it);
		return r;
	}
	*ret = it;
	return 0;
}

void thread_iter_close(struct thread_iter *it)
{
	if (!it)
		return;
	bpf_link__destroy(it->link);
	threads_bpf__destroy(it->skel);
	free(it);
}

/* Hands over the whole records of what was read. Return 0, what fn returned, -EIO a cut one. */
static int hand_over(struct threads_record *records, size_t bytes, thread_iter_fn fn, void *arg)
{
	size_t n = bytes / sizeof(records[0]);
	int r = bytes % sizeof(records[0]) ? -EIO : 0;

	for (size_t i = 0; i < n && !r; i++) {
		records[i].nkernel = MIN(records[i].nkernel, (uint32_t)THREADS_KERNEL_MAX);
		r = fn(arg, &records[i]);
	}
	return r;
}

int thread_iter_run(struct thread_iter *it, thread_iter_fn fn, void *arg)
{
	_cleanup_free_ struct threads_record *records = calloc(RECORDS, sizeof(*records));
	size_t size = RECORDS * sizeof(*records), have = 0;
	bool any = false;
	int fd, r = 0;

	if (!records)
		return -ENOMEM;
	fd = bpf_iter_create(bpf_link__fd(it->link));
	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n = read(fd, (char *)records + have, size - have);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		r = n < 0 ? -errno : 0;
		have += n > 0 ? (size_t)n : 0;
		if (!r && (!n || have == size)) {
			any |= have > 0;
			r = hand_over(records, have, fn, arg);
			have = 0;
		}
		if (r || !n)
			break;
	}
	close(fd);
	return r ? r : any ? 0 : -ENOENT;
}

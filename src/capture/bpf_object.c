/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/bpf_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/vec.h"
#include "capture/kernel_btf.h"
#include "sample.skel.h"

#define LOGGER "gprofiler.capture"
#define RING_WAKE_SHARE 4 // the reader is woken when a quarter is full
#define LINKS_MAX 65536
#define FDINFO_MAX 4096
#define PY_PROCESSES_PREALLOC 1024 // where a hash map takes its memory at once

VEC_DEFINE(link_vec, int)

struct big_map {
	void *mem;
	size_t len;
};

struct bpf_sampler {
	struct sample_bpf *skel;
	struct bpf_program *entry;
	struct ring_buffer *ring;
	struct link_vec links;
	struct big_map pool, dir, used, rules, recent, maps;
	struct bpf_object_info info;
	bpf_record_fn fn;
	void *arg;
	unsigned ncpus;
	struct bpf_task_layout layout; // of this kernel
	uint32_t runtimes; // struct bpf_config
	uint32_t groups_round; // of set_groups(): what is older goes
};

static _printf_(2, 0) int log_libbpf(enum libbpf_print_level level, const char *fmt, va_list args)
{
	char text[1024];
	int n;

	// Its debug level tells of every relocation, 400 lines a start; the verifier's words are warnings.
	if (level == LIBBPF_DEBUG)
		return 0;
	n = vsnprintf(text, sizeof(text), fmt, args);
	if (n > 0 && text[MIN((size_t)n, sizeof(text) - 1) - 1] == '\n')
		text[MIN((size_t)n, sizeof(text) - 1) - 1] = 0;
	log_debug(LOGGER, "%s", text);
	return 0;
}

/* Is the helper there? The kernel answers to a program that calls it, not to its version. */
static bool have_helper(enum bpf_func_id helper)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_PERF_EVENT, helper, NULL) == 1;
}

/* Memory that only some runs need. */
static void size_maps(struct sample_bpf *k, const struct bpf_object_config *config, bool prealloc)
{
	bool python = config->bpf.runtimes & 1u << REC_FRAME_PYTHON;

	bpf_map__set_max_entries(k->maps.ring, config->ring_bytes);
	if (!config->groups) {
		bpf_map__set_max_entries(k->maps.groups, 1);
		bpf_map__set_max_entries(k->maps.members, 1);
	}
	if (!python) {
		bpf_map__set_max_entries(k->maps.py_procs, 1);
		bpf_map__set_max_entries(k->maps.py_layouts, 1);
	}
	if (!prealloc)
		return;
	bpf_map__set_map_flags(k->maps.procs, 0);
	bpf_map__set_map_flags(k->maps.chosen, 0);
	bpf_map__set_map_flags(k->maps.py_procs, 0);
	bpf_map__set_map_flags(k->maps.groups, 0);
	bpf_map__set_map_flags(k->maps.members, 0);
	if (python)
		bpf_map__set_max_entries(k->maps.py_procs, PY_PROCESSES_PREALLOC);
}

static int set_piece(struct sample_bpf *k, __u32 index, const struct bpf_program *piece)
{
	int fd = bpf_program__fd(piece);

	return bpf_map_update_elem(bpf_map__fd(k->maps.pieces), &index, &fd, BPF_ANY) ? -errno : 0;
}

/* bpf_loop cannot be probed by an empty call (it wants a callback), so loading is the probe. */
static void choose_shape(struct bpf_sampler *s, enum bpf_walk_shape shape)
{
	struct sample_bpf *k = s->skel;
	bool loop = shape == BPF_WALK_LOOP;

	bpf_program__set_autoload(k->progs.sample_loop, loop);
	bpf_program__set_autoload(k->progs.sample_tail, !loop);
	bpf_program__set_autoload(k->progs.walk_piece, !loop);
	bpf_program__set_autoload(k->progs.python_piece, !loop);
	s->entry = loop ? k->progs.sample_loop : k->progs.sample_tail;
	s->info.shape = shape;
}

static int load_shape(struct bpf_sampler *s, const struct bpf_object_config *config,
	enum bpf_walk_shape shape, bool prealloc)
{
	struct sample_bpf *k = sample_bpf__open();
	int r;

	if (!k)
		return -errno;
	s->skel = k;
	memcpy((void *)&k->rodata->config, &config->bpf, sizeof(config->bpf));
	memcpy((void *)&k->rodata->layout, &s->layout, sizeof(s->layout));
	*(__u32 *)&k->rodata->have_task_pt_regs = have_helper(BPF_FUNC_task_pt_regs);
	*(__u32 *)&k->rodata->have_attach_cookie = s->info.attach_cookie =
		have_helper(BPF_FUNC_get_attach_cookie);
	*(__u32 *)&k->rodata->wake_bytes = config->ring_bytes / RING_WAKE_SHARE;
	size_maps(k, config, prealloc);
	choose_shape(s, shape);
	r = sample_bpf__load(k);
	if (!r && shape == BPF_WALK_TAIL)
		r = set_piece(k, 0, k->progs.walk_piece);
	if (!r && shape == BPF_WALK_TAIL)
		r = set_piece(k, 1, k->progs.python_piece);
	if (!r)
		return 0;
	sample_bpf__destroy(k);
	s->skel = NULL;
	return r;
}

/* Newest first. Hash maps without preallocation cost nothing until used, but kernels before 6.1
 * refuse them to perf_event programs. An object that failed to load cannot be loaded again, so every
 * try starts over. */
static int load(struct bpf_sampler *s, const struct bpf_object_config *config)
{
	int r = -ENOSYS;

	libbpf_set_print(log_libbpf);
	for (int prealloc = 0; prealloc < 2 && r; prealloc++) {
		for (int shape = BPF_WALK_LOOP; shape <= BPF_WALK_TAIL && r; shape++) {
			if (config->shape != BPF_WALK_AUTO && config->shape != (unsigned)shape)
				continue;
			r = load_shape(s, config, shape, prealloc);
			if (r == -EPERM)
				return r;
		}
	}
	return r;
}

static int map_big(struct bpf_map *map, struct big_map *ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	size_t len = (bytes + page - 1) / page * page;
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (mem == MAP_FAILED)
		return -errno;
	*ret = (struct big_map){mem, len};
	return 0;
}

static void unmap_big(struct big_map *m)
{
	if (m->mem)
		munmap(m->mem, m->len);
}

static int map_tables(struct bpf_sampler *s)
{
	int r = map_big(s->skel->maps.uw_pool, &s->pool);

	if (!r)
		r = map_big(s->skel->maps.uw_dir, &s->dir);
	if (!r)
		r = map_big(s->skel->maps.uw_used, &s->used);
	if (!r)
		r = map_big(s->skel->maps.uw_rules, &s->rules);
	if (!r)
		r = map_big(s->skel->maps.uw_recent, &s->recent);
	if (!r)
		r = map_big(s->skel->maps.uw_maps, &s->maps);
	return r;
}

static int on_record(void *arg, void *data, size_t len)
{
	struct bpf_sampler *s = arg;

	return s->fn(s->arg, data, len);
}

/* Return 0 or -errno. */
static int learn_layout(struct bpf_task_layout *ret)
{
	struct kernel_btf_member m[] = {{"task_struct", "flags"}, {"task_struct", "tgid"},
		{"task_struct", "mm"}, {"task_struct", "stack"}, {"task_struct", "real_parent"},
		{"task_struct", "parent_exec_id"}, {"task_struct", "self_exec_id"},
		{"task_struct", "thread"}, {"thread_struct", "fsbase"},
		{"mm_struct", "start_stack"}};
	_cleanup_fclose_ FILE *f = fopen(KERNEL_BTF, "re");
	int r = f ? kernel_btf_find(f, m, ARRAY_SIZE(m)) : -errno;

	if (r)
		return r;
	*ret = (struct bpf_task_layout){.flags = m[0].offset,
		.tgid = m[1].offset,
		.mm = m[2].offset,
		.stack = m[3].offset,
		.real_parent = m[4].offset,
		.parent_exec_id = m[5].offset,
		.self_exec_id = m[6].offset,
		.fsbase = m[7].offset + m[8].offset,
		.start_stack = m[9].offset};
	return 0;
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
			"loading the BPF sampling program failed (%s): `gprofiler check` says what "
			"this kernel lacks, the log file at debug level has the verifier's words",
			strerror(-r));
}

int bpf_sampler_open(const struct bpf_object_config *config, struct bpf_sampler **ret, char *why)
{
	struct bpf_sampler *s = calloc(1, sizeof(*s));
	int r = s ? learn_layout(&s->layout) : -ENOMEM;

	if (!r)
		r = load(s, config);
	if (!r)
		r = map_tables(s);
	if (!r) {
		link_vec_init(&s->links, LINKS_MAX);
		s->runtimes = config->bpf.runtimes;
		s->ncpus = (unsigned)libbpf_num_possible_cpus();
		s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.ring), on_record, s, NULL);
		r = s->ring ? 0 : -errno;
	}
	if (r) {
		refused(r, why);
		bpf_sampler_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void bpf_sampler_close(struct bpf_sampler *s)
{
	if (!s)
		return;
	vec_foreach (link, &s->links)
		close(*link);
	link_vec_deinit(&s->links);
	ring_buffer__free(s->ring);
	unmap_big(&s->pool);
	unmap_big(&s->dir);
	unmap_big(&s->used);
	unmap_big(&s->rules);
	unmap_big(&s->recent);
	unmap_big(&s->maps);
	if (s->skel)
		sample_bpf__destroy(s->skel);
	free(s);
}

void bpf_sampler_tables(struct bpf_sampler *s, struct capture_tables *ret)
{
	*ret = (struct capture_tables){
		.pool = s->pool.mem,
		.dir = s->dir.mem,
		.used = s->used.mem,
		.rules = s->rules.mem,
		.recent = s->recent.mem,
		.maps = s->maps.mem,
		.epoch = &s->skel->bss->epoch,
	};
}

int bpf_sampler_attach(struct bpf_sampler *s, int perf_fd, uint8_t event)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = event);
	int link, r;

	// The cookie says which event ticked; a single event needs none, nor Linux 5.15.
	if (!event)
		return ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, bpf_program__fd(s->entry)) ? -errno
											 : 0;
	if (!s->info.attach_cookie)
		return -EOPNOTSUPP;
	// Not libbpf's attach, which would enable the event at once.
	link = bpf_link_create(bpf_program__fd(s->entry), perf_fd, BPF_PERF_EVENT, &opts);
	if (link < 0)
		return link;
	r = link_vec_push(&s->links, link);
	if (r)
		close(link);
	return r;
}

int bpf_sampler_choose(struct bpf_sampler *s, uint32_t pid)
{
	uint8_t one = 1;

	return bpf_map_update_elem(bpf_map__fd(s->skel->maps.chosen), &pid, &one, BPF_ANY) ? -errno
											   : 0;
}

int bpf_sampler_set_process(struct bpf_sampler *s, uint32_t pid, const struct uw_process *p)
{
	return bpf_map_update_elem(bpf_map__fd(s->skel->maps.procs), &pid, p, BPF_ANY) ? -errno : 0;
}

int bpf_sampler_remove_process(struct bpf_sampler *s, uint32_t pid)
{
	return bpf_map_delete_elem(bpf_map__fd(s->skel->maps.procs), &pid) ? -errno : 0;
}

int bpf_sampler_set_runtime(struct bpf_sampler *s, uint8_t kind, uint32_t pid, const void *process)
{
	int fd = bpf_map__fd(s->skel->maps.py_procs);

	if (kind != REC_FRAME_PYTHON || !(s->runtimes & 1u << kind))
		return -EOPNOTSUPP;
	if (!process)
		return bpf_map_delete_elem(fd, &pid) ? -errno : 0;
	// A full hash says E2BIG.
	if (!bpf_map_update_elem(fd, &pid, process, BPF_ANY))
		return 0;
	return errno == E2BIG ? -ENOSPC : -errno;
}

int bpf_sampler_set_layout(struct bpf_sampler *s, uint8_t kind, uint32_t index, const void *layout)
{
	if (kind != REC_FRAME_PYTHON || !(s->runtimes & 1u << kind))
		return -EOPNOTSUPP;
	if (index >= bpf_map__max_entries(s->skel->maps.py_layouts))
		return -ENOSPC;
	return bpf_map_update_elem(bpf_map__fd(s->skel->maps.py_layouts), &index, layout, BPF_ANY)
		       ? -errno
		       : 0;
}

/* A full hash says E2BIG. */
static int add_to(const struct bpf_sampler *s, const struct bpf_map *map, const void *key)
{
	if (!bpf_map_update_elem(bpf_map__fd(map), key, &s->groups_round, BPF_ANY))
		return 0;
	return errno == E2BIG ? -ENOSPC : -errno;
}

/* Takes out what an earlier round put in. key and next have the size of the map's. */
static void drop_older(
	const struct bpf_sampler *s, const struct bpf_map *map, void *key, void *next)
{
	size_t size = bpf_map__key_size(map);
	int fd = bpf_map__fd(map), end = bpf_map_get_next_key(fd, NULL, next);

	while (!end) {
		uint32_t round;

		memcpy(key, next, size);
		end = bpf_map_get_next_key(fd, key, next);
		if (!bpf_map_lookup_elem(fd, key, &round) && round != s->groups_round)
			bpf_map_delete_elem(fd, key);
	}
}

int bpf_sampler_set_groups(struct bpf_sampler *s, const struct capture_groups *groups)
{
	uint64_t ids[2];
	uint32_t pids[2];
	int r = 0;

	s->groups_round++;
	for (size_t i = 0; groups && i < groups->nids && !r; i++)
		r = add_to(s, s->skel->maps.groups, &groups->ids[i]);
	for (size_t i = 0; groups && i < groups->npids && !r; i++)
		r = add_to(s, s->skel->maps.members, &groups->pids[i]);
	__atomic_store_n(&s->skel->bss->filter_groups, groups && !r, __ATOMIC_RELEASE);
	drop_older(s, s->skel->maps.groups, &ids[0], &ids[1]);
	drop_older(s, s->skel->maps.members, &pids[0], &pids[1]);
	return r;
}

int bpf_sampler_add_group(struct bpf_sampler *s, uint64_t id, uint32_t pid)
{
	return id ? add_to(s, s->skel->maps.groups, &id) : add_to(s, s->skel->maps.members, &pid);
}

int bpf_sampler_fd(const struct bpf_sampler *s)
{
	return ring_buffer__epoll_fd(s->ring);
}

int bpf_sampler_drain(struct bpf_sampler *s, bpf_record_fn fn, void *arg)
{
	int r;

	s->fn = fn;
	s->arg = arg;
	r = ring_buffer__consume(s->ring);
	return r < 0 ? r : 0;
}

int bpf_sampler_counters(struct bpf_sampler *s, uint32_t event, struct rec_counters *ret)
{
	_cleanup_free_ struct rec_counters *all = calloc(s->ncpus, sizeof(*all));

	*ret = (struct rec_counters){0};
	if (!all)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(s->skel->maps.counters), &event, all))
		return -errno;
	for (unsigned cpu = 0; cpu < s->ncpus; cpu++) {
		const __u64 *from = (const __u64 *)&all[cpu];
		__u64 *to = (__u64 *)ret;

		for (size_t i = 0; i < sizeof(*ret) / sizeof(__u64); i++)
			to[i] += from[i];
	}
	return 0;
}

/* What the kernel says a map takes; for a program 0. */
static uint64_t fd_memlock(int fd)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FDINFO_MAX);
	char path[64];
	const char *at;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	if (fs_read_file(path, &text))
		return 0;
	at = strstr(buf_str(&text), "memlock:");
	return at ? strtoull(at + strlen("memlock:"), NULL, 10) : 0;
}

void bpf_sampler_info(struct bpf_sampler *s, struct bpf_object_info *ret)
{
	struct bpf_program *prog;
	struct bpf_map *map;

	*ret = s->info;
	bpf_object__for_each_map (map, s->skel->obj)
		ret->memory += fd_memlock(bpf_map__fd(map));
	bpf_object__for_each_program (prog, s->skel->obj) {
		struct bpf_prog_info info = {0};
		__u32 len = sizeof(info);

		if (!bpf_program__autoload(prog) ||
			bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			continue;
		ret->verified_insns = MAX(ret->verified_insns, info.verified_insns);
		ret->run_ns += info.run_time_ns;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Side-band records -> process table. Facts about the records: perf_event_open(2) and, for what is
 * missing or odd, docs/notes (no record for munmap, mremap and inherited mappings; a build id
 * replaces device and inode; every task, not every process, has fork and exit records). */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/clock.h"
#include "process/table.h"

/* start_time is CLOCK_BOOTTIME, record times are CLOCK_MONOTONIC: they differ by time suspended. */
static uint64_t mono_to_boot(uint64_t mono)
{
	struct timespec boot;
	uint64_t now = clock_mono_ns(), b;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	b = (uint64_t)boot.tv_sec * NSEC_PER_SEC + (uint64_t)boot.tv_nsec;
	return b > now ? mono + (b - now) : mono;
}

int process_make_mapping(
	struct process_table *t, const struct mapping_source *source, struct mapping *ret)
{
	struct mapping m = {.start = source->start, .end = source->end};
	bool deleted, file;
	size_t len = maps_path_len(source->path, &deleted);
	struct module *mod = NULL;
	char path[MAPS_PATH_MAX];
	int r = 0;

	m.kind = (uint8_t)maps_kind(source->path);
	// A 32-bit vDSO is another image under the same name, and not walked.
	if (m.kind == MAPPING_VDSO && m.end <= UINT32_MAX)
		m.kind = MAPPING_NOFILE;
	file = m.kind == MAPPING_FILE;
	if (file) {
		len = MIN(len, sizeof(path) - 1);
		memcpy(path, source->path, len);
		path[len] = 0;
		r = module_table_intern(t->modules, &source->key, path, &mod);
	} else if (m.kind == MAPPING_VDSO && t->vdso_module) {
		mod = module_get(t->modules, t->vdso_module);
	} else if (m.kind == MAPPING_VDSO) {
		r = module_table_intern(t->modules, &(struct module_key){0}, source->path, &mod);
		if (!r) {
			mod->special = true;
			t->vdso_module = mod->id;
		}
	}
	if (r == -ENOMEM)
		return r;
	if (r) {
		t->stats.full++;
		m.kind = MAPPING_NOFILE;
	}
	if (mod) {
		m.module = mod->id;
		m.pgoff = file ? source->pgoff : 0;
		mod->deleted |= file && deleted;
	}
	m.path = process_string(t, source->path, strlen(source->path));
	*ret = m;
	return 0;
}

int process_put_mapping(struct process_table *t, struct process *p, const struct mapping *m)
{
	int r = mapping_vec_put(&p->maps, m);

	if (r == -ENOSPC)
		t->stats.full++;
	if (r != 0)
		process_mark_dirty(t, p);
	// Every 64-bit process has its vDSO, if any, above 4 GiB; mm/mmap.c, arch/x86/entry/vdso.
	if (m->kind == MAPPING_NOFILE && m->end <= UINT32_MAX &&
		strcmp(intern_str(&t->strings, m->path), "[vdso]") == 0)
		p->bits32 = true;
	return r == -ENOMEM ? r : 0;
}

/* The living process a record speaks of, from /proc if its birth was missed. NULL at the cap. */
static struct process *known(struct process_table *t, uint32_t pid)
{
	struct process *p = process_table_find(t, pid);

	if (p)
		return p;
	if (process_table_scan_pid(t, pid) == 0)
		p = process_table_find(t, pid);
	if (p)
		return p;
	p = process_new(t, pid);
	if (p)
		p->unsure = true;
	return p;
}

static void copy_mappings(
	struct process_table *t, struct process *child, const struct process *parent)
{
	if (parent->maps.len == 0)
		return;
	if (mapping_vec_reserve(&child->maps, parent->maps.len)) {
		t->stats.full++;
		return;
	}
	memcpy(child->maps.data, parent->maps.data, parent->maps.len * sizeof(struct mapping));
	child->maps.len = parent->maps.len;
}

static void fork_process(struct process_table *t, const struct capture_event *e)
{
	struct process *p = process_table_find(t, e->pid), *parent;

	if (p && p->resync_time && e->time < p->resync_time && !p->unsure)
		return; // /proc showed it before its own record came through the ring
	if (p)
		process_end(t, p, e->time);
	parent = process_table_find(t, e->fork.ppid);
	if (!parent) {
		process_table_scan_pid(t, e->fork.ppid);
		parent = process_table_find(t, e->fork.ppid);
	}
	p = process_new(t, e->pid);
	if (!p)
		return;
	p->ppid = e->fork.ppid;
	p->born = e->time;
	p->start_time = mono_to_boot(e->time);
	p->cgroup_stale = true;
	if (!parent)
		return;
	process_copy_comm(p->comm, parent->comm);
	copy_mappings(t, p, parent);
	p->cgroup_path = parent->cgroup_path;
	p->container = parent->container;
	p->kernel_thread = parent->kernel_thread;
	p->forked_from = parent->uid;
	p->bits32 = parent->bits32;
	if (parent->threads.len)
		process_set_thread_name(t, p, e->pid, process_thread_comm(parent, e->fork.ptid));
}

static void apply_fork(struct process_table *t, const struct capture_event *e)
{
	struct process *p;

	t->stats.forks++;
	if (e->tid == e->pid) {
		fork_process(t, e);
		return;
	}
	p = process_table_find(t, e->pid);
	if (!p || e->time <= p->resync_time)
		return;
	p->nthreads++;
	if (p->threads.len)
		process_set_thread_name(t, p, e->tid, process_thread_comm(p, e->fork.ptid));
}

static void apply_comm(struct process_table *t, const struct capture_event *e)
{
	struct process *p = process_table_find(t, e->pid);

	t->stats.comms++;
	if (e->comm.exec) {
		t->stats.execs++;
		p = p ? process_exec(t, p, e->time) : process_new(t, e->pid);
		if (p) {
			process_copy_comm(p->comm, e->comm.text);
			p->cgroup_stale = true;
		}
		return;
	}
	if (!p)
		return;
	// A kernel thread is named right after its birth; anyone else keeps the name of its exec.
	if (e->tid == e->pid && (p->kernel_thread || !p->comm[0]))
		process_copy_comm(p->comm, e->comm.text);
	else
		process_set_thread_name(t, p, e->tid, e->comm.text);
}

static void apply_exit(struct process_table *t, const struct capture_event *e)
{
	struct process *p = process_table_find(t, e->pid);

	t->stats.exits++;
	if (!p)
		return;
	if (e->tid != e->pid) {
		process_forget_thread(p, e->tid);
		if (e->time <= p->resync_time)
			return; // counted by /proc already
		p->nthreads -= p->nthreads > 0;
	} else if (!p->leader_gone) {
		p->leader_gone = true;
		p->nthreads -= p->nthreads > 0;
	}
	// A leader that exits before its threads stays a zombie, and the process runs on.
	if (p->leader_gone && p->nthreads == 0)
		process_end(t, p, e->time);
}

static int apply_mmap(struct process_table *t, const struct capture_event *e)
{
	const struct capture_mmap *mm = &e->mmap;
	struct mapping_source source = {
		.start = mm->start,
		.end = mm->start + mm->len,
		.pgoff = mm->pgoff,
		.path = mm->path ? mm->path : "",
	};
	struct mapping m;
	struct process *p;
	int r;

	t->stats.mmaps++;
	if (source.end <= source.start)
		return 0;
	p = known(t, e->pid);
	if (!p)
		return 0;
	if (!(mm->prot & PROT_EXEC)) {
		if (mapping_vec_cut(&p->maps, source.start, source.end))
			process_mark_dirty(t, p);
		return 0;
	}
	if (mm->maj || mm->min)
		source.key.dev = makedev(mm->maj, mm->min);
	source.key.ino = mm->ino;
	source.key.ino_generation = mm->ino_generation;
	source.key.build_id_len = (uint8_t)MIN(mm->build_id_len, MODULE_BUILD_ID_MAX);
	memcpy(source.key.build_id, mm->build_id, source.key.build_id_len);
	r = process_make_mapping(t, &source, &m);
	return r ? r : process_put_mapping(t, p, &m);
}

int process_table_apply(struct process_table *t, const struct capture_event *event)
{
	if (event->type == CAPTURE_LOST) {
		// It carries no pid. What was lost may concern anyone, so every process is in doubt
		// and is read again at its next sample; the sweep looks after those without one.
		t->stats.lost += event->lost.samples ? 0 : event->lost.count;
		t->lost_epoch += !event->lost.samples;
		return 0;
	}
	if (event->pid == UINT32_MAX)
		return 0; // the kernel's own mappings
	switch (event->type) {
	case CAPTURE_FORK:
		apply_fork(t, event);
		break;
	case CAPTURE_COMM:
		apply_comm(t, event);
		break;
	case CAPTURE_EXIT:
		apply_exit(t, event);
		break;
	case CAPTURE_MMAP:
		return apply_mmap(t, event);
	default:
		break;
	}
	return 0;
}

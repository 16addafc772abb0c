/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/selection.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/interpreters.h"
#include "base/log.h"

#define LOGGER "gprofiler"
#define ON_AGAIN(n) ((n) / 10 * 9 + (n) % 10 * 9 / 10) // 90 %, so that it does not flap

/* Why a pid cannot be sampled, or NULL. */
static const char *refuse(uint32_t pid, const struct options *o, struct process_identity *ret)
{
	int r = process_identity_read(pid, ret);

	if (r == -ESRCH)
		return "it does not run";
	if (r)
		return strerror(-r);
	if (o->rootless && kill((pid_t)pid, 0) < 0 && errno == EPERM)
		return "it belongs to another user";
	return NULL;
}

int selection_init(struct selection *s, const struct options *options)
{
	*s = (struct selection){.options = options};
	selection_ids_init(&s->pids, options->pids.cap);
	option_pids_init(&s->numbers, options->pids.cap);
	option_pids_init(&s->readers, options->pyspy_pids.cap);
	vec_foreach (pid, &options->pids) {
		struct process_identity id;
		const char *why = refuse(*pid, options, &id);

		if (why) {
			log_warning(LOGGER, "Process %u is left out: %s", *pid, why);
			continue;
		}
		if (selection_ids_push(&s->pids, id) || option_pids_push(&s->numbers, *pid))
			return -ENOMEM;
	}
	vec_foreach (pid, &options->pyspy_pids) {
		struct process_identity id;
		const char *why = refuse(*pid, options, &id);

		if (why)
			log_warning(LOGGER, "Process %u of --python-pyspy-process is left out: %s",
				*pid, why);
		else if (option_pids_push(&s->readers, *pid))
			return -ENOMEM;
	}
	if (options->pids.len && !s->pids.len) {
		printf("There aren't any alive processes provided via --pid PID list: give --pids "
		       "the pids of living processes\n");
		return 1;
	}
	return 0;
}

void selection_deinit(struct selection *s)
{
	selection_ids_deinit(&s->pids);
	option_pids_deinit(&s->numbers);
	option_pids_deinit(&s->readers);
	if (s->cgroups_built)
		cgroups_deinit(&s->cgroups);
	s->cgroups_built = false;
}

unsigned selection_count_processes(const char *proc)
{
	_cleanup_closedir_ DIR *dir = opendir(proc);
	struct dirent *d;
	unsigned n = 0;

	while (dir && (d = readdir(dir)))
		n += isdigit((unsigned char)d->d_name[0]) != 0;
	return n;
}

static bool too_many_processes(struct selection *s)
{
	uint64_t limit = s->options->skip_system_above;
	unsigned n = limit ? selection_count_processes("/proc") : 0;
	bool before = s->too_many;

	if (!limit)
		return false;
	s->too_many = n > (before ? ON_AGAIN(limit) : limit) || (before && n == ON_AGAIN(limit));
	if (s->too_many && !before)
		log_warning(LOGGER,
			"Skipping native stacks: %u processes are more than the %llu of "
			"--skip-system-profilers-above. Interpreters' stacks go on",
			n, (unsigned long long)limit);
	else if (!s->too_many && before)
		log_info(LOGGER,
			"Native stacks again: %u processes, under 90 %% of the %llu of "
			"--skip-system-profilers-above",
			n, (unsigned long long)limit);
	return s->too_many;
}

/* Whether Python is read from outside because there is too much of it. */
static int choose_python(struct selection *s)
{
	const struct options *o = s->options;
	uint64_t limit = o->pyperf_skip_above;
	bool in_kernel =
		o->python_mode == OPTION_PYTHON_AUTO || o->python_mode == OPTION_PYTHON_PYPERF;
	bool before = s->read_python;
	unsigned n = 0;
	int r;

	if (!limit || !in_kernel || o->replay)
		return 0;
	r = interpreters_count((unsigned)limit + 1, &n);
	if (r)
		return r;
	s->read_python = n > (before ? ON_AGAIN(limit) : limit);
	if (s->read_python && !before)
		log_warning(LOGGER,
			"Python is read from outside, not in the kernel: there are more Python "
			"processes than the %llu of --python-skip-pyperf-profiler-above",
			(unsigned long long)limit);
	else if (!s->read_python && before)
		log_info(LOGGER,
			"Python in the kernel again: %u processes, under 90 %% of the %llu of "
			"--python-skip-pyperf-profiler-above",
			n, (unsigned long long)limit);
	return 0;
}

static int choose_cgroups(struct selection *s)
{
	const struct cgroups_limits limits = {
		.total = (unsigned)s->options->perf_max_cgroups,
		.containers = (unsigned)s->options->perf_max_containers,
	};
	int r = s->cgroups_built ? 0 : cgroups_init(&s->cgroups, "/proc/self/mountinfo");

	if (!r) {
		s->cgroups_built = true;
		r = cgroups_choose(&s->cgroups, &limits);
	}
	if (r == -ENOMEM)
		return r;
	if (r || !s->cgroups.chosen) {
		if (!s->decided || s->native != SELECTION_NONE)
			log_warning(LOGGER,
				"No cgroup to sample (%zu groups seen, --perf-max-cgroups %u, "
				"--perf-max-docker-containers %u%s%s): no native stacks, and not those "
				"of the whole machine either",
				s->cgroups.groups.len, limits.total, limits.containers,
				r ? ", " : "", r ? strerror(-r) : "");
		s->native = SELECTION_NONE;
		return 0;
	}
	s->native = SELECTION_CGROUPS;
	log_info(LOGGER, "Sampling %u cgroups of %zu, %u of them containers", s->cgroups.chosen,
		s->cgroups.groups.len, s->cgroups.containers);
	vec_foreach (g, &s->cgroups.groups)
		if (g->chosen)
			log_debug(LOGGER, "cgroup %s: %.1f %% of a CPU, %llu MB",
				intern_str(&s->cgroups.paths, g->path), g->rate,
				(unsigned long long)g->memory >> 20);
	return 0;
}

int selection_choose(struct selection *s)
{
	int r = 0;

	if (too_many_processes(s))
		s->native = SELECTION_NONE;
	else if (s->options->perf_use_cgroups)
		r = choose_cgroups(s);
	else
		s->native = SELECTION_ALL;
	s->decided = true;
	return r ? r : choose_python(s);
}

bool selection_look(struct selection *s)
{
	size_t living = 0;

	if (s->native == SELECTION_CGROUPS)
		cgroups_refresh(&s->cgroups);
	if (!s->pids.len)
		return false;
	vec_foreach (id, &s->pids)
		living += process_identity_lives(id);
	if (!living && !s->all_ended)
		log_info(LOGGER, "All processes given by --pids have ended");
	s->all_ended = !living;
	return s->all_ended;
}

static bool chosen_pid(const struct selection *s, const struct process *p)
{
	vec_foreach (id, &s->pids)
		if (id->pid == p->pid)
			return process_identity_matches(id, p->start_time);
	return false;
}

bool selection_has(const struct selection *s, const struct process *p)
{
	return !s->pids.len || chosen_pid(s, p);
}

bool selection_wants(
	const struct selection *s, const struct process *p, const struct rec_sample *rec)
{
	if (!selection_has(s, p))
		return false;
	return s->native != SELECTION_CGROUPS || rec->runtime_words ||
	       cgroups_has(&s->cgroups, rec->cgroup, rec->pid);
}

bool selection_event(struct selection *s, const struct capture_event *event)
{
	if (s->native != SELECTION_CGROUPS)
		return false;
	if (event->type == CAPTURE_FORK && event->tid == event->pid)
		return cgroups_forked(&s->cgroups, event->fork.ppid, event->pid);
	return event->type == CAPTURE_CGROUP && event->cgroup.path &&
	       cgroups_made(&s->cgroups, event->cgroup.path, event->cgroup.id);
}

int selection_groups(const struct selection *s, struct capture_groups *ret, uint64_t **ret_ids,
	uint32_t **ret_pids)
{
	*ret = (struct capture_groups){0};
	if (s->native != SELECTION_CGROUPS)
		return 0;
	*ret_ids = calloc(s->cgroups.ids.len + 1, sizeof(**ret_ids));
	*ret_pids = calloc(s->cgroups.pids.len + 1, sizeof(**ret_pids));
	if (!*ret_ids || !*ret_pids)
		return -ENOMEM;
	map_foreach (slot, &s->cgroups.ids)
		(*ret_ids)[ret->nids++] = slot->key;
	map_foreach (slot, &s->cgroups.pids)
		(*ret_pids)[ret->npids++] = (uint32_t)slot->key;
	ret->ids = *ret_ids;
	ret->pids = *ret_pids;
	return 1;
}

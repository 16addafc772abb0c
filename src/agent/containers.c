/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/containers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/vec.h"
#include "delivery/docker.h"
#include "process/container_files.h"
#include "process/root.h"

#define FIRST_WAIT_NS (500 * NSEC_PER_MSEC) // before an unknown one is looked for again
#define LONGEST_WAIT_NS (60 * NSEC_PER_SEC)
#define LIST_GAP_NS (2 * NSEC_PER_SEC) // between two lists of Docker
#define AWAY_NS (60 * NSEC_PER_SEC) // before a Docker that did not answer is asked again

/* Known (info), or looked for in vain (NULL). */
struct entry {
	struct container *info;
	uint64_t again, wait; // when it is looked for again, ns
};
VEC_DEFINE(entry_vec, struct entry)

struct containers {
	pthread_mutex_t lock;
	pthread_mutex_t asking; // one asks, the others wait for the answer
	struct intern ids;
	struct entry_vec entries; // by id of ids - 1
	uint64_t next_list; // when Docker may be asked again
	char proc[64];
};

/* Where the socket is, on the host. /var/run is a link to /run, which would lead into our own root. */
static const char *const sockets[] = {"/run/docker.sock", "/var/run/docker.sock"};

int containers_new(const char *proc, struct containers **ret)
{
	struct containers *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->asking, NULL);
	intern_init(&c->ids, CONTAINERS_MAX, CONTAINERS_MAX * (CONTAINER_ID_LEN + 1u));
	entry_vec_init(&c->entries, CONTAINERS_MAX);
	snprintf(c->proc, sizeof(c->proc), "%s", proc);
	*ret = c;
	return 0;
}

static void forget(struct containers *c)
{
	vec_foreach (e, &c->entries)
		free(e->info);
	entry_vec_clear(&c->entries);
	intern_clear(&c->ids);
}

void containers_free(struct containers *c)
{
	if (!c)
		return;
	forget(c);
	entry_vec_deinit(&c->entries);
	intern_deinit(&c->ids);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->asking);
	free(c);
}

/* The entry of an id, made if it is new; NULL without memory. At the cap all is forgotten: who still
 * runs is found again. */
static struct entry *entry_of(struct containers *c, const char *id, bool make)
{
	uint32_t n = intern_find(&c->ids, id, strlen(id));

	if (n)
		return &c->entries.data[n - 1];
	if (!make)
		return NULL;
	if (c->ids.len == CONTAINERS_MAX)
		forget(c);
	if (entry_vec_reserve(&c->entries, 1) || intern_add(&c->ids, id, strlen(id), &n))
		return NULL;
	entry_vec_push(&c->entries, (struct entry){.info = NULL});
	return &c->entries.data[n - 1];
}

static int keep(void *arg, const struct container *info)
{
	struct containers *c = arg;
	struct entry *e;
	int r = 0;

	pthread_mutex_lock(&c->lock);
	e = entry_of(c, info->id, true);
	if (e && !e->info)
		e->info = malloc(sizeof(*e->info));
	if (e && e->info)
		*e->info = *info;
	else
		r = -ENOMEM;
	pthread_mutex_unlock(&c->lock);
	return r;
}

static bool known(struct containers *c, const char *id, struct container *ret)
{
	const struct entry *e = entry_of(c, id, false);

	if (!e || !e->info)
		return false;
	*ret = *e->info;
	return true;
}

bool containers_known(struct containers *c, const char *id, struct container *ret)
{
	bool found;

	pthread_mutex_lock(&c->lock);
	found = known(c, id, ret);
	pthread_mutex_unlock(&c->lock);
	return found;
}

/* Is it time to look for this one? Notes when the next time is. */
static bool due(struct containers *c, const char *id)
{
	uint64_t now = clock_mono_ns();
	struct entry *e;
	bool yes;

	pthread_mutex_lock(&c->lock);
	e = entry_of(c, id, true);
	yes = e && now >= e->again;
	if (yes) {
		e->wait = e->wait ? MIN(e->wait * 2, (uint64_t)LONGEST_WAIT_NS) : FIRST_WAIT_NS;
		e->again = now + e->wait;
	}
	pthread_mutex_unlock(&c->lock);
	return yes;
}

/* Docker's list; the one container by itself where the list was read a moment ago. */
static void ask_docker(struct containers *c, const char *id)
{
	uint64_t now = clock_mono_ns();
	struct container info;
	char socket[128];
	int r = -ENOENT;

	if (c->next_list > now + LIST_GAP_NS)
		return; // it is away
	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(sockets); i++) {
		snprintf(socket, sizeof(socket), "%s/%u/root%s", c->proc,
			process_root_host(c->proc), sockets[i]);
		r = now >= c->next_list ? docker_list(socket, keep, c)
					: docker_inspect(socket, id, &info);
	}
	if (now < c->next_list) {
		if (!r)
			keep(c, &info);
		return;
	}
	c->next_list = now + (!r || r == -ENOENT ? LIST_GAP_NS : AWAY_NS);
}

bool containers_find(struct containers *c, const char *id, uint32_t pid, struct container *ret)
{
	struct container info;

	if (!container_is_id(id))
		return false;
	if (containers_known(c, id, ret))
		return true;
	if (!due(c, id))
		return false;
	pthread_mutex_lock(&c->asking);
	if (!containers_known(c, id, ret)) {
		ask_docker(c, id);
		if (!containers_known(c, id, ret) &&
			container_files_find(c->proc, id, pid, &info) == 0)
			keep(c, &info);
	}
	pthread_mutex_unlock(&c->asking);
	return containers_known(c, id, ret);
}

void containers_each(
	struct containers *c, void (*fn)(void *arg, const struct container *), void *arg)
{
	pthread_mutex_lock(&c->lock);
	vec_foreach (e, &c->entries)
		if (e->info)
			fn(arg, e->info);
	pthread_mutex_unlock(&c->lock);
}

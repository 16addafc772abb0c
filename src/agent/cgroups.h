/* SPDX-License-Identifier: Apache-2.0 */
/* agent/cgroups.h -- which control groups use the machine now, and which tasks are theirs.
 *
 * A group is a path below the mount points: the v2 hierarchy, and v1's cpuacct (or cpu) and memory
 * controllers, where the same path names the same group. Ranked by the CPU used between two readings,
 * ten to one over memory. A container is its topmost group; an ordinary group is ranked by what is
 * used in itself, and stands, once chosen, for what is below it: never both it and a group below.
 * A task is found by its v2 cgroup id where the group exists in v2, else by the set of processes.
 * Main thread. */
#ifndef GP_AGENT_CGROUPS_H
#define GP_AGENT_CGROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "base/vec.h"

#define CGROUPS_MAX 16384 // groups looked at
#define CGROUPS_DEPTH_MAX 32
#define CGROUPS_PIDS_MAX 131072
#define CGROUPS_CONTAINER_ID 64 // hexadecimal digits

enum cgroups_where {
	CGROUPS_V2 = 1 << 0,
	CGROUPS_CPU = 1 << 1, // v1 cpuacct
	CGROUPS_MEMORY = 1 << 2, // v1 memory
	CGROUPS_WHERES = 3,
};

struct cgroups_group {
	uint32_t path; // id in cgroups.paths, relative to the mount points: "/a/b"
	uint32_t parent; // index + 1, 0 the root
	uint8_t where; // bits of enum cgroups_where
	bool populated; // has processes of its own
	bool container; // topmost group of a container
	bool inside; // below one
	bool chosen;
	uint64_t usage_ns, memory; // with all below it
	double rate; // percent of one CPU since the last reading; after ranking its own part
	double memory_share; // percent of the machine's memory, likewise
	double score;
};
VEC_DEFINE(cgroups_vec, struct cgroups_group)

struct cgroups {
	char *mounts[CGROUPS_WHERES]; // by bit number, NULL: not mounted
	struct intern paths, last_paths;
	struct cgroups_vec groups;
	uint64_t *last_usage; // by id of last_paths - 1
	uint64_t read_ns; // time of the reading in last_*
	struct map ids; // v2 ids of chosen groups and what is below
	struct map pids; // processes of chosen groups that are not in v2
	unsigned chosen, containers; // groups, and containers among them
};

struct cgroups_limits {
	unsigned total; // groups, containers included; 0: containers only
	unsigned containers; // 0: containers are groups like others
};

/* mountinfo: "/proc/self/mountinfo", or a fixture. Return 0; -ENOENT no usable hierarchy; -errno. */
int cgroups_init(struct cgroups *c, const char *mountinfo);
void cgroups_deinit(struct cgroups *c);

/* Reads the groups, ranks them and chooses anew. The first time there are two readings, a fifth of a
 * second apart. Return 0, also when none was chosen; -errno. */
int cgroups_choose(struct cgroups *c, const struct cgroups_limits *limits);
/* Reads the processes of chosen v1 groups again. */
int cgroups_refresh(struct cgroups *c);

/* Does a task of this v2 id and this process belong to a chosen group? */
bool cgroups_has(const struct cgroups *c, uint64_t id, uint32_t pid);
/* A process was forked; a v2 group (path relative to its root) was made. */
bool cgroups_forked(struct cgroups *c, uint32_t parent, uint32_t child);
bool cgroups_made(struct cgroups *c, const char *path, uint64_t id);

/* Length of the start of path that names a container's topmost group, 0 if it is none: the component
 * with a container id, as Docker, containerd, CRI-O, Podman and Kubernetes write it. */
size_t cgroups_container(const char *path);

#endif

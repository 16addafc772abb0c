/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/other_agent.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/map.h"

#define NAMESPACES_MAX 8192
#define LISTING_MAX ((size_t)16 << 20)
#define INODE_FIELD 6 // Num RefCount Protocol Flags Type St Inode Path

static uint64_t namespace_of(const char *pid, const char *kind)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%.16s/ns/%s", pid, kind);
	return stat(path, &st) == 0 ? st.st_ino : 0;
}

uint64_t other_agent_net(const char *pid)
{
	return namespace_of(pid, "net");
}

/* A line's inode, if it ends in the name. */
static uint64_t parse_line(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);
	const char *at = line;

	// An abstract name is shown with '@' for each of its NULs.
	if (len < n + 3 || memcmp(line + len - n, name, n) != 0 ||
		memcmp(line + len - n - 3, " @@", 3) != 0)
		return 0;
	for (unsigned field = 0; field < INODE_FIELD; field++) {
		at += strcspn(at, " \n");
		at += strspn(at, " ");
	}
	return at < line + len ? strtoull(at, NULL, 10) : 0;
}

uint64_t other_agent_parse(const char *text, const char *name)
{
	uint64_t inode = 0;

	for (const char *end; *text && !inode; text = *end ? end + 1 : end) {
		end = text + strcspn(text, "\n");
		inode = parse_line(text, (size_t)(end - text), name);
	}
	return inode;
}

static uint64_t listed_inode(const char *pid, const char *name)
{
	_cleanup_buf_ struct buf text = BUF_INIT(LISTING_MAX);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.16s/net/unix", pid);
	fs_read_file(path, &text);
	return other_agent_parse(buf_str(&text), name);
}

static bool holds_socket(const char *pid, uint64_t inode)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[64], wanted[40], link[64];
	struct dirent *d;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	snprintf(wanted, sizeof(wanted), "socket:[%llu]", (unsigned long long)inode);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);

		link[n < 0 ? 0 : n] = 0;
		if (!strcmp(link, wanted))
			return true;
	}
	return false;
}

static bool trusted(const char *pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%.16s", pid);
	return stat(path, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid());
}

bool other_agent_find(const char *name, uint64_t except, struct other_agent *ret)
{
	_cleanup_closedir_ DIR *proc = opendir("/proc");
	uint64_t own = namespace_of("self", "pid");
	struct map inodes; // network namespace -> inode of the name's socket there, 0 none
	bool found = false;
	struct dirent *d;

	map_init(&inodes, NAMESPACES_MAX);
	while (!found && proc && own && (d = readdir(proc))) {
		const char *pid = d->d_name;
		const uint64_t *known;
		uint64_t net;

		if (!isdigit((unsigned char)pid[0]) ||
			strtoul(pid, NULL, 10) == (unsigned long)getpid() ||
			namespace_of(pid, "pid") != own)
			continue;
		net = other_agent_net(pid);
		if (!net || net == except)
			continue;
		known = map_get(&inodes, net);
		if (!known && map_set(&inodes, net, listed_inode(pid, name)) == 0)
			known = map_get(&inodes, net);
		if (!known || !*known || !trusted(pid) || !holds_socket(pid, *known))
			continue;
		*ret = (struct other_agent){(uint32_t)strtoul(pid, NULL, 10), net};
		found = true;
	}
	map_deinit(&inodes);
	return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "process/hsperf.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/fs.h"
#include "process/root.h"

#define MAGIC "\xca\xfe\xc0\xc0"
#define LITTLE_ENDIAN_MARK 1
#define VERSION_MAJOR 2
#define ENTRIES_MAX 4096
#define STATUS_MAX 16384
#define DIRECTORIES_MAX 256

static const struct {
	const char *name;
	size_t offset, size;
} wanted[] = {
#define FIELD(name, field)                                                                         \
	{                                                                                          \
		name, offsetof(struct hsperf, field), sizeof(((struct hsperf *)0)->field)          \
	}
	FIELD("sun.rt.javaCommand", command),
	FIELD("java.rt.vmArgs", vm_args),
	FIELD("java.property.java.version", version),
	FIELD("java.property.java.vm.name", vm_name),
	FIELD("java.property.java.vm.version", vm_version),
	FIELD("java.property.java.vm.info", vm_info),
	FIELD("java.property.java.home", home),
#undef FIELD
};

/* One entry, in a cursor of its own bytes. */
static void take_entry(struct cursor *c, struct hsperf *ret)
{
	struct cursor name = *c, data = *c;
	uint32_t name_at, len, data_at;
	const char *text;
	uint8_t type;

	cursor_skip(c, 4);
	name_at = cursor_u32(c);
	len = cursor_u32(c);
	type = cursor_u8(c);
	cursor_skip(c, 3);
	data_at = cursor_u32(c);
	if (c->bad || type != 'B' || !len || !cursor_seek(&name, name_at) ||
		!cursor_seek(&data, data_at))
		return;
	text = cursor_cstr(&name);
	for (size_t i = 0; text && i < ARRAY_SIZE(wanted); i++) {
		size_t n = MIN((size_t)len, cursor_left(&data));
		char *to = (char *)ret + wanted[i].offset;

		if (strcmp(text, wanted[i].name) != 0)
			continue;
		n = MIN(n, wanted[i].size - 1);
		memcpy(to, data.pos, n);
		to[n] = 0; // a shorter text has its NUL before
		return;
	}
}

int hsperf_parse(const void *data, size_t len, struct hsperf *ret)
{
	struct cursor c = cursor_make(data, len);
	const void *magic = cursor_bytes(&c, 4);
	uint8_t order = cursor_u8(&c), major = cursor_u8(&c);
	uint32_t entry, count;

	*ret = (struct hsperf){0};
	if (!magic || memcmp(magic, MAGIC, 4) != 0 || order != LITTLE_ENDIAN_MARK ||
		major != VERSION_MAJOR)
		return -EINVAL;
	cursor_seek(&c, 24);
	entry = cursor_u32(&c);
	count = cursor_u32(&c);
	if (!cursor_seek(&c, entry))
		return -EINVAL;
	for (uint32_t i = 0; i < count && i < ENTRIES_MAX && !c.bad; i++) {
		struct cursor peek = c, own;
		uint32_t size = cursor_u32(&peek);

		if (size < 20)
			return -EINVAL;
		own = cursor_sub(&c, size);
		take_entry(&own, ret);
	}
	return c.bad ? -EINVAL : 0;
}

/* The pid as the process itself knows it: the last of NSpid. */
static uint32_t own_pid(const char *proc, uint32_t pid)
{
	_cleanup_buf_ struct buf text = BUF_INIT(STATUS_MAX);
	const char *line, *last = NULL;
	char path[128];

	snprintf(path, sizeof(path), "%s/%u/status", proc, pid);
	if (fs_read_file(path, &text) && !text.len)
		return pid;
	line = strstr(buf_str(&text), "\nNSpid:");
	if (!line)
		return pid;
	line += strlen("\nNSpid:");
	for (; *line && *line != '\n'; line++)
		if ((*line == '\t' || *line == ' ') && line[1] >= '0' && line[1] <= '9')
			last = line + 1;
	return last ? (uint32_t)strtoul(last, NULL, 10) : pid;
}

static bool owned(const char *proc, uint32_t pid, int fd)
{
	struct stat file, process;
	char path[128];

	snprintf(path, sizeof(path), "%s/%u", proc, pid);
	return fstat(fd, &file) == 0 && stat(path, &process) == 0 &&
	       (file.st_uid == process.st_uid || file.st_uid == 0);
}

static int read_file(const char *proc, uint32_t pid, const char *path, struct hsperf *ret)
{
	_cleanup_close_ int fd = process_root_open(proc, pid, path);
	_cleanup_free_ char *bytes = NULL;
	ssize_t n;

	if (fd < 0)
		return fd;
	if (!owned(proc, pid, fd))
		return -EACCES;
	bytes = malloc(HSPERF_BYTES_MAX);
	if (!bytes)
		return -ENOMEM;
	n = fs_pread_full(fd, bytes, HSPERF_BYTES_MAX, 0);
	return n < 0 ? (int)n : hsperf_parse(bytes, (size_t)n, ret);
}

int hsperf_read(const char *proc, uint32_t pid, struct hsperf *ret)
{
	_cleanup_closedir_ DIR *dir = NULL;
	uint32_t own = own_pid(proc, pid);
	int fd = process_root_directory(proc, pid, "/tmp"), r = -ENOENT;
	unsigned seen = 0;
	struct dirent *d;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (r && seen < DIRECTORIES_MAX && (d = readdir(dir))) {
		char path[512];

		if (strncmp(d->d_name, "hsperfdata_", 11) != 0)
			continue;
		seen++;
		snprintf(path, sizeof(path), "/tmp/%s/%u", d->d_name, own);
		r = read_file(proc, pid, path, ret);
	}
	return r;
}

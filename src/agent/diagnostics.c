/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/diagnostics.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>

#include "agent/inventory.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "process/table.h"

#define LOGGER "gprofiler.diagnostics"
#define READ_ALL 3 // syslog(2): SYSLOG_ACTION_READ_ALL
#define KERNEL_BYTES ((size_t)256 << 10)
#define LISTED_MAX 8192 // processes
#define STAT_MAX 4096

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text && text[0] ? text : "unknown";
}

static void log_containers(void)
{
	_cleanup_json_ json_t *list = inventory_take("/proc");
	const json_t *c;
	size_t i;

	json_array_foreach (list, i, c)
		log_debug(LOGGER, "Container %.12s %s (%s): %zu processes",
			text_of(c, "container_id"), text_of(c, "container_name"),
			text_of(c, "runtime"), json_array_size(json_object_get(c, "processes")));
	log_debug(LOGGER, "%zu containers", json_array_size(list));
}

static void log_processes(void)
{
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	unsigned n = 0;
	struct dirent *d;

	while (dir && n < LISTED_MAX && (d = readdir(dir))) {
		_cleanup_buf_ struct buf text = BUF_INIT(STAT_MAX);
		struct process_stat st;
		char path[300];

		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", d->d_name);
		if (fs_read_file(path, &text) || !process_stat_parse(buf_str(&text), text.len, &st))
			continue;
		n++;
		log_debug(LOGGER, "Process %s (%s) state %c parent %u threads %u", d->d_name,
			st.comm, st.state, st.ppid, st.nthreads);
	}
	log_debug(LOGGER, "%u processes", n);
}

size_t diagnostics_tail(const char *text, size_t len, unsigned n)
{
	size_t at = len;

	// A newline at the end ends the last line, it does not begin one.
	if (at && text[at - 1] == '\n')
		at--;
	for (; at; at--)
		if (text[at - 1] == '\n' && !--n)
			return at;
	return 0;
}

static void log_kernel(void)
{
	_cleanup_free_ char *text = malloc(KERNEL_BYTES + 1);
	int len = text ? klogctl(READ_ALL, text, (int)KERNEL_BYTES) : -1;

	if (len <= 0) {
		log_debug(LOGGER, "The kernel's log: %s",
			!len   ? "it is empty"
			: text ? strerror(errno)
			       : "no memory");
		return;
	}
	text[len] = 0;
	for (char *line = text + diagnostics_tail(text, (size_t)len, DIAGNOSTICS_KERNEL_LINES),
		  *end;
		*line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = 0;
		log_debug(LOGGER, "Kernel: %s", line);
	}
}

void diagnostics_turn(struct diagnostics *d)
{
	uint64_t now = clock_mono_ns();

	if (now < d->next)
		return;
	d->next = now + DIAGNOSTICS_GAP_S * NSEC_PER_SEC;
	log_containers();
	log_processes();
	log_kernel();
}

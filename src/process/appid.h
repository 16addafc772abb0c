/* SPDX-License-Identifier: Apache-2.0 */
/* process/appid.h -- which application a process is: "gunicorn: my.wsgi:app (/srv/my/wsgi.py)".
 *
 * The reference's rules (gprofiler-agent.md 3.6), from what the target says of itself: its arguments,
 * its working directory, files below its root. Rules are tried in their order, the first that fits
 * wins; one that the reference's would have failed in is passed over. All of it is hostile text, and
 * bounded. Any thread. */
#ifndef GP_PROCESS_APPID_H
#define GP_PROCESS_APPID_H

#include <regex.h>
#include <stdbool.h>

#include "process/arguments.h"

#define APPID_MAX 4096 // bytes
#define APPID_FILTERS_MAX 32

/* Which rules may apply: interpreters that the process runs. */
enum appid_runtime {
	APPID_PYTHON = 1 << 0,
	APPID_NODE = 1 << 1,
	APPID_RUBY = 1 << 2,
	APPID_JAVA = 1 << 3,
};

struct appid_config {
	const char *proc; // "/proc", or a fixture
	const regex_t *filters; // of arguments of a JVM that belong to its id
	unsigned nfilters;
	bool spark; // the name of the Spark application, for its executors
};

struct appid_process {
	uint32_t pid;
	unsigned runtimes; // enum appid_runtime
	const struct arguments *args;
	/* What the JVM itself says of its command and arguments; NULL: taken from args. */
	const char *java_command, *java_args;
};

/* Appends the id to ret (cap: APPID_MAX). Return 0; -ENOENT none; -ENOMEM, -ENOSPC. */
int appid_find(const struct appid_config *config, const struct appid_process *p, struct buf *ret);

/* Compiles patterns of --app-id-args-filter, which are Python's: what POSIX regular expressions share
 * with those, and \d. Return 0, -EINVAL, -ENOMEM. */
int appid_filter_compile(const char *pattern, regex_t *ret);

/* Is this the name of a Python: python, python3, python3.12? */
bool appid_python_name(const char *path);

/* Parts, for the rules of other runtimes. */

/* path, joined to the working directory and resolved inside the root. */
void appid_path(const struct appid_config *config, const struct appid_process *p, const char *path,
	char ret[PATH_MAX]);
int appid_java(const struct appid_config *config, const struct appid_process *p, struct buf *ret);
/* The value of a key in the section of an INI file (any section: NULL), copied to ret.
 * Return false if it is not there or does not fit. */
bool appid_ini_value(
	const char *text, const char *section, const char *key, char *ret, size_t size);

#endif

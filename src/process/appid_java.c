/* SPDX-License-Identifier: Apache-2.0 */
/* The application id of a JVM: the first word of its command, the arguments that were asked for, and
 * the name of a Spark application. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "process/appid.h"
#include "process/root.h"

#define CONF_MAX (1u << 20)
#define SPARK_EXECUTOR "org.apache.spark.executor"
#define SPARK_CONF "__spark_conf__/__spark_conf__.properties"

/* Options of the launcher whose operand is the next argument (java(1)). */
static bool takes_operand(const char *s)
{
	static const char *const options[] = {
		"-cp",
		"-classpath",
		"--class-path",
		"-p",
		"--module-path",
		"--upgrade-module-path",
		"--add-modules",
		"--add-opens",
		"--add-exports",
		"--add-reads",
		"--limit-modules",
		"--patch-module",
		"--enable-native-access",
		"--source",
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (!strcmp(s, options[i]))
			return true;
	return false;
}

/* Index of the main class, the jar or the module, argc if there is none; those of the JVM's own
 * arguments are 1 to *ret_end. */
static unsigned find_main(const struct arguments *a, unsigned *ret_end)
{
	unsigned i = 1;

	for (; i < a->argc; i++) {
		const char *s = a->argv[i];

		if (!strcmp(s, "-jar") || !strcmp(s, "-m") || !strcmp(s, "--module")) {
			*ret_end = i;
			return i + 1;
		}
		if (takes_operand(s))
			i++;
		else if (s[0] != '-' && s[0] != '@')
			break;
	}
	*ret_end = MIN(i, a->argc);
	return MIN(i, a->argc);
}

static bool wanted(const struct appid_config *config, const char *s)
{
	for (unsigned i = 0; i < config->nfilters; i++)
		if (regexec(&config->filters[i], s, 0, NULL, 0) == 0)
			return true;
	return false;
}

static void add_argument(const char *s, unsigned *n, struct buf *ret)
{
	buf_append_str(ret, *n ? " " : " (");
	buf_append_str(ret, s);
	(*n)++;
}

/* Arguments of the JVM that match a filter, " (-Da=b -Dc=d)". */
static void add_arguments(const struct appid_config *config, const struct appid_process *p,
	unsigned end, struct buf *ret)
{
	_cleanup_free_ char *words = p->java_args ? strdup(p->java_args) : NULL;
	char *rest = words, *word;
	unsigned n = 0;

	if (!config->nfilters)
		return;
	if (words) {
		while ((word = strsep(&rest, " ")))
			if (word[0] && wanted(config, word))
				add_argument(word, &n, ret);
	} else {
		for (unsigned i = 1; i < end; i++)
			if (wanted(config, p->args->argv[i]))
				add_argument(p->args->argv[i], &n, ret);
	}
	if (n)
		buf_append_char(ret, ')');
}

static bool is_executor(const struct arguments *a)
{
	for (unsigned i = 0; i < a->argc; i++)
		if (strstr(a->argv[i], SPARK_EXECUTOR))
			return true;
	return false;
}

static void add_spark(
	const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	_cleanup_buf_ struct buf text = BUF_INIT(CONF_MAX);
	char path[PATH_MAX], name[512];

	appid_path(config, p, SPARK_CONF, path);
	if (process_root_read(config->proc, p->pid, path, &text) ||
		!appid_ini_value(buf_str(&text), NULL, "spark.app.name", name, sizeof(name)))
		buf_append_str(ret, ", app name not found");
	else
		buf_printf(ret, ", spark: %s", name);
}

int appid_java(const struct appid_config *config, const struct appid_process *p, struct buf *ret)
{
	unsigned end, main = find_main(p->args, &end);
	const char *command = p->java_command ? p->java_command : argument(p->args, main);

	// A file name with a space is cut there: the reference cuts the JVM's own line.
	if (!command[0])
		return -ENOENT;
	buf_printf(ret, "java: %.*s", (int)strcspn(command, " "), command);
	add_arguments(config, p, end, ret);
	if (config->spark && is_executor(p->args))
		add_spark(config, p, ret);
	return ret->bad ? -ENOSPC : 0;
}

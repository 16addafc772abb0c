/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/java_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process/appid.h"
#include "process/root.h"

#define RELEASE_MAX 65536
#define VALUE_MAX 128
#define FLAGS_MAX 256
#define LEVELS 5 // from libjvm.so up to the home: lib/server, jre/lib/amd64/server

/* The text of `release`, by the home or above libjvm. */
static void read_release(
	const char *proc, uint32_t pid, const char *libjvm, const char *home, struct buf *ret)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];

	snprintf(dir, sizeof(dir), "%s", home[0] ? home : libjvm);
	for (unsigned i = 0; i < LEVELS && dir[0]; i++) {
		char *slash = strrchr(dir, '/');

		snprintf(path, sizeof(path), "%s/release", dir);
		buf_clear(ret);
		// A home may be the jre/ inside.
		if (process_root_read(proc, pid, path, ret) == 0 && ret->len)
			return;
		if (!slash)
			break;
		*slash = 0;
	}
	buf_clear(ret);
}

/* A value of `release`, without its quotes. */
static void value(const struct buf *release, const char *key, char ret[VALUE_MAX])
{
	size_t n;

	ret[0] = 0;
	if (!appid_ini_value(buf_str(release), NULL, key, ret, VALUE_MAX))
		return;
	n = strlen(ret);
	if (n >= 2 && ret[0] == '"' && ret[n - 1] == '"') {
		memmove(ret, ret + 1, n - 2);
		ret[n - 2] = 0;
	}
}

void java_version(
	const char *proc, uint32_t pid, const char *libjvm, const struct hsperf *h, struct buf *ret)
{
	_cleanup_buf_ struct buf release = BUF_INIT(RELEASE_MAX);
	char version[VALUE_MAX], date[VALUE_MAX], build[VALUE_MAX];
	bool oracle = h && strncmp(h->vm_name, "Java HotSpot", 12) == 0;

	read_release(proc, pid, libjvm, h ? h->home : "", &release);
	value(&release, "JAVA_VERSION", version);
	value(&release, "JAVA_VERSION_DATE", date);
	value(&release, "JAVA_RUNTIME_VERSION", build);
	if (h && h->version[0])
		snprintf(version, sizeof(version), "%s", h->version);
	if (!version[0])
		return;
	buf_printf(ret, "%s version \"%s\"", oracle ? "java" : "openjdk", version);
	if (date[0])
		buf_printf(ret, " %s", date);
	if (!build[0] && h)
		snprintf(build, sizeof(build), "%s", h->vm_version);
	if (build[0])
		buf_printf(ret, "\n%s (build %s)",
			oracle ? "Java(TM) SE Runtime Environment" : "OpenJDK Runtime Environment",
			build);
	if (h && h->vm_name[0])
		buf_printf(ret, "\n%s (build %s, %s)", h->vm_name, h->vm_version, h->vm_info);
}

/* Is a name in a comma list? */
static bool listed(const char *list, const char *name, size_t len)
{
	for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',')
		if (strcspn(s, ",") == len && memcmp(s, name, len) == 0)
			return true;
	return false;
}

/* "-XX:+Name", "-XX:-Name", "-XX:Name=value". */
static json_t *flag_of(const char *arg)
{
	const char *name = arg + strlen("-XX:"), *equals = strchr(name, '=');
	bool toggle = *name == '+' || *name == '-';
	json_t *o, *text;
	size_t len;

	name += toggle;
	len = toggle || !equals ? strlen(name) : (size_t)(equals - name);
	if (!len || (!toggle && !equals))
		return NULL;
	o = json_object();
	text = json_stringn(name, len);
	json_object_set_new(o, "name", text ? text : json_null());
	json_object_set_new(o, "type", toggle ? json_string("bool") : json_null());
	json_object_set_new(o, "value",
		json_text(!toggle	    ? equals + 1
			  : name[-1] == '+' ? "true"
					    : "false"));
	json_object_set_new(o, "origin", json_string("command line"));
	json_object_set_new(o, "kind", json_array());
	return o;
}

static const char *name_of(const json_t *flag)
{
	const char *s = json_string_value(json_object_get(flag, "name"));

	return s ? s : "";
}

static int by_name(const void *a, const void *b)
{
	return strcmp(name_of(*(json_t *const *)a), name_of(*(json_t *const *)b));
}

json_t *java_flags(const struct arguments *args, const char *choice)
{
	bool all = !choice || !strcmp(choice, "default") || !strcmp(choice, "all");
	json_t *flags[FLAGS_MAX], *list = json_array();
	size_t n = 0;

	if (choice && (!choice[0] || !strcmp(choice, "none") || !strcmp(choice, "\"\"")))
		return list;
	for (unsigned i = 1; i < args->argc && n < FLAGS_MAX; i++) {
		json_t *o;

		if (strncmp(args->argv[i], "-XX:", 4) != 0)
			continue;
		o = flag_of(args->argv[i]);
		if (!o)
			continue;
		if (all || listed(choice, name_of(o), strlen(name_of(o))))
			flags[n++] = o;
		else
			json_decref(o);
	}
	qsort(flags, n, sizeof(*flags), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, flags[i]);
	return list;
}

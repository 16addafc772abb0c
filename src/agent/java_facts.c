/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/java_facts.h"

#include <stdio.h>
#include <string.h>

#include "process/appid.h"
#include "process/root.h"

#define RELEASE_MAX 65536
#define VALUE_MAX 128
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

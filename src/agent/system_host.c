/* SPDX-License-Identifier: Apache-2.0 */
/* Single facts of the host: its name, its network, its C library, the big data platform it belongs to. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/system_facts.h"
#include "base/fs.h"
#include "process/appid.h"
#include "process/root.h"

#define LIBC_BYTES_MAX ((size_t)16 << 20)
#define FILE_MAX ((size_t)1 << 20)
#define BANNER "GNU C Library ("

/* A pod without CAP_SYS_ADMIN may not enter the host's namespace, and its own name changes with every
 * restart: the studio would see a new host each time, and commands for the node would not find it. */
static bool hosts_own_file(const char *proc, char ret[static SYSTEM_HOSTNAME_MAX])
{
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	char host[PATH_MAX], own[PATH_MAX];
	struct stat a, b;

	snprintf(host, sizeof(host), "%s/1/ns/uts", proc);
	snprintf(own, sizeof(own), "%s/thread-self/ns/uts", proc);
	if (stat(host, &a) < 0 || stat(own, &b) < 0 || a.st_ino == b.st_ino)
		return false;
	if (process_root_read(proc, 1, "/etc/hostname", &text))
		return false;
	// hostname(5): lines that begin with # are comments.
	for (const char *s = buf_str(&text); *s; s += strcspn(s, "\n"), s += *s == '\n') {
		size_t n;

		s += strspn(s, " \t\r");
		n = strcspn(s, " \t\r\n");
		if (!n || *s == '#' || n >= SYSTEM_HOSTNAME_MAX)
			continue;
		memcpy(ret, s, n);
		ret[n] = 0;
		return true;
	}
	return false;
}

void system_hostname(const char *proc, char ret[static SYSTEM_HOSTNAME_MAX])
{
	if (hosts_own_file(proc, ret))
		return;
	if (gethostname(ret, SYSTEM_HOSTNAME_MAX) < 0 || !ret[0])
		snprintf(ret, SYSTEM_HOSTNAME_MAX, "<unknown>");
	ret[SYSTEM_HOSTNAME_MAX - 1] = 0;
}

/* The interface that has this address, or the first that is no loopback. */
static void find_mac(const struct sockaddr_in *own, char mac[static 18])
{
	struct ifaddrs *list = NULL;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
		_cleanup_buf_ struct buf text = BUF_INIT(64);
		struct sockaddr_in a;
		char path[64];

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&a, i->ifa_addr, sizeof(a));
		if (own->sin_addr.s_addr ? a.sin_addr.s_addr != own->sin_addr.s_addr
					 : (i->ifa_flags & IFF_LOOPBACK) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/class/net/%.16s/address", i->ifa_name);
		found = fs_read_file(path, &text) == 0 && text.len == 18;
		for (size_t c = 0; found && c < 17; c++)
			mac[c] = (char)toupper((unsigned char)text.data[c]);
	}
	freeifaddrs(list);
}

void system_address(char ip[static 46], char mac[static 18])
{
	const struct sockaddr_in world = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808)};
	struct sockaddr_in own = {0};
	socklen_t len = sizeof(own);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	// No packet is sent. The first interface of the machine would as well be a bridge of containers.
	snprintf(ip, 46, "unknown");
	snprintf(mac, 18, SYSTEM_UNKNOWN_MAC);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&world, sizeof(world)) == 0 &&
		getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		inet_ntop(AF_INET, &own.sin_addr, ip, 46);
	find_mac(&own, mac);
}

bool system_glibc_banner(const char *bytes, size_t len, char version[static 64])
{
	const char *at = memmem(bytes, len, BANNER, strlen(BANNER)), *end = bytes + len, *s, *stop;

	if (!at)
		return false;
	s = at + strlen(BANNER);
	stop = memchr(s, ')', (size_t)(end - s));
	at = stop ? memmem(s, (size_t)(stop - s), "GLIBC ", 6) : NULL;
	if (at) {
		// As `ldd --version` of the distribution: (Debian GLIBC 2.36-9).
		s = at + 6;
	} else {
		at = memmem(s, (size_t)(end - s), "release version ", 16);
		if (!at)
			return false;
		s = at + 16;
		stop = s;
		while (stop < end && (isdigit((unsigned char)*stop) || *stop == '.'))
			stop++;
		if (stop > s && stop[-1] == '.')
			stop--;
	}
	if (stop <= s || stop - s >= 64)
		return false;
	memcpy(version, s, (size_t)(stop - s));
	version[stop - s] = 0;
	return true;
}

/* apk's data base: "P:musl", and in the same record "V:1.2.3-r4". */
static bool musl_version(uint32_t host, char version[static 64])
{
	_cleanup_buf_ struct buf text = BUF_INIT(LIBC_BYTES_MAX);
	const char *at, *end, *v;

	if (process_root_read("/proc", host, "/lib/apk/db/installed", &text))
		return false;
	at = strstr(buf_str(&text), "\nP:musl\n");
	end = at ? strstr(at, "\n\n") : NULL;
	v = at ? strstr(at, "\nV:") : NULL;
	if (!v || (end && v > end))
		return false;
	snprintf(version, 64, "%.*s", (int)MIN(strcspn(v + 3, "\n"), (size_t)63), v + 3);
	return true;
}

void system_libc(char type[static 16], char version[static 64])
{
	static const char *const glibc[] = {
		"/lib/x86_64-linux-gnu/libc.so.6",
		"/lib/aarch64-linux-gnu/libc.so.6",
		"/lib64/libc.so.6",
		"/usr/lib/libc.so.6",
		"/lib/libc.so.6",
	};
	static const char *const musl[] = {"/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"};
	uint32_t host = process_root_host("/proc");
	int fd = -1;

	snprintf(type, 16, "unknown");
	snprintf(version, 64, "unknown");
	for (size_t i = 0; i < ARRAY_SIZE(glibc); i++) {
		_cleanup_buf_ struct buf bytes = BUF_INIT(LIBC_BYTES_MAX);

		if (process_root_read("/proc", host, glibc[i], &bytes) || !bytes.len)
			continue;
		snprintf(type, 16, "glibc");
		if (system_glibc_banner(bytes.data, bytes.len, version))
			return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(musl) && fd < 0; i++)
		fd = process_root_open("/proc", host, musl[i]);
	if (fd < 0)
		return;
	close(fd);
	snprintf(type, 16, "musl");
	musl_version(host, version);
}

static json_t *platform(const char *name, const char *version)
{
	json_t *o = json_object();

	json_object_set_new(o, "provider", json_text(name));
	json_object_set_new(o, "provider_version", json_text(version));
	return o;
}

/* A host's file; an empty one is as good as none. */
static bool host_file(const char *proc, const char *path, struct buf *ret)
{
	buf_clear(ret);
	return process_root_read(proc, process_root_host(proc), path, ret) == 0 && ret->len;
}

json_t *system_big_data(const char *proc)
{
	static const char *const metrics[] = {"/databricks/spark/conf/metrics.properties",
		"/opt/databricks/spark/conf/metrics.properties"};
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	_cleanup_json_ json_t *emr = NULL;
	const char *release;
	char value[128];

	if (host_file(proc, "/mnt/var/lib/info/extraInstanceData.json", &text)) {
		emr = json_loads(buf_str(&text), 0, NULL);
		release = json_string_value(json_object_get(emr, "releaseLabel"));
		if (release)
			return platform("emr", release);
	}
	if (host_file(proc, "/databricks/DBR_VERSION", &text)) {
		text.data[strcspn(text.data, "\r\n")] = 0;
		return platform("databricks", text.data);
	}
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		if (host_file(proc, metrics[i], &text))
			return platform("databricks", "unknown");
	if (host_file(proc, "/etc/environment", &text) &&
		appid_ini_value(
			buf_str(&text), NULL, "DATAPROC_IMAGE_VERSION", value, sizeof(value)))
		return platform("dataproc", value);
	if (host_file(proc, "/opt/cloudera/cm-agent/cm_version.properties", &text) &&
		appid_ini_value(buf_str(&text), NULL, "version", value, sizeof(value)))
		return platform("cloudera", value);
	return json_object();
}

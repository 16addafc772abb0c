/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metadata.h"

#include <arpa/inet.h>
#include <ctype.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "export/col_header.h"

#define PROC_FILE_MAX (1 << 20)

void metadata_hostname(char *ret, size_t size)
{
	if (gethostname(ret, size) < 0 || !ret[0])
		snprintf(ret, size, "<unknown>");
	ret[size - 1] = 0;
}

/* The value behind `key` in text of `key<separators>value` lines; "unknown" if absent. */
static void line_value(const char *text, const char *key, char *ret, size_t size)
{
	size_t n = strlen(key);

	snprintf(ret, size, "unknown");
	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *end;

		line += *line == '\n';
		if (strncmp(line, key, n) != 0)
			continue;
		line += n;
		line += strspn(line, "\t :=\"");
		end = line + strcspn(line, "\n\"");
		snprintf(ret, size, "%.*s", (int)(end - line), line);
		return;
	}
}

static void add_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_text(value));
}

static void add_file_value(json_t *o, const char *path, const char *in, const char *key)
{
	_cleanup_buf_ struct buf text = BUF_INIT(PROC_FILE_MAX);
	char value[4096];

	fs_read_file(path, &text);
	line_value(buf_str(&text), in, value, sizeof(value));
	add_text(o, key, value);
}

static void add_memory(json_t *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT(PROC_FILE_MAX);
	char value[64];

	fs_read_file("/proc/meminfo", &text);
	line_value(buf_str(&text), "MemTotal", value, sizeof(value));
	json_object_set_new(o, "memory_capacity_mb",
		json_integer((json_int_t)((strtoull(value, NULL, 10) + 512) / 1024)));
}

const char *metadata_run_mode(void)
{
	if (getenv("GPROFILER_IN_K8S"))
		return "k8s";
	return getenv("GPROFILER_IN_CONTAINER") ? "container" : "standalone_executable";
}

static void add_libc(json_t *o)
{
#ifdef __GLIBC__
	add_text(o, "libc_type", "glibc");
	add_text(o, "libc_version", gnu_get_libc_version());
#else
	add_text(o, "libc_type", "musl");
	add_text(o, "libc_version", "unknown");
#endif
}

/* The address that speaks to the world (no packet is sent), and the hardware address of its
 * interface: the first of the machine would as well be a bridge of containers. The studio refuses a
 * profile whose mac_address is no address. */
static void add_address(json_t *o)
{
	const struct sockaddr_in world = {
		.sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(0x08080808)};
	struct sockaddr_in own = {0};
	socklen_t len = sizeof(own);
	struct ifaddrs *list = NULL;
	_cleanup_buf_ struct buf mac = BUF_INIT(64);
	char ip[INET_ADDRSTRLEN] = "unknown", path[64];
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&world, sizeof(world)) == 0 &&
		getsockname(fd, (struct sockaddr *)&own, &len) == 0)
		inet_ntop(AF_INET, &own.sin_addr, ip, sizeof(ip));
	if (getifaddrs(&list) < 0)
		list = NULL;
	for (const struct ifaddrs *i = list; i && !mac.len; i = i->ifa_next) {
		struct sockaddr_in a;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&a, i->ifa_addr, sizeof(a));
		if (own.sin_addr.s_addr ? a.sin_addr.s_addr != own.sin_addr.s_addr
					: (i->ifa_flags & IFF_LOOPBACK) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/class/net/%.16s/address", i->ifa_name);
		fs_read_file(path, &mac);
	}
	if (list)
		freeifaddrs(list);
	add_text(o, "private_ip", ip);
	if (mac.len == 18)
		mac.data[17] = 0;
	for (char *c = mac.data; mac.len == 18 && *c; c++)
		*c = (char)toupper((unsigned char)*c);
	add_text(o, "mac_address", mac.len == 18 ? buf_str(&mac) : "00:00:00:00:00:00");
}

static void add_system(json_t *o, const struct metadata_config *config)
{
	const char *mode = metadata_run_mode();
	struct utsname u;
	struct timespec boot;
	char when[32], host[65];

	uname(&u);
	clock_iso_utc(config->spawn_real_ns, when);
	add_text(o, "cloud_provider", "unknown");
	add_text(o, "agent_version", GP_VERSION);
	add_text(o, "spawn_time", when);
	add_text(o, "python_version", "none: " GP_VERSION " is a C program");
	add_text(o, "run_mode", mode);
	add_text(o, "deployment_type",
		!strcmp(mode, "k8s")	     ? "k8s"
		: !strcmp(mode, "container") ? "containers"
					     : "instances");
	add_text(o, "kernel_release", u.release);
	add_text(o, "kernel_version", u.version);
	add_text(o, "system_name", u.sysname);
	json_object_set_new(o, "processors", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
	add_file_value(o, "/proc/cpuinfo", "model name", "cpu_model_name");
	add_file_value(o, "/proc/cpuinfo", "flags", "cpu_flags");
	add_memory(o);
	metadata_hostname(host, sizeof(host));
	add_text(o, "hostname", host);
	add_text(o, "system", u.sysname);
	add_file_value(o, "/etc/os-release", "NAME=", "os_name");
	add_file_value(o, "/etc/os-release", "VERSION_ID=", "os_release");
	add_file_value(o, "/etc/os-release", "VERSION_CODENAME=", "os_codename");
	add_libc(o);
	add_text(o, "hardware_type", u.machine);
	json_object_set_new(o, "pid", json_integer(getpid()));
	add_address(o);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	json_object_set_new(o, "spawn_uptime_ms",
		json_integer((json_int_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000));
	json_object_set_new(o, "run_arguments",
		config->run_arguments ? json_deep_copy(config->run_arguments) : json_object());
	json_object_set_new(o, "big_data", json_object());
	json_object_set_new(o, "external_metadata", json_object());
	clock_iso_utc(clock_real_ns(), when);
	add_text(o, "current_time", when);
}

static json_t *containers(const struct profile *p)
{
	json_t *list = json_array();

	for (uint32_t id = 1; id <= p->contexts.len; id++) {
		const char *name = profile_text(p, profile_context_get(p, id)->container);
		size_t i;
		json_t *seen;

		if (!name[0])
			continue;
		json_array_foreach (list, i, seen)
			if (!strcmp(json_string_value(seen), name))
				break;
		if (i == json_array_size(list))
			json_array_append_new(list, json_text(name));
	}
	return list;
}

/* What contexts refer to by its index; 0 is none (3.2). */
static json_t *application_metadata(const struct profile *p)
{
	json_t *list = json_pack("[n]");

	for (uint32_t id = 1; id <= p->app_metadata.len; id++) {
		json_t *o = json_loads(intern_str(&p->app_metadata, id), 0, NULL);

		json_array_append_new(list, o ? o : json_null());
	}
	return list;
}

#define LEDGER(field) json_object_set_new(o, #field, json_integer((json_int_t)l->field))

/* Ours, after the reference's keys: consumers look keys up by name. */
static json_t *ledger(const struct profile_ledger *l)
{
	json_t *o = json_object(), *reasons = json_object();

	LEDGER(expected);
	LEDGER(entries);
	LEDGER(idle);
	LEDGER(filtered);
	LEDGER(kernel_only);
	LEDGER(complete);
	LEDGER(handoff);
	LEDGER(finished_complete);
	LEDGER(finished_truncated);
	LEDGER(finished_broken);
	LEDGER(finished_late);
	LEDGER(truncated);
	LEDGER(broken);
	LEDGER(bits32);
	LEDGER(no_user);
	LEDGER(lost_ring);
	LEDGER(aggregation_full);
	LEDGER(left_out);
	LEDGER(idle_silent);
	LEDGER(not_delivered);
	LEDGER(throttled);
	LEDGER(side_band_lost);
	LEDGER(frames);
	LEDGER(frames_unnamed);
	LEDGER(frames_no_symbols);
	LEDGER(read);
	LEDGER(read_stacks);
	LEDGER(read_torn);
	LEDGER(read_failed);
	LEDGER(read_unseen);
	for (size_t i = 1; i < REC_WHY_MAX; i++)
		if (col_header_reasons[i] && l->broken_reasons[i])
			json_object_set_new(reasons, col_header_reasons[i],
				json_integer((json_int_t)l->broken_reasons[i]));
	json_object_set_new(o, "reasons", reasons);
	return o;
}

/* When the run was, for who reads the file back (export/col_header) or sends it later. */
static void add_times(json_t *header, const struct profile_meta *m)
{
	char when[32];

	if (!m->start_real_ns)
		return;
	clock_iso_utc(m->start_real_ns, when);
	add_text(header, "start_time", when);
	clock_iso_utc(m->start_real_ns + m->duration_ns, when);
	add_text(header, "end_time", when);
	json_object_set_new(header, "duration_ns", json_integer((json_int_t)m->duration_ns));
}

json_t *metadata_header(const struct metadata_config *config, const struct profile *p)
{
	json_t *header = json_object(), *metadata = json_object(), *metrics = json_object();
	char host[65];

	if (config->collect) {
		add_system(metadata, config);
	} else {
		metadata_hostname(host, sizeof(host));
		add_text(metadata, "hostname", host);
	}
	add_text(metadata, "profiling_mode", "cpu");
	json_object_set_new(metadata, "continuous", json_boolean(config->continuous));
	json_object_set_new(metrics, "cpu_avg", json_null());
	json_object_set_new(metrics, "mem_avg", json_null());
	json_object_set_new(header, "containers", containers(p));
	json_object_set_new(
		header, "container_names_enabled", json_boolean(config->container_names));
	json_object_set_new(header, "metadata", metadata);
	json_object_set_new(header, "metrics", metrics);
	json_object_set_new(header, "application_metadata", application_metadata(p));
	json_object_set_new(
		header, "application_metadata_enabled", json_boolean(config->application_metadata));
	add_text(header, "profiling_mode", "cpu");
	json_object_set_new(header, "hwmetrics", json_null());
	json_object_set_new(header, "htmlblob", json_null());
	json_object_set_new(header, "flamegraph_html", json_null());
	add_text(header, "sampling_event", config->event);
	add_text(header, "sampling_mode", "frequency");
	json_object_set_new(header, "sampling_frequency", json_integer(config->frequency));
	add_times(header, &p->meta);
	if (p->meta.has_ledger)
		json_object_set_new(header, "ledger", ledger(&p->meta.ledger));
	return header;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/system_facts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/thread.h"
#include "delivery/cloud.h"
#include "process/root.h"

#define PROC_FILE_MAX (1 << 20)
#define HOST_FILE_MAX 65536
#define STACK_BYTES ((size_t)512 << 10)

struct system_facts {
	struct system_config config;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t done_cond;
	json_t *facts; // of the thread until done
	json_t *cloud; // cloud_info, NULL none
	char provider[CLOUD_PROVIDER_MAX];
	bool facts_done, done;
};

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

static void add_cpu(json_t *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT(PROC_FILE_MAX);
	char value[4096];

	fs_read_file("/proc/cpuinfo", &text);
	line_value(buf_str(&text), "model name", value, sizeof(value));
	add_text(o, "cpu_model_name", value);
	line_value(buf_str(&text), "flags", value, sizeof(value));
	if (!strcmp(value, "unknown"))
		line_value(buf_str(&text), "Features", value, sizeof(value));
	add_text(o, "cpu_flags", value);
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

const char *system_run_mode(void)
{
	if (getenv("GPROFILER_IN_K8S"))
		return "k8s";
	return getenv("GPROFILER_IN_CONTAINER") ? "container" : "standalone_executable";
}

static void add_os(json_t *o)
{
	_cleanup_buf_ struct buf text = BUF_INIT(HOST_FILE_MAX);
	uint32_t host = process_root_host("/proc");
	char value[256];

	if (process_root_read("/proc", host, "/etc/os-release", &text) && !text.len)
		process_root_read("/proc", host, "/usr/lib/os-release", &text);
	line_value(buf_str(&text), "NAME=", value, sizeof(value));
	add_text(o, "os_name", value);
	line_value(buf_str(&text), "VERSION_ID=", value, sizeof(value));
	add_text(o, "os_release", value);
	line_value(buf_str(&text), "VERSION_CODENAME=", value, sizeof(value));
	add_text(o, "os_codename", value);
}

static void read_facts(struct system_facts *f, json_t *o)
{
	char when[32], host[SYSTEM_HOSTNAME_MAX], ip[46], mac[18], libc[16], libc_version[64];
	const char *mode = system_run_mode();
	uint64_t now = clock_real_ns(), spawned = f->config.spawn_real_ns;
	struct timespec boot;
	struct utsname u;
	json_int_t up;

	uname(&u);
	clock_iso_utc(spawned, when);
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
	add_cpu(o);
	add_memory(o);
	system_hostname("/proc", host);
	add_text(o, "hostname", host);
	add_text(o, "system", u.sysname);
	add_os(o);
	system_libc(libc, libc_version);
	add_text(o, "libc_type", libc);
	add_text(o, "libc_version", libc_version);
	add_text(o, "hardware_type", u.machine);
	json_object_set_new(o, "pid", json_integer(getpid()));
	system_address(ip, mac);
	add_text(o, "mac_address", mac);
	add_text(o, "private_ip", ip);
	// When this program began: the studio takes it from spawn_time to know one boot from the next.
	clock_gettime(CLOCK_BOOTTIME, &boot);
	up = (json_int_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000;
	if (now > spawned)
		up -= (json_int_t)((now - spawned) / NSEC_PER_MSEC);
	json_object_set_new(o, "spawn_uptime_ms", json_integer(up));
	json_object_set_new(o, "big_data", system_big_data("/proc"));
}

static void *work(void *arg)
{
	struct system_facts *f = arg;
	char provider[CLOUD_PROVIDER_MAX] = "";
	json_t *facts = json_object(), *cloud;

	cloud_enter_host_network();
	read_facts(f, facts);
	pthread_mutex_lock(&f->lock);
	f->facts = facts;
	f->facts_done = true;
	pthread_cond_broadcast(&f->done_cond);
	pthread_mutex_unlock(&f->lock);
	cloud = f->config.cloud ? cloud_ask(provider) : NULL;
	pthread_mutex_lock(&f->lock);
	f->cloud = cloud;
	memcpy(f->provider, provider, sizeof(provider));
	f->done = true;
	pthread_cond_broadcast(&f->done_cond);
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

int system_facts_start(const struct system_config *config, struct system_facts **ret)
{
	struct system_facts *f = calloc(1, sizeof(*f));
	pthread_condattr_t condition;
	int r;

	if (!f)
		return -ENOMEM;
	f->config = *config;
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&condition);
	pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
	pthread_cond_init(&f->done_cond, &condition);
	pthread_condattr_destroy(&condition);
	r = thread_start(&f->thread, STACK_BYTES, work, f);
	if (r) {
		free(f);
		return r;
	}
	*ret = f;
	return 0;
}

bool system_facts_free(struct system_facts *f)
{
	bool done;

	if (!f)
		return true;
	pthread_mutex_lock(&f->lock);
	done = f->done;
	pthread_mutex_unlock(&f->lock);
	if (!done) {
		pthread_detach(f->thread);
		return false;
	}
	pthread_join(f->thread, NULL);
	json_decref(f->facts);
	json_decref(f->cloud);
	pthread_mutex_destroy(&f->lock);
	pthread_cond_destroy(&f->done_cond);
	free(f);
	return true;
}

void system_facts_add(struct system_facts *f, json_t *o, unsigned timeout_ms)
{
	uint64_t deadline = clock_mono_ns() + timeout_ms * NSEC_PER_MSEC;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline % NSEC_PER_SEC),
	};
	const char *key;
	json_t *value;
	int r = 0;

	pthread_mutex_lock(&f->lock);
	// What lies on this machine is read in milliseconds, and every header needs it.
	while (!f->facts_done)
		pthread_cond_wait(&f->done_cond, &f->lock);
	while (!f->done && !r)
		r = pthread_cond_timedwait(&f->done_cond, &f->lock, &until);
	json_object_foreach (f->facts, key, value)
		json_object_set_new(o, key, json_deep_copy(value));
	if (f->done && f->cloud) {
		add_text(o, "cloud_provider", f->provider);
		json_object_set_new(o, "cloud_info", json_deep_copy(f->cloud));
	}
	pthread_mutex_unlock(&f->lock);
}

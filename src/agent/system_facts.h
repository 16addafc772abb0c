/* SPDX-License-Identifier: Apache-2.0 */
/* agent/system_facts.h -- what this machine is: the part of the reference's `metadata` object that does
 * not change (gprofiler-agent.md 5.1 to 5.3), of the host, whatever container we are in.
 *
 * Read once, on a thread of its own: the cloud may take seconds to answer. Nothing of it is waited for
 * but by who makes the first header, and that for a second at most beyond what the network needs to
 * say no. Nothing is executed. */
#ifndef GP_AGENT_SYSTEM_FACTS_H
#define GP_AGENT_SYSTEM_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

#define SYSTEM_UNKNOWN_MAC "00:00:00:00:00:00"
#define SYSTEM_HOSTNAME_MAX 65 // HOST_NAME_MAX of Linux, and the end

struct system_config {
	uint64_t spawn_real_ns; // start of this program
	bool cloud; // ask for it
};

struct system_facts;

/* Starts to read. Return 0, -errno. */
int system_facts_start(const struct system_config *config, struct system_facts **ret);
/* Return false if the cloud is still being asked: then it must be left alone until the process exits. */
bool system_facts_free(struct system_facts *f);
/* Adds all keys up to cloud_info, in the reference's order, to o; waits timeout_ms at most for the
 * cloud, without which it is unknown in this header and may be known in the next. */
void system_facts_add(struct system_facts *f, json_t *o, unsigned timeout_ms);

/* Parts, for heartbeats and tests. Any thread. */

/* The host's name, after cloud_enter_host_network(); "<unknown>" if there is none. Where the host's name
 * space stays closed to us it is what its /etc/hostname says. proc: "/proc", or a fixture. */
void system_hostname(const char *proc, char ret[static SYSTEM_HOSTNAME_MAX]);
/* "k8s", "container" or "standalone_executable". */
const char *system_run_mode(void);
/* The address that speaks to the world ("unknown") and the hardware address of its interface. */
void system_address(char ip[static 46], char mac[static 18]);
/* Type ("glibc", "musl", "unknown") and version of the C library of the host. */
void system_libc(char type[static 16], char version[static 64]);
/* The version in the bytes of a C library of GNU: "GNU C Library (Debian GLIBC 2.36-9) stable release
 * version 2.36." Return true if there is one. */
bool system_glibc_banner(const char *bytes, size_t len, char version[static 64]);
/* {"provider", "provider_version"} of EMR, Databricks, Dataproc or Cloudera; {} without. proc: "/proc",
 * or a fixture. */
json_t *system_big_data(const char *proc);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* agent/application.h -- what runs in a process: its application id and metadata (gprofiler-agent.md
 * 3.6 and 3.13).
 *
 * The reference runs the target's binary to ask it; here everything is read, from /proc, from files
 * below the target's root and from its auxiliary vector. A process that is gone yields nothing. Owned
 * by one thread. */
#ifndef GP_AGENT_APPLICATION_H
#define GP_AGENT_APPLICATION_H

#include "agent/program_file.h"
#include "base/json.h"
#include "config/options.h"
#include "process/appid.h"
#include "process/hsperf.h"
#include "process/java_options.h"

struct applications {
	const struct options *options;
	const char *proc; // "/proc", or a fixture
	struct program_files files;
	struct appid_config appid;
	regex_t filters[APPID_FILTERS_MAX];
	struct arguments args; // scratch
	struct hsperf hsperf; // scratch
	struct java_options java_options; // scratch
};

/* Return 0; -EINVAL a filter is no regular expression (said in the log); -ENOMEM. */
int applications_init(struct applications *a, const struct options *options, const char *proc);
void applications_deinit(struct applications *a);

/* Reads a process. appid (may be NULL) gets the id, or stays empty; *ret_metadata an object, or NULL
 * where the reference has none. Return 0; -ESRCH gone; -ENOMEM, -errno. */
int application_read(
	struct applications *a, uint32_t pid, struct buf *appid, json_t **ret_metadata);

/* Does a mapping of p tell of an interpreter? Of who maps nothing that is known, too. Any thread that may read t. */
bool application_shows(const struct process_table *t, const struct process *p);
/* Of a process none of whose mappings shows anything: whether its program is one of which an earlier reading found
 * that there is nothing to tell. One system call, where a reading takes twenty. */
bool application_is_plain(const struct applications *a, uint32_t pid);

#endif

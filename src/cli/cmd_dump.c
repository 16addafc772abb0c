/* SPDX-License-Identifier: Apache-2.0 */
/* gprofiler dump -p PID: every thread of a process and its stack, now: kernel, native and Python. Takes no
 * lock, stops nothing. Exit status: see the help (config/table.c). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/dump_entries.h"
#include "cli/dump_print.h"

#define EXIT_USAGE 2

int cli_dump(const struct options *options, int argc, char **argv)
{
	uint32_t pid = (uint32_t)options->dump_pid;
	struct log_config log = {.console_stderr = true, .verbose = options->verbose};
	struct dump d;
	int r;

	if (!pid || argc > 1) {
		fprintf(stderr, "gprofiler dump: error: %s%.64s (see gprofiler dump --help)\n",
			pid ? "unrecognized arguments: " : "which process? give it by -p PID",
			pid ? argv[1] : "");
		return EXIT_USAGE;
	}
	log_open(&log);
	r = dump_init(&d);
	if (!r)
		r = dump_gather(&d, options);
	if (!r)
		r = dump_print(&d, options->dump_json);
	if (r == -ENOENT || r == -ESRCH)
		fprintf(stderr, "gprofiler dump: error: there is no process %u\n", pid);
	else if (r)
		fprintf(stderr, "gprofiler dump: error: reading process %u: %s%s\n", pid,
			strerror(-r),
			r == -EPERM || r == -EACCES
				? " (it takes its user's rights, or CAP_SYS_PTRACE)"
				: "");
	dump_deinit(&d);
	return r ? 1 : 0;
}

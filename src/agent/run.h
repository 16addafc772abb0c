/* SPDX-License-Identifier: Apache-2.0 */
/* agent/run.h -- one profile from options to files: what `gprofiler` without a verb does. */
#ifndef GP_AGENT_RUN_H
#define GP_AGENT_RUN_H

#include "config/options.h"

/* Checks what must hold, samples for the asked time (or as long as the command runs), writes the
 * files. Return the exit status (gprofiler-agent.md 1.6), or the command's. */
int run_profile(const struct options *options);

#endif

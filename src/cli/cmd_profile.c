/* SPDX-License-Identifier: Apache-2.0 */
/* The run without a verb: profile, as the reference does. */
#include "agent/run.h"
#include "cli/cli.h"

int cli_profile(const struct options *options, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return run_profile(options);
}

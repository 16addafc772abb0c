/* SPDX-License-Identifier: Apache-2.0 */
/* cli/cli.h -- one row a verb, one file a verb; main picks the row. */
#ifndef GP_CLI_CLI_H
#define GP_CLI_CLI_H

struct options;

struct cli_verb {
	const char *name; // NULL: the verb-less profile run
	const char *summary;
	/* Runs with parsed options and what is left of the command line (argv[0] is the verb).
	 * Return the exit status. */
	int (*run)(const struct options *options, int argc, char **argv);
};

int cli_profile(const struct options *options, int argc, char **argv);
int cli_check(const struct options *options, int argc, char **argv);
int cli_dump(const struct options *options, int argc, char **argv);
int cli_convert(const struct options *options, int argc, char **argv);
int cli_diff(const struct options *options, int argc, char **argv);
int cli_status(const struct options *options, int argc, char **argv);
int cli_top(const struct options *options, int argc, char **argv);
int cli_upload_file(const struct options *options, int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The program: parses options, picks the verb. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "cli/cli.h"
#include "config/options.h"

#define TEXT_MAX (1 << 20)
#define EXIT_USAGE 2

/* The row without a name is what runs without a verb; the row without a function ends the table. */
static const struct cli_verb verbs[] = {
	{NULL, "profile this machine, processes or a command", cli_profile},
	{"check", "what this machine allows, and how to get more", cli_check},
	{"convert", "one form of a profile into another", cli_convert},
	{"diff", "what changed between two profiles", cli_diff},
	{"dump", "the stacks of a process, now", cli_dump},
	{"status", "how the running agent is", cli_status},
	{"top", "what runs now, on the terminal", cli_top},
	{"upload-file", "a .col file to the studio", cli_upload_file},
	{0},
};

static const struct cli_verb *find_verb(const char *name)
{
	for (const struct cli_verb *v = verbs; v->run; v++)
		if (name && v->name ? strcmp(name, v->name) == 0 : !name && !v->name)
			return v;
	return NULL;
}

/* "help VERB" is "VERB --help". Words live in argv, which outlives the options. */
static void help_verb_to_option(int *argc, char **argv)
{
	static char help[] = "--help";

	if (*argc < 2 || strcmp(argv[1], "help") != 0)
		return;
	if (*argc > 2)
		argv[1] = argv[2];
	argv[*argc > 2 ? 2 : 1] = help;
	*argc = *argc > 2 ? 3 : 2;
}

static int unknown_verb(const struct options *o)
{
	if (!o->verb) {
		fputs("gprofiler: error: this build cannot profile\n", stderr);
		return EXIT_USAGE;
	}
	fprintf(stderr,
		"gprofiler: error: unrecognized arguments: %.64s (to profile a command: gprofiler "
		"-- %.64s ...; see gprofiler --help)\n",
		o->verb, o->verb);
	return EXIT_USAGE;
}

/* Descriptors 0 to 2 are open, so that no file of ours becomes standard output. */
static void open_standard(void)
{
	for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = dup(fd)) {
		if (fd > STDERR_FILENO) {
			close(fd);
			return;
		}
	}
}

/* A reader that goes away ends a verb that prints, and must not end the agent in mid-window: the
 * profile run sees -EPIPE from its writes instead. */
static void set_sigpipe(const struct options *o)
{
	signal(SIGPIPE, o->verb ? SIG_DFL : SIG_IGN);
}

static int show(const struct buf *text, FILE *where)
{
	fputs(buf_str(text), where);
	return fflush(where) || ferror(where) ? 1 : 0;
}

static int run(int argc, char **argv)
{
	_cleanup_options_ struct options options;
	_cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
	const char *system_file = getenv(OPTIONS_SYSTEM_FILE_ENV);
	const struct options_input in = {
		.env = environ,
		.system_file = system_file ? system_file : OPTIONS_SYSTEM_FILE,
	};
	const struct cli_verb *verb;
	int r;

	help_verb_to_option(&argc, argv);
	r = options_parse(&options, argc, argv, &in, &text);
	if (r < 0) {
		fprintf(stderr, "gprofiler: error: reading options: %s\n", strerror(-r));
		return 1;
	}
	if (r == OPTIONS_SHOWN)
		return show(&text, stdout);
	if (r == OPTIONS_REFUSED) {
		show(&text, stderr);
		return EXIT_USAGE;
	}
	verb = find_verb(options.verb);
	if (!verb)
		return unknown_verb(&options);
	set_sigpipe(&options);
	// Output of a verb goes out even if it forgot to flush; a full disk is a failure.
	r = options.verb ? verb->run(&options, (int)options.args.len, options.args.data)
			 : verb->run(&options, options.command_argc, options.command);
	if (fflush(stdout) && r == 0) {
		fprintf(stderr, "gprofiler: error: writing to standard output: %s\n",
			strerror(errno));
		r = 1;
	}
	return r;
}

int main(int argc, char **argv)
{
	open_standard();
	return run(argc, argv);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* process/java_options.h -- what a JVM was told when it was started, wherever it was said: arguments, argument
 * files (@file), and the variables that the launcher and the JVM look at.
 *
 * In the order in which the JVM obeys them, so that the last of two that contradict each other holds:
 * JAVA_TOOL_OPTIONS, what the launcher `java` makes of JDK_JAVA_OPTIONS and of its arguments, _JAVA_OPTIONS
 * (jdk: Arguments::parse in arguments.cpp; JLI_AddArgsFromEnvVar and JLI_PreprocessArg in args.c). Of the
 * environment nothing else is looked at. All of it is the target's own and hostile. Owned by its reader's
 * thread. */
#ifndef GP_PROCESS_JAVA_OPTIONS_H
#define GP_PROCESS_JAVA_OPTIONS_H

#include <stdbool.h>

#include "process/arguments.h"

#define JAVA_OPTIONS_MAX 1024
#define JAVA_OPTIONS_BYTES_MAX (256u << 10) // what is longer is cut at an option

struct java_option {
	uint32_t at; // in text, NUL-terminated
	bool environment; // of JAVA_TOOL_OPTIONS or _JAVA_OPTIONS: the JVM calls these so, not the launcher's
};

struct java_options {
	struct buf text;
	struct java_option all[JAVA_OPTIONS_MAX];
	unsigned n;
};

void java_options_init(struct java_options *o);
void java_options_deinit(struct java_options *o);
/* Reads them: args are those of the process. What cannot be read is left out. proc: "/proc", or a fixture. Return
 * 0, -ENOMEM. */
int java_options_read(
	struct java_options *o, const char *proc, uint32_t pid, const struct arguments *args);
static inline const char *java_option_text(const struct java_options *o, unsigned i)
{
	return o->text.data + o->all[i].at;
}

/* Parts of it, for tests and fuzzing. Each appends the words of a text. Return 0, -ENOMEM. */

/* A variable: blanks apart, quotes of both kinds keep them together, there is no escape. */
int java_options_variable(struct java_options *o, const char *text, bool environment);
/* An argument file: besides, a backslash in quotes escapes, '#' begins a comment, a backslash at the end of
 * a line joins the next one. */
int java_options_file(struct java_options *o, const char *text);

#endif

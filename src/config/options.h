/* SPDX-License-Identifier: Apache-2.0 */
/* config/options.h -- what the user asked for.
 *
 * The rows of options.def are the fields. Values come, the stronger over the weaker, from the
 * command line, the environment (GPROFILER_<LONG_NAME>), the file of --config,
 * /etc/gprofiler/config.ini, the row's default (gprofiler-agent.md 1.1). Parsed once by the main
 * thread, then read-only. */
#ifndef GP_CONFIG_OPTIONS_H
#define GP_CONFIG_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/vec.h"

VEC_DEFINE(option_pids, uint32_t)
VEC_DEFINE(option_list, char *) // owned texts

/* Values of ENUM fields: the order of the row's values. */
enum option_mode { OPTION_MODE_CPU, OPTION_MODE_ALLOCATION, OPTION_MODE_NONE };
enum option_source_kind {
	OPTION_SOURCE_AUTO,
	OPTION_SOURCE_BPF,
	OPTION_SOURCE_RING,
	OPTION_SOURCE_READER,
};
enum option_perf_mode {
	OPTION_PERF_FP,
	OPTION_PERF_DWARF,
	OPTION_PERF_SMART,
	OPTION_PERF_DISABLED,
};
enum option_python_mode {
	OPTION_PYTHON_AUTO,
	OPTION_PYTHON_PYPERF,
	OPTION_PYTHON_PYSPY,
	OPTION_PYTHON_DISABLED,
};
enum option_convert_from {
	OPTION_FROM_AUTO,
	OPTION_FROM_PERF_SCRIPT,
	OPTION_FROM_COLLAPSED,
	OPTION_FROM_PPROF,
};
enum option_cloud { OPTION_CLOUD_AUTO, OPTION_CLOUD_OFF };
enum option_profile_api { OPTION_PROFILE_API_V2, OPTION_PROFILE_API_V1 };
enum option_dialect { OPTION_DIALECT_GPROFILER, OPTION_DIALECT_FLAMEGRAPH };
/* Also the values of convert_to. */
enum option_format {
	OPTION_FORMAT_COLLAPSED,
	OPTION_FORMAT_HTML,
	OPTION_FORMAT_PPROF,
	OPTION_FORMAT_SPEEDSCOPE,
};
/* Bits of the MASK field `format`. */
#define OPTION_FORMAT_BIT(f) (1u << (f))

/* OPTION_<field>: the row of a field; aliases have rows of their own. */
enum option_id {
#define OPT(field, ...) OPTION_##field,
#define ALIAS(id, ...) OPTION_##id,
#include "config/options.def"
#undef OPT
#undef ALIAS
	OPTION_COUNT,
};

/* Where a value came from, weakest first. */
enum option_origin {
	OPTION_FROM_DEFAULT,
	OPTION_FROM_SYSTEM_FILE,
	OPTION_FROM_FILE,
	OPTION_FROM_ENVIRONMENT,
	OPTION_FROM_COMMAND_LINE,
	OPTION_FROM_STUDIO, // a command of the server, for one profile
};

#define OPTION_C_FLAG_ON bool
#define OPTION_C_FLAG_OFF bool
#define OPTION_C_ACTION bool
#define OPTION_C_UINT uint64_t
#define OPTION_C_SIZE uint64_t // bytes
#define OPTION_C_STR char * // owned; NULL when not set
#define OPTION_C_ENUM int
#define OPTION_C_MASK unsigned
#define OPTION_C_PIDS struct option_pids
#define OPTION_C_LIST struct option_list

struct options {
#define OPT(field, type, ...) OPTION_C_##type field;
#define ALIAS(...)
#include "config/options.def"
#undef OPT
#undef ALIAS
	uint8_t origin[OPTION_COUNT]; // enum option_origin, by field's row
	struct option_list warnings; // sentences to log once the log is open
	const char *verb; // first word that is no option, or NULL
	struct option_list args; // verb and the words after it; args.data[0] == verb
	const char *system_file; // as it was read, not owned; NULL: none
	char **command; // what follows "--" without a verb; points into argv, NULL-terminated, or NULL
	int command_argc;
};

enum options_result {
	OPTIONS_RUN = 0,
	OPTIONS_SHOWN, // --help, --version: text goes to stdout, exit 0
	OPTIONS_REFUSED, // text goes to stderr, exit 2
};

/* Where options come from besides argv. */
struct options_input {
	char *const *env; // "NAME=value", NULL-terminated; may be NULL
	const char *system_file; // NULL: none
};

#define OPTIONS_SYSTEM_FILE "/etc/gprofiler/config.ini"
/* Names another file than OPTIONS_SYSTEM_FILE; empty: none. For tests and packagers. */
#define OPTIONS_SYSTEM_FILE_ENV "GPROFILER_SYSTEM_CONFIG"

/* Parses everything into *o (which is initialised here; options_deinit() it whatever comes back).
 * Secrets in argv are overwritten, so that process listings do not show them.
 * Return enum options_result with what to print appended to text, or -ENOMEM. */
int options_parse(
	struct options *o, int argc, char **argv, const struct options_input *in, struct buf *text);
void options_deinit(struct options *o);
/* What the config files say now of options that may change while running (LIVE), where neither the environment nor
 * the command line said more. changed: their names and new values, "" if none. Return 0; 1 with the reason in why,
 * and *o as it was; -ENOMEM. */
int options_reload(struct options *o, struct buf *changed, struct buf *why);
/* A copy with texts and lists of its own; its verb and command are from's, which must outlive it. ret is
 * overwritten. Return 0 or -ENOMEM (then ret is empty). */
int options_copy(struct options *ret, const struct options *from);
/* Sets a field over whatever it holds, as a command of the studio may; text as on the command line.
 * Return 0; 1 with the reason in why; -ENOMEM. */
int options_set(struct options *o, enum option_id id, const char *text, struct buf *why);
/* Whether this version can do what they ask. Return 0; 1 with the reason in why. */
int options_check(const struct options *o, struct buf *why);
/* Whether a value of an ENUM field is one of this version. */
bool options_has_value(enum option_id id, int value);
static inline void cleanup_options(struct options *o)
{
	options_deinit(o);
}
#define _cleanup_options_ _cleanup_(cleanup_options)

static inline bool options_given(const struct options *o, enum option_id id)
{
	return o->origin[id] != OPTION_FROM_DEFAULT;
}

/* Appends the value of a field as the parser would read it ("smart", "collapsed,html", "1,2");
 * "***" for a secret that is set, and for user and password of a URL. */
void options_value_text(const struct options *o, enum option_id id, struct buf *out);
/* Every field that was given, {long name with underscores: value} as readers of the reference's
 * run_arguments look them up, without secrets; NULL without memory. */
json_t *options_to_json(const struct options *o);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* config/table.h -- the rows of options.def as data; inside config/ and for its tests. */
#ifndef GP_CONFIG_TABLE_H
#define GP_CONFIG_TABLE_H

#include "config/options.h"

enum option_type {
	OPTION_TYPE_FLAG_ON,
	OPTION_TYPE_FLAG_OFF,
	OPTION_TYPE_ACTION,
	OPTION_TYPE_UINT,
	OPTION_TYPE_SIZE,
	OPTION_TYPE_STR,
	OPTION_TYPE_ENUM,
	OPTION_TYPE_MASK,
	OPTION_TYPE_PIDS,
	OPTION_TYPE_LIST,
};

/* See options.def. */
enum option_flags {
	OPTION_REF = 1 << 0,
	OPTION_NOT_YET = 1 << 1,
	OPTION_ACCEPTED = 1 << 2,
	OPTION_SECRET = 1 << 3,
	OPTION_HIDDEN = 1 << 4,
	OPTION_CLI = 1 << 5,
	OPTION_LIVE = 1 << 6,
	OPTION_OPTARG = 1 << 7,
	OPTION_LATER = 1 << 8,
};

enum option_group {
	OPTION_GROUP_TARGET,
	OPTION_GROUP_OUTPUT,
	OPTION_GROUP_NATIVE,
	OPTION_GROUP_RUNTIME,
	OPTION_GROUP_GUARD,
	OPTION_GROUP_STUDIO,
	OPTION_GROUP_PROGRAM,
	OPTION_GROUP_CHECK,
	OPTION_GROUP_CONVERT,
	OPTION_GROUP_DIFF,
	OPTION_GROUP_DUMP,
	OPTION_GROUP_STATUS,
	OPTION_GROUP_TOP,
	OPTION_GROUP_UPLOAD_FILE,
	OPTION_GROUP_COUNT,
};

struct option_group_row {
	const char *title;
	const char *verb; // NULL: options of the program
	const char *usage; // of the verb, after its name
	const char *notes; // of the verb, at the end of its help; may be NULL
};

struct option_row {
	const char *name; // without dashes
	char letter; // 0: none
	uint8_t type, group;
	uint16_t flags;
	uint16_t target; // row of the field: itself, or what an alias names
	size_t offset; // of the field in struct options
	const char *constant; // alias: what giving it sets
	const char *def;
	uint64_t min, max;
	const char *values;
	const char *help;
};

extern const struct option_row option_rows[OPTION_COUNT];
extern const struct option_group_row option_groups[OPTION_GROUP_COUNT];

/* The next of a row's values: 0 or more spellings. Walks `*pos` (start with row->values) and writes
 * one spelling; `index` counts values, not spellings. False at the end. */
struct option_value_walk {
	const char *pos;
	unsigned index; // of `text`
	bool not_yet, later; // marked "!", "~"
	bool first; // the spelling shown to people
	char text[40];
};
bool option_values_next(struct option_value_walk *w);

static inline bool option_is_flag(const struct option_row *row)
{
	return row->constant || row->type <= OPTION_TYPE_ACTION;
}

/* Sets the field of row `id` from text (NULL: a flag that was given). A value of a stronger origin
 * replaces, of the same origin extends lists. Return 0; 1 with the reason in why; -ENOMEM. */
int option_assign(struct options *o, enum option_id id, const char *text, enum option_origin from,
	struct buf *why);
/* Makes *o hold every row's default. Return as option_assign(). */
int option_defaults(struct options *o, struct buf *why);
/* Takes a number or a flag, and where it came from, from another one; a change is appended as "name = value". */
void option_take(
	struct options *o, const struct options *from, enum option_id id, struct buf *changed);
/* True if the field holds its default. */
bool option_is_default(const struct options *o, enum option_id id);
/* true/yes/on/1 and false/no/off/0, any case. Return 0, -EINVAL. */
int option_parse_bool(const char *text, bool *ret);
/* Digits, with an optional + and blanks around. Return 0, -EINVAL, -ERANGE. */
int option_parse_uint(const char *text, uint64_t *ret);
/* "2mb", "512 KiB", "100": binary units whatever their spelling. Return 0, -EINVAL, -ERANGE. */
int option_parse_size(const char *text, uint64_t *ret);
int option_warn(struct options *o, const char *fmt, ...) _printf_(2, 3);

/* By long name, without dashes and whole. OPTION_COUNT if there is none. */
enum option_id option_find(const char *name);
/* The long name nearest to a mistyped one, or NULL. */
const char *option_nearest(const char *name, size_t len);

/* The text of one file, as read: every key is assigned from `from`. Syntax in file.c.
 * Return 0; 1 with the reason in why; -ENOMEM. */
int option_file_parse(
	struct options *o, const char *text, size_t len, enum option_origin from, struct buf *why);

/* The command line, into o's verb, args and command, and a list of what to assign. */
struct option_given {
	uint16_t id;
	const char *text; // NULL for a flag; points into argv
};
VEC_DEFINE(option_givens, struct option_given)
/* Return 0; 1 with the reason in why; -ENOMEM. */
int option_cmdline_scan(
	struct options *o, int argc, char **argv, struct option_givens *ret, struct buf *why);

/* Rules between options, after everything is assigned (gprofiler-agent.md 1.4). Return 0; 1 with
 * the reason in why; -ENOMEM. */
int option_validate(struct options *o, struct buf *why);

/* verb NULL: the program. */
void option_usage(struct buf *out, const char *verb);
void option_help(struct buf *out, const char *verb);
void option_man(struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* --help and the man page, from the rows. */
#include "config/table.h"

#include <string.h>

#define COLUMNS 80
#define INDENT 26

static const struct option_group_row *verb_group(const char *verb)
{
	for (unsigned i = 0; verb && i < OPTION_GROUP_COUNT; i++)
		if (option_groups[i].verb && strcmp(option_groups[i].verb, verb) == 0)
			return &option_groups[i];
	return NULL;
}

void option_usage(struct buf *out, const char *verb)
{
	const struct option_group_row *group = verb_group(verb);

	if (group)
		buf_printf(out, "usage: gprofiler %s %s\n", group->verb, group->usage);
	else
		buf_append_str(out,
			"usage: gprofiler -o DIR [-d SECONDS] [-f HZ] [options]\n"
			"       gprofiler [options] -p PID[,PID...]\n"
			"       gprofiler [options] -- COMMAND [ARGUMENT...]\n"
			"       gprofiler check | convert | diff | dump | status | top |\n"
			"                 upload-file [options]\n");
}

/* How a value is written: "fp|dwarf", "HZ"; nothing for a flag. */
static void append_metavar(struct buf *out, const struct option_row *named)
{
	const struct option_row *row = &option_rows[named->target];
	struct option_value_walk w = {.pos = row->values};
	const char *separator = "";

	if (named->constant || option_is_flag(row))
		return;
	if (row->type == OPTION_TYPE_LIST && strchr(row->values, '|')) {
		buf_append_str(out, " NAME[,NAME...]");
		return;
	}
	if (row->type != OPTION_TYPE_ENUM && row->type != OPTION_TYPE_MASK) {
		buf_printf(out, row->flags & OPTION_OPTARG ? " [%s]" : " %s", row->values);
		return;
	}
	buf_append_char(out, ' ');
	while (option_values_next(&w)) {
		if (!w.first || w.not_yet || w.later)
			continue;
		buf_printf(out, "%s%s", separator, w.text);
		separator = row->type == OPTION_TYPE_ENUM ? "|" : ",";
	}
}

/* Words of text from column `at` on, broken at COLUMNS, continued at INDENT. */
static void append_wrapped(struct buf *out, const char *text, size_t at)
{
	const char *gap = "";

	while (*text) {
		size_t n = strcspn(text, " ");

		if (at + strlen(gap) + n >= COLUMNS && at > INDENT) {
			buf_printf(out, "\n%*s", INDENT, "");
			at = INDENT;
			gap = "";
		}
		buf_printf(out, "%s%.*s", gap, (int)n, text);
		at += strlen(gap) + n;
		text += n;
		text += strspn(text, " ");
		gap = " ";
	}
	buf_append_char(out, '\n');
}

/* "a, b, c" of a list's names, which are too many for the line of the option. */
static void append_names_of(struct buf *out, const struct option_row *row)
{
	struct option_value_walk w = {.pos = row->values};
	const char *separator = ": ";

	while (option_values_next(&w)) {
		if (!w.first)
			continue;
		buf_printf(out, "%s%s", separator, w.text);
		separator = ", ";
	}
}

static void append_help_text(struct buf *text, const struct option_row *row)
{
	buf_append_str(text, row->help);
	if (row->type == OPTION_TYPE_LIST && strchr(row->values, '|'))
		append_names_of(text, row);
	if (row->target == row - option_rows && *row->def && !option_is_flag(row))
		buf_printf(text, " (default %s)", row->def);
}

static void append_option(struct buf *out, const struct option_row *row)
{
	_cleanup_buf_ struct buf head = BUF_INIT(4096);
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	size_t at;

	if (row->letter)
		buf_printf(&head, "  -%c, --%s", row->letter, row->name);
	else
		buf_printf(&head, "      --%s", row->name);
	append_metavar(&head, row);
	buf_append(out, buf_str(&head), head.len);
	at = head.len;
	if (at + 2 > INDENT) {
		buf_append_char(out, '\n');
		at = 0;
	}
	buf_printf(out, "%*s", (int)(INDENT - at), "");
	append_help_text(&text, row);
	append_wrapped(out, buf_str(&text), INDENT);
}

/* What works here and now; the rest of the reference's names are listed apart. */
static bool shown(const struct option_row *row)
{
	struct option_value_walk w = {.pos = option_rows[row->target].values};

	if (row->flags & (OPTION_HIDDEN | OPTION_NOT_YET | OPTION_ACCEPTED | OPTION_LATER))
		return false;
	// A mode with nothing but "disabled" to choose is an off-switch.
	if (option_rows[row->target].type != OPTION_TYPE_ENUM)
		return true;
	for (unsigned n = 0; option_values_next(&w);) {
		n += w.first && !w.not_yet && !w.later;
		if (n > 1)
			return true;
	}
	return false;
}

static void append_group(struct buf *out, enum option_group group)
{
	bool titled = false;

	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->group != group || !shown(row))
			continue;
		if (!titled)
			buf_printf(out, "\n%s:\n", option_groups[group].title);
		titled = true;
		append_option(out, row);
	}
}

/* Names that are taken without effect, or refused. */
static void append_names(struct buf *out, bool not_yet, const char *lead)
{
	size_t at;

	buf_printf(out, "\n%s:\n ", lead);
	at = 1;
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		size_t n = strlen(row->name) + 3;

		if (shown(row) || row->flags & OPTION_HIDDEN ||
			!(row->flags & OPTION_NOT_YET) == not_yet)
			continue;
		if (at + n > COLUMNS) {
			buf_append_str(out, "\n ");
			at = 1;
		}
		buf_printf(out, " --%s", row->name);
		at += n;
	}
	buf_append_char(out, '\n');
}

static const char config_text[] =
	"An option may also be given as GPROFILER_<NAME> in the environment\n"
	"(GPROFILER_OUTPUT_DIR), or as \"name = value\" in a config file. The command line\n"
	"beats the environment, the environment beats --config, and that beats\n" OPTIONS_SYSTEM_FILE
	". Names may be abbreviated.\n";

void option_help(struct buf *out, const char *verb)
{
	const struct option_group_row *only = verb_group(verb);

	option_usage(out, verb);
	if (only) {
		append_group(out, (enum option_group)(only - option_groups));
		if (only->notes)
			buf_printf(out, "\n%s", only->notes);
		return;
	}
	buf_append_str(out,
		"\nProfiles every process of this machine, kernel and user stacks.\n"
		"\nVerbs:\n"
		"  check                   what this machine allows, and how to get more\n"
		"  convert                 one form of a profile into another\n"
		"  diff                    what changed between two profiles\n"
		"  dump                    the stacks of a process, now\n"
		"  status                  how the running agent is\n"
		"  top                     what runs now, on the terminal\n"
		"  upload-file             a .col file to the studio\n"
		"  help VERB               options of a verb\n");
	for (unsigned i = 0; i < OPTION_GROUP_COUNT; i++)
		if (!option_groups[i].verb)
			append_group(out, i);
	append_names(out, false, "Accepted, without effect in this version");
	append_names(out, true, "Not in this version");
	buf_printf(out, "\n%s", config_text);
}

/* Text with what roff would take for a command or an escape made harmless. */
static void append_roff(struct buf *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\\')
			buf_append_str(out, "\\e");
		else if (*p == '-')
			buf_append_str(out, "\\-");
		else if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\''))
			buf_printf(out, "\\&%c", *p);
		else
			buf_append_char(out, *p);
	}
}

static void man_option(struct buf *out, const struct option_row *row)
{
	_cleanup_buf_ struct buf metavar = BUF_INIT(4096);
	_cleanup_buf_ struct buf text = BUF_INIT(4096);

	append_metavar(&metavar, row);
	append_help_text(&text, row);
	buf_append_str(out, ".TP\n");
	if (row->letter)
		buf_printf(out, "\\fB\\-%c\\fR, ", row->letter);
	buf_append_str(out, "\\fB\\-\\-");
	append_roff(out, row->name);
	buf_append_str(out, "\\fR\\fI");
	append_roff(out, buf_str(&metavar));
	buf_append_str(out, "\\fR\n");
	append_roff(out, buf_str(&text));
	if (row->flags & OPTION_NOT_YET)
		buf_append_str(out, ". Not in this version.");
	else if (row->flags & (OPTION_ACCEPTED | OPTION_LATER))
		buf_append_str(out, ". Accepted, without effect in this version.");
	buf_append_char(out, '\n');
}

void option_man(struct buf *out)
{
	buf_append_str(out,
		".TH GPROFILER 1 \"\" \"gprofiler " GP_VERSION "\" \"User Commands\"\n"
		".SH NAME\ngprofiler \\- continuous profiler of a whole machine\n"
		".SH SYNOPSIS\n.nf\n"
		"\\fBgprofiler\\fR \\fB\\-o\\fR \\fIDIR\\fR [\\fIoptions\\fR]\n"
		"\\fBgprofiler\\fR [\\fIoptions\\fR] \\fB\\-p\\fR \\fIPID\\fR[,\\fIPID\\fR...]\n"
		"\\fBgprofiler\\fR [\\fIoptions\\fR] \\fB\\-\\-\\fR \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n"
		"\\fBgprofiler check\\fR [\\fB\\-\\-json\\fR]\n"
		"\\fBgprofiler convert\\fR [\\fIoptions\\fR] [\\fIFILE\\fR]\n"
		"\\fBgprofiler diff\\fR [\\fIoptions\\fR] \\fIBEFORE\\fR \\fIAFTER\\fR\n"
		"\\fBgprofiler dump\\fR \\fB\\-p\\fR \\fIPID\\fR\n"
		"\\fBgprofiler status\\fR [\\fB\\-\\-json\\fR]\n"
		"\\fBgprofiler top\\fR [\\fIoptions\\fR]\n"
		"\\fBgprofiler upload\\-file\\fR \\fB\\-\\-file\\-path\\fR \\fIFILE\\fR\n"
		".fi\n.SH DESCRIPTION\n"
		"Profiles every process of this machine: kernel and user stacks, complete and "
		"named,\nfrom one program that starts no other. It does not stop, change or "
		"inject anything\ninto what it profiles.\n");
	for (unsigned g = 0; g < OPTION_GROUP_COUNT; g++) {
		buf_printf(out, ".SH OPTIONS: %s\n", option_groups[g].title);
		for (unsigned i = 0; i < OPTION_COUNT; i++)
			if (option_rows[i].group == g && !(option_rows[i].flags & OPTION_HIDDEN))
				man_option(out, &option_rows[i]);
		if (option_groups[g].notes) {
			buf_append_str(out, ".PP\n");
			append_roff(out, option_groups[g].notes);
		}
	}
	buf_append_str(out, ".SH CONFIGURATION\n");
	append_roff(out, config_text);
	buf_append_str(out,
		".SH EXIT STATUS\n"
		".TP\n0\nDone; also when another gprofiler holds the lock.\n"
		".TP\n1\nThe profile could not be made.\n"
		".TP\n2\nThe command line, environment or a config file is wrong.\n"
		".PP\nWith \\-\\- COMMAND: the status of the command.\n"
		".PP\ngprofiler check: 0 rung bpf, 10 ring, 11 ring for own processes, 12 reader, 1 "
		"none.\n"
		".PP\ngprofiler status: 0 an agent answered, 3 none runs, 1 it cannot be asked.\n");
}

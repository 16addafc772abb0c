/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, by argparse's rules (gprofiler-agent.md 1.1): --x=y, --x y, -xy, -x=y, bundled
 * flags, abbreviations. The first word that is no option is the verb; "--" starts the command to
 * profile, or ends the options of a verb. */
#include "config/table.h"

#include <errno.h>
#include <string.h>

struct scan {
	struct options *o;
	int argc, at; // argv[at] is next
	char **argv;
	struct option_givens *out;
	struct buf *why;
};

/* Rows of another verb, or of a verb before it was said, do not exist. */
static bool row_visible(const struct scan *s, const struct option_row *row)
{
	const char *verb = option_groups[row->group].verb;

	return !verb || (s->o->verb && strcmp(verb, s->o->verb) == 0);
}

/* The verb's own rows hide the program's of the same name or letter. */
static int better(int best, unsigned i)
{
	if (best >= 0 && option_groups[option_rows[best].group].verb)
		return best;
	return (int)i;
}

static int find_exact(const struct scan *s, const char *name, size_t len)
{
	int best = -1;

	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (row_visible(s, &option_rows[i]) && strlen(option_rows[i].name) == len &&
			memcmp(option_rows[i].name, name, len) == 0)
			best = better(best, i);
	return best;
}

static int find_letter(const struct scan *s, char letter)
{
	int best = -1;

	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (row_visible(s, &option_rows[i]) && option_rows[i].letter == letter)
			best = better(best, i);
	return best;
}

/* Preference of a row when a name is abbreviated, the stronger first. */
enum rank { RANK_VERB, RANK_REFERENCE, RANK_OURS, RANK_COUNT };

static enum rank row_rank(const struct option_row *row)
{
	if (option_groups[row->group].verb)
		return RANK_VERB;
	return row->flags & OPTION_REF ? RANK_REFERENCE : RANK_OURS;
}

/* Rows that `name` abbreviates: the verb's own, then the reference's names, then ours, so that a
 * name of ours never makes an abbreviation of the reference ambiguous. */
static int find_prefix(const struct scan *s, const char *name, size_t len, struct buf *matches)
{
	for (enum rank rank = 0; rank < RANK_COUNT; rank++) {
		int found = -1;
		unsigned n = 0;

		buf_clear(matches);
		for (unsigned i = 0; i < OPTION_COUNT; i++) {
			const struct option_row *row = &option_rows[i];

			if (!row_visible(s, row) || row_rank(row) != rank ||
				strncmp(row->name, name, len) != 0)
				continue;
			buf_printf(matches, "%s--%s", n++ ? ", " : "", row->name);
			found = (int)i;
		}
		if (n)
			return n == 1 ? found : -EEXIST;
	}
	return -ENOENT;
}

/* Whether argparse would take a word for an option rather than for a value. */
static bool is_option_word(const char *word)
{
	if (word[0] != '-' || !word[1])
		return false;
	if (strspn(word + 1, "0123456789.") == strlen(word + 1))
		return false; // a negative number
	return word[1] == '-' || !strchr(word, ' ');
}

static int label_error(struct scan *s, const struct option_row *row, const char *text)
{
	if (row->letter)
		buf_printf(s->why, "argument -%c/--%s: %s", row->letter, row->name, text);
	else
		buf_printf(s->why, "argument --%s: %s", row->name, text);
	return 1;
}

/* `value`: text glued to the option, or NULL. */
static int give(struct scan *s, int id, char *value)
{
	const struct option_row *named = &option_rows[id];
	const struct option_row *row = &option_rows[named->target];
	bool flag = named->constant || option_is_flag(row);

	if (flag && value)
		return label_error(s, named, "takes no value");
	if (!flag && !value) {
		bool next = s->at < s->argc && !is_option_word(s->argv[s->at]);

		if (next)
			value = s->argv[s->at++];
		else if (row->flags & OPTION_OPTARG)
			value = (char *)(uintptr_t)(row->flags & OPTION_REF ? "all" : row->values);
		else
			return label_error(s, named, "expected a value");
	}
	return option_givens_push(
		s->out, (struct option_given){.id = (uint16_t)id, .text = flag ? NULL : value});
}

static int scan_long(struct scan *s, char *word)
{
	_cleanup_buf_ struct buf matches = BUF_INIT(8192);
	const char *near;
	char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	int id = find_exact(s, word, len);

	if (id < 0)
		id = find_prefix(s, word, len, &matches);
	if (id == -EEXIST) {
		buf_printf(s->why, "ambiguous option: --%.*s could match %s", (int)MIN(len, 64u),
			word, buf_str(&matches));
		return 1;
	}
	if (id >= 0)
		return give(s, id, equals ? equals + 1 : NULL);
	// What follows "=" may be a secret behind a mistyped name: it is not repeated.
	near = option_nearest(word, len);
	buf_printf(s->why, "unrecognized arguments: --%.*s", (int)MIN(len, 64u), word);
	if (near)
		buf_printf(s->why, " (did you mean --%s?)", near);
	return 1;
}

/* "-cu", "-d5", "-d=5", "-d 5" */
static int scan_short(struct scan *s, char *word)
{
	for (char *p = word; *p; p++) {
		int id = find_letter(s, *p);
		const struct option_row *row = id < 0 ? NULL : &option_rows[id];
		int r;

		if (!row) {
			buf_printf(s->why, "unrecognized arguments: -%c (see --help)", *p);
			return 1;
		}
		if (option_is_flag(row)) {
			if (p[1] == '=')
				return label_error(s, row, "takes no value");
			r = give(s, id, NULL);
			if (r)
				return r;
			continue;
		}
		return give(s, id, p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL);
	}
	return 0;
}

static int push_word(struct scan *s, const char *word)
{
	char *copy = strdup(word);
	int r = copy ? option_list_push(&s->o->args, copy) : -ENOMEM;

	if (r)
		free(copy);
	else if (!s->o->verb)
		s->o->verb = s->o->args.data[0];
	if (r == -ENOSPC) {
		buf_append_str(s->why, "too many words");
		return 1;
	}
	return r;
}

int option_cmdline_scan(
	struct options *o, int argc, char **argv, struct option_givens *ret, struct buf *why)
{
	struct scan s = {.o = o, .argc = argc, .at = 1, .argv = argv, .out = ret, .why = why};
	int r = 0;

	while (!r && s.at < argc) {
		char *word = argv[s.at++];

		if (strcmp(word, "--") == 0) {
			if (!o->verb) {
				o->command = argv + s.at;
				o->command_argc = argc - s.at;
				return 0;
			}
			while (!r && s.at < argc)
				r = push_word(&s, argv[s.at++]);
		} else if (!is_option_word(word)) {
			r = push_word(&s, word);
		} else if (word[1] == '-') {
			r = scan_long(&s, word + 2);
		} else {
			r = scan_short(&s, word + 1);
		}
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Config files, by ConfigArgParse 1.7's default syntax (gprofiler-agent.md 1.1). A line is one of
 *     key = value    key: value    key value    --key value    key        (a bare key means true)
 * with optional quotes around the value, and optionally " # comment" or " ; comment" behind it.
 * Empty lines and lines that start with #, ;, [ or --- are skipped. [a, b] is a list. The last line
 * of a key counts. */
#include "config/table.h"

#include <errno.h>
#include <string.h>

#define KEY_MAX 80
#define VALUE_MAX 65536

struct line {
	const char *p, *end;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static void line_trim(struct line *l)
{
	while (l->p < l->end && is_blank(*l->p))
		l->p++;
	while (l->end > l->p && is_blank(l->end[-1]))
		l->end--;
}

static size_t line_len(const struct line *l)
{
	return (size_t)(l->end - l->p);
}

/* Cuts off a comment, which is a # or ; behind a blank. */
static void line_cut_comment(struct line *l)
{
	for (const char *p = l->p; p + 1 < l->end; p++) {
		if (is_blank(p[0]) && (p[1] == '#' || p[1] == ';')) {
			l->end = p;
			break;
		}
	}
	line_trim(l);
}

/* The value without its quotes and comment; inside quotes a # is text. */
static void line_unquote(struct line *l)
{
	if (l->p < l->end && (*l->p == '"' || *l->p == '\'')) {
		struct line rest = {.p = l->p + 1, .end = l->end};
		const char *close;

		while ((close = memchr(rest.p, *l->p, line_len(&rest)))) {
			struct line tail = {.p = close + 1, .end = l->end};

			// The quote that closes is the one with nothing but a comment behind it.
			if (tail.p == tail.end ||
				(is_blank(*tail.p) &&
					(line_trim(&tail), *tail.p == '#' || *tail.p == ';'))) {
				l->p++;
				l->end = close;
				return;
			}
			rest.p = close + 1;
		}
	}
	line_cut_comment(l);
}

/* One element of a list or a whole value, as a C string, to the row. */
static int assign_piece(struct options *o, enum option_id id, struct line piece,
	enum option_origin from, struct buf *why)
{
	const struct option_row *named = &option_rows[id];
	const struct option_row *row = &option_rows[named->target];
	_cleanup_buf_ struct buf text = BUF_INIT(VALUE_MAX);
	bool on;
	int r = buf_append(&text, piece.p, line_len(&piece));

	if (r == -ENOSPC) {
		buf_printf(why, "--%s: the value is too long", named->name);
		return 1;
	}
	if (r)
		return r;
	if (memchr(piece.p, 0, line_len(&piece))) {
		buf_printf(why, "--%s: the value holds a NUL byte", named->name);
		return 1;
	}
	if (!named->constant && !option_is_flag(row))
		return option_assign(o, id, buf_str(&text), from, why);
	if (option_parse_bool(buf_str(&text), &on)) {
		buf_printf(why,
			"Unexpected value for %s: '%s'. Expecting 'true', 'false', 'yes', 'no', 'on', "
			"'off', '1' or '0'",
			named->name, buf_str(&text));
		return 1;
	}
	return on ? option_assign(o, id, NULL, from, why) : 0;
}

/* [a, "b", c]: each element is assigned in turn, as if the option were repeated. */
static int assign_elements(struct options *o, enum option_id id, struct line value,
	enum option_origin from, struct buf *why)
{
	const struct option_row *row = &option_rows[option_rows[id].target];

	if (row->type != OPTION_TYPE_PIDS && row->type != OPTION_TYPE_LIST &&
		row->type != OPTION_TYPE_MASK) {
		buf_printf(why, "--%s takes one value, not a list", option_rows[id].name);
		return 1;
	}
	value.p++;
	value.end--;
	while (line_len(&value)) {
		const char *comma = memchr(value.p, ',', line_len(&value));
		struct line piece = {.p = value.p, .end = comma ? comma : value.end};
		int r;

		value.p = comma ? comma + 1 : value.end;
		line_trim(&piece);
		if (line_len(&piece) >= 2 && (*piece.p == '"' || *piece.p == '\'') &&
			piece.end[-1] == *piece.p) {
			piece.p++;
			piece.end--;
		}
		if (!line_len(&piece))
			continue;
		r = assign_piece(o, id, piece, from, why);
		if (r)
			return r;
	}
	return 0;
}

static int unknown_key(const char *key, struct buf *why)
{
	const char *near = option_nearest(key, strlen(key));

	buf_printf(why, "unrecognized arguments: --%s", key);
	if (near)
		buf_printf(why, " (did you mean %s?)", near);
	return 1;
}

/* "key", "--key" -> its row. A secret may stand behind a mistyped key: only the key is shown. */
static int find_key(const struct line *key, enum option_id *ret, struct buf *why)
{
	char name[KEY_MAX];
	size_t n = line_len(key);
	const char *p = key->p;

	if (n > 2 && p[0] == '-' && p[1] == '-') {
		p += 2;
		n -= 2;
	}
	if (n >= sizeof(name) || memchr(p, 0, n)) {
		buf_append_str(why, "unrecognized arguments: a key that is no option's name");
		return 1;
	}
	memcpy(name, p, n);
	name[n] = 0;
	*ret = option_find(name);
	if (*ret == OPTION_COUNT || option_rows[*ret].flags & OPTION_CLI)
		return unknown_key(name, why);
	return 0;
}

/* Where the last line of each key stands; a file's later line replaces its earlier one. */
struct entry {
	bool set;
	struct line value; // p NULL: a bare key
};

static int parse_line(struct line l, struct entry *entries, struct buf *why)
{
	struct line key, value;
	enum option_id id;
	int r;

	line_trim(&l);
	if (!line_len(&l) || strchr("#;[", *l.p) || (line_len(&l) >= 3 && !memcmp(l.p, "---", 3)))
		return 0;
	key = (struct line){.p = l.p, .end = l.p};
	while (key.end < l.end && !strchr(":=;#", *key.end ? *key.end : ' ') && !is_blank(*key.end))
		key.end++;
	if (key.end == key.p || (key.end < l.end && (*key.end == ';' || *key.end == '#'))) {
		buf_append_str(why, "a line is no \"key = value\"");
		return 1;
	}
	r = find_key(&key, &id, why);
	if (r)
		return r;
	value = (struct line){.p = key.end, .end = l.end};
	// The blank before a comment belongs to it, so it is looked for before trimming.
	if (line_len(&value)) {
		struct line rest = value;

		line_trim(&rest);
		if (line_len(&rest) && (*rest.p == ':' || *rest.p == '=')) {
			rest.p++;
			line_trim(&rest);
			value = rest;
		} else if (line_len(&rest) && (*rest.p == '#' || *rest.p == ';')) {
			value.p = NULL;
		} else {
			value = rest;
		}
		if (value.p)
			line_unquote(&value);
	} else {
		value.p = NULL;
	}
	entries[id] = (struct entry){.set = true, .value = value};
	return 0;
}

int option_file_parse(
	struct options *o, const char *text, size_t len, enum option_origin from, struct buf *why)
{
	static const char yes[] = "true";
	struct entry entries[OPTION_COUNT] = {0};
	const char *end = text + len;
	unsigned number = 1;
	int r = 0;

	for (const char *p = text; !r && p < end; number++) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		_cleanup_buf_ struct buf reason = BUF_INIT(4096);

		eol = eol ? eol : end;
		r = parse_line((struct line){.p = p, .end = eol}, entries, &reason);
		if (r)
			buf_printf(why, "line %u: %s", number, buf_str(&reason));
		p = eol + 1;
	}
	for (unsigned i = 0; !r && i < OPTION_COUNT; i++) {
		struct line value = entries[i].value;

		if (!entries[i].set)
			continue;
		if (!value.p)
			value = (struct line){.p = yes, .end = yes + 4};
		if (line_len(&value) >= 2 && *value.p == '[' && value.end[-1] == ']')
			r = assign_elements(o, i, value, from, why);
		else
			r = assign_piece(o, i, value, from, why);
	}
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Text of one option -> its field. */
#include "config/table.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define PIDS_MAX 65536
#define LIST_MAX 4096

int option_parse_bool(const char *text, bool *ret)
{
	static const char *const yes[] = {"true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (strcasecmp(text, yes[i]) == 0)
			*ret = true;
		else if (strcasecmp(text, no[i]) == 0)
			*ret = false;
		else
			continue;
		return 0;
	}
	return -EINVAL;
}

/* Digits at *text, which is moved past them. */
static int parse_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
			return -ERANGE;
	*text = p;
	*ret = v;
	return 0;
}

static const char *skip_blanks(const char *p)
{
	return p + strspn(p, " \t");
}

int option_parse_uint(const char *text, uint64_t *ret)
{
	uint64_t v;
	int r;

	text = skip_blanks(text);
	text += *text == '+';
	r = parse_digits(&text, &v);
	if (r)
		return r;
	if (*skip_blanks(text))
		return -EINVAL;
	*ret = v;
	return 0;
}

int option_parse_size(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = {
		{"", 0},
		{"b", 0},
		{"byte", 0},
		{"bytes", 0},
		{"k", 10},
		{"kb", 10},
		{"kib", 10},
		{"m", 20},
		{"mb", 20},
		{"mib", 20},
		{"g", 30},
		{"gb", 30},
		{"gib", 30},
	};
	uint64_t v;
	int r;

	text = skip_blanks(text);
	r = parse_digits(&text, &v);
	if (r)
		return r;
	text = skip_blanks(text);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcasecmp(text, units[i].name) != 0)
			continue;
		if (v > UINT64_MAX >> units[i].shift)
			return -ERANGE;
		*ret = v << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

int option_warn(struct options *o, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n, r;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return -ENOMEM;
	}
	r = option_list_push(&o->warnings, text);
	if (!r)
		steal_ptr(text);
	return r == -ENOSPC ? 0 : r;
}

/* "-f/--profiling-frequency" */
static const char *row_label(const struct option_row *row, char *label, size_t size)
{
	if (row->letter)
		snprintf(label, size, "-%c/--%s", row->letter, row->name);
	else
		snprintf(label, size, "--%s", row->name);
	return label;
}

/* A refused value; the text of a secret is not shown. Always 1. */
static int refuse(struct buf *why, const struct option_row *row, const char *text, const char *fmt,
	...) _printf_(4, 5);
static int refuse(
	struct buf *why, const struct option_row *row, const char *text, const char *fmt, ...)
{
	_cleanup_free_ char *reason = NULL;
	char label[96];
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&reason, fmt, args) < 0)
		reason = NULL;
	va_end(args);
	if (row->flags & OPTION_SECRET)
		text = "***";
	buf_printf(why, "argument %s: invalid value '%s': %s", row_label(row, label, sizeof(label)),
		text, reason ? reason : "");
	return 1;
}

static int assign_uint(void *field, const struct option_row *row, const char *text, struct buf *why)
{
	uint64_t v;
	int r = row->type == OPTION_TYPE_SIZE ? option_parse_size(text, &v)
					      : option_parse_uint(text, &v);

	if (r == -EINVAL)
		return refuse(why, row, text,
			row->type == OPTION_TYPE_SIZE ? "expected a size such as 2mb"
						      : "expected a whole number");
	if (r || v < row->min || v > row->max)
		return refuse(why, row, text, "expected %llu to %llu", (unsigned long long)row->min,
			(unsigned long long)row->max);
	*(uint64_t *)field = v;
	return 0;
}

/* Index of a spelling among the row's values, or -1. */
static int value_index(const struct option_row *row, const char *text, size_t len)
{
	struct option_value_walk w = {.pos = row->values};

	while (option_values_next(&w))
		if (strlen(w.text) == len && memcmp(w.text, text, len) == 0)
			return (int)w.index;
	return -1;
}

static int refuse_choice(const struct option_row *row, const char *text, struct buf *why)
{
	_cleanup_buf_ struct buf names = BUF_INIT(4096);
	struct option_value_walk w = {.pos = row->values};

	while (option_values_next(&w))
		buf_printf(&names, "%s'%s'", names.len ? ", " : "", w.text);
	return refuse(why, row, text, "choose from %s", buf_str(&names));
}

static int assign_mask(
	unsigned *field, const struct option_row *row, const char *text, struct buf *why)
{
	unsigned mask = 0;

	for (const char *p = text;;) {
		size_t n = strcspn(p, ",");
		int i = value_index(row, p, n);

		if (i < 0)
			return refuse_choice(row, text, why);
		mask |= 1u << i;
		if (!p[n])
			break;
		p += n + 1;
	}
	*field |= mask;
	return 0;
}

static int assign_pids(
	struct option_pids *pids, const struct option_row *row, const char *text, struct buf *why)
{
	for (const char *p = text;;) {
		uint64_t v = 0;
		int r;

		p = skip_blanks(p);
		r = parse_digits(&p, &v);
		p = skip_blanks(p);
		if (r == -EINVAL || (*p && *p != ','))
			return refuse(why, row, text, "expected process ids separated by commas");
		if (r || v < row->min || v > row->max)
			return refuse(why, row, text, "process ids are %llu to %llu",
				(unsigned long long)row->min, (unsigned long long)row->max);
		for (size_t i = 0; i < pids->len; i++)
			r = pids->data[i] == v ? 1 : r;
		if (r == 0)
			r = option_pids_push(pids, (uint32_t)v);
		if (r == -ENOSPC)
			return refuse(why, row, text, "more than %d process ids", PIDS_MAX);
		if (r < 0)
			return r;
		if (!*p)
			return 0;
		p++;
	}
}

static int list_push(struct option_list *list, const char *text, size_t len)
{
	_cleanup_free_ char *copy = strndup(text, len);
	int r;

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->data[i], copy) == 0)
			return 0;
	r = option_list_push(list, copy);
	if (!r)
		steal_ptr(copy);
	return r;
}

/* First spelling of value i. */
static void value_text(const struct option_row *row, int i, struct option_value_walk *w)
{
	*w = (struct option_value_walk){.pos = row->values};
	while (option_values_next(w) && w->index != (unsigned)i)
		;
}

/* Without values in the row a text is one item; with them it is a comma list of those names, and a
 * name that is none of them is dropped with a warning (gprofiler-agent.md 1.3, --perf-events). */
static int assign_list(struct options *o, const struct option_row *row, const char *text)
{
	struct option_list *list = (void *)((char *)o + row->offset);

	if (!strchr(row->values, '|'))
		return list_push(list, text, strlen(text));
	for (const char *p = text;;) {
		size_t n = strcspn(p, ",");
		size_t blank = strspn(p, " ");
		size_t len = n > blank ? n - blank : 0;
		struct option_value_walk w;
		int i, r = 0;

		while (len && p[blank + len - 1] == ' ')
			len--;
		i = value_index(row, p + blank, len);
		if (i >= 0) {
			value_text(row, i, &w);
			r = list_push(list, w.text, strlen(w.text));
		} else if (len) {
			r = option_warn(o,
				"--%s: '%.*s' is none of the known names; it is left out",
				row->name, (int)MIN(len, 64u), p + blank);
		}
		if (r)
			return r;
		if (!p[n])
			return 0;
		p += n + 1;
	}
}

static int assign_str(char **field, const char *text)
{
	char *copy = *text ? strdup(text) : NULL;

	if (*text && !copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static void list_clear(struct option_list *list)
{
	vec_foreach (item, list)
		free(*item);
	option_list_clear(list);
}

/* Lists start over when a stronger origin speaks; scalars are overwritten anyway. */
static void restart_value(struct options *o, const struct option_row *row)
{
	void *field = (char *)o + row->offset;

	if (row->type == OPTION_TYPE_PIDS)
		option_pids_clear(field);
	else if (row->type == OPTION_TYPE_LIST)
		list_clear(field);
	else if (row->type == OPTION_TYPE_MASK)
		*(unsigned *)field = 0;
}

static int assign_value(
	struct options *o, const struct option_row *row, const char *text, struct buf *why)
{
	void *field = (char *)o + row->offset;
	int i;

	switch ((enum option_type)row->type) {
	case OPTION_TYPE_FLAG_ON:
	case OPTION_TYPE_FLAG_OFF:
	case OPTION_TYPE_ACTION:
		if (option_parse_bool(text, field))
			return refuse(why, row, text, "expected true or false");
		return 0;
	case OPTION_TYPE_UINT:
	case OPTION_TYPE_SIZE:
		return assign_uint(field, row, text, why);
	case OPTION_TYPE_STR:
		return assign_str(field, text);
	case OPTION_TYPE_ENUM:
		i = value_index(row, text, strlen(text));
		if (i < 0)
			return refuse_choice(row, text, why);
		*(int *)field = i;
		return 0;
	case OPTION_TYPE_MASK:
		return assign_mask(field, row, text, why);
	case OPTION_TYPE_PIDS:
		return assign_pids(field, row, text, why);
	case OPTION_TYPE_LIST:
		return assign_list(o, row, text);
	}
	return -EINVAL;
}

int option_assign(struct options *o, enum option_id id, const char *text, enum option_origin from,
	struct buf *why)
{
	const struct option_row *named = &option_rows[id];
	const struct option_row *row = &option_rows[named->target];
	int r;

	if (named->constant)
		text = named->constant;
	else if (!text)
		text = row->type == OPTION_TYPE_FLAG_OFF ? "false" : "true";
	if (o->origin[named->target] != from)
		restart_value(o, row);
	r = assign_value(o, row, text, why);
	if (!r)
		o->origin[named->target] = (uint8_t)from;
	// Everything of an unknown list was dropped: what the default says holds.
	if (!r && row->type == OPTION_TYPE_LIST && *row->def &&
		((struct option_list *)((char *)o + row->offset))->len == 0)
		r = assign_list(o, row, row->def);
	return r;
}

static void options_init(struct options *o)
{
	*o = (struct options){0};
	option_list_init(&o->warnings, LIST_MAX);
	option_list_init(&o->args, LIST_MAX);
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		void *field = (char *)o + option_rows[i].offset;

		if (option_rows[i].target != i)
			continue;
		if (option_rows[i].type == OPTION_TYPE_PIDS)
			option_pids_init(field, PIDS_MAX);
		else if (option_rows[i].type == OPTION_TYPE_LIST)
			option_list_init(field, LIST_MAX);
	}
}

int option_defaults(struct options *o, struct buf *why)
{
	options_init(o);
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		int r;

		if (row->target != i || !*row->def)
			continue;
		r = assign_value(o, row, row->def, why);
		if (r)
			return r;
	}
	return 0;
}

static void list_deinit(struct option_list *list)
{
	list_clear(list);
	option_list_deinit(list);
}

void options_deinit(struct options *o)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++) {
		void *field = (char *)o + option_rows[i].offset;

		if (option_rows[i].target != i)
			continue;
		if (option_rows[i].type == OPTION_TYPE_STR)
			free(*(char **)field);
		else if (option_rows[i].type == OPTION_TYPE_PIDS)
			option_pids_deinit(field);
		else if (option_rows[i].type == OPTION_TYPE_LIST)
			list_deinit(field);
	}
	list_deinit(&o->warnings);
	list_deinit(&o->args);
	*o = (struct options){0};
}

static int copy_list(struct option_list *to, const struct option_list *from)
{
	int r = 0;

	vec_foreach (text, from)
		r = r ? r : list_push(to, *text, strlen(*text));
	return r;
}

static int copy_field(void *to, const void *from, const struct option_row *row)
{
	const struct option_pids *pids = from;
	const char *text;
	int r = 0;

	switch (row->type) {
	case OPTION_TYPE_STR:
		text = *(char *const *)from;
		*(char **)to = text ? strdup(text) : NULL;
		return text && !*(char **)to ? -ENOMEM : 0;
	case OPTION_TYPE_LIST:
		return copy_list(to, from);
	case OPTION_TYPE_PIDS:
		vec_foreach (pid, pids)
			r = r ? r : option_pids_push(to, *pid);
		return r;
	case OPTION_TYPE_UINT:
	case OPTION_TYPE_SIZE:
		*(uint64_t *)to = *(const uint64_t *)from;
		return 0;
	case OPTION_TYPE_ENUM:
		*(int *)to = *(const int *)from;
		return 0;
	case OPTION_TYPE_MASK:
		*(unsigned *)to = *(const unsigned *)from;
		return 0;
	default:
		*(bool *)to = *(const bool *)from;
		return 0;
	}
}

int options_copy(struct options *ret, const struct options *from)
{
	int r = 0;

	options_init(ret);
	for (unsigned i = 0; !r && i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];

		if (row->target == i)
			r = copy_field(
				(char *)ret + row->offset, (const char *)from + row->offset, row);
	}
	memcpy(ret->origin, from->origin, sizeof(ret->origin));
	ret->system_file = from->system_file;
	ret->verb = from->verb;
	ret->command = from->command;
	ret->command_argc = from->command_argc;
	if (r)
		options_deinit(ret);
	return r;
}

int options_set(struct options *o, enum option_id id, const char *text, struct buf *why)
{
	// Of an equal origin lists are extended; here the new one is all.
	o->origin[option_rows[id].target] = OPTION_FROM_DEFAULT;
	return option_assign(o, id, text, OPTION_FROM_STUDIO, why);
}

bool options_has_value(enum option_id id, int value)
{
	struct option_value_walk w = {.pos = option_rows[id].values};

	while (option_values_next(&w))
		if (w.index == (unsigned)value)
			return !w.not_yet && !w.later;
	return false;
}

/* The field of a row as text, as the parser would read it. */
static void value_append(const struct options *o, const struct option_row *row, struct buf *out)
{
	const void *field = (const char *)o + row->offset;
	struct option_value_walk w = {.pos = row->values};

	switch ((enum option_type)row->type) {
	case OPTION_TYPE_FLAG_ON:
	case OPTION_TYPE_FLAG_OFF:
	case OPTION_TYPE_ACTION:
		buf_append_str(out, *(const bool *)field ? "true" : "false");
		break;
	case OPTION_TYPE_UINT:
	case OPTION_TYPE_SIZE:
		buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case OPTION_TYPE_STR:
		buf_append_str(out, *(char *const *)field ? *(char *const *)field : "");
		break;
	case OPTION_TYPE_ENUM:
		value_text(row, *(const int *)field, &w);
		buf_append_str(out, w.text);
		break;
	case OPTION_TYPE_MASK:
		while (option_values_next(&w))
			if (w.first && *(const unsigned *)field & 1u << w.index)
				buf_printf(out, "%s%s", out->len ? "," : "", w.text);
		break;
	case OPTION_TYPE_PIDS:
		vec_foreach (pid, (const struct option_pids *)field)
			buf_printf(out, "%s%u", out->len ? "," : "", *pid);
		break;
	case OPTION_TYPE_LIST:
		vec_foreach (item, (const struct option_list *)field)
			buf_printf(out, "%s%s", out->len ? "," : "", *item);
		break;
	}
}

void option_take(
	struct options *o, const struct options *from, enum option_id id, struct buf *changed)
{
	const struct option_row *row = &option_rows[id];
	_cleanup_buf_ struct buf before = BUF_INIT(64), after = BUF_INIT(64);

	value_append(o, row, &before);
	value_append(from, row, &after);
	o->origin[id] = from->origin[id];
	if (!strcmp(buf_str(&before), buf_str(&after)))
		return;
	copy_field((char *)o + row->offset, (const char *)from + row->offset, row);
	buf_printf(changed, "%s%s = %s", changed->len ? ", " : "", row->name, buf_str(&after));
}

bool option_is_default(const struct options *o, enum option_id id)
{
	const struct option_row *row = &option_rows[option_rows[id].target];
	const void *field = (const char *)o + row->offset;
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct option_value_walk w = {.pos = row->values};
	uint64_t v = 0;

	// A size may be written as "4mb": numbers are compared as numbers.
	if (row->type == OPTION_TYPE_UINT || row->type == OPTION_TYPE_SIZE)
		return (!*row->def || option_parse_size(row->def, &v) == 0) &&
		       *(const uint64_t *)field == v;
	value_append(o, row, &text);
	if (*row->def)
		return strcmp(buf_str(&text), row->def) == 0;
	if (option_is_flag(row))
		return strcmp(buf_str(&text), "false") == 0;
	if (row->type == OPTION_TYPE_ENUM)
		return option_values_next(&w) && strcmp(buf_str(&text), w.text) == 0;
	return text.len == 0;
}

/* A URL without its user and password, and without its query: a server's has none that means anything,
 * and what stands there ("?key=") is a token more often than not. */
static void append_url(struct buf *out, const char *url)
{
	const char *host = strstr(url, "://");
	const char *at;

	host = host ? host + 3 : url;
	for (at = host + strcspn(host, "/?#"); at > host && *at != '@'; at--)
		;
	buf_append(out, url, (size_t)(host - url));
	buf_append_str(out, at > host ? "***" : "");
	host = at > host ? at : host;
	at = host + strcspn(host, "?#");
	buf_append(out, host, (size_t)(at - host));
	buf_append_str(out, *at ? "?***" : "");
}

void options_value_text(const struct options *o, enum option_id id, struct buf *out)
{
	const struct option_row *row = &option_rows[option_rows[id].target];
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	value_append(o, row, &text);
	if (row->type == OPTION_TYPE_STR && strcmp(row->values, "URL") == 0)
		append_url(out, buf_str(&text));
	else
		buf_append_str(
			out, text.len && row->flags & OPTION_SECRET ? "***" : buf_str(&text));
}

json_t *options_to_json(const struct options *o)
{
	_cleanup_json_ json_t *root = json_object();

	for (unsigned i = 0; root && i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
		char name[64];

		if (row->target != i || !options_given(o, i))
			continue;
		options_value_text(o, i, &text);
		snprintf(name, sizeof(name), "%s", row->name);
		for (char *c = name; *c; c++)
			*c = *c == '-' ? '_' : *c;
		if (json_object_set_new(root, name, json_text(buf_str(&text))))
			return NULL;
	}
	return steal_ptr(root);
}

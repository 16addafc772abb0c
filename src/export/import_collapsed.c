/* SPDX-License-Identifier: Apache-2.0 */
#include "export/import.h"

#include <errno.h>
#include <string.h>

#include "export/col_header.h"
#include "export/text.h"

struct importer {
	struct profile *p;
	struct text_complaints *complaints;
	struct import_stats *stats;
	bool has_index, has_container, has_comm; // columns, as the header tells
};

static struct text_slice take_column(struct text_slice *rest)
{
	const char *semi = memchr(rest->s, ';', rest->len);
	size_t len = semi ? (size_t)(semi - rest->s) : rest->len;
	struct text_slice column = {rest->s, len};

	len += semi != NULL;
	rest->s += len;
	rest->len -= len;
	return column;
}

static bool ends(struct text_slice t, const char *with)
{
	size_t n = strlen(with);

	return t.len > n && memcmp(t.s + t.len - n, with, n) == 0;
}

static bool take_u32(struct text_slice t, uint32_t *ret)
{
	uint64_t v = 0;

	if (!t.len || t.len > 10)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (t.s[i] < '0' || t.s[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(t.s[i] - '0');
	}
	if (v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* "comm-pid/tid" (PyPerf's form). comm may contain '-'. */
static bool take_process(struct text_slice *comm, struct profile_context *context)
{
	const char *dash = memrchr(comm->s, '-', comm->len), *slash;
	struct text_slice pid, tid;

	if (!dash || dash == comm->s)
		return false;
	slash = memchr(dash, '/', (size_t)(comm->s + comm->len - dash));
	if (!slash)
		return false;
	pid = (struct text_slice){dash + 1, (size_t)(slash - dash - 1)};
	tid = (struct text_slice){slash + 1, (size_t)(comm->s + comm->len - slash - 1)};
	if (!take_u32(pid, &context->pid) || !take_u32(tid, &context->tid))
		return false;
	comm->len = (size_t)(dash - comm->s);
	return true;
}

/* The suffix of a frame tells its kind, and the writer puts it back. Java's are kept in the name:
 * they say more than the kind. */
static void take_kind(struct text_slice *name, struct profile_frame *f)
{
	static const struct {
		const char *suffix;
		uint16_t kind;
		bool keep;
	} suffixes[] = {
		{"_[k]", PROFILE_FRAME_KERNEL, false},
		{"_[p]", PROFILE_FRAME_PYTHON, false},
		{"_[pn]", PROFILE_FRAME_PYTHON_NATIVE, false},
		{"_[rb]", PROFILE_FRAME_RUBY, false},
		{"_[php]", PROFILE_FRAME_PHP, false},
		{"_[net]", PROFILE_FRAME_DOTNET, false},
		{"_[j]", PROFILE_FRAME_JAVA, true},
		{"_[0]", PROFILE_FRAME_JAVA, true},
		{"_[1]", PROFILE_FRAME_JAVA, true},
		{"_[i]", PROFILE_FRAME_JAVA, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (!ends(*name, suffixes[i].suffix))
			continue;
		f->kind = suffixes[i].kind;
		if (!suffixes[i].keep)
			name->len -= strlen(suffixes[i].suffix);
		return;
	}
	if (name->len > 2 && name->s[0] == '[' && name->s[name->len - 1] == ']')
		f->kind = PROFILE_FRAME_META;
}

static int add_frame(struct importer *im, struct text_slice name, uint32_t *node)
{
	struct profile_frame f = {.kind = PROFILE_FRAME_UNKNOWN};
	uint32_t id;
	int r = 0;

	take_kind(&name, &f);
	if (export_text_is_path(name.s, name.len)) {
		f.flags |= PROFILE_FRAME_NO_SYMBOL;
		r = profile_string_n(im->p, name.s + 1, name.len - 2, &f.module);
	}
	if (!r)
		r = profile_string_n(im->p, name.s, name.len, &f.name);
	if (!r)
		r = profile_frame(im->p, &f, &id);
	if (!r)
		r = profile_node(im->p, *node, id, node);
	return r;
}

static int take_context(struct importer *im, struct text_slice *rest, uint32_t *ret)
{
	static const char appid[] = "appid: ";
	struct profile_context context = {0};
	struct text_slice column, before = *rest;
	int r = 0;

	if (im->has_index) {
		column = take_column(rest);
		if (!take_u32(column, &context.app_metadata))
			return -EINVAL;
	}
	if (im->has_container) {
		column = take_column(rest);
		r = profile_string_n(im->p, column.s, column.len, &context.container);
	}
	before = *rest;
	column = take_column(rest);
	if (!take_process(&column, &context) && !im->has_comm) {
		// No header, no process: every column is a frame.
		*rest = before;
		return profile_context(im->p, &context, ret);
	}
	if (!r)
		r = profile_string_n(im->p, column.s, column.len, &context.comm);
	context.thread_comm = context.comm;
	if (!r && rest->len > strlen(appid) && memcmp(rest->s, appid, strlen(appid)) == 0) {
		column = take_column(rest);
		r = profile_string_n(im->p, column.s + strlen(appid), column.len - strlen(appid),
			&context.appid);
	}
	return r ? r : profile_context(im->p, &context, ret);
}

static int take_stack(struct importer *im, struct text_slice rest, int64_t count)
{
	uint32_t context = 0, node = 0;
	int r = take_context(im, &rest, &context);

	while (!r && rest.len) {
		struct text_slice name = take_column(&rest);

		if (name.len)
			r = add_frame(im, name, &node);
	}
	return r ? r : profile_add(im->p, context, node, &count);
}

/* The first comment that is JSON is the header of a .col file. Of several files in one stream the
 * columns of the first hold for all, but its ledger does not. */
static int take_header(struct importer *im, const char *s, size_t len)
{
	struct profile *p = im->p;
	const json_t *arguments;
	const char *api;
	json_t *j;

	if (len < 3 || memcmp(s, "# {", 3) != 0)
		return 0;
	j = json_loadb(s + 2, len - 2, 0, NULL);
	if (!j || !json_object_get(j, "metadata") || p->header) {
		p->meta.has_ledger &= !json_object_get(j, "metadata");
		json_decref(j);
		return 0;
	}
	p->header = j;
	arguments = json_object_get(json_object_get(j, "metadata"), "run_arguments");
	api = json_string_value(json_object_get(arguments, "profile_api_version"));
	im->has_comm = true;
	im->has_container = !api || strcmp(api, "v1") != 0;
	im->has_index = im->has_container &&
			json_is_true(json_object_get(j, "application_metadata_enabled"));
	return col_header_read(p, j);
}

static int take_line(struct importer *im, uint64_t line, const char *s, size_t len)
{
	const char *space;
	uint64_t count = 0;
	int r;

	if (len && s[0] == '#') {
		r = take_header(im, s, len);
		return r == -ENOMEM ? r : 0;
	}
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		len--;
	if (!len)
		return 0;
	space = memrchr(s, ' ', len);
	if (!space || space == s || space + 1 == s + len) {
		text_complain(im->complaints, line, "no count at the end of the line");
		im->stats->bad++;
		return 0;
	}
	for (const char *c = space + 1; c < s + len; c++) {
		if (*c < '0' || *c > '9' || __builtin_mul_overflow(count, 10, &count) ||
			__builtin_add_overflow(count, (uint64_t)(*c - '0'), &count) ||
			count > INT64_MAX) {
			text_complain(im->complaints, line,
				"the count is no whole number: \"%.*s\"",
				(int)MIN((size_t)(s + len - space - 1), 40u), space + 1);
			im->stats->bad++;
			return 0;
		}
	}
	r = take_stack(im, (struct text_slice){s, (size_t)(space - s)}, (int64_t)count);
	if (r == -EINVAL) {
		text_complain(im->complaints, line, "the first column is no index");
		im->stats->bad++;
	} else if (r == -ENOSPC) {
		im->stats->full++;
	} else if (!r) {
		im->stats->samples++;
	}
	return r == -ENOMEM ? r : 0;
}

int import_collapsed(struct text_reader *reader, struct profile *p,
	struct text_complaints *complaints, struct import_stats *ret)
{
	struct importer im = {.p = p, .complaints = complaints, .stats = ret};
	int r;

	*ret = (struct import_stats){0};
	p->ntypes = 1;
	r = profile_string(p, "samples", &p->types[0].type);
	if (!r)
		r = profile_string(p, "count", &p->types[0].unit);
	if (!r)
		r = profile_string(p, "collapsed", &p->meta.source);
	while (!r) {
		const char *s;
		size_t len;

		r = text_reader_next(reader, &s, &len);
		if (r <= 0)
			break;
		if (r == TEXT_READER_TOO_LONG) {
			text_complain(complaints, reader->line, "line of more than %zu bytes",
				reader->max_line);
			ret->bad++;
			r = 0;
			continue;
		}
		r = take_line(&im, reader->line, s, len);
	}
	return r;
}

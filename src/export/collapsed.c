/* SPDX-License-Identifier: Apache-2.0 */
/* Collapsed text in the form of gprofiler-agent.md 3.2, 3.3 and 3.5.
 *
 * Frames become texts, texts a prefix tree of their own, and samples are summed over it, so that
 * threads, lines and addresses that look the same give one line and nothing holds whole stacks. */
#include "export/export.h"

#include <errno.h>
#include <string.h>

#include "export/text.h"

#define LINE_MAX_BYTES (64u << 20)

VEC_DEFINE(sum_vec, int64_t)
VEC_DEFINE(text_ids, uint32_t)

/* Pairs. */
struct text_node {
	uint32_t parent, text;
};

struct text_sample {
	uint32_t context, node; // text id, text node
};

struct collapse {
	const struct profile *p;
	const struct export_collapsed_options *options;
	struct intern texts;
	struct pairs nodes, samples;
	struct sum_vec sums; // sums[id of samples - 1]
	uint32_t *frame_text; // by profile frame
	uint32_t *node_of; // by profile node
	uint32_t *context_text; // by profile context
	struct buf text;
	bool has_columns, has_index;
};

static const char *kind_suffix(const struct profile_frame *f)
{
	static const char *const suffix[PROFILE_FRAME_KIND_MAX] = {
		[PROFILE_FRAME_KERNEL] = "_[k]",
		[PROFILE_FRAME_PYTHON] = "_[p]",
		[PROFILE_FRAME_PYTHON_NATIVE] = "_[pn]",
		[PROFILE_FRAME_RUBY] = "_[rb]",
		[PROFILE_FRAME_PHP] = "_[php]",
		[PROFILE_FRAME_DOTNET] = "_[net]",
	};

	// "(path)" tells what it is by itself, in the reference too.
	if (f->kind >= PROFILE_FRAME_KIND_MAX || (f->flags & PROFILE_FRAME_NO_SYMBOL))
		return "";
	return suffix[f->kind] ? suffix[f->kind] : "";
}

/* Frames whose module --insert-dso-name shows: what perf would have called a user frame. */
static bool shows_module(const struct profile_frame *f)
{
	switch (f->kind) {
	case PROFILE_FRAME_UNKNOWN:
	case PROFILE_FRAME_NATIVE:
	case PROFILE_FRAME_CPP:
	case PROFILE_FRAME_RUST:
	case PROFILE_FRAME_GO:
	case PROFILE_FRAME_JIT:
	case PROFILE_FRAME_NODE:
		return true;
	}
	return false;
}

static void append_clean(struct buf *out, const char *s)
{
	export_text_clean(out, s, strlen(s));
}

static void append_module(struct buf *out, const char *module)
{
	size_t len = strlen(module);

	buf_append_str(out, " (");
	// "[vdso]" is shown as "(vdso)", as the reference has it.
	if (len > 2 && module[0] == '[' && module[len - 1] == ']')
		buf_append(out, module + 1, len - 2);
	else
		append_clean(out, module);
	buf_append_char(out, ')');
}

/* " (file:line [package])": first line of the function, so that it is one frame whatever it executes,
 * or the executing one if lines are asked for. Frames that were read from text have it in the name. */
static void append_place(struct buf *out, const struct profile *p, const struct profile_frame *f,
	const struct export_collapsed_options *options)
{
	bool exact = options && options->line_numbers && f->line;

	if (!f->file)
		return;
	buf_append_str(out, " (");
	append_clean(out, profile_text(p, f->file));
	buf_printf(out, ":%u", exact ? f->line : f->start_line);
	if (f->module) {
		buf_append_str(out, " [");
		append_clean(out, profile_text(p, f->module));
		buf_append_char(out, ']');
	}
	buf_append_char(out, ')');
}

int export_frame_text(struct buf *out, const struct profile *p, uint32_t frame,
	const struct export_collapsed_options *options)
{
	const struct profile_frame *f = profile_frame_get(p, frame);
	size_t before = out->len;
	bool has_symbol = !(f->flags & PROFILE_FRAME_NO_SYMBOL);
	bool unknown;

	append_clean(out, profile_text(p, f->name));
	if (!out->bad && out->len == before)
		buf_append_str(out, "[unknown]");
	unknown = !out->bad && strcmp(out->data + before, "[unknown]") == 0;
	if (options && options->line_numbers && has_symbol && f->file && f->line &&
		shows_module(f)) {
		buf_append_str(out, " (");
		append_clean(out, profile_text(p, f->file));
		buf_printf(out, ":%u)", f->line);
	}
	if (options && options->insert_dso_name && shows_module(f)) {
		if (f->module && has_symbol)
			append_module(out, profile_text(p, f->module));
		else if (unknown)
			buf_append_str(out, " (unknown)");
	}
	if (f->kind == PROFILE_FRAME_PYTHON)
		append_place(out, p, f, options);
	buf_append_str(out, kind_suffix(f));
	return out->bad ? -ENOSPC : 0;
}

static int context_text(struct collapse *c, uint32_t id, uint32_t *ret)
{
	const struct profile_context *who = profile_context_get(c->p, id);

	buf_clear(&c->text);
	if (c->has_columns) {
		if (c->has_index)
			buf_printf(&c->text, "%u;", who->app_metadata);
		append_clean(&c->text, profile_text(c->p, who->container));
		buf_append_char(&c->text, ';');
	}
	append_clean(&c->text, profile_text(c->p, who->comm));
	if (who->appid) {
		if (c->text.len)
			buf_append_char(&c->text, ';');
		buf_append_str(&c->text, "appid: ");
		append_clean(&c->text, profile_text(c->p, who->appid));
	}
	if (c->text.bad)
		return -ENOSPC;
	return intern_add(&c->texts, buf_str(&c->text), c->text.len, ret);
}

static int make_texts(struct collapse *c)
{
	const struct profile *p = c->p;
	int r = 0;

	for (uint32_t id = 1; !r && id <= p->frames.len; id++) {
		buf_clear(&c->text);
		r = export_frame_text(&c->text, p, id, c->options);
		if (!r)
			r = intern_add(
				&c->texts, buf_str(&c->text), c->text.len, &c->frame_text[id]);
	}
	for (uint32_t id = 0; !r && id <= p->contexts.len; id++)
		r = context_text(c, id, &c->context_text[id]);
	return r;
}

/* Parents come before their children, so one pass suffices. */
static int make_nodes(struct collapse *c)
{
	const struct profile *p = c->p;

	for (uint32_t id = 1; id <= p->nodes.len; id++) {
		const struct profile_node *node = profile_node_get(p, id);
		struct text_node text = {
			.parent = c->node_of[node->parent],
			.text = c->frame_text[node->frame],
		};
		int r = pairs_add(&c->nodes, &text, &c->node_of[id]);

		if (r)
			return r;
	}
	return 0;
}

static int sum_samples(struct collapse *c)
{
	vec_foreach (sample, &c->p->samples) {
		struct text_sample key = {
			.context = c->context_text[sample->context],
			.node = c->node_of[sample->node],
		};
		uint32_t id;
		int r = pairs_add(&c->samples, &key, &id);

		if (!r && id > c->sums.len)
			r = sum_vec_push(&c->sums, 0);
		if (r)
			return r;
		if (__builtin_add_overflow(
			    c->sums.data[id - 1], sample->values[0], &c->sums.data[id - 1]))
			c->sums.data[id - 1] = INT64_MAX;
	}
	return 0;
}

/* The texts of a stack, the leaf's first, and at last whose it is; with the bytes of all, separated. */
static int climb(struct collapse *c, struct text_ids *stack, uint32_t id, size_t *ret_bytes)
{
	const struct text_sample *key = pairs_get(&c->samples, id);
	size_t bytes = 0, len;
	int r = 0;

	stack->len = 0;
	for (uint32_t n = key->node; !r && n;) {
		const struct text_node *node = pairs_get(&c->nodes, n);

		r = text_ids_push(stack, node->text);
		intern_get(&c->texts, node->text, &len);
		bytes += len + 1;
		n = node->parent;
	}
	if (!r)
		r = text_ids_push(stack, key->context);
	intern_get(&c->texts, key->context, &len);
	*ret_bytes = bytes + len;
	return r;
}

static int append_line(struct collapse *c, struct text_ids *stack, uint32_t id)
{
	size_t bytes;
	int r = climb(c, stack, id, &bytes);
	char *at;

	if (r)
		return r;
	buf_clear(&c->text);
	// Room for all, once, rather than piece by piece.
	if (buf_reserve(&c->text, bytes))
		return -ENOSPC;
	at = c->text.data;
	for (size_t i = stack->len; i > 0; i--) {
		size_t len;
		const char *text = intern_get(&c->texts, stack->data[i - 1], &len);

		if (at != c->text.data)
			*at++ = ';';
		memcpy(at, text, len);
		at += len;
	}
	*at = 0;
	c->text.len = (size_t)(at - c->text.data);
	if (!c->text.len)
		buf_append_str(&c->text, "[unknown]");
	buf_printf(&c->text, " %lld", (long long)c->sums.data[id - 1]);
	// A line that begins with '#' is a comment to every reader.
	if (c->text.len && c->text.data[0] == '#')
		c->text.data[0] = '_';
	return c->text.bad ? -ENOSPC : 0;
}

int export_collapsed_header(FILE *f, const struct profile *p)
{
	_cleanup_buf_ struct buf text = BUF_INIT(LINE_MAX_BYTES);
	int r;

	buf_append_str(&text, "# ");
	r = json_append(&text, p->header);
	if (!r)
		fwrite(text.data, 1, text.len, f);
	return r;
}

static int write_lines(struct collapse *c, FILE *f)
{
	struct text_ids stack;
	bool first = true;
	int r = 0;

	text_ids_init(&stack, UINT32_MAX);
	if (c->options->header && c->p->header) {
		r = export_collapsed_header(f, c->p);
		first = false;
	}
	for (uint32_t id = 1; !r && id <= c->samples.len; id++) {
		// Readers drop zero counts and refuse negative ones.
		if (c->sums.data[id - 1] <= 0)
			continue;
		r = append_line(c, &stack, id);
		if (r)
			break;
		// Lines are separated, not ended, by newlines (3.2).
		if (!first)
			fputc('\n', f);
		first = false;
		fwrite(c->text.data, 1, c->text.len, f);
	}
	text_ids_deinit(&stack);
	return r;
}

static int collapse(struct collapse *c, FILE *f)
{
	const struct profile *p = c->p;
	int r;

	c->frame_text = calloc(p->frames.len + 1ull, sizeof(uint32_t));
	c->node_of = calloc(p->nodes.len + 1ull, sizeof(uint32_t));
	c->context_text = calloc(p->contexts.len + 1ull, sizeof(uint32_t));
	if (!c->frame_text || !c->node_of || !c->context_text)
		return -ENOMEM;
	r = make_texts(c);
	if (!r)
		r = make_nodes(c);
	if (!r)
		r = sum_samples(c);
	if (!r)
		r = write_lines(c, f);
	if (!r && (fflush(f) || ferror(f)))
		r = errno ? -errno : -EIO;
	return r;
}

/* Readers learn from the header which columns there are (3.2, 3.3), so it has the last word. */
static void choose_columns(struct collapse *c)
{
	const json_t *h = c->p->header;
	const json_t *arguments = json_object_get(json_object_get(h, "metadata"), "run_arguments");
	const char *api = json_string_value(json_object_get(arguments, "profile_api_version"));

	c->has_columns = c->options->contexts && (!api || strcmp(api, "v1") != 0);
	c->has_index = !json_is_false(json_object_get(h, "application_metadata_enabled"));
}

int export_collapsed(
	FILE *f, const struct profile *p, const struct export_collapsed_options *options)
{
	struct collapse c = {.p = p, .options = options, .text = BUF_INIT(LINE_MAX_BYTES)};
	int r;

	choose_columns(&c);
	intern_init(&c.texts, UINT32_MAX - 1, UINT32_MAX);
	pairs_init(&c.nodes, UINT32_MAX - 1);
	pairs_init(&c.samples, UINT32_MAX - 1);
	sum_vec_init(&c.sums, UINT32_MAX);
	errno = 0;
	r = collapse(&c, f);
	buf_deinit(&c.text);
	sum_vec_deinit(&c.sums);
	pairs_deinit(&c.samples);
	pairs_deinit(&c.nodes);
	intern_deinit(&c.texts);
	free(c.frame_text);
	free(c.node_of);
	free(c.context_text);
	return r;
}

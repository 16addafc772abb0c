/* SPDX-License-Identifier: Apache-2.0 */
#include "export/fold_perf.h"

#include <errno.h>
#include <string.h>

#include "export/fold.h"
#include "export/frame_memo.h"
#include "export/text.h"

#define NAME_MAX_BYTES ((size_t)2 << 20) // above the longest line

struct folder {
	const struct fold_perf_options *options;
	struct fold_perf_stats *stats;
	struct fold fold;
	struct frame_memo memo;
	uint64_t generation; // of the fold, when the memo was filled
	struct buf label; // root of the sample at hand
	struct buf name;
	uint64_t weight;
	bool java; // the label begins with "java"
};

static bool is(struct text_slice t, const char *s)
{
	return t.len == strlen(s) && memcmp(t.s, s, t.len) == 0;
}

static bool has_symbol(const struct perf_script_frame *frame)
{
	return frame->symbol.len && !is(frame->symbol, "[unknown]");
}

/* "[vdso]" -> "vdso" (3.9). */
static struct text_slice bare_dso(struct text_slice dso)
{
	if (dso.len > 2 && dso.s[0] == '[' && dso.s[dso.len - 1] == ']')
		return (struct text_slice){dso.s + 1, dso.len - 2};
	return dso;
}

static int begin(void *arg, const struct perf_script_header *header)
{
	struct folder *f = arg;
	const struct fold_perf_options *o = f->options;

	fold_drop(&f->fold);
	buf_clear(&f->label);
	export_text_clean(&f->label, header->comm.s, header->comm.len);
	f->weight = o->flamegraph ? header->period : 1;
	if (!o->flamegraph) {
		// A line that begins with '#' is a comment to every reader.
		if (f->label.len && f->label.data[0] == '#')
			f->label.data[0] = '_';
		return f->label.bad ? -ENOMEM : 0;
	}
	if (o->pid || o->tid) {
		if (header->pid == PERF_SCRIPT_NO_PID)
			buf_append_str(&f->label, "-?");
		else
			buf_printf(&f->label, "-%lld", (long long)header->pid);
	}
	if (o->tid)
		buf_printf(&f->label, "/%lld", (long long)header->tid);
	for (size_t i = 0; i < f->label.len; i++)
		if (f->label.data[i] == ' ')
			f->label.data[i] = '_';
	f->java = f->label.len >= 4 && memcmp(f->label.data, "java", 4) == 0;
	return f->label.bad ? -ENOMEM : 0;
}

/* The name of one function of a line in our form. */
static void our_name(struct folder *f, const struct perf_script_frame *frame,
	struct text_slice symbol, bool inlined)
{
	struct text_slice dso = bare_dso(frame->dso);

	if (!has_symbol(frame)) {
		if (!dso.len || is(dso, "unknown")) {
			buf_append_str(&f->name,
				f->options->insert_dso_name ? "[unknown] (unknown)" : "[unknown]");
			return;
		}
		buf_append_char(&f->name, '(');
		export_text_clean(&f->name, dso.s, dso.len);
		buf_append_char(&f->name, ')');
		return;
	}
	export_text_clean(&f->name, symbol.s, symbol.len);
	if (inlined)
		buf_append_str(&f->name, "_[i]");
	else if (export_module_is_kernel(frame->dso.s, frame->dso.len))
		buf_append_str(&f->name, "_[k]");
	else if (f->options->insert_dso_name) {
		buf_append_str(&f->name, " (");
		export_text_clean(&f->name, dso.s, dso.len);
		buf_append_char(&f->name, ')');
	}
}

/* Where FlameGraph's rule cuts a name: at the first '(' that does not begin "(anonymous
 * namespace)", unless the name looks like a Go method, "net/http.(*Client).Do". */
static size_t cut_arguments(const char *s, size_t len)
{
	static const char anonymous[] = "(anonymous namespace)";
	const char *end = s + len, *go = memmem(s, len, ".(", 2), *p = s;

	if (go && memmem(go + 2, (size_t)(end - go - 2), ").", 2))
		return len;
	while ((p = memchr(p, '(', (size_t)(end - p)))) {
		size_t left = (size_t)(end - p);

		if (left < strlen(anonymous) || memcmp(p, anonymous, strlen(anonymous)) != 0)
			return (size_t)(p - s);
		p++;
	}
	return len;
}

static void flamegraph_unknown(struct folder *f, const struct perf_script_frame *frame)
{
	const char *s = frame->dso.s, *slash = memrchr(s, '/', frame->dso.len);
	size_t len = frame->dso.len;

	if (slash) {
		len -= (size_t)(slash + 1 - s);
		s = slash + 1;
	}
	buf_append_char(&f->name, '[');
	if (len == 0 || is(frame->dso, "[unknown]"))
		buf_append_str(&f->name, "unknown");
	else
		buf_append(&f->name, s, len);
	if (f->options->addrs) {
		buf_append_str(&f->name, " <");
		buf_append(&f->name, frame->pc.s, frame->pc.len);
		buf_append_char(&f->name, '>');
	}
	buf_append_char(&f->name, ']');
}

static void flamegraph_tidy(struct folder *f)
{
	char *s = f->name.data, *to = s;
	size_t len = cut_arguments(s, f->name.len);
	bool slash = memchr(s, '/', len) != NULL;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\'' || (i == 0 && f->java && slash && s[i] == 'L'))
			continue;
		*to++ = s[i] == ';' ? ':' : (unsigned char)s[i] < ' ' ? ' ' : s[i];
	}
	while (to > s && to[-1] == ' ')
		to--;
	f->name.len = (size_t)(to - s);
	*to = 0;
}

static void flamegraph_name(struct folder *f, const struct perf_script_frame *frame,
	struct text_slice symbol, bool inlined)
{
	static const char vmlinux[] = "vmlinux";
	const struct text_slice *dso = &frame->dso;
	size_t n = strlen(vmlinux);

	if (is(symbol, "[unknown]"))
		flamegraph_unknown(f, frame);
	else
		buf_append(&f->name, symbol.s, symbol.len);
	if (f->name.bad || !f->name.len)
		return;
	flamegraph_tidy(f);
	if (!f->name.len)
		return;
	if (inlined) {
		if (!memmem(f->name.data, f->name.len, "_[i]", 4))
			buf_append_str(&f->name, "_[i]");
	} else if (f->options->kernel && dso->len &&
		   (dso->s[0] == '[' ||
			   (dso->len >= n && memcmp(dso->s + dso->len - n, vmlinux, n) == 0)) &&
		   !memmem(dso->s, dso->len, "unknown", strlen("unknown"))) {
		buf_append_str(&f->name, "_[k]");
	} else if (f->options->jit && !memmem(dso->s, dso->len, "jitted-", strlen("jitted-")) &&
		   export_module_is_jit(dso->s, dso->len)) {
		buf_append_str(&f->name, "_[j]");
	}
}

/* One function of a line -> a text of the fold, appended to texts; an empty name is no frame. */
static int add_name(struct folder *f, const struct perf_script_frame *frame,
	struct text_slice symbol, struct frame_memo_texts *texts)
{
	bool inlined = texts->count > 0;
	uint32_t id;
	int r;

	buf_clear(&f->name);
	if (f->options->flamegraph)
		flamegraph_name(f, frame, symbol, inlined);
	else
		our_name(f, frame, symbol, inlined);
	if (f->name.bad)
		return -ENOMEM;
	if (!f->name.len || texts->count == FRAME_MEMO_TEXTS_MAX)
		return 0;
	r = fold_text(&f->fold, f->name.data, f->name.len, &id);
	if (!r)
		texts->ids[texts->count++] = id;
	return r;
}

static int make_texts(
	struct folder *f, const struct perf_script_frame *frame, struct frame_memo_texts *texts)
{
	const char *s = frame->symbol.s, *end = s + frame->symbol.len;
	bool split = (f->options->flamegraph || f->options->inlines) && has_symbol(frame);
	int r = 0;

	texts->count = 0;
	while (!r && split) {
		const char *arrow = memmem(s, (size_t)(end - s), "->", 2);

		if (!arrow)
			break;
		if (arrow > s)
			r = add_name(f, frame, (struct text_slice){s, (size_t)(arrow - s)}, texts);
		s = arrow + 2;
	}
	if (!r && (s < end || s == frame->symbol.s))
		r = add_name(f, frame, (struct text_slice){s, (size_t)(end - s)}, texts);
	return r;
}

/* The fold is told leaf first, a line's functions are root first. */
static int push(struct folder *f, const uint32_t *ids, uint32_t count)
{
	int r = 0;

	while (!r && count)
		r = fold_push(&f->fold, ids[--count]);
	return r;
}

static int frame(void *arg, const struct perf_script_frame *frame)
{
	struct folder *f = arg;
	uint32_t variant = f->java, count;
	uint64_t hash = frame_memo_hash(frame, variant), generation;
	struct frame_memo_texts texts;
	const uint32_t *known;
	int r;

	if (f->options->flamegraph && frame->symbol.len && frame->symbol.s[0] == '(')
		return 0;
	known = frame_memo_find(&f->memo, frame, variant, hash, &count);
	if (known)
		return push(f, known, count);
	// A spill in the middle of the names makes the first ones stale: once more, then.
	for (unsigned attempt = 0;; attempt++) {
		generation = f->fold.generation;
		r = make_texts(f, frame, &texts);
		if (r)
			return r;
		if (generation == f->fold.generation)
			break;
		if (attempt)
			f->fold.overflow = true;
		if (f->fold.overflow)
			break;
	}
	if (f->generation != f->fold.generation) {
		frame_memo_clear(&f->memo);
		f->generation = f->fold.generation;
	}
	if (f->fold.overflow)
		return 0;
	if (!f->options->addrs || has_symbol(frame))
		frame_memo_add(&f->memo, frame, variant, hash, &texts);
	return push(f, texts.ids, texts.count);
}

static int end(void *arg, bool malformed)
{
	struct folder *f = arg;
	uint64_t too_large = f->fold.too_large;
	uint32_t label;
	int r;

	if (!f->options->flamegraph && (malformed || !f->fold.stack.len)) {
		f->stats->malformed += malformed;
		f->stats->empty += !malformed;
		fold_drop(&f->fold);
		return 0;
	}
	f->stats->malformed += malformed;
	r = fold_text(&f->fold, f->label.len ? f->label.data : "[unknown]",
		f->label.len ? f->label.len : strlen("[unknown]"), &label);
	if (!r)
		r = fold_push(&f->fold, label);
	if (!r)
		r = fold_commit(&f->fold, f->weight);
	if (f->generation != f->fold.generation) {
		frame_memo_clear(&f->memo);
		f->generation = f->fold.generation;
	}
	f->stats->counted += too_large == f->fold.too_large;
	return r;
}

int fold_perf_script(struct text_reader *reader, FILE *out, const struct fold_perf_options *options,
	struct text_complaints *complaints, struct fold_perf_stats *ret_stats)
{
	struct folder f = {
		.options = options,
		.stats = ret_stats,
		.label = BUF_INIT(NAME_MAX_BYTES),
		.name = BUF_INIT(NAME_MAX_BYTES),
	};
	const struct perf_script_sink sink = {begin, frame, end, &f};
	const struct perf_script_options script = {
		.first_number = options->flamegraph,
		.event = options->event,
		.first_event = options->flamegraph,
	};
	size_t cap = options->cap ? options->cap : FOLD_CAP_DEFAULT;
	int r;

	*ret_stats = (struct fold_perf_stats){0};
	r = fold_init(&f.fold, cap, false);
	if (!r)
		r = frame_memo_init(&f.memo, cap / 4);
	if (!r)
		r = perf_script_read(reader, &script, &sink, complaints, &ret_stats->script);
	if (!r)
		r = fold_write(&f.fold, out, options->flamegraph);
	ret_stats->spills = f.fold.spills;
	ret_stats->run_failed = f.fold.run_failed;
	ret_stats->too_large = f.fold.too_large;
	frame_memo_deinit(&f.memo);
	fold_deinit(&f.fold);
	buf_deinit(&f.label);
	buf_deinit(&f.name);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pprof's profile.proto, written as a stream (runtime-and-memory-anchors.md C3).
 *
 * The encoder is our own few lines and not protobuf-c: protobuf-c packs a message that is whole in
 * memory, which for this format is the profile a second time; here a sample is the largest thing
 * held. The string table is the profile's own (its id 0 is "", as the format demands) with our few
 * texts behind it. Frames inlined into one another share a Location, innermost first. */
#include "export/export.h"

#include <errno.h>
#include <string.h>

#include "base/compress.h"

#define MESSAGE_MAX ((size_t)64 << 20)
#define GZIP_LEVEL 1 // C5: names dominate; higher levels cost more than they save

/* Field numbers of profile.proto. */
enum { P_SAMPLE_TYPE = 1, P_SAMPLE, P_MAPPING, P_LOCATION, P_FUNCTION, P_STRING_TABLE };
enum {
	P_TIME_NANOS = 9,
	P_DURATION_NANOS,
	P_PERIOD_TYPE,
	P_PERIOD,
	P_COMMENT,
	P_DEFAULT_SAMPLE_TYPE,
};

/* Interned as bytes. */
struct pprof_function {
	uint32_t name, system_name, file, start_line;
};

struct pprof_mapping {
	uint32_t module, build_id;
};

VEC_DEFINE(frame_ids, uint32_t)

struct pprof {
	const struct profile *p;
	struct gzip_writer *gzip;
	struct intern functions, mappings, locations; // a location: frame ids, innermost first
	struct intern texts; // behind the profile's strings
	uint64_t *limits; // of mappings: highest address + 1
	size_t nlimits, limits_size;
	struct buf message, part;
	struct frame_ids ids; // frames of a location
	int err;
};

static void put_varint(struct buf *b, uint64_t v)
{
	char bytes[10];
	size_t n = 0;

	do {
		bytes[n++] = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		v >>= 7;
	} while (v);
	buf_append(b, bytes, n);
}

/* Zero is proto3's default and is left out. */
static void put_number(struct buf *b, unsigned field, uint64_t v)
{
	if (!v)
		return;
	put_varint(b, (uint64_t)field << 3);
	put_varint(b, v);
}

static void put_bytes(struct buf *b, unsigned field, const void *data, size_t len)
{
	put_varint(b, (uint64_t)field << 3 | 2);
	put_varint(b, len);
	buf_append(b, data, len);
}

/* The part is a field of the message. */
static void put_part(struct pprof *w, unsigned field)
{
	if (w->part.bad && !w->err)
		w->err = -ENOSPC;
	put_bytes(&w->message, field, buf_str(&w->part), w->part.len);
}

static void emit(struct pprof *w, const struct buf *b)
{
	if (b->bad && !w->err)
		w->err = -ENOSPC;
	if (!w->err)
		w->err = gzip_write(w->gzip, buf_str(b), b->len);
}

/* The message is a field of Profile. */
static void emit_message(struct pprof *w, unsigned field)
{
	buf_clear(&w->part);
	put_varint(&w->part, (uint64_t)field << 3 | 2);
	put_varint(&w->part, w->message.len);
	if (w->message.bad && !w->err)
		w->err = -ENOSPC;
	emit(w, &w->part);
	emit(w, &w->message);
	buf_clear(&w->message);
}

static void emit_number(struct pprof *w, unsigned field, uint64_t v)
{
	buf_clear(&w->part);
	put_number(&w->part, field, v);
	emit(w, &w->part);
}

static void check(struct pprof *w, int r)
{
	if (r && !w->err)
		w->err = r;
}

/* Index in the string table of a text of ours. */
static uint32_t text(struct pprof *w, const char *s)
{
	uint32_t id = intern_find(&w->p->strings, s, strlen(s));

	if (id || !s[0])
		return id;
	check(w, intern_add(&w->texts, s, strlen(s), &id));
	return w->p->strings.len + id;
}

static uint32_t mapping_of(struct pprof *w, const struct profile_frame *f)
{
	struct pprof_mapping m = {.module = f->module, .build_id = f->build_id};
	uint32_t id = 0;
	int r;

	if (!f->module)
		return 0;
	check(w, intern_add(&w->mappings, &m, sizeof(m), &id));
	if (id <= w->nlimits)
		return id;
	r = vec_grow((void **)&w->limits, &w->limits_size, id, UINT32_MAX, sizeof(*w->limits));
	if (r) {
		check(w, r);
		return 0;
	}
	w->limits[w->nlimits++] = 0;
	return id;
}

/* The location of a run of frames, innermost first, that are one address. */
static uint32_t location_of(struct pprof *w)
{
	uint32_t id = 0;

	check(w, intern_add(&w->locations, w->ids.data, w->ids.len * sizeof(uint32_t), &id));
	w->ids.len = 0;
	return id;
}

static void put_locations(struct pprof *w, uint32_t node)
{
	struct buf *b = &w->part;

	buf_clear(b);
	w->ids.len = 0;
	while (node && !w->err) {
		const struct profile_node *n = profile_node_get(w->p, node);
		const struct profile_frame *f = profile_frame_get(w->p, n->frame);

		check(w, frame_ids_push(&w->ids, n->frame));
		node = n->parent;
		// What was inlined shares the address of its caller, up to the first that was not.
		if (!(f->flags & PROFILE_FRAME_INLINED) || !node)
			put_varint(b, location_of(w));
	}
	if (b->len || b->bad)
		put_part(w, 1);
}

static void put_label(struct pprof *w, const char *key, uint32_t str, uint64_t num)
{
	if (!str && !num)
		return;
	buf_clear(&w->part);
	put_number(&w->part, 1, text(w, key));
	put_number(&w->part, 2, str);
	put_number(&w->part, 3, num);
	put_part(w, 3);
}

static void put_sample(struct pprof *w, const struct profile_sample *s)
{
	const struct profile_context *who = profile_context_get(w->p, s->context);

	buf_clear(&w->message);
	put_locations(w, s->node);
	buf_clear(&w->part);
	for (unsigned i = 0; i < w->p->ntypes; i++)
		put_varint(&w->part, (uint64_t)s->values[i]);
	put_part(w, 2);
	put_label(w, "pid", 0, who->pid);
	put_label(w, "tid", 0, who->tid);
	put_label(w, "thread", who->thread_comm, 0);
	put_label(w, "comm", who->comm, 0);
	put_label(w, "container", who->container, 0);
	put_label(w, "appid", who->appid, 0);
	emit_message(w, P_SAMPLE);
}

static uint32_t function_of(struct pprof *w, const struct profile_frame *f)
{
	struct pprof_function fn = {
		.name = f->name,
		.system_name = f->system_name ? f->system_name : f->name,
		.file = f->file,
		.start_line = f->start_line,
	};
	uint32_t id = 0;

	check(w, intern_add(&w->functions, &fn, sizeof(fn), &id));
	return id;
}

static void put_location(struct pprof *w, uint32_t id)
{
	const struct profile_frame *outer;
	const uint32_t *frames;
	uint32_t mapping;
	size_t len;

	frames = intern_get(&w->locations, id, &len);
	len /= sizeof(*frames);
	outer = profile_frame_get(w->p, frames[len - 1]);
	mapping = mapping_of(w, outer);
	buf_clear(&w->message);
	put_number(&w->message, 1, id);
	put_number(&w->message, 2, mapping);
	put_number(&w->message, 3, outer->address);
	if (mapping)
		w->limits[mapping - 1] = MAX(w->limits[mapping - 1], outer->address + 1);
	for (size_t i = 0; i < len; i++) {
		const struct profile_frame *f = profile_frame_get(w->p, frames[i]);

		buf_clear(&w->part);
		put_number(&w->part, 1, function_of(w, f));
		put_number(&w->part, 2, f->line);
		put_part(w, 4);
	}
	emit_message(w, P_LOCATION);
}

/* Addresses are offsets in the file, so every mapping begins at 0. All has been symbolized. */
static void put_mapping(struct pprof *w, uint32_t id)
{
	const struct pprof_mapping *m = intern_get(&w->mappings, id, NULL);

	buf_clear(&w->message);
	put_number(&w->message, 1, id);
	put_number(&w->message, 3, w->limits[id - 1] ? w->limits[id - 1] : UINT64_MAX);
	put_number(&w->message, 5, m->module);
	put_number(&w->message, 6, m->build_id);
	for (unsigned field = 7; field <= 10; field++)
		put_number(&w->message, field, 1);
	emit_message(w, P_MAPPING);
}

/* pprof takes the first mapping for the program: files come before "[kernel.kallsyms]". */
static void put_mappings(struct pprof *w)
{
	for (unsigned special = 0; special < 2; special++) {
		for (uint32_t id = 1; id <= w->mappings.len; id++) {
			const struct pprof_mapping *m = intern_get(&w->mappings, id, NULL);
			const char *path = profile_text(w->p, m->module);

			if ((path[0] == '[') == (special == 1))
				put_mapping(w, id);
		}
	}
}

static void put_functions(struct pprof *w)
{
	for (uint32_t id = 1; id <= w->functions.len; id++) {
		const struct pprof_function *f = intern_get(&w->functions, id, NULL);

		buf_clear(&w->message);
		put_number(&w->message, 1, id);
		put_number(&w->message, 2, f->name);
		put_number(&w->message, 3, f->system_name);
		put_number(&w->message, 4, f->file);
		put_number(&w->message, 5, f->start_line);
		emit_message(w, P_FUNCTION);
	}
}

static void put_value_type(struct pprof *w, unsigned field, uint32_t type, uint32_t unit)
{
	buf_clear(&w->message);
	put_number(&w->message, 1, type);
	put_number(&w->message, 2, unit);
	emit_message(w, field);
}

static void put_comment(struct pprof *w, const char *key, const char *value)
{
	_cleanup_buf_ struct buf b = BUF_INIT(65536);

	if (!value[0])
		return;
	// Too long a comment is left out.
	if (buf_printf(&b, "%s: %s", key, value) == -ENOMEM)
		check(w, -ENOMEM);
	emit_number(w, P_COMMENT, text(w, buf_str(&b)));
}

static void put_ledger(struct pprof *w, const struct profile_ledger *l)
{
	char s[512];

	snprintf(s, sizeof(s),
		"expected %llu, entries %llu, idle %llu, complete %llu, finished in user space "
		"%llu, truncated %llu, broken %llu, lost %llu, not delivered %llu, throttled %llu, "
		"frames %llu, unnamed %llu",
		(unsigned long long)l->expected, (unsigned long long)l->entries,
		(unsigned long long)l->idle, (unsigned long long)l->complete,
		(unsigned long long)l->finished_complete,
		(unsigned long long)(l->truncated + l->finished_truncated),
		(unsigned long long)(l->broken + l->finished_broken),
		(unsigned long long)l->lost_ring, (unsigned long long)l->not_delivered,
		(unsigned long long)l->throttled, (unsigned long long)l->frames,
		(unsigned long long)l->frames_unnamed);
	put_comment(w, "ledger", s);
}

static void put_meta(struct pprof *w)
{
	const struct profile_meta *m = &w->p->meta;
	const struct profile_value_type *last = &w->p->types[w->p->ntypes ? w->p->ntypes - 1 : 0];

	emit_number(w, P_TIME_NANOS, m->start_real_ns);
	emit_number(w, P_DURATION_NANOS, m->duration_ns);
	put_value_type(w, P_PERIOD_TYPE, last->type, last->unit);
	emit_number(w, P_PERIOD, m->period);
	emit_number(w, P_DEFAULT_SAMPLE_TYPE, last->type);
	put_comment(w, "host", profile_text(w->p, m->hostname));
	put_comment(w, "event", profile_text(w->p, m->event));
	put_comment(w, "source", profile_text(w->p, m->source));
	put_comment(w, "command", profile_text(w->p, m->command));
	put_comment(w, "comment", profile_text(w->p, m->comment));
	if (m->has_ledger)
		put_ledger(w, &m->ledger);
}

/* Length of the valid UTF-8 sequence at s, 0 if there is none. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n == 0 || n > left || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (s[i] >> 6 != 2)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* proto3 strings are UTF-8; names of foreign programs need not be. */
static void put_string(struct pprof *w, const char *s, size_t len)
{
	buf_clear(&w->message);
	while (len) {
		size_t n = utf8_len((const unsigned char *)s, len);

		buf_append(&w->message, n ? s : "?", n ? n : 1);
		s += n ? n : 1;
		len -= n ? n : 1;
	}
	emit_message(w, P_STRING_TABLE);
}

static void put_strings(struct pprof *w)
{
	const struct intern *tables[] = {&w->p->strings, &w->texts};

	put_string(w, "", 0);
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (uint32_t id = 1; id <= tables[t]->len; id++) {
			size_t len;
			const char *s = intern_get(tables[t], id, &len);

			put_string(w, s, len);
		}
	}
}

static int run(struct pprof *w)
{
	for (unsigned i = 0; i < w->p->ntypes; i++)
		put_value_type(w, P_SAMPLE_TYPE, w->p->types[i].type, w->p->types[i].unit);
	vec_foreach (s, &w->p->samples) {
		if (w->err)
			return w->err;
		put_sample(w, s);
	}
	for (uint32_t id = 1; id <= w->locations.len && !w->err; id++)
		put_location(w, id);
	if (w->err)
		return w->err; // mappings without their limits
	put_mappings(w);
	put_functions(w);
	put_meta(w);
	put_strings(w);
	return w->err ? w->err : gzip_finish(w->gzip);
}

static int to_file(void *arg, const void *data, size_t len)
{
	return fwrite(data, 1, len, arg) == len ? 0 : errno ? -errno : -EIO;
}

int export_pprof(FILE *f, const struct profile *p)
{
	struct pprof w = {.p = p, .message = BUF_INIT(MESSAGE_MAX), .part = BUF_INIT(MESSAGE_MAX)};
	int r;

	intern_init(&w.functions, UINT32_MAX - 1, UINT32_MAX);
	intern_init(&w.mappings, UINT32_MAX - 1, UINT32_MAX);
	intern_init(&w.locations, UINT32_MAX - 1, UINT32_MAX);
	intern_init(&w.texts, 1024, 1 << 20);
	frame_ids_init(&w.ids, UINT32_MAX);
	errno = 0;
	r = gzip_writer_new(GZIP_LEVEL, to_file, f, &w.gzip);
	if (!r)
		r = run(&w);
	if (!r && (fflush(f) || ferror(f)))
		r = errno ? -errno : -EIO;
	gzip_writer_free(w.gzip);
	intern_deinit(&w.functions);
	intern_deinit(&w.mappings);
	intern_deinit(&w.locations);
	intern_deinit(&w.texts);
	frame_ids_deinit(&w.ids);
	buf_deinit(&w.message);
	buf_deinit(&w.part);
	free(w.limits);
	return r;
}
